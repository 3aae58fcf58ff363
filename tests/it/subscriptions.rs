//! Watching conversions: what arrives, what a filter lets through, who may watch, and how it ends.

use std::time::Duration;

use serde_json::{Value, json};
use tributary_entity::kinds::Role;

use crate::support::{
    Client, Programme, Terms, Watcher, log, on_both,
    programme::{enroll, id, merge, new_affiliate, sale},
    socket::Socket,
};

const ALL: &str = "subscription($after: Cursor) { conversions(after: $after) { cursor type conversion { id } } }";

/// Everything that the event knows about its conversion.
const WHOLE: &str = "subscription($after: Cursor) { conversions(after: $after) { cursor type recordedAt conversion { \
    id status reason version orderId customerId goalCode clickId click { id } campaign { id name } affiliate { id } \
    saleAmount { amount currency } commissionTotal { amount currency } labels { name value } \
    commissions { status affiliate { id } amount { amount currency } explanation { rule tier fx } } \
    attribution { model version touches { position share click { id } affiliate { id } } } } } }";

/// Records sales until the subscription shows one, and takes all that it shows of them.
async fn prime(client: &Client, click: &str, socket: &mut Socket) {
    let first = loop {
        let order = format!("prime-{}", uuid::Uuid::new_v4());
        let payload = client.done("recordConversion", sale(click, &order, "1.00"), "conversion { id }").await;
        if let Some(event) = socket.next_within(Duration::from_millis(200)).await {
            break (event, id(&payload, "conversion"));
        }
    };
    let (mut event, last) = first;
    while event["conversions"]["conversion"]["id"] != last {
        event = socket.next().await;
    }
}

async fn record(client: &Client, input: Value) -> String {
    id(&client.done("recordConversion", input, "conversion { id }").await, "conversion")
}

