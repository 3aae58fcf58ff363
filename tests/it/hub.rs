//! Shared executions: who shares, who never does, and that nobody misses anything by it.

use std::time::Duration;

use rand::RngExt;
use serde_json::{Value, json};
use tributary::{
    auth::{PermissionSet, Viewer},
    graphql::{
        execution::RefusalKind,
        live::{Delivery, Ended},
    },
};
use tributary_entity::kinds::Role;

use crate::support::{
    Client, Programme, Tap, Terms, log, on_both,
    programme::{enroll, id, new_affiliate, sale},
    seeded,
    tap::{CONVERSIONS, json_of, refusal, viewer},
};

async fn record(client: &Client, click: &str, order: &str) -> String {
    id(&client.done("recordConversion", sale(click, order, "1.00"), "conversion { id }").await, "conversion")
}

async fn record_many(client: &Client, click: &str, prefix: &str, count: usize) -> String {
    let items: Vec<Value> = (0..count).map(|number| sale(click, &format!("{prefix}-{number}"), "1.00")).collect();
    let payload = client.done("recordConversions", json!({ "items": items }), "items { conversion { id } }").await;
    id(&payload["items"][count - 1], "conversion")
}

/// Whether two answers are the same bytes in the same place: made by one execution.
fn is_shared(one: &Delivery, other: &Delivery) -> bool {
    one.payload.as_ptr() == other.payload.as_ptr()
}

