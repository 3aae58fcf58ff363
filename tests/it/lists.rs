//! Lists: filters, orders, pages in both directions, and cursors that are good for their own list only.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ambient::Clock;

use crate::support::{
    Client, Programme, Terms, TestApp, on_both,
    programme::{merge, sale},
};

const QUERY: &str = "query($filter: ConversionFilterInput, $order: ConversionOrder, $first: Int, $after: String, \
    $last: Int, $before: String) { page: conversions(filter: $filter, order: $order, first: $first, after: $after, \
    last: $last, before: $before) { totalCount edges { cursor node { id orderId occurredAt } } \
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

const ORDERS: [&str; 4] = ["CREATED_DESC", "CREATED_ASC", "OCCURRED_DESC", "OCCURRED_ASC"];

/// Walks a list from one end to the other; the order ids, in the list's order.
async fn walk(client: &Client, filter: &Value, order: &str, size: usize, forward: bool) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut variables = json!({ "filter": filter, "order": order });
        merge(
            &mut variables,
            match forward {
                true => json!({ "first": size, "after": cursor }),
                false => json!({ "last": size, "before": cursor }),
            },
        );
        let page = client.data(QUERY, variables).await["page"].take();
        let edges = page["edges"].as_array().expect("edges");
        assert!(edges.len() <= size, "{page}");
        let orders = edges.iter().map(|edge| edge["node"]["orderId"].as_str().expect("an order id").to_owned());
        let (more, next) = match forward {
            true => ("hasNextPage", "endCursor"),
            false => ("hasPreviousPage", "startCursor"),
        };
        match forward {
            true => seen.extend(orders),
            false => drop(seen.splice(0..0, orders)),
        }
        if page["pageInfo"][more] == false {
            assert_eq!(page["totalCount"], seen.len(), "{order} by {size}");
            return seen;
        }
        assert_eq!(edges.len(), size, "a page before the last is full");
        cursor = page["pageInfo"][next].clone();
    }
}

/// Records conversions in several batches, of which many occurred at the same instant; their order ids as recorded.
async fn fill(app: &TestApp, client: &Client, programme: &Programme) -> Vec<String> {
    let begin = app.clock.now() - TimeDelta::days(3);
    let click = programme.click_with(client, json!({ "occurredAt": begin })).await;
    let mut orders = Vec::new();
    for (batch, size) in [7_i64, 1, 12, 3].into_iter().enumerate() {
        let items: Vec<Value> = (0..size)
            .map(|number| {
                let order = format!("{batch}-{number}");
                let mut input = sale(&click, &order, "1.00");
                merge(&mut input, json!({ "occurredAt": begin + TimeDelta::microseconds(number % 3) }));
                orders.push(order);
                input
            })
            .collect();
        client.done("recordConversions", json!({ "items": items }), "").await;
    }
    orders
}

