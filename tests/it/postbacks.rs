//! Conversions from servers that do not speak GraphQL: each vendor's address works with its host alone replaced, what is
//! refused says so, and its tenant can see why.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tributary::ambient::Clock;
use tributary_entity::kinds::Role;

use crate::support::{
    Client, Programme, Terms, TestApp,
    app::{self, Backend, Tuning},
    on_both, on_both_tuned,
    programme::{id, merge},
};

/// A new endpoint; its address and its id.
pub async fn endpoint(client: &Client, more: Value) -> (String, String) {
    let mut input = json!({ "name": "Shop" });
    merge(&mut input, more);
    let made = client.done("createPostbackEndpoint", input, "token url postbackEndpoint { id }").await;
    let (token, url) = (made["token"].as_str().expect("a token"), made["url"].as_str().expect("an address"));
    assert!(url.ends_with(token), "{url}");
    let kind = url.rsplit('/').nth(1).expect("a kind");
    (format!("{}/{kind}/{token}", client.url), id(&made, "postbackEndpoint"))
}

/// Status and body of a call.
async fn get(url: &str) -> (u16, Value) {
    answer(reqwest::Client::new().get(url)).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    (status, response.json().await.expect("JSON, whatever happens"))
}

/// A call that must be taken; its conversion, read by the owner.
async fn taken(app: &TestApp, url: &str, expected: &str) -> Value {
    let (status, body) = get(url).await;
    assert_eq!((status, body["status"].as_str()), (200, Some(expected)), "{url}: {body}");
    conversion(app, body["conversionId"].as_str().expect("an id")).await
}

async fn conversion(app: &TestApp, id: &str) -> Value {
    let query = "query($id: ID!) { conversion(by: { id: $id }) { id status reason goalCode orderId customerId \
        saleAmount { amount currency } labels { name value } click { id } history { toStatus actor } } }";
    app.owner().data(query, json!({ "id": id })).await["conversion"].take()
}

/// The refused calls of the owner's endpoints, newest first.
async fn calls(client: &Client) -> Vec<Value> {
    let query = "{ postbackCalls(first: 50) { totalCount edges { node { endpoint { id } method \
        parameters { name value } httpStatus code message conversion { id status } unlistedBefore } } } }";
    let listed = client.data(query, json!({})).await["postbackCalls"].take();
    let edges = listed["edges"].as_array().expect("edges");
    assert_eq!(listed["totalCount"], edges.len());
    edges.iter().map(|edge| edge["node"].clone()).collect()
}