on_both! {
    async fn same_question_is_executed_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut first = Tap::conversions(app, &owner).await;
        // Another person of the same role, with a token of its own; and one that comes back from an earlier place.
        let mut second = Tap::conversions(app, &app.owner()).await;
        first.prime(&owner, &click).await;
        let cursor = first.cursor.clone();
        let marker = record(&owner, &click, "marker").await;
        first.read_until(&marker).await;
        second.read_until(&marker).await;
        let owner_viewer = viewer(app, &owner).await;
        let variables = json!({ "after": cursor });
        let mut third = Tap::open(app, Some(owner_viewer), CONVERSIONS, variables).await.expect("let in");
        third.read_until(&marker).await;
        assert_eq!(third.seen.len(), 1);
        for number in 0..5 {
            record(&owner, &click, &number.to_string()).await;
            let [one, two, three] = [first.delivery().await, second.delivery().await, third.delivery().await];
            assert!(is_shared(&one, &two) && is_shared(&one, &three));
            assert!(one.cursor.is_some(), "also where the document selects none");
        }
    }

    async fn tenants_rings_rights_and_variables_are_never_shared(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let programme = Programme::build(&owner, &Terms::default()).await;
        let away = Programme::build(&stranger, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let foreign_click = away.click(&stranger).await;
        let other = new_affiliate(&owner).await;
        let (_, link) = enroll(&owner, &programme.campaign, &other).await;
        let other_click = Programme { link, ..programme.clone() }.click(&owner).await;

        let mut home = Tap::conversions(app, &owner).await;
        let mut analyst = Tap::conversions(app, &app.role(Role::Analyst)).await;
        let mut affiliate = Tap::conversions(app, &app.affiliate(&programme.affiliate)).await;
        let mut rival = Tap::conversions(app, &app.affiliate(&other)).await;
        let mut foreign = Tap::conversions(app, &stranger).await;
        let filter = json!({ "filter": { "affiliateIds": [programme.affiliate] } });
        let mut filtered =
            Tap::open(app, Some(viewer(app, &owner).await), CONVERSIONS, filter).await.expect("let in");
        for tap in [&mut home, &mut analyst, &mut affiliate, &mut filtered] {
            tap.prime(&owner, &click).await;
        }
        rival.prime(&owner, &other_click).await;
        foreign.prime(&stranger, &foreign_click).await;
        record(&owner, &other_click, "rival").await;
        record(&stranger, &foreign_click, "foreign").await;
        let marker = record(&owner, &click, "marker").await;
        let mut told = Vec::new();
        for tap in [&mut home, &mut analyst, &mut affiliate, &mut filtered] {
            while tap.seen.last().is_none_or(|(_, id)| *id != marker) {
                told.push(tap.delivery().await);
            }
        }
        let of_marker: Vec<_> =
            told.into_iter().filter(|answer| json_of(answer).to_string().contains(&marker)).collect();
        assert_eq!(of_marker.len(), 4);
        for (index, one) in of_marker.iter().enumerate() {
            assert!(of_marker[..index].iter().all(|other| !is_shared(one, other)));
        }
        // Each group tells its own viewers' events only.
        let home_log: Vec<String> = log::all(&app.auditor).await.into_iter().map(|(_, id)| id).collect();
        rival.delivery().await;
        foreign.delivery().await;
        for tap in [&mut rival, &mut foreign] {
            assert!(tap.delivery_within(Duration::from_millis(300)).await.is_none());
            assert!(tap.seen.iter().all(|(_, id)| home_log.contains(id) && *id != marker));
        }
        let ids = |tap: &Tap| tap.seen.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
        assert!(ids(&foreign).iter().all(|id| !ids(&home).contains(id) && !ids(&rival).contains(id)));
        assert!(ids(&rival).iter().all(|id| !ids(&affiliate).contains(id) && !ids(&filtered).contains(id)));
    }

    async fn subscriber_that_falls_behind_gets_everything_once_in_order(app) {
        // More than wait for a subscriber.
        const BATCHES: usize = 5;
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut slow = Tap::conversions(app, &owner).await;
        let mut quick = Tap::conversions(app, &owner).await;
        slow.prime(&owner, &click).await;
        let mut last = String::new();
        for batch in 0..BATCHES {
            last = record_many(&owner, &click, &batch.to_string(), 1_000).await;
            quick.read_until(&last).await;
        }
        slow.read_until(&last).await;
        for tap in [&mut slow, &mut quick] {
            log::assert_saw_everything(&app.auditor, &tap.seen).await;
            assert!(tap.seen.len() > BATCHES * 1_000);
        }
        // And then together again.
        record(&owner, &click, "live").await;
        assert!(is_shared(&slow.delivery().await, &quick.delivery().await));
    }

    async fn nobody_misses_anything_while_others_come_and_go(app) {
        let mut rng = seeded();
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let somebody = viewer(app, &owner).await;
        let mut taps = Vec::new();
        for _ in 0..5 {
            let mut tap = Tap::conversions(app, &owner).await;
            tap.prime(&owner, &click).await;
            taps.push(tap);
        }
        let writer = {
            let (owner, click) = (owner.clone(), click.clone());
            tokio::spawn(async move {
                for number in 0..300 {
                    record(&owner, &click, &format!("w-{number}")).await;
                }
                record(&owner, &click, "last").await
            })
        };
        while !writer.is_finished() {
            let tap = &mut taps[rng.random_range(0..5)];
            for _ in 0..rng.random_range(0..20) {
                if tap.delivery_within(Duration::from_millis(20)).await.is_none() {
                    break;
                }
            }
            if rng.random_bool(0.5) {
                let seen = std::mem::take(&mut tap.seen);
                let cursor = tap.cursor.clone();
                // A transport's cursor takes the place of the document's.
                let variables = json!({ "after": "of another time" });
                *tap = loop {
                    let (who, cursor) = (Some(somebody.clone()), cursor.clone());
                    match Tap::behind(app, who, CONVERSIONS, variables.clone(), cursor).await {
                        Ok(tap) => break tap,
                        // On a busy machine the database may be waited for in vain: clients come again.
                        Err(refusal) => assert!(format!("{refusal:?}").contains("UNAVAILABLE"), "{refusal:?}"),
                    }
                };
                tap.seen = seen;
            }
        }
        let last = writer.await.expect("the writer writes");
        for tap in &mut taps {
            tap.read_until(&last).await;
            log::assert_saw_everything(&app.auditor, &tap.seen).await;
        }
    }

    async fn state_is_conflated_for_whoever_does_not_read(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let query = "subscription($id: ID!) { earnings(affiliateId: $id) { balances { pending { amount } } } }";
        let variables = json!({ "id": programme.affiliate });
        let somebody = viewer(app, &owner).await;
        let open = async || Tap::open(app, Some(somebody.clone()), query, variables.clone()).await.expect("let in");
        let (mut idle, mut reader) = (open().await, open().await);
        let pending = |delivery: &Delivery| {
            json_of(delivery)["data"]["earnings"]["balances"][0]["pending"]["amount"].as_str().map(str::to_owned)
        };
        assert_eq!(pending(&idle.delivery().await), None);
        assert_eq!(pending(&reader.delivery().await), None);
        for round in 1..=5 {
            record(&owner, &click, &round.to_string()).await;
            let expected = format!("0.{round}0");
            while pending(&reader.delivery().await).as_ref() != Some(&expected) {}
        }
        // One answer for five changes: the newest; and then no more.
        assert_eq!(pending(&idle.delivery().await).as_deref(), Some("0.50"));
        assert!(idle.delivery_within(Duration::from_millis(300)).await.is_none());
        let late = open().await.delivery().await;
        assert_eq!(pending(&late).as_deref(), Some("0.50"));
    }

    async fn other_rights_go_on_without_a_gap_and_lost_ones_end(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut tap = Tap::conversions(app, &owner).await;
        tap.prime(&owner, &click).await;
        // The same rights, a later end: nothing is opened anew.
        record(&owner, &click, "1").await;
        let mut tap = tap.continue_as(viewer(app, &app.owner()).await).await.expect("permitted");
        tap.delivery().await;
        // Other rights, with answers still unread.
        record(&owner, &click, "2").await;
        let mut tap = tap.continue_as(viewer(app, &app.role(Role::Analyst)).await).await.expect("permitted");
        let last = record(&owner, &click, "3").await;
        tap.read_until(&last).await;
        log::assert_saw_everything(&app.auditor, &tap.seen).await;
        // Before anything that was asked for is read.
        let cursor = tap.cursor.clone();
        let last = record(&owner, &click, "4").await;
        let variables = json!({ "after": cursor });
        let fresh = Tap::open(app, Some(viewer(app, &owner).await), CONVERSIONS, variables).await.expect("let in");
        let mut fresh = fresh.continue_as(viewer(app, &app.role(Role::Finance)).await).await.expect("permitted");
        fresh.read_until(&last).await;
        assert_eq!(fresh.seen.len(), 1);

        let nothing = Viewer { permissions: PermissionSet::EMPTY, ..viewer(app, &owner).await };
        assert_eq!(refusal(tap.continue_as(nothing).await), (RefusalKind::Source, "FORBIDDEN".to_owned()));
        let elsewhere = viewer(app, &app.stranger()).await;
        assert_eq!(refusal(fresh.continue_as(elsewhere).await), (RefusalKind::Source, "FORBIDDEN".to_owned()));
    }

    async fn source_that_is_refused_says_why(app) {
        let owner = Some(viewer(app, &app.owner()).await);
        let open = async |viewer: &Option<Viewer>, query: &str, variables: Value| {
            refusal(Tap::open(app, viewer.clone(), query, variables).await)
        };
        let source = |code: &str| (RefusalKind::Source, code.to_owned());
        assert_eq!(open(&None, CONVERSIONS, json!({})).await, source("UNAUTHENTICATED"));
        assert_eq!(open(&owner, CONVERSIONS, json!({ "after": "x" })).await, source("CURSOR_INVALID"));
        let kept = Tap::behind(app, owner.clone(), CONVERSIONS, json!({}), Some("x".to_owned())).await;
        assert_eq!(refusal(kept), source("CURSOR_INVALID"));
        let filter = json!({ "filter": { "campaignIds": ["cmp_x"] } });
        assert_eq!(open(&owner, CONVERSIONS, filter).await, source("INVALID_ID"));
        let earnings = "subscription($id: ID!) { earnings(affiliateId: $id) { cursor } }";
        let absent = json!({ "id": "aff_00000000000000000000000000" });
        assert_eq!(open(&owner, earnings, absent).await, source("NOT_FOUND"));
        for (query, variables) in [
            ("subscription { conversions { nothing } }", json!({})),
            ("subscription { a: conversions { cursor } b: conversions { cursor } }", json!({})),
            (CONVERSIONS, json!({ "after": 5 })),
        ] {
            assert_eq!(open(&owner, query, variables).await.0, RefusalKind::Document, "{query}");
        }
    }

    async fn subscription_ends_with_its_credential_and_not_by_an_answer(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let short = Client::new(&app.url, Some(app.token(app.home, Role::Owner, None, 3)));
        let (mut short, mut long) = (Tap::conversions(app, &short).await, Tap::conversions(app, &owner).await);
        long.prime(&owner, &click).await;
        let ended = loop {
            match short.next().await {
                Some(Ok(answer)) => assert!(json_of(&answer).get("errors").is_none()),
                Some(Err(ended)) => break ended,
                None => panic!("an end with its reason"),
            }
        };
        assert_eq!(ended, Ended::Expired);
        assert!(short.next().await.is_none());
        // Those who share its execution go on.
        let last = record(&owner, &click, "after").await;
        long.read_until(&last).await;
    }

    async fn another_history_ends_what_follows_the_old_one(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let mut tap = Tap::conversions(app, &owner).await;
        tap.prime(&owner, &click).await;
        app.auditor.run("UPDATE tenant SET epoch = tenant_id").await.expect("updates");
        assert_eq!(tap.last_error().await, "CURSOR_EXPIRED");
        let mut anew = Tap::conversions(app, &owner).await;
        anew.prime(&owner, &click).await;
    }
}
