//! Malformed input: a typed refusal that names its field, and nothing stored.

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{merge, sale},
};

/// Every table's rows together: what a refusal must not change.
async fn rows(app: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in [
        "campaign",
        "goal",
        "commission_rule",
        "affiliate",
        "enrollment",
        "link",
        "click",
        "conversion",
        "journal",
        "event",
        "idempotency",
        "tenant_user",
        "api_key",
        "rollup_hourly",
    ] {
        counts.push(app.auditor.number(&format!("SELECT COUNT(*) FROM {table}")).await);
    }
    counts
}

/// Sends mutations that must each be refused with a code at a field, and store nothing.
async fn refused(app: &TestApp, client: &Client, name: &str, cases: Vec<(Value, &str, Value)>) {
    let before = rows(app).await;
    for (input, code, field) in cases {
        let payload = client.mutate(name, input.clone(), "").await;
        let error = &payload["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{name} of {input}: {payload}");
    }
    assert_eq!(rows(app).await, before, "{name} stored something");
}

/// An input with changes.
fn with(input: &Value, changes: Value) -> Value {
    let mut input = input.clone();
    merge(&mut input, changes);
    input
}

const INSTANTS: [&str; 4] =
    ["1600-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "-262143-01-01T00:00:00Z", "1969-12-31T23:59:59Z"];

on_both! {
    async fn malformed_money_is_refused_at_its_part(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = sale(&programme.click(&owner).await, "1", "1.00");
        let money = |amount: &str, currency: &str| {
            with(&input, json!({ "saleAmount": { "amount": amount, "currency": currency } }))
        };
        let amount = json!(["saleAmount", "amount"]);
        let mut cases: Vec<(Value, &str, Value)> = [
            "", " ", ".", "1.", ".5", "1.001", "1.000", "-1.00", "-0", "+1", "NaN", "Infinity", "1e3", "1E-2", "0x10",
            "1,00", "1 000", "1.2.3", "１", "1.00\u{0}", "null",
        ].into_iter().map(|text| (money(text, "EUR"), "INVALID_AMOUNT", amount.clone())).collect();
        for text in ["10000000000000.01", "99999999999999999999999999999999999999"] {
            cases.push((money(text, "EUR"), "AMOUNT_OUT_OF_RANGE", amount.clone()));
        }
        cases.push((money("1.5", "JPY"), "INVALID_AMOUNT", amount.clone()));
        cases.push((money("1.0005", "KWD"), "INVALID_AMOUNT", amount));
        for code in ["", "eur", "EURO", "XXX", "ZZZ", "€", "EU\u{0}"] {
            cases.push((money("1", code), "UNKNOWN_CURRENCY", json!(["saleAmount", "currency"])));
        }
        refused(app, &owner, "recordConversion", cases).await;
    }

    async fn amount_that_is_no_string_is_refused_by_its_type(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = sale(&programme.click(&owner).await, "1", "1.00");
        let document = crate::support::client::mutation("recordConversion", "");
        for amount in [json!(1), json!(1.5), json!(null), json!(["1"]), json!({})] {
            let input = with(&input, json!({ "saleAmount": { "amount": amount, "currency": "EUR" } }));
            assert_eq!(owner.error_code(&document, json!({ "input": input })).await, "GRAPHQL_VALIDATION_FAILED");
        }
    }

    async fn id_of_the_wrong_kind_or_form_is_refused_at_its_field(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let ids = |wrong: &str| -> Vec<String> {
            [
                "", "clk", "_", "00000000000000000000000001", "zzz_00000000000000000000000001", wrong,
                "clk_0000000000000000000000000", "clk_000000000000000000000000001", "clk_8zzzzzzzzzzzzzzzzzzzzzzzzz",
                "clk_0000000000000000000000000u", "CLK_00000000000000000000000001", "clk_00000000000000000000000001\u{0}",
                " clk_00000000000000000000000001", "01890a5d-ac96-774b-bcce-b302099a8057",
            ].map(str::to_owned).to_vec()
        };
        let cases = ids(&programme.campaign).into_iter()
            .map(|id| (with(&sale(&click, "1", "1.00"), json!({ "clickId": id })), "INVALID_ID", json!(["clickId"])));
        refused(app, &owner, "recordConversion", cases.collect()).await;
        let cases = ids(&click).into_iter().map(|id| (json!({ "linkId": id }), "INVALID_ID", json!(["linkId"])));
        refused(app, &owner, "recordClick", cases.collect()).await;
        let cases = ids(&click).into_iter().map(|id| (json!({ "id": id }), "INVALID_ID", json!(["id"])));
        refused(app, &owner, "pauseCampaign", cases.collect()).await;
    }

    async fn texts_with_control_characters_or_too_long_are_refused_at_their_field(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = sale(&programme.click(&owner).await, "1", "1.00");
        let long = "é".repeat(256);
        let mut cases = Vec::new();
        for text in ["a\u{0}b", "a\nb", "\u{7f}", "a\u{85}b", long.as_str()] {
            for field in ["idempotencyKey", "goal", "orderId", "customerId"] {
                cases.push((with(&input, json!({ field: text })), "INVALID_TEXT", json!([field])));
            }
            cases.push((with(&input, json!({ "labels": { "adv7": text } })), "INVALID_TEXT", json!(["labels", "adv7"])));
        }
        cases.push((with(&input, json!({ "goal": "  " })), "REQUIRED", json!(["goal"])));
        refused(app, &owner, "recordConversion", cases).await;
        let click = json!({ "linkId": programme.link });
        let cases = ["visitorId", "source", "idempotencyKey"].into_iter()
            .flat_map(|field| ["a\u{0}b", long.as_str()].map(|text| (field, text)))
            .map(|(field, text)| (with(&click, json!({ field: text })), "INVALID_TEXT", json!([field])));
        refused(app, &owner, "recordClick", cases.collect()).await;
    }

    async fn text_of_the_greatest_length_is_taken(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let text = "é".repeat(255);
        let input = with(&sale(&programme.click(&owner).await, "1", "1.00"), json!({
            "idempotencyKey": text, "orderId": text, "customerId": text, "labels": { "adv1": text },
        }));
        let payload = owner.done("recordConversion", input, "conversion { orderId customerId }").await;
        assert_eq!(payload["conversion"], json!({ "orderId": text, "customerId": text }));
    }

    async fn instant_far_in_the_past_is_refused_and_ingest_goes_on(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = sale(&programme.click(&owner).await, "1", "1.00");
        let at = |input: &Value, text: &str| {
            (with(input, json!({ "occurredAt": text })), "OUT_OF_RANGE", json!(["occurredAt"]))
        };
        let cases = INSTANTS.map(|text| at(&input, text));
        refused(app, &owner, "recordConversion", cases.into()).await;
        let click = json!({ "linkId": programme.link, "visitorId": "ada" });
        refused(app, &owner, "recordClick", INSTANTS.map(|text| at(&click, text)).into()).await;
        owner.done("recordConversion", input, "").await;
    }

    async fn instant_that_is_none_is_refused_by_its_type(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let document = crate::support::client::mutation("recordClick", "");
        for text in ["", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1767225600"] {
            let input = json!({ "input": { "linkId": programme.link, "occurredAt": text } });
            assert_eq!(owner.error_code(&document, input).await, "GRAPHQL_VALIDATION_FAILED", "{text}");
        }
    }

    async fn filter_that_nothing_can_match_is_answered_alike_on_both_databases(app) {
        let owner = app.owner();
        Programme::build(&owner, &Terms::default()).await;
        for (query, filter) in [
            ("conversions(first: 1, filter: $filter) { totalCount }", json!({ "orderIds": ["a\u{0}b"] })),
            ("conversions(first: 1, filter: $filter) { totalCount }", json!({ "goals": ["a\u{0}b"] })),
        ] {
            let document = format!("query($filter: ConversionFilterInput) {{ {query} }}");
            assert_eq!(owner.error_code(&document, json!({ "filter": filter })).await, "INVALID_TEXT", "{filter}");
        }
        for (list, input) in
            [("campaigns", "CampaignFilterInput"), ("affiliates", "AffiliateFilterInput"), ("users", "UserFilterInput")]
        {
            let document = format!("query($filter: {input}) {{ {list}(first: 1, filter: $filter) {{ totalCount }} }}");
            let variables = json!({ "filter": { "nameContains": "a\u{0}b" } });
            assert_eq!(owner.error_code(&document, variables).await, "INVALID_TEXT", "{list}");
        }
        let document = "query($order: String!) { conversion(by: { orderId: $order }) { id } }";
        assert_eq!(owner.error_code(document, json!({ "order": "a\u{0}b" })).await, "INVALID_TEXT");
        for text in INSTANTS.into_iter().chain(["+10000-01-01T00:00:00Z", "+262142-01-01T00:00:00Z"]) {
            for field in ["occurredFrom", "occurredBefore"] {
                for (list, input) in [("conversions", "ConversionFilterInput"), ("clicks", "ClickFilterInput")] {
                    let document =
                        format!("query($filter: {input}) {{ {list}(first: 1, filter: $filter) {{ totalCount }} }}");
                    let code = owner.error_code(&document, json!({ "filter": { field: text } })).await;
                    assert_eq!(code, "OUT_OF_RANGE", "{list} {field} {text}");
                }
            }
        }
    }

    async fn ids_past_the_bound_of_a_filter_are_refused(app) {
        let owner = app.owner();
        let document =
            "query($filter: ConversionFilterInput) { conversions(first: 1, filter: $filter) { totalCount } }";
        let ids = vec!["cmp_00000000000000000000000001"; 1_001];
        let filter = json!({ "filter": { "campaignIds": ids } });
        assert_eq!(owner.error_code(document, filter).await, "BATCH_SIZE");
        let texts: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
        for field in ["orderIds", "goals"] {
            assert_eq!(owner.error_code(document, json!({ "filter": { field: texts } })).await, "BATCH_SIZE", "{field}");
        }
    }

    async fn malformed_campaign_is_refused_with_every_problem(app) {
        let owner = app.owner();
        let input = json!({
            "name": " ", "currency": "EUR", "destinationUrl": "javascript:alert(1)",
            "attributionWindowSeconds": 0, "holdSeconds": -1,
        });
        let before = rows(app).await;
        let payload = owner.mutate("createCampaign", input, "campaign { id }").await;
        let told: Vec<(Value, Value)> = payload["userErrors"].as_array().expect("errors").iter()
            .map(|error| (error["code"].clone(), error["field"].clone())).collect();
        assert_eq!(told, [
            (json!("REQUIRED"), json!(["name"])),
            (json!("INVALID_URL"), json!(["destinationUrl"])),
            (json!("OUT_OF_RANGE"), json!(["attributionWindowSeconds"])),
            (json!("OUT_OF_RANGE"), json!(["holdSeconds"])),
        ]);
        assert_eq!(rows(app).await, before);
    }

    async fn malformed_programme_input_is_refused_at_its_field(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let campaign = &programme.campaign;
        let currency = json!({ "name": "x", "currency": "eur", "destinationUrl": "https://shop.example/" });
        refused(app, &owner, "createCampaign", vec![(currency, "UNKNOWN_CURRENCY", json!(["currency"]))]).await;
        refused(app, &owner, "createGoal", vec![
            (json!({ "campaignId": campaign, "code": "", "name": "x" }), "REQUIRED", json!(["code"])),
            (json!({ "campaignId": campaign, "code": "x", "name": "a\u{0}" }), "INVALID_TEXT", json!(["name"])),
        ]).await;
        let rule = |terms: Value| json!({ "campaignId": campaign, "name": "x", "isDefault": false, "terms": terms });
        let mut cases: Vec<(Value, &str, Value)> = ["", "-1", "101", "1e1", "5%", "1.00001", "NaN"].into_iter()
            .map(|text| (rule(json!({ "percent": text })), "INVALID_RATE", json!(["terms", "percent"])))
            .collect();
        let usd = json!({ "flat": { "amount": "1.00", "currency": "USD" } });
        cases.push((rule(usd), "CURRENCY_MISMATCH", json!(["terms", "flat", "currency"])));
        let negative = json!({ "flat": { "amount": "-1.00", "currency": "EUR" } });
        cases.push((rule(negative), "INVALID_AMOUNT", json!(["terms", "flat", "amount"])));
        refused(app, &owner, "createCommissionRule", cases).await;
        let affiliate = |email: &str| json!({ "name": "Ada", "email": email });
        let cases = ["a", "@b.de", "a@b", "a@@b.de", "a b@c.de"].map(|text| {
            (affiliate(text), "INVALID_EMAIL", json!(["email"]))
        });
        refused(app, &owner, "createAffiliate", cases.into()).await;
        let link = |url: &str| {
            json!({ "campaignId": campaign, "affiliateId": programme.affiliate, "destinationUrl": url })
        };
        let cases = ["shop.example", "ftp://a.b/", "https://{sub1}.example/", "https://a.b/{nope}"].map(|text| {
            (link(text), "INVALID_URL", json!(["destinationUrl"]))
        });
        refused(app, &owner, "createLink", cases.into()).await;
    }

    async fn anonymous_callers_with_control_characters_are_refused_not_faulted(app) {
        let anonymous = app.anonymous();
        let application = json!({ "tenant": "ho\u{0}me", "name": "Ada", "email": "ada@x.de", "password": "long enough 1" });
        assert_eq!(anonymous.refusal("applyAffiliate", application).await, "NOT_FOUND");
        let login = json!({ "tenant": "ho\u{0}me", "email": "a\u{0}@x.de", "password": "\u{0}" });
        assert_eq!(anonymous.refusal("login", login).await, "INVALID_CREDENTIALS");
        for text in ["", "\u{0}", "trb_live_x", "a.b.c"] {
            let token = json!({ "refreshToken": text });
            assert_eq!(anonymous.refusal("refreshSession", token).await, "INVALID_CREDENTIALS");
        }
    }
}