on_both! {
    async fn addresses_of_every_vendor_work_with_another_host(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let goals = json!([{ "external": "7", "goal": "sale" }, { "external": "purchase", "goal": "sale" }]);
        let settings = json!({ "goals": goals, "defaultGoal": "sale" });
        let (any, _) = endpoint(&owner, settings.clone()).await;
        for (dialect, below, expected) in [
            (
                "TUNE",
                "/aff_lsr?offer_id=26&transaction_id=CLICK&amount=49.00&adv_sub=N&adv_sub2=red&adv_unique1=web&goal_id=7",
                json!({ "amount": "49.00", "labels": [["adv2", "red"], ["adv6", "web"]] }),
            ),
            (
                "EVERFLOW",
                "/?nid=1&transaction_id=CLICK&amount=20.5&event_id=7&adv1=a&order_id=N&coupon_code=ADA&email=a%40b.example&currency=EUR",
                json!({ "amount": "20.50", "labels": [["adv1", "a"]] }),
            ),
            (
                "VOLUUM",
                "/postback?cid=CLICK&payout=4.50&txid=N&currency=EUR&et=purchase&param1=a&param5=e",
                json!({ "amount": "4.50", "labels": [["adv1", "a"], ["adv5", "e"]] }),
            ),
            (
                "AFFISE",
                "/postback?clickid=CLICK&status=2&sum=9.99&goal=7&action_id=N&custom_field1=x",
                json!({ "amount": "9.99", "labels": [["adv1", "x"]] }),
            ),
            (
                "TRIBUTARY",
                "?click_id=CLICK&goal=sale&order_id=N&amount=1&currency=EUR&adv3=c",
                json!({ "amount": "1.00", "labels": [["adv3", "c"]] }),
            ),
        ] {
            let mut own = settings.clone();
            merge(&mut own, json!({ "dialect": dialect }));
            let (own, own_id) = endpoint(&owner, own).await;
            for (url, number) in [(&own, "own"), (&any, "any")] {
                let click = programme.click(&owner).await;
                let order = format!("{dialect}-{number}");
                let below = below.replace("CLICK", &click).replace("=N", &format!("={order}"));
                let url = format!("{url}{below}");
                let recorded = taken(app, &url, "created").await;
                let labels: Vec<Value> = expected["labels"].as_array().expect("labels").iter()
                    .map(|label| json!({ "name": label[0], "value": label[1] })).collect();
                assert_eq!(recorded["saleAmount"], json!({ "amount": expected["amount"], "currency": "EUR" }), "{url}");
                assert_eq!((&recorded["labels"], &recorded["orderId"]), (&json!(labels), &json!(order)), "{url}");
                assert_eq!((&recorded["goalCode"], &recorded["click"]["id"]), (&json!("sale"), &json!(click)), "{url}");
                assert_eq!((&recorded["status"], &recorded["customerId"]), (&json!("PENDING"), &Value::Null), "{url}");
                let again = taken(app, &url, "replayed").await;
                assert_eq!(again["id"], recorded["id"]);
                if number == "own" {
                    let actor = format!("postback:{own_id}");
                    assert_eq!(recorded["history"], json!([{ "toStatus": "PENDING", "actor": actor }]));
                }
            }
        }
        assert!(calls(&owner).await.is_empty(), "nothing was refused");
    }

    async fn body_and_address_are_read_alike(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (url, _) = endpoint(&owner, json!({ "defaultGoal": "sale" })).await;
        let click = programme.click(&owner).await;
        let http = reqwest::Client::new();
        let form = format!("cid={click}&txid=1&payout=5.00");
        let (status, first) = answer(
            http.post(&url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone()),
        ).await;
        assert_eq!((status, &first["status"], &first["conversionStatus"]), (200, &json!("created"), &json!("APPROVED")));
        for request in [
            http.get(format!("{url}?{form}")),
            http.post(format!("{url}/postback?{form}")),
            http.post(&url).json(&json!({ "cid": click, "txid": 1, "payout": "5.00", "et": null })),
            http.post(format!("{url}?txid=1")).json(&json!({ "cid": click, "payout": "5.00" })),
        ] {
            let (status, again) = answer(request).await;
            assert_eq!((status, &again["status"], &again["conversionId"]), (200, &json!("replayed"), &first["conversionId"]));
        }
        for (request, status, code) in [
            (http.post(&url).json(&json!({ "cid": [click] })), 400, "BAD_REQUEST"),
            (http.post(&url).json(&json!([1])), 400, "BAD_REQUEST"),
            (http.post(&url).header(header::CONTENT_TYPE, "text/plain").body("cid=x"), 415, "UNSUPPORTED_MEDIA_TYPE"),
            (http.post(&url).json(&json!({ "cid": "x".repeat(70_000) })), 413, "PAYLOAD_TOO_LARGE"),
            (http.get(format!("{url}/elsewhere?{form}")), 404, ""),
            (http.put(format!("{url}?{form}")), 405, ""),
        ] {
            let (found, body) = answer(request).await;
            assert_eq!((found, body["code"].as_str().unwrap_or_default()), (status, code), "{body}");
        }
        let head = http.request(Method::HEAD, format!("{url}?cid={click}&txid=2")).send().await.expect("an answer");
        assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM conversion").await, 1, "a look records nothing");
    }

    async fn refusals_have_their_status_and_are_listed_without_secrets(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let once = Programme::build(&owner, &Terms { once_per_click: true, ..Terms::default() }).await;
        let (url, id) = endpoint(&owner, json!({ "defaultGoal": "sale", "secret": "0123456789abcdef" })).await;
        let (click, single) = (programme.click(&owner).await, once.click(&owner).await);
        let nobody = crate::support::surface::random_id("clk");
        let good = "secret=0123456789abcdef";
        for (query, expected) in [
            (format!("transaction_id={click}&adv_sub=1&amount=10.00&security_token=0123456789abcdef"), (200, "created")),
            (format!("transaction_id={click}&adv_sub=1&amount=10.00&{good}"), (200, "replayed")),
            (format!("transaction_id={click}&adv_sub=1&amount=11.00&{good}"), (409, "IDEMPOTENCY_CONFLICT")),
            (format!("transaction_id={}&adv_sub=1&{good}", programme.click(&owner).await), (409, "DUPLICATE_ORDER")),
            (format!("transaction_id={single}&{good}"), (200, "created")),
            (format!("transaction_id={single}&{good}"), (200, "replayed")),
            (format!("transaction_id={single}&adv_sub=9&{good}"), (409, "DUPLICATE_CLICK")),
            (format!("transaction_id={click}&{good}"), (400, "REQUIRED")),
            (format!("transaction_id={nobody}&{good}"), (422, "UNKNOWN_CLICK")),
            (format!("transaction_id={nobody}&{good}"), (422, "UNKNOWN_CLICK")),
            (format!("transaction_id={click}&adv_sub=2&goal_id=other&{good}"), (422, "UNKNOWN_GOAL")),
            (format!("transaction_id={click}&adv_sub=3&amount=10.001&{good}"), (400, "INVALID_AMOUNT")),
            (format!("transaction_id={click}&adv_sub=3&amount=-1&{good}"), (400, "INVALID_AMOUNT")),
            (format!("transaction_id={{transaction_id}}&adv_sub=3&{good}"), (400, "INVALID_ID")),
            (format!("offer_id=1&email=ada%40example.com&{good}"), (400, "REQUIRED")),
            (format!("transaction_id={click}&adv_sub=4"), (403, "SECRET_WRONG")),
            (format!("transaction_id={click}&adv_sub=4&secret=0123456789abcdeF"), (403, "SECRET_WRONG")),
        ] {
            let (status, body) = get(&format!("{url}/?{query}")).await;
            let said = if status == 200 { &body["status"] } else { &body["code"] };
            assert_eq!((status, said.as_str().unwrap_or_default()), expected, "{query}: {body}");
            if status != 200 {
                assert_eq!(body["status"], "refused");
                assert!(body["message"].is_string() && body["requestId"].is_string(), "{body}");
                let newest = calls(&owner).await.remove(0);
                assert_eq!((&newest["httpStatus"], &newest["code"]), (&json!(status), &body["code"]));
                assert_eq!(newest["endpoint"]["id"], id);
                assert_eq!(newest["conversion"]["id"], body["conversionId"], "{query}");
                let rejected = (status == 422 || body["code"] == "DUPLICATE_ORDER" || body["code"] == "DUPLICATE_CLICK")
                    .then_some("REJECTED");
                assert_eq!(newest["conversion"]["status"].as_str(), rejected);
            }
        }
        let header = reqwest::Client::new().get(format!("{url}?transaction_id={click}&adv_sub=5"))
            .header("X-Postback-Secret", "0123456789abcdef");
        assert_eq!(answer(header).await.0, 200);
        let stored = calls(&owner).await;
        let text = serde_json::to_string(&stored).expect("JSON");
        assert!(!text.contains("0123456789abcde") && !text.contains("ada@"), "{text}");
        assert!(text.contains("***") && text.contains(&nobody), "{text}");
        for (table, columns) in [("postback_call", "parameters"), ("conversion", "labels"), ("event", "payload")] {
            for private in ["0123456789abcde", "ada@example", "ada%40example"] {
                let sql = format!("SELECT COUNT(*) FROM {table} WHERE {columns} LIKE '%{private}%'");
                assert_eq!(app.auditor.number(&sql).await, 0, "{sql}");
            }
        }
    }

    async fn tokens_of_nobody_of_others_and_of_before_open_nothing(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let input = json!({ "name": "Shop", "idempotencyKey": "k-1" });
        let selection = "token url replayed postbackEndpoint { id hint }";
        let made = owner.done("createPostbackEndpoint", input.clone(), selection).await;
        let again = owner.done("createPostbackEndpoint", input, selection).await;
        assert_eq!((&again["replayed"], &again["token"], &again["url"]), (&json!(true), &Value::Null, &Value::Null));
        assert_eq!(again["postbackEndpoint"], made["postbackEndpoint"]);
        let token = made["token"].as_str().expect("a token");
        assert!(token.ends_with(made["postbackEndpoint"]["hint"].as_str().expect("a hint")));
        let url = |token: &str| format!("{}/postback/{token}?click_id={click}&goal=sale&order_id=", app.url);

        // Another tenant's click is no click here.
        let (theirs, _) = endpoint(&stranger, json!({})).await;
        let (status, body) = get(&format!("{theirs}?click_id={click}&goal=sale&order_id=1")).await;
        assert_eq!((status, &body["code"]), (422, &json!("UNKNOWN_CLICK")));
        let recorded = json!({ "id": body["conversionId"] });
        let read = "query($id: ID!) { conversion(by: { id: $id }) { id } }";
        assert_eq!(owner.data(read, recorded.clone()).await["conversion"], Value::Null);
        assert_ne!(stranger.data(read, recorded).await["conversion"], Value::Null);
        assert_eq!((calls(&owner).await.len(), calls(&stranger).await.len()), (0, 1));

        for wrong in ["none", &token[1..], "trb_post_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_aaaaaa", &token.to_uppercase()] {
            let (status, body) = get(&url(wrong)).await;
            assert_eq!((status, &body["code"]), (404, &json!("NOT_FOUND")), "{wrong}");
        }
        let named = json!({ "id": made["postbackEndpoint"]["id"] });
        for mutation in ["disablePostbackEndpoint", "rotatePostbackToken", "updatePostbackEndpoint"] {
            assert_eq!(stranger.refusal(mutation, named.clone()).await, "NOT_FOUND");
        }
        taken(app, &format!("{}1", url(token)), "created").await;
        owner.done("disablePostbackEndpoint", named.clone(), "").await;
        let (status, body) = get(&format!("{}2", url(token))).await;
        assert_eq!((status, &body["code"]), (403, &json!("ENDPOINT_DISABLED")));
        owner.done("enablePostbackEndpoint", named.clone(), "").await;
        taken(app, &format!("{}2", url(token)), "created").await;
        let rotated = owner.done("rotatePostbackToken", named, "token").await;
        assert_eq!(get(&format!("{}3", url(token))).await.0, 404);
        taken(app, &format!("{}3", url(rotated["token"].as_str().expect("a token"))), "created").await;
        // Nothing else is opened by one.
        let as_key = Client::new(&app.url, rotated["token"].as_str().map(str::to_owned));
        assert_eq!(as_key.error_code("{ viewer { roles } }", json!({})).await, "UNAUTHENTICATED");
    }

    async fn affiliates_and_those_who_only_read_see_neither_endpoints_nor_calls(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (url, _) = endpoint(&owner, json!({})).await;
        get(&url).await;
        for client in [app.affiliate(&programme.affiliate), app.role(Role::Analyst)] {
            for query in ["{ postbackCalls(first: 1) { totalCount } }", "{ postbackEndpoints(first: 1) { totalCount } }"] {
                assert_eq!(client.error_code(query, json!({})).await, "FORBIDDEN");
            }
        }
        let manager = app.role(Role::Manager);
        assert_eq!(calls(&manager).await.len(), 1, "who runs campaigns sees what goes wrong");
        let document = crate::support::client::mutation("createPostbackEndpoint", "token");
        assert_eq!(manager.error_code(&document, json!({ "input": { "name": "mine" } })).await, "FORBIDDEN");
    }

    async fn advertiser_holds_back_and_declines_but_decides_for_nobody(app) {
        let owner = app.owner();
        let (auto, manual) =
            (Programme::build(&owner, &Terms::default()).await, Programme::build(&owner, &Terms::manual()).await);
        let (url, _) = endpoint(&owner, json!({ "dialect": "AFFISE", "defaultGoal": "sale" })).await;
        let send = async |click: &str, action: &str, status: u8| {
            let (code, body) = get(&format!("{url}/postback?clickid={click}&action_id={action}&sum=10&status={status}")).await;
            (code, body["conversionStatus"].as_str().unwrap_or_default().to_owned(), body["status"].as_str().map(str::to_owned))
        };
        let said = |code, status: &str, outcome: &str| (code, status.to_owned(), Some(outcome.to_owned()));
        let click = auto.click(&owner).await;
        assert_eq!(send(&click, "a", 2).await, said(200, "PENDING", "created"));
        assert_eq!(send(&click, "a", 5).await, said(200, "PENDING", "replayed"));
        assert_eq!(send(&click, "a", 1).await, said(200, "APPROVED", "replayed"));
        assert_eq!(send(&click, "a", 1).await, said(200, "APPROVED", "replayed"));
        // What is approved is not rejected any more: it is taken back, once.
        assert_eq!(send(&click, "a", 3).await, said(200, "REVERSED", "replayed"));
        assert_eq!(send(&click, "a", 3).await, said(200, "REVERSED", "replayed"));
        assert_eq!(send(&click, "b", 3).await, said(200, "REJECTED", "created"));
        assert_eq!(send(&click, "b", 3).await, said(200, "REJECTED", "replayed"));
        assert_eq!(send(&click, "b", 1).await, said(422, "REJECTED", "refused"));
        assert_eq!(send(&click, "c", 1).await, said(200, "APPROVED", "created"));
        let click = manual.click(&owner).await;
        assert_eq!(send(&click, "m", 1).await, said(200, "PENDING", "created"));
        assert_eq!(send(&click, "m", 3).await, said(200, "REJECTED", "replayed"));
        let reasons = owner.data("{ conversions(first: 9, filter: { orderIds: [\"a\", \"b\", \"m\"] }) { nodes { reason } } }", json!({})).await;
        assert_eq!(reasons["conversions"]["nodes"], json!([{ "reason": "DECLINED" }, { "reason": "DECLINED" }, { "reason": "DECLINED" }]));
    }

    async fn currency_is_the_call_s_the_endpoint_s_or_the_campaign_s(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { currency: "JPY", ..Terms::default() }).await;
        let click = programme.click(&owner).await;
        let of = |recorded: &Value| recorded["saleAmount"]["currency"].as_str().map(str::to_owned);
        let (bare, _) = endpoint(&owner, json!({})).await;
        let query = |order: &str, amount: &str| format!("?click_id={click}&goal=sale&order_id={order}&amount={amount}");
        assert_eq!(of(&taken(app, &format!("{bare}{}", query("1", "500")), "created").await).as_deref(), Some("JPY"));
        let (status, body) = get(&format!("{bare}{}", query("2", "5.00"))).await;
        assert_eq!((status, &body["code"], &body["parameter"]), (400, &json!("INVALID_AMOUNT"), &json!("amount")));
        let (usd, _) = endpoint(&owner, json!({ "defaultCurrency": "USD" })).await;
        assert_eq!(of(&taken(app, &format!("{usd}{}", query("3", "5.00")), "created").await).as_deref(), Some("USD"));
        let named = format!("{usd}{}&currency=kwd", query("4", "5.005"));
        assert_eq!(of(&taken(app, &named, "created").await).as_deref(), Some("KWD"));
    }

    async fn coupon_stands_for_a_click(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let coupon = json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate, "code": "ADA10" });
        owner.done("createCoupon", coupon, "").await;
        let (url, _) = endpoint(&owner, json!({ "defaultGoal": "sale", "defaultCurrency": "EUR" })).await;
        let below = "/?nid=1&amount=5.00&order_id=1001&coupon_code=ada10";
        let recorded = taken(app, &format!("{url}{below}"), "created").await;
        assert_eq!((&recorded["status"], &recorded["click"]), (&json!("APPROVED"), &Value::Null));
        taken(app, &format!("{url}{below}"), "replayed").await;
        let (status, body) = get(&format!("{url}/?nid=1&order_id=1002&coupon_code=nobody")).await;
        assert_eq!((status, &body["code"]), (422, &json!("UNKNOWN_COUPON")));
        let (status, body) = get(&format!("{url}/?nid=1&coupon_code=ada10")).await;
        assert_eq!((status, &body["code"]), (400, &json!("REQUIRED")), "nothing tells one use from the next: {body}");
    }

    async fn coupon_of_several_campaigns_is_told_apart_by_the_campaign_that_the_call_names(app) {
        let owner = app.owner();
        let (one, other) =
            (Programme::build(&owner, &Terms::default()).await, Programme::build(&owner, &Terms::default()).await);
        for programme in [&one, &other] {
            let coupon = json!({ "campaignId": programme.campaign, "affiliateId": programme.affiliate, "code": "ADA10" });
            owner.done("createCoupon", coupon, "").await;
        }
        let campaigns = json!([
            { "external": "26", "campaignId": one.campaign }, { "external": "27", "campaignId": other.campaign },
        ]);
        let settings = json!({ "defaultGoal": "sale", "campaigns": campaigns });
        let (url, id) = endpoint(&owner, settings).await;
        let read = "{ postbackEndpoints(first: 1) { nodes { id campaigns { external campaignId } } } }";
        let read = owner.data(read, json!({})).await["postbackEndpoints"]["nodes"][0].take();
        assert_eq!(read, json!({ "id": id, "campaigns": campaigns }));
        let ours = &other.campaign;
        for (number, (below, expected)) in [
            ("/?nid=1&coupon_code=ada10&amount=5&order_id=N&oid=26".to_owned(), &one),
            ("/?nid=1&coupon_code=ada10&amount=5&order_id=N&offer_id=27".to_owned(), &other),
            ("/postback?promo_code=ADA10&action_id=N&sum=5&status=1&offer_id=27".to_owned(), &other),
            (format!("/?nid=1&coupon_code=ada10&order_id=N&oid={ours}"), &other),
        ].into_iter().enumerate() {
            let url = format!("{url}{}", below.replace("=N", &format!("={number}")));
            let (status, body) = get(&url).await;
            assert_eq!((status, &body["status"]), (200, &json!("created")), "{url}: {body}");
            let query = "query($id: ID!) { conversion(by: { id: $id }) { status campaign { id } affiliate { id } } }";
            let found = owner.data(query, json!({ "id": body["conversionId"] })).await["conversion"].take();
            let expected = json!({
                "status": "APPROVED", "campaign": { "id": expected.campaign }, "affiliate": { "id": expected.affiliate },
            });
            assert_eq!(found, expected, "{url}");
        }
        let nobody = crate::support::surface::random_id("cmp");
        for (below, code, parameter) in [
            ("nid=1&coupon_code=ada10&order_id=9".to_owned(), "REQUIRED", "oid"),
            ("nid=1&coupon_code=ada10&order_id=9&oid=28".to_owned(), "REQUIRED", "oid"),
            ("promo_code=ada10&action_id=9&status=1".to_owned(), "REQUIRED", "offer_id"),
            (format!("nid=1&coupon_code=ada10&order_id=9&oid={nobody}"), "NOT_FOUND", "oid"),
        ] {
            let (status, body) = get(&format!("{url}/?{below}")).await;
            assert_eq!((status, &body["code"], &body["parameter"]), (400, &json!(code), &json!(parameter)), "{below}");
        }
        // A click knows its campaign, whatever an offer is called.
        let click = one.click(&owner).await;
        let recorded = taken(app, &format!("{url}/aff_lsr?offer_id=27&transaction_id={click}&adv_sub=t"), "created").await;
        assert_eq!((&recorded["status"], &recorded["click"]["id"]), (&json!("APPROVED"), &json!(click)));
        for wrong in [nobody.as_str(), "26"] {
            let named = json!({ "id": id, "campaigns": [{ "external": "1", "campaignId": wrong }] });
            let expected = if wrong == "26" { "INVALID_ID" } else { "NOT_FOUND" };
            assert_eq!(owner.refusal("updatePostbackEndpoint", named).await, expected);
        }
        owner.done("updatePostbackEndpoint", json!({ "id": id, "campaigns": [] }), "").await;
        assert_eq!(get(&format!("{url}/?nid=1&coupon_code=ada10&order_id=9&oid=26")).await.0, 400);
    }

    async fn same_call_from_many_at_once_is_one_conversion(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (url, _) = endpoint(&owner, json!({ "defaultGoal": "sale" })).await;
        let url = format!("{url}?cid={}&txid=1&payout=1.00", programme.click(&owner).await);
        let answers = futures_util::future::join_all((0..50).map(|_| get(&url))).await;
        let created = answers.iter().filter(|(_, body)| body["status"] == "created").count();
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        assert_eq!((created, app.auditor.number("SELECT COUNT(*) FROM conversion").await), (1, 1));
    }

    async fn endpoint_s_settings_are_checked_and_change(app) {
        let owner = app.owner();
        for (more, code) in [
            (json!({ "name": "" }), "REQUIRED"),
            (json!({ "secret": "short" }), "OUT_OF_RANGE"),
            (json!({ "networks": ["everywhere"] }), "INVALID_TEXT"),
            (json!({ "goals": [{ "external": "1", "goal": "SALE" }] }), "INVALID_TEXT"),
            (json!({ "defaultCurrency": "XXX" }), "UNKNOWN_CURRENCY"),
            (json!({ "dialect": "PIXEL", "secret": "0123456789abcdef" }), "OUT_OF_RANGE"),
            (json!({ "dialect": "PIXEL", "networks": ["192.0.2.1"] }), "OUT_OF_RANGE"),
        ] {
            let mut input = json!({ "name": "Shop" });
            merge(&mut input, more.clone());
            assert_eq!(owner.refusal("createPostbackEndpoint", input).await, code, "{more}");
        }
        let (_, id) = endpoint(&owner, json!({ "secret": "0123456789abcdef", "networks": ["192.0.2.7"] })).await;
        let selection = "postbackEndpoint { name dialect defaultGoal goals { external goal } defaultCurrency hasSecret networks status }";
        let change = json!({
            "id": id, "name": "Other", "dialect": "TUNE", "defaultGoal": "lead", "defaultCurrency": "USD",
            "goals": [{ "external": "1", "goal": "sale" }], "secret": null, "networks": [],
        });
        let changed = owner.done("updatePostbackEndpoint", change, selection).await;
        assert_eq!(changed["postbackEndpoint"], json!({
            "name": "Other", "dialect": "TUNE", "defaultGoal": "lead", "goals": [{ "external": "1", "goal": "sale" }],
            "defaultCurrency": "USD", "hasSecret": false, "networks": [], "status": "ACTIVE",
        }));
        let kinds = owner.data("{ events(first: 50, types: [POSTBACK_ENDPOINT_CHANGED]) { edges { node { subjectId payload { __typename } } } } }", json!({})).await;
        assert_eq!(kinds["events"]["edges"][1]["node"], json!({ "subjectId": id, "payload": null }));
    }

    async fn refused_calls_are_listed_up_to_a_bound_and_forgotten(app) {
        let owner = app.owner();
        let (url, _) = endpoint(&owner, json!({})).await;
        for _ in 0..103 {
            assert_eq!(get(&format!("{url}?offer_id=1")).await.0, 400);
        }
        let count = "SELECT COUNT(*) FROM postback_call";
        assert_eq!(app.auditor.number(count).await, 100);
        app.clock.advance(chrono::TimeDelta::minutes(1));
        get(&url).await;
        let newest = "{ postbackCalls(first: 1) { totalCount nodes { unlistedBefore } } }";
        let newest = owner.data(newest, json!({})).await;
        assert_eq!(newest["postbackCalls"], json!({ "totalCount": 101, "nodes": [{ "unlistedBefore": 3 }] }));
        app.clock.advance(chrono::TimeDelta::days(app.settings.postback_call_days) + chrono::TimeDelta::seconds(-1));
        tributary::jobs::retention::run(&app.services).await.expect("runs");
        assert_eq!(app.auditor.number(count).await, 1, "those of the first minute are gone: {}", app.clock.now());
    }
}