on_both! {
    async fn example_works_as_written(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let query = "subscription { conversions(after: null, filter: { campaignIds: [\"cmp_..\"] }) { cursor type \
            conversion { id status affiliate { name } commissionTotal { amount currency } } } }";
        let mut socket = owner.subscribe(&query.replace("cmp_..", &programme.campaign), json!({})).await;
        prime(&owner, &click, &mut socket).await;
        let affiliate = owner
            .data("query($id: ID!) { affiliate(id: $id) { name } }", json!({ "id": programme.affiliate }))
            .await["affiliate"]
            .clone();
        let conversion = record(&owner, sale(&click, "1001", "49.00")).await;
        let event = socket.next().await["conversions"].take();
        assert!(event["cursor"].as_str().is_some_and(|cursor| cursor.len() > 40), "{event}");
        assert_eq!(event["type"], "RECORDED");
        assert_eq!(event["conversion"], json!({
            "id": conversion, "status": "APPROVED", "affiliate": affiliate,
            "commissionTotal": { "amount": "4.90", "currency": "EUR" },
        }));
    }

    async fn event_shows_the_conversion_as_it_was_then(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let click = programme.click(&owner).await;
        let before = Watcher::begin(&owner, &click).await;
        let mut input = sale(&click, "1001", "49.00");
        merge(&mut input, json!({ "customerId": "c-7", "labels": { "adv1": "shoes" } }));
        let conversion = record(&owner, input).await;
        let ids = json!({ "ids": [conversion] });
        owner.done("approveConversions", ids, "").await;

        // Read after the fact: what is told is the event's, not today's.
        let mut socket = owner.subscribe(WHOLE, json!({ "after": before.cursor })).await;
        let recorded = loop {
            let event = socket.next().await["conversions"].take();
            if event["conversion"]["id"] == conversion.as_str() {
                break event;
            }
        };
        let commission = |status: &str| json!([{
            "status": status, "affiliate": { "id": programme.affiliate },
            "amount": { "amount": "4.90", "currency": "EUR" },
            "explanation": { "rule": "Standard v1", "tier": null, "fx": null },
        }]);
        let mut expected = json!({
            "id": conversion, "status": "PENDING", "reason": null, "version": 1, "orderId": "1001",
            "customerId": "c-7", "goalCode": "sale", "clickId": click, "click": { "id": click },
            "campaign": { "id": programme.campaign, "name": "Shoes" }, "affiliate": { "id": programme.affiliate },
            "saleAmount": { "amount": "49.00", "currency": "EUR" },
            "commissionTotal": { "amount": "4.90", "currency": "EUR" },
            "labels": [{ "name": "adv1", "value": "shoes" }], "commissions": commission("UNAPPROVED"),
            "attribution": { "model": "LAST_CLICK", "version": 1, "touches": [{
                "position": 0, "share": "1.000000", "click": { "id": click }, "affiliate": { "id": programme.affiliate },
            }] },
        });
        assert_eq!(recorded["type"], "RECORDED");
        assert_eq!(recorded["conversion"], expected);
        let approved = socket.next().await["conversions"].take();
        merge(&mut expected, json!({
            "status": "APPROVED", "reason": "MANUAL", "version": 2, "commissions": commission("PENDING"),
        }));
        assert_eq!(approved["type"], "APPROVED");
        assert_eq!(approved["conversion"], expected);
        assert!(recorded["recordedAt"].as_str() <= approved["recordedAt"].as_str());
        assert_ne!(recorded["cursor"], approved["cursor"]);
    }

    async fn reviews_arrive_live(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let click = programme.click(&owner).await;
        let mut watcher = Watcher::begin(&owner, &click).await;
        let good = record(&owner, sale(&click, "1", "10.00")).await;
        let bad = record(&owner, sale(&click, "2", "10.00")).await;
        watcher.read_until(&bad).await;
        watcher.seen.clear();
        owner.done("approveConversions", json!({ "ids": [good] }), "").await;
        assert!(watcher.read().await);
        owner.done("rejectConversions", json!({ "ids": [bad], "reason": "FRAUD" }), "").await;
        assert!(watcher.read().await);
        assert_eq!(watcher.seen, [("APPROVED".to_owned(), good), ("REJECTED".to_owned(), bad)]);
    }

    async fn filter_applies(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let other = Programme::build(&owner, &Terms::manual()).await;
        let lead = json!({ "campaignId": programme.campaign, "code": "lead", "name": "Lead" });
        owner.done("createGoal", lead, "goal { id }").await;
        let second = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &second).await;
        let clicks = [
            programme.click(&owner).await,
            other.click(&owner).await,
            Programme { link, ..programme.clone() }.click(&owner).await,
        ];
        // One of every kind; `unknown` names no goal and is rejected.
        let round = async || {
            let mut last = String::new();
            for click in &clicks {
                for goal in ["sale", "lead", "unknown"] {
                    let order = uuid::Uuid::new_v4().to_string();
                    let mut input = sale(click, &order, "1.00");
                    merge(&mut input, json!({ "goal": goal }));
                    last = record(&owner, input).await;
                }
            }
            last
        };
        type Matches = Box<dyn Fn(&Value) -> bool>;
        let field = |name: &'static str, value: &str| -> Matches {
            let value = value.to_owned();
            Box::new(move |row| row[name] == value.as_str())
        };
        let campaign = field("campaign_id", &programme.campaign);
        let goal = field("goal_code", "lead");
        let both: Matches = Box::new(move |row| campaign(row) && goal(row));
        let filters = [
            (json!({ "campaignIds": [programme.campaign] }), field("campaign_id", &programme.campaign)),
            (json!({ "affiliateIds": [second] }), field("affiliate_id", &second)),
            (json!({ "statuses": ["REJECTED"] }), field("status", "REJECTED")),
            (json!({ "goals": ["lead"] }), field("goal_code", "lead")),
            (json!({ "campaignIds": [programme.campaign], "goals": ["lead"] }), both),
        ];
        let mut watchers = Vec::new();
        for (filter, matches) in filters {
            let mut watcher = Watcher::new(filter);
            assert!(watcher.connect(&owner).await);
            watchers.push((watcher, matches));
        }
        while watchers.iter().any(|(watcher, _)| watcher.seen.is_empty()) {
            round().await;
            for (watcher, _) in watchers.iter_mut().filter(|(watcher, _)| watcher.seen.is_empty()) {
                watcher.read_within(Duration::from_millis(200)).await;
            }
        }
        round().await;
        let log = log::entries(&app.auditor).await;
        for (watcher, matches) in &mut watchers {
            let start = log.iter().position(|entry| entry.seen == watcher.seen[0]).expect("in the log");
            let expected: Vec<_> =
                log[start..].iter().filter(|entry| matches(&entry.conversion)).map(|entry| entry.seen.clone()).collect();
            assert!(expected.len() > 1 && expected.len() < log.len() - start);
            while watcher.seen.len() < expected.len() {
                assert!(watcher.read().await);
            }
            log::assert_same(&watcher.seen, &expected);
            assert!(!watcher.read_within(Duration::from_millis(50)).await, "nothing else comes");
        }
    }

    async fn affiliate_sees_only_its_own(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::manual()).await;
        let second = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &second).await;
        let foreign_click = Programme { link, ..programme.clone() }.click(&owner).await;
        let click = programme.click(&owner).await;
        let affiliate = app.affiliate(&programme.affiliate);
        let query = "subscription { conversions { cursor type conversion { id affiliate { id } commissions { \
            affiliate { id } } } } }";
        let mut socket = affiliate.subscribe(query, json!({})).await;
        prime(&owner, &click, &mut socket).await;
        for number in 0..3 {
            let foreign = record(&owner, sale(&foreign_click, &format!("f-{number}"), "1.00")).await;
            let own = record(&owner, sale(&click, &format!("o-{number}"), "1.00")).await;
            owner.done("approveConversions", json!({ "ids": [foreign, own] }), "").await;
            for kind in ["RECORDED", "APPROVED"] {
                let event = socket.next().await["conversions"].take();
                assert_eq!(event["type"], kind);
                assert_eq!(event["conversion"], json!({
                    "id": own, "affiliate": { "id": programme.affiliate },
                    "commissions": [{ "affiliate": { "id": programme.affiliate } }],
                }));
            }
        }
        // A filter widens nothing, and a stranger sees nothing at all.
        let query = "subscription($ids: [ID!]) { conversions(filter: { affiliateIds: $ids }) { cursor } }";
        let mut sly = affiliate.subscribe(query, json!({ "ids": [second] })).await;
        let mut stranger = app.stranger().subscribe(ALL, json!({})).await;
        record(&owner, sale(&foreign_click, "last", "1.00")).await;
        let marker = record(&owner, sale(&click, "marker", "1.00")).await;
        assert_eq!(socket.next().await["conversions"]["conversion"]["id"], marker);
        assert!(sly.is_silent(Duration::from_millis(300)).await);
        assert!(stranger.is_silent(Duration::from_millis(300)).await);
    }

    async fn without_a_good_token_nothing_is_shown(app) {
        let mut socket = app.anonymous().subscribe(ALL, json!({})).await;
        assert_eq!(socket.error_code().await, "UNAUTHENTICATED");
        let query = "subscription { earnings(affiliateId: \"aff_x\") { cursor } }";
        let mut socket = app.anonymous().subscribe(query, json!({})).await;
        assert_eq!(socket.error_code().await, "UNAUTHENTICATED");

        let short = app.token(app.home, Role::Owner, None, 60);
        app.clock.advance(chrono::TimeDelta::seconds(300));
        for token in [short.as_str(), "nonsense"] {
            let mut socket = Socket::connect(&app.url).await;
            let payload = json!({ "Authorization": format!("Bearer {token}") });
            socket.send(json!({ "type": "connection_init", "payload": payload })).await;
            assert_eq!(socket.try_message().await, None, "closed without an acknowledgement");
        }
    }
}