on_both! {
    async fn pages_of_any_size_and_direction_hold_everything_exactly_once(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let recorded = fill(app, &owner, &programme).await;
        for order in ORDERS {
            let whole = walk(&owner, &json!({}), order, 100, true).await;
            let mut sorted = whole.clone();
            sorted.sort();
            let mut expected = recorded.clone();
            expected.sort();
            assert_eq!(sorted, expected, "{order}");
            for size in [1, 2, 5, 22, 23, 24] {
                for forward in [true, false] {
                    let walked = walk(&owner, &json!({}), order, size, forward).await;
                    assert_eq!(walked, whole, "{order} by {size}, forward: {forward}");
                }
            }
        }
        let newest = walk(&owner, &json!({}), "CREATED_DESC", 100, true).await;
        assert_eq!(newest.iter().rev().collect::<Vec<_>>(), recorded.iter().collect::<Vec<_>>(), "as recorded");
    }

    async fn order_by_occurrence_is_by_time_and_then_by_recording(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        fill(app, &owner, &programme).await;
        let data = owner.data(QUERY, json!({ "order": "OCCURRED_ASC", "first": 100 })).await;
        let rows: Vec<(String, String)> = data["page"]["edges"].as_array().expect("edges").iter()
            .map(|edge| (edge["node"]["occurredAt"].to_string(), edge["node"]["id"].to_string()))
            .collect();
        assert!(rows.is_sorted(), "{rows:?}");
    }

    async fn page_stays_the_same_while_rows_are_added_before_it(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        fill(app, &owner, &programme).await;
        let first = owner.data(QUERY, json!({ "order": "CREATED_DESC", "first": 5 })).await;
        let second = json!({ "order": "CREATED_DESC", "first": 5, "after": first["page"]["pageInfo"]["endCursor"] });
        let before = owner.data(QUERY, second.clone()).await;
        owner.done("recordConversion", sale(&programme.click(&owner).await, "new", "1.00"), "").await;
        let after = owner.data(QUERY, second).await;
        assert_eq!(before["page"]["edges"], after["page"]["edges"]);
    }

    async fn filters_narrow_list_and_count_alike(app) {
        let owner = app.owner();
        let (one, two) =
            (Programme::build(&owner, &Terms::default()).await, Programme::build(&owner, &Terms::manual()).await);
        let begin = app.clock.now() - TimeDelta::days(1);
        let mut number = 0;
        for (programme, goal) in [(&one, "sale"), (&one, "signup"), (&two, "sale")] {
            let click = programme.click_with(&owner, json!({ "occurredAt": begin })).await;
            for day in 0..2 {
                number += 1;
                let mut input = sale(&click, &format!("o-{number}"), "1.00");
                merge(&mut input, json!({ "goal": goal, "occurredAt": begin + TimeDelta::hours(day) }));
                owner.done("recordConversion", input, "").await;
            }
        }
        for (filter, expected) in [
            (json!({}), 6),
            (json!({ "campaignIds": [one.campaign] }), 4),
            (json!({ "campaignIds": [one.campaign, two.campaign] }), 6),
            (json!({ "campaignIds": [] }), 0),
            (json!({ "affiliateIds": [two.affiliate] }), 2),
            (json!({ "statuses": ["PENDING"] }), 2),
            (json!({ "statuses": ["REJECTED", "APPROVED"] }), 4),
            (json!({ "goals": ["signup"] }), 2),
            (json!({ "goals": ["sale"], "statuses": ["APPROVED"] }), 2),
            (json!({ "orderIds": ["o-1", "o-6", "none"] }), 2),
            (json!({ "occurredFrom": begin + TimeDelta::hours(1) }), 3),
            (json!({ "occurredBefore": begin + TimeDelta::hours(1) }), 3),
            (json!({ "occurredFrom": begin, "occurredBefore": begin + TimeDelta::microseconds(1) }), 3),
            (json!({ "occurredFrom": begin + TimeDelta::hours(1), "occurredBefore": begin }), 0),
        ] {
            let walked = walk(&owner, &filter, "OCCURRED_DESC", 4, true).await;
            assert_eq!(walked.len(), expected, "{filter}: {walked:?}");
        }
    }

    async fn cursor_of_another_list_or_order_is_refused(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        fill(app, &owner, &programme).await;
        let data = owner.data(
            "{ clicks(first: 1) { edges { cursor } } campaigns(first: 1) { edges { cursor } } \
             conversions(first: 1) { edges { cursor } } occurred: conversions(first: 1, order: OCCURRED_ASC) \
             { edges { cursor } } commissions(first: 1) { edges { cursor } } }",
            json!({}),
        ).await;
        let cursor = |list: &str| data[list]["edges"][0]["cursor"].clone();
        owner.data(QUERY, json!({ "first": 1, "after": cursor("conversions") })).await;
        for list in ["clicks", "campaigns", "commissions", "occurred"] {
            for (size, end) in [("first", "after"), ("last", "before")] {
                let code = owner.error_code(QUERY, json!({ size: 1, end: cursor(list) })).await;
                assert_eq!(code, "CURSOR_INVALID", "{end} of {list}");
            }
        }
        for nonsense in ["", "x", "ZZZZZZZZZZZZ"] {
            assert_eq!(owner.error_code(QUERY, json!({ "first": 1, "after": nonsense })).await, "CURSOR_INVALID");
        }
    }

    async fn page_size_is_exactly_one_of_first_and_last_within_bounds(app) {
        let owner = app.owner();
        for (variables, code) in [
            (json!({}), "REQUIRED"),
            (json!({ "first": 1, "last": 1 }), "REQUIRED"),
            (json!({ "first": 0 }), "OUT_OF_RANGE"),
            (json!({ "first": -1 }), "OUT_OF_RANGE"),
            (json!({ "first": 101 }), "OUT_OF_RANGE"),
            (json!({ "last": 101 }), "OUT_OF_RANGE"),
            (json!({ "last": 2_147_483_647 }), "OUT_OF_RANGE"),
        ] {
            assert_eq!(owner.error_code(QUERY, variables.clone()).await, code, "{variables}");
        }
    }

    async fn list_of_an_affiliate_holds_its_own_rows_only(app) {
        let owner = app.owner();
        let (one, two) =
            (Programme::build(&owner, &Terms::default()).await, Programme::build(&owner, &Terms::default()).await);
        for programme in [&one, &two] {
            owner.done("recordConversion", sale(&programme.click(&owner).await, &programme.link, "1.00"), "").await;
        }
        let own = walk(&app.affiliate(&one.affiliate), &json!({}), "CREATED_DESC", 10, true).await;
        assert_eq!(own, std::slice::from_ref(&one.link));
        let foreign = json!({ "affiliateIds": [two.affiliate] });
        assert!(walk(&app.affiliate(&one.affiliate), &foreign, "CREATED_DESC", 10, true).await.is_empty());
        assert!(walk(&app.stranger(), &json!({}), "CREATED_DESC", 10, true).await.is_empty());
    }
}
