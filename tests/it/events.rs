//! The event log as a list and as a stream: complete, in order, resumable, by type and ring.

use rand::RngExt;
use serde_json::{Value, json};
use tributary_entity::{ids::AffiliateId, kinds::ApiKeyScope};
use uuid::Uuid;

use crate::support::{
    Client, Programme, Sdl, Terms, TestApp, on_both,
    programme::{enroll, id, merge, new_affiliate, sale},
    seeded,
    socket::Socket,
};

const NODE: &str = "cursor type subjectId recordedAt payload { __typename \
    ... on Conversion { id status affiliate { id } campaign { id } commissions { amount { amount } affiliate { id } } } \
    ... on Campaign { id campaignStatus: status } ... on Affiliate { id name } \
    ... on Enrollment { id enrollmentStatus: status enrolled: affiliate { id } } ... on Link { id owner: affiliate { id } } \
    ... on ReleasedEarnings { amount { amount currency } } }";

/// An event as the log has it, past the store.
#[derive(Clone, Debug)]
struct Entry {
    kind: String,
    subject: Uuid,
    affiliate: Option<AffiliateId>,
}

/// The log of the tenant `home`.
async fn log(app: &TestApp) -> Vec<Entry> {
    let sql = "SELECT kind, subject_id, affiliate_id FROM event \
        WHERE tenant_id = (SELECT tenant_id FROM tenant WHERE slug = 'home') ORDER BY seq";
    let rows = app.auditor.rows(sql).await;
    rows.iter()
        .map(|row| Entry {
            kind: row.try_get_by_index(0).expect("text"),
            subject: row.try_get_by_index(1).expect("an id"),
            affiliate: row.try_get_by_index(2).expect("an id or none"),
        })
        .collect()
}

/// As the API tells an event: its type, and the public id of what it is about.
fn told(entry: &Entry) -> (String, String) {
    let prefix = match entry.kind.as_str() {
        "CAMPAIGN_CHANGED" => "cmp",
        "AFFILIATE_CHANGED" | "EARNINGS_RELEASED" => "aff",
        "ENROLLMENT_CHANGED" => "enr",
        "LINK_CHANGED" => "lnk",
        _ => "cnv",
    };
    let id = AffiliateId::from_uuid(entry.subject).to_string();
    (entry.kind.clone(), id.replacen("aff", prefix, 1))
}

fn all(log: &[Entry]) -> Vec<(String, String)> {
    log.iter().map(told).collect()
}

fn seen(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    events.iter().map(|event| (text(&event["type"]), text(&event["subjectId"]))).collect()
}

/// A page of the log; what is not given is left out.
async fn page(client: &Client, variables: Value) -> Value {
    let query = format!(
        "query($types: [EventType!], $first: Int, $after: String, $last: Int, $before: String) {{ \
         events(types: $types, first: $first, after: $after, last: $last, before: $before) {{ \
         edges {{ cursor node {{ {NODE} }} }} nodes {{ cursor }} \
         pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
    );
    client.data(&query, variables).await["events"].take()
}

/// The nodes of a page, with their edges' cursors held to their own.
fn nodes(page: &Value) -> Vec<Value> {
    let edges = page["edges"].as_array().expect("edges");
    for (edge, node) in edges.iter().zip(page["nodes"].as_array().expect("nodes")) {
        assert_eq!(edge["cursor"], edge["node"]["cursor"]);
        assert_eq!(edge["cursor"], node["cursor"]);
    }
    edges.iter().map(|edge| edge["node"].clone()).collect()
}

/// All pages of the log from one of its ends, in the log's order.
async fn walk(client: &Client, types: &Value, size: usize, forward: bool) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut variables =
            if forward { json!({ "first": size, "after": cursor }) } else { json!({ "last": size, "before": cursor }) };
        merge(&mut variables, json!({ "types": types }));
        let page = page(client, variables).await;
        let (more, next) = if forward { ("hasNextPage", "endCursor") } else { ("hasPreviousPage", "startCursor") };
        match forward {
            true => events.extend(nodes(&page)),
            false => drop(events.splice(0..0, nodes(&page))),
        }
        if page["pageInfo"][more] == false {
            return events;
        }
        cursor = page["pageInfo"][next].clone();
    }
}

/// Where the log ends now, for a stream of these types.
async fn end(client: &Client, types: &Value) -> Value {
    page(client, json!({ "types": types, "last": 1 })).await["pageInfo"]["endCursor"].take()
}