/// A proxy is trusted, which says where calls come from.
fn behind_a_proxy(tuning: &mut Tuning) {
    tuning.settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    tuning.settings.postbacks_per_minute = 5;
}

on_both_tuned! { behind_a_proxy =>
    async fn addresses_are_those_that_the_trusted_proxy_tells(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (url, _) = endpoint(&owner, json!({ "networks": ["192.0.2.0/24", "2001:db8::7"], "defaultGoal": "sale" })).await;
        let url = format!("{url}?cid={}&txid=1", programme.click(&owner).await);
        for (forwarded, expected) in [
            ("192.0.2.9", 200),
            ("2001:db8::7", 200),
            // Left of the last hop stands what the client wrote itself.
            ("192.0.2.9, 203.0.113.9", 403),
            ("203.0.113.9", 403),
        ] {
            let request = reqwest::Client::new().get(&url).header("x-forwarded-for", forwarded);
            let (status, body) = answer(request).await;
            assert_eq!(status, expected, "{forwarded}: {body}");
        }
        assert_eq!(get(&url).await.1["code"], "ADDRESS_NOT_ALLOWED", "the proxy itself is nobody");
    }

    async fn calls_past_the_limit_are_told_when_to_come_back(app) {
        let owner = app.owner();
        let [(url, _), (other, _)] = [endpoint(&owner, json!({})).await, endpoint(&owner, json!({})).await];
        for _ in 0..5 {
            assert_eq!(get(&url).await.0, 400);
        }
        let response = reqwest::get(&url).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        let wait: u64 = response.headers()[header::RETRY_AFTER].to_str().expect("a text").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(get(&other).await.0, 400, "each endpoint has a limit of its own");
        assert_eq!(calls(&owner).await[1]["code"], "RATE_LIMITED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_tenant_s_endpoint_is_not_there_and_a_database_that_is_away_is_said_so() {
    app::run(Backend::Sqlite, async |app| {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let (url, _) = endpoint(&owner, json!({ "defaultGoal": "sale" })).await;
        let url = format!("{url}?cid={}&txid=1", programme.click(&owner).await);
        for (status, expected) in [("SUSPENDED", 404), ("ACTIVE", 200)] {
            let sql = format!("UPDATE tenant SET status = '{status}' WHERE slug = 'home'");
            app.auditor.run(&sql).await.expect("done");
            assert_eq!(get(&url).await.0, expected);
        }
        app.services.db.clone().close().await.expect("closes");
        let response = reqwest::get(&url).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["code"], "UNAVAILABLE");
    })
    .await;
}
