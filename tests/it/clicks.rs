//! Recording clicks: unique by visitor, valid by state, exactly once.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, on_both,
    programme::{merge, new_affiliate},
};

/// Records a click; what the selection asks of it.
async fn click(client: &Client, programme: &Programme, more: Value) -> Value {
    let mut input = json!({ "linkId": programme.link });
    merge(&mut input, more);
    let selection = "replayed click { id isUnique invalidReason source visitorId occurredAt labels { name value } \
        campaign { id } affiliate { id } link { id } }";
    let mut payload = client.done("recordClick", input, selection).await;
    let replayed = payload["replayed"].take();
    merge(&mut payload["click"], json!({ "replayed": replayed }));
    payload["click"].take()
}

on_both! {
    async fn click_round_trips_with_labels_and_source(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let recorded = click(&owner, &programme, json!({
            "source": " newsletter ", "visitorId": "ada", "occurredAt": "2026-01-02T03:04:05.678901+02:00",
            "labels": { "sub1": "one", "sub10": "täñ ✓", "sub2": "" },
        })).await;
        let labels = json!([{ "name": "sub1", "value": "one" }, { "name": "sub10", "value": "täñ ✓" }]);
        let selection = "source visitorId occurredAt labels { name value } campaign { id } affiliate { id } link { id }";
        let read = owner.data(
            &format!("query($id: ID!) {{ click(id: $id) {{ {selection} }} }}"), json!({ "id": recorded["id"] }),
        ).await;
        assert_eq!(read["click"], json!({
            "source": "newsletter", "visitorId": "ada", "occurredAt": "2026-01-02T01:04:05.678901+00:00",
            "labels": labels, "campaign": { "id": programme.campaign }, "affiliate": { "id": programme.affiliate },
            "link": { "id": programme.link },
        }));
        for field in ["source", "visitorId", "occurredAt", "labels"] {
            assert_eq!(recorded[field], read["click"][field], "{field} of answer and of read");
        }
    }

    async fn click_of_a_visitor_inside_the_window_is_unique_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let begin = app.clock.now() - TimeDelta::days(1);
        let at = |secs: i64| json!({ "visitorId": "ada", "occurredAt": begin + TimeDelta::seconds(secs) });
        assert_eq!(click(&owner, &programme, at(0)).await["isUnique"], true);
        assert_eq!(click(&owner, &programme, at(1_800)).await["isUnique"], false);
        assert_eq!(click(&owner, &programme, at(1_800 + 3_600)).await["isUnique"], false, "the window's edge is inside");
        assert_eq!(click(&owner, &programme, at(1_800 + 7_201)).await["isUnique"], true);
        assert_eq!(click(&owner, &programme, json!({ "visitorId": "bob" })).await["isUnique"], true);
        assert_eq!(click(&owner, &programme, json!({})).await["isUnique"], true, "nobody knows who it was");
    }

    async fn clicks_that_come_late_and_out_of_order_are_unique_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms { window_seconds: 3_600, ..Terms::default() }).await;
        let begin = app.clock.now() - TimeDelta::days(1);
        let at = |secs: i64| json!({ "visitorId": "ada", "occurredAt": begin + TimeDelta::seconds(secs) });
        for (secs, unique) in [(0, true), (20_000, true), (1_000, false), (-3_600, false), (-7_201, true), (10_000, true)] {
            assert_eq!(click(&owner, &programme, at(secs)).await["isUnique"], unique, "{secs} s");
        }
        let items: Vec<Value> = [40_000, 60_000, 41_000, 59_000, 50_000, 21_000]
            .map(|secs| {
                let mut input = at(secs);
                merge(&mut input, json!({ "linkId": programme.link }));
                input
            })
            .into();
        let payload = owner.done("recordClicks", json!({ "items": items }), "items { click { isUnique } }").await;
        let unique: Vec<bool> =
            payload["items"].as_array().expect("items").iter().map(|item| item["click"]["isUnique"] == true).collect();
        assert_eq!(unique, [true, true, false, false, true, false]);
    }

    async fn invalid_click_makes_no_later_one_a_repetition(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        owner.done("disableLink", json!({ "id": programme.link }), "").await;
        click(&owner, &programme, json!({ "visitorId": "ada" })).await;
        owner.done("enableLink", json!({ "id": programme.link }), "").await;
        assert_eq!(click(&owner, &programme, json!({ "visitorId": "ada" })).await["isUnique"], true);
        assert_eq!(click(&owner, &programme, json!({ "visitorId": "ada" })).await["isUnique"], false);
    }

    async fn clicks_of_a_visitor_in_one_batch_are_unique_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let items: Vec<Value> = (0..10)
            .map(|number| json!({ "linkId": programme.link, "visitorId": format!("visitor-{}", number % 2) }))
            .collect();
        let payload = owner.done("recordClicks", json!({ "items": items }), "items { click { isUnique } }").await;
        let unique: Vec<bool> =
            payload["items"].as_array().expect("items").iter().map(|item| item["click"]["isUnique"] == true).collect();
        assert_eq!(unique, [true, true, false, false, false, false, false, false, false, false]);
    }

    async fn report_tells_gross_unique_and_invalid_clicks_apart(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        for _ in 0..3 {
            click(&owner, &programme, json!({ "visitorId": "ada" })).await;
        }
        owner.done("disableLink", json!({ "id": programme.link }), "").await;
        click(&owner, &programme, json!({ "visitorId": "bob" })).await;
        let period = |days: i64| (app.clock.now() + TimeDelta::days(days)).format("%Y-%m-%dT00:00:00Z").to_string();
        let rows = owner.data(
            "query($input: ReportInput!) { report(input: $input) { clicks clicksGross clicksInvalid conversions cr epc } }",
            json!({ "input": { "from": period(-1), "until": period(2) } }),
        ).await;
        assert_eq!(rows["report"], json!([{
            "clicks": 1, "clicksGross": 4, "clicksInvalid": 1, "conversions": 0, "cr": "0.000000", "epc": "0.000000",
        }]));
    }

    async fn click_that_cannot_count_is_recorded_with_its_reason(app) {
        let owner = app.owner();
        for (mutation, reason) in [
            ("disableLink", "LINK_DISABLED"),
            ("pauseCampaign", "CAMPAIGN_NOT_ACTIVE"),
            ("archiveCampaign", "CAMPAIGN_NOT_ACTIVE"),
            ("suspendAffiliate", "AFFILIATE_NOT_ACTIVE"),
            ("suspendEnrollment", "ENROLLMENT_NOT_APPROVED"),
        ] {
            let programme = Programme::build(&owner, &Terms::default()).await;
            let id = match mutation {
                "disableLink" => &programme.link,
                "suspendAffiliate" => &programme.affiliate,
                "suspendEnrollment" => &programme.enrollment,
                _ => &programme.campaign,
            };
            assert!(click(&owner, &programme, json!({})).await["invalidReason"].is_null());
            owner.done(mutation, json!({ "id": id }), "").await;
            assert_eq!(click(&owner, &programme, json!({})).await["invalidReason"], reason, "{mutation}");
        }
    }

    async fn key_of_a_click_sent_again_is_replayed_or_a_conflict(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let input = json!({ "linkId": programme.link, "idempotencyKey": "k", "visitorId": "ada" });
        let first = owner.done("recordClick", input.clone(), "replayed click { id }").await;
        let again = owner.done("recordClick", input.clone(), "replayed click { id }").await;
        assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
        assert_eq!(first["click"], again["click"]);
        let mut other = input;
        merge(&mut other, json!({ "visitorId": "bob" }));
        assert_eq!(owner.refusal("recordClick", other).await, "IDEMPOTENCY_CONFLICT");
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM click").await, 1);
    }

    async fn one_key_of_a_click_from_50_connections_is_recorded_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let mut sent = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (client, input) = (app.owner(), json!({ "linkId": programme.link, "idempotencyKey": "k" }));
            sent.spawn(async move { client.done("recordClick", input, "replayed click { id }").await });
        }
        let answers = sent.join_all().await;
        assert!(answers.iter().all(|answer| answer["click"] == answers[0]["click"] && !answer["click"].is_null()));
        assert_eq!(answers.iter().filter(|answer| answer["replayed"] == false).count(), 1);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM click").await, 1);
    }

    async fn batch_of_clicks_answers_item_by_item(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let good = json!({ "linkId": programme.link, "idempotencyKey": "k" });
        let items = json!({ "items": [
            good,
            { "linkId": "lnk_00000000000000000000000001" },
            { "linkId": programme.campaign },
            good,
            { "linkId": programme.link, "idempotencyKey": "k", "source": "other" },
            { "linkId": programme.link },
        ] });
        let selection = "items { replayed click { id } userErrors { code field } }";
        let payload = owner.done("recordClicks", items, selection).await;
        let answers = payload["items"].as_array().expect("items");
        let code = |index: usize| answers[index]["userErrors"][0]["code"].as_str();
        assert_eq!((code(0), code(5)), (None, None));
        assert_eq!((code(1), code(2), code(4)), (Some("NOT_FOUND"), Some("INVALID_ID"), Some("IDEMPOTENCY_CONFLICT")));
        assert_eq!(answers[3]["replayed"], true);
        assert_eq!(answers[3]["click"], answers[0]["click"]);
        assert_eq!(app.auditor.number("SELECT COUNT(*) FROM click").await, 2);
    }

    async fn link_of_another_tenant_is_not_found(app) {
        let programme = Programme::build(&app.owner(), &Terms::default()).await;
        let payload = app.stranger().mutate("recordClick", json!({ "linkId": programme.link }), "click { id }").await;
        assert_eq!(payload["userErrors"][0]["code"], "NOT_FOUND");
        assert_eq!(payload["userErrors"][0]["field"], json!(["linkId"]));
    }

    async fn refused_click_does_not_use_up_its_key(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let mut input = json!({ "linkId": "lnk_00000000000000000000000001", "idempotencyKey": "k" });
        assert_eq!(owner.refusal("recordClick", input.clone()).await, "NOT_FOUND");
        merge(&mut input, json!({ "linkId": programme.link }));
        assert_eq!(owner.done("recordClick", input, "replayed").await["replayed"], false);
    }

    async fn clicks_list_is_filtered_and_counted(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let other = Programme::build(&owner, &Terms::default()).await;
        let nobody = new_affiliate(&owner).await;
        click(&owner, &programme, json!({ "occurredAt": "2026-01-01T00:00:00Z" })).await;
        click(&owner, &programme, json!({ "occurredAt": "2026-01-02T00:00:00Z" })).await;
        click(&owner, &other, json!({ "occurredAt": "2026-01-03T00:00:00Z" })).await;
        owner.done("disableLink", json!({ "id": other.link }), "").await;
        click(&owner, &other, json!({ "occurredAt": "2026-01-04T00:00:00Z" })).await;
        for (filter, expected) in [
            (json!({}), 4),
            (json!({ "campaignIds": [programme.campaign] }), 2),
            (json!({ "affiliateIds": [other.affiliate] }), 2),
            (json!({ "affiliateIds": [nobody] }), 0),
            (json!({ "linkIds": [programme.link, other.link] }), 4),
            (json!({ "linkIds": [] }), 0),
            (json!({ "valid": true }), 3),
            (json!({ "valid": false }), 1),
            (json!({ "occurredFrom": "2026-01-02T00:00:00Z" }), 3),
            (json!({ "occurredBefore": "2026-01-02T00:00:00Z" }), 1),
            (json!({ "occurredFrom": "2026-01-02T00:00:00Z", "occurredBefore": "2026-01-02T00:00:00.000001Z" }), 1),
        ] {
            let data = owner.data(
                "query($filter: ClickFilterInput) { clicks(first: 100, filter: $filter) { totalCount edges { cursor } } }",
                json!({ "filter": filter }),
            ).await;
            assert_eq!(data["clicks"]["totalCount"], expected, "{filter}");
            assert_eq!(data["clicks"]["edges"].as_array().map(Vec::len), Some(expected), "{filter}");
        }
    }
}