async fn watch(client: &Client, types: &Value, after: &Value) -> Socket {
    let query = format!(
        "subscription($after: Cursor, $types: [EventType!]) {{ events(after: $after, types: $types) {{ {NODE} }} }}"
    );
    client.subscribe(&query, json!({ "types": types, "after": after })).await
}

async fn read(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        events.push(socket.next().await["events"].take());
    }
    events
}

/// Changes of every kind; the programme and a second affiliate of it.
async fn fill(app: &TestApp) -> (Programme, String) {
    let owner = app.owner();
    let programme = Programme::build(&owner, &Terms::manual()).await;
    let second = new_affiliate(&owner).await;
    let (_, link) = enroll(&owner, &programme.campaign, &second).await;
    let mut ids = Vec::new();
    for link in [&programme.link, &link] {
        let click = Programme { link: link.clone(), ..programme.clone() }.click(&owner).await;
        for number in 0..3 {
            let payload = owner.done(
                "recordConversion",
                sale(&click, &format!("{click}-{number}"), "10.00"),
                "conversion { id }",
            );
            ids.push(id(&payload.await, "conversion"));
        }
    }
    owner.done("approveConversions", json!({ "ids": [ids[0], ids[3]] }), "").await;
    owner.done("rejectConversions", json!({ "ids": [ids[1], ids[4]], "reason": "FRAUD" }), "").await;
    owner.done("updateCampaign", json!({ "id": programme.campaign, "name": "Boots" }), "").await;
    owner.done("disableLink", json!({ "id": link }), "").await;
    app.clock.advance(chrono::TimeDelta::days(2));
    app.run_jobs().await;
    (programme, second)
}

on_both! {
    async fn list_and_stream_are_the_log(app) {
        let owner = app.owner();
        let begin = end(&owner, &Value::Null).await;
        let mut socket = watch(&owner, &Value::Null, &begin).await;
        fill(app).await;
        let log = log(app).await;
        let kinds: std::collections::BTreeSet<_> = log.iter().map(|entry| entry.kind.as_str()).collect();
        assert!(kinds.len() >= 8, "changes of every kind: {kinds:?}");
        let streamed = read(&mut socket, log.len()).await;
        assert_eq!(seen(&streamed), all(&log));
        for (size, forward) in [(7, true), (5, false), (100, true), (100, false)] {
            assert_eq!(walk(&owner, &Value::Null, size, forward).await, streamed, "by {size}, forward: {forward}");
        }
        // From the log as they came live.
        let mut again = watch(&owner, &Value::Null, &begin).await;
        assert_eq!(read(&mut again, log.len()).await, streamed);
        for event in &streamed {
            let kept = match event["type"].as_str().expect("a type") {
                "EARNINGS_RELEASED" => "ReleasedEarnings",
                "CAMPAIGN_CHANGED" => "Campaign",
                "AFFILIATE_CHANGED" => "Affiliate",
                "ENROLLMENT_CHANGED" => "Enrollment",
                "LINK_CHANGED" => "Link",
                _ => "Conversion",
            };
            assert_eq!(event["payload"]["__typename"], kept);
            assert!(kept == "ReleasedEarnings" || event["payload"]["id"] == event["subjectId"], "{event}");
        }
        // Each as it was then, not as it is.
        let status = |kind: &str| {
            let of_kind = streamed.iter().filter(|event| event["type"] == kind);
            of_kind.map(|event| event["payload"]["status"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(status("CONVERSION_RECORDED"), vec![json!("PENDING"); 6]);
        assert_eq!(status("CONVERSION_APPROVED"), vec![json!("APPROVED"); 2]);
        let released = streamed.iter().find(|event| event["type"] == "EARNINGS_RELEASED").expect("released");
        assert_eq!(released["payload"]["amount"], json!({ "amount": "1.00", "currency": "EUR" }));
    }

    async fn union_over_disconnects_is_the_log(app) {
        let mut rng = seeded();
        let owner = app.owner();
        let mut cursor = end(&owner, &Value::Null).await;
        fill(app).await;
        let log = log(app).await;
        let mut events = Vec::new();
        while events.len() < log.len() {
            let mut socket = watch(&owner, &Value::Null, &cursor).await;
            let count = rng.random_range(1..=6).min(log.len() - events.len());
            events.extend(read(&mut socket, count).await);
            cursor = events.last().expect("some")["cursor"].clone();
        }
        assert_eq!(seen(&events), all(&log));
    }

    async fn stream_goes_on_where_the_list_ends(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let types = json!(["CONVERSION_RECORDED"]);
        let writer = {
            let (owner, click) = (owner.clone(), click.clone());
            tokio::spawn(async move {
                for number in 0..60 {
                    owner.done("recordConversion", sale(&click, &format!("w-{number}"), "1.00"), "").await;
                }
            })
        };
        let mut events = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let page = page(&owner, json!({ "types": types, "first": 5, "after": cursor })).await;
            events.extend(nodes(&page));
            cursor = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        let mut socket = watch(&owner, &types, &cursor).await;
        events.extend(read(&mut socket, 60 - events.len()).await);
        writer.await.expect("the writer writes");
        let recorded: Vec<_> = log(app).await.into_iter().filter(|entry| entry.kind == "CONVERSION_RECORDED").collect();
        assert_eq!(seen(&events), all(&recorded));
    }

    async fn types_choose_and_cursors_are_theirs(app) {
        let owner = app.owner();
        let types = json!(["LINK_CHANGED", "CAMPAIGN_CHANGED"]);
        let begin = end(&owner, &types).await;
        let mut socket = watch(&owner, &types, &begin).await;
        fill(app).await;
        let mut log = log(app).await;
        log.retain(|entry| types.as_array().expect("a list").iter().any(|kind| *kind == entry.kind.as_str()));
        assert!(log.len() >= 6);
        let streamed = read(&mut socket, log.len()).await;
        assert_eq!(seen(&streamed), all(&log));
        // The order in which types are named tells no difference.
        assert_eq!(walk(&owner, &json!(["CAMPAIGN_CHANGED", "LINK_CHANGED"]), 2, true).await, streamed);
        assert!(walk(&owner, &json!([]), 10, true).await.is_empty());
        let conversions = owner.data("{ conversionCursor }", json!({})).await["conversionCursor"].take();
        for (client, cursor, asked) in [
            (&owner, &begin, json!(["LINK_CHANGED"])),
            (&owner, &begin, Value::Null),
            (&owner, &conversions, Value::Null),
            (&app.stranger(), &begin, types.clone()),
        ] {
            assert_eq!(watch(client, &asked, cursor).await.error_code().await, "CURSOR_INVALID");
            let list = "query($types: [EventType!], $after: String) { events(types: $types, first: 1, after: $after) \
                { pageInfo { endCursor } } }";
            assert_eq!(client.error_code(list, json!({ "types": asked, "after": cursor })).await, "CURSOR_INVALID");
        }
    }

    async fn rare_events_are_found_a_bounded_stretch_at_a_time(app) {
        let owner = app.owner();
        let (programme, _) = fill(app).await;
        let of = "(SELECT * FROM event ORDER BY seq DESC LIMIT 1)";
        for statement in [
            format!(
                "INSERT INTO event (tenant_id, seq, kind, subject_id, campaign_id, affiliate_id, payload, recorded_at) \
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10500) \
                 SELECT tenant_id, seq + i, 'LINK_CHANGED', subject_id, campaign_id, affiliate_id, '{{}}', recorded_at \
                 FROM {of} AS last, n"
            ),
            format!("UPDATE tenant_counter SET event_seq = event_seq + 10500 WHERE tenant_id = (SELECT tenant_id FROM {of} AS last)"),
        ] {
            app.auditor.run(&statement).await.expect("appends");
        }
        owner.done("updateCampaign", json!({ "id": programme.campaign, "name": "Shoes" }), "").await;
        let types = json!(["CAMPAIGN_CHANGED"]);
        let early = page(&owner, json!({ "types": types, "first": 50 })).await;
        assert!(!nodes(&early).is_empty());
        assert_eq!(early["pageInfo"]["hasNextPage"], true, "the log goes on");
        let late = page(&owner, json!({ "types": types, "first": 50, "after": early["pageInfo"]["endCursor"] })).await;
        assert_eq!((nodes(&late).len(), &late["pageInfo"]["hasNextPage"]), (1, &json!(false)));
        let mut expected = log(app).await;
        expected.retain(|entry| entry.kind == "CAMPAIGN_CHANGED");
        assert_eq!(seen(&[nodes(&early), nodes(&late)].concat()), all(&expected));
        assert_eq!(seen(&walk(&owner, &types, 50, false).await), all(&expected));
        // A payload of another form is told as none.
        let other = page(&owner, json!({ "types": ["LINK_CHANGED"], "last": 1 })).await;
        assert_eq!(nodes(&other)[0]["payload"], Value::Null);
    }

    async fn affiliates_and_strangers_are_told_of_their_own(app) {
        let owner = app.owner();
        let (programme, second) = fill(app).await;
        Programme::build(&app.stranger(), &Terms::default()).await;
        let log_of = async |id: &str| {
            let own = Some(id.parse::<AffiliateId>().expect("an id"));
            let mut log = log(app).await;
            log.retain(|entry| entry.affiliate == own);
            log
        };
        let mut sockets = Vec::new();
        for affiliate in [&programme.affiliate, &second] {
            let client = app.affiliate(affiliate);
            let own = walk(&client, &Value::Null, 4, true).await;
            assert_eq!(seen(&own), all(&log_of(affiliate).await));
            assert_eq!(walk(&client, &Value::Null, 4, false).await, own);
            let foreign = if *affiliate == second { &programme.affiliate } else { &second };
            assert!(!json!(own).to_string().contains(foreign.as_str()), "tells of another");
            assert!(walk(&client, &json!(["CAMPAIGN_CHANGED"]), 4, true).await.is_empty());
            sockets.push((affiliate, own.len(), watch(&client, &Value::Null, &end(&client, &Value::Null).await).await));
        }
        // And live: both are told of what is theirs, in between what is not.
        for number in 0..3 {
            for affiliate in [&second, &programme.affiliate] {
                let input = json!({ "id": affiliate, "company": format!("Ltd {number}") });
                owner.done("updateAffiliate", input, "").await;
            }
        }
        for (affiliate, before, socket) in &mut sockets {
            let expected = log_of(affiliate).await;
            assert_eq!(expected.len(), *before + 3);
            assert_eq!(seen(&read(socket, 3).await), all(&expected[*before..]));
        }
        let strange = walk(&app.stranger(), &Value::Null, 50, true).await;
        assert!(!strange.is_empty());
        let ours = all(&log(app).await);
        assert!(seen(&strange).iter().all(|event| !ours.contains(event)), "tells of another tenant");
    }

    async fn each_type_takes_the_permission_to_read_what_it_is_about(app) {
        let sdl = Sdl::of_this_build();
        let types: Vec<Value> = sdl.fields("EventType").iter().map(|value| json!([value.name])).collect();
        assert!(types.len() >= 8);
        for scope in ApiKeyScope::ALL {
            let input = json!({ "name": scope.to_string(), "scopes": [scope.to_string()] });
            let mut payload = app.owner().done("createApiKey", input, "secret").await;
            let key = Client::new(&app.url, payload["secret"].take().as_str().map(str::to_owned));
            let reads = *scope == ApiKeyScope::Read;
            let list = "query($types: [EventType!]) { events(types: $types, first: 1) { nodes { type } } }";
            // What people posted is about the ledger, which one reads without the rest.
            let posted = json!(["JOURNAL_POSTED"]);
            let reads_ledger = *scope == ApiKeyScope::ReadLedger;
            let may_read = |types: &&Value| reads || (reads_ledger && (**types == posted || types.is_null()));
            for types in types.iter().chain([&Value::Null]).filter(|types| !may_read(types)) {
                assert_eq!(key.error_code(list, json!({ "types": types })).await, "FORBIDDEN", "{scope}: {types}");
            }
            let mut socket = watch(&key, &types[0], &json!("none")).await;
            let refused = if reads { "CURSOR_INVALID" } else { "FORBIDDEN" };
            assert_eq!(socket.error_code().await, refused, "{scope}");
            if reads_ledger {
                key.data(list, json!({ "types": posted })).await;
            }
            if reads {
                key.data(list, json!({})).await;
                key.data(list, json!({ "types": ["CONVERSION_RECORDED", "LINK_CHANGED"] })).await;
            }
        }
        assert_eq!(watch(&app.anonymous(), &Value::Null, &Value::Null).await.error_code().await, "UNAUTHENTICATED");
    }

    async fn cursor_of_another_history_has_expired(app) {
        let owner = app.owner();
        let cursor = end(&owner, &Value::Null).await;
        app.auditor.run("UPDATE tenant SET epoch = tenant_id").await.expect("updates");
        assert_eq!(watch(&owner, &Value::Null, &cursor).await.error_code().await, "CURSOR_EXPIRED");
        let list = "query($after: String) { events(first: 1, after: $after) { nodes { type } } }";
        assert_eq!(owner.error_code(list, json!({ "after": cursor })).await, "CURSOR_EXPIRED");
    }
}
