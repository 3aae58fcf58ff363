//! Whatever a viewer can reach from the roots, four objects deep, is the viewer's own. Below each root, every field of
//! every type is read where the type is nearest to it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Sdl, Terms, on_both_tuned,
    programme::{enroll, sale},
    samples::{fresh, samples},
    sdl::{Closed, Field},
    surface::{World, is_id},
};

/// Objects below a root field.
const DEPTH: usize = 4;

on_both_tuned! { crate::isolation::without_limits =>
    async fn owner_reaches_nothing_of_another_tenant(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let (home, away) = (World::seed(app, &owner).await, World::seed(app, &stranger).await);
        let sdl = Sdl::of_this_build();
        let ours = everything(&sdl, &owner, &home).await;
        let theirs = everything(&sdl, &stranger, &away).await;
        assert!(home.ids.values().all(|id| ours.ids.contains(id)), "the walk reaches objects of every kind");
        let common: Vec<_> = ours.ids.intersection(&theirs.ids).collect();
        assert!(common.is_empty(), "{common:?} are reached in two tenants");
    }

    async fn affiliate_reaches_nothing_of_another_affiliate(app) {
        let owner = app.owner();
        let (ada, bob) = (World::seed(app, &owner).await, World::seed(app, &owner).await);
        // Both promote one more campaign, where they might meet.
        let shared = Programme::build(&owner, &Terms::default()).await;
        for world in [&ada, &bob] {
            let (_, link) = enroll(&owner, &shared.campaign, &world.ids["aff"]).await;
            let click = owner.done("recordClick", json!({ "linkId": link }), "click { id }").await;
            let click = click["click"]["id"].as_str().expect("an id");
            owner.done("recordConversion", sale(click, click, "7.00"), "").await;
        }
        let sdl = Sdl::of_this_build();
        let seen_by = async |world: &World| everything(&sdl, &app.affiliate(&world.ids["aff"]), world).await;
        let (of_ada, of_bob) = (seen_by(&ada).await, seen_by(&bob).await);
        for prefix in ["cmp", "gol", "aff", "enr", "lnk", "clk", "cnv", "com", "pay"] {
            assert!(of_ada.ids.contains(&ada.ids[prefix]), "the walk reaches {prefix}");
        }
        let common: BTreeSet<String> = of_ada.ids.intersection(&of_bob.ids).cloned().collect();
        // The rule is named by the explanation of a commission that it gave, to whom it was given.
        let expected = BTreeSet::from([app.home.to_string(), shared.campaign, shared.goal, shared.rule]);
        assert!(common.is_subset(&expected), "{common:?} are reached by two affiliates");
        assert!(!of_ada.answers.to_string().contains(&bob.name), "an affiliate reads another's name");
        assert!(of_ada.answers.to_string().contains(&ada.name), "the walk reads names");
    }

    async fn affiliates_numbers_are_of_its_own_rows(app) {
        let owner = app.owner();
        let (ada, _bob) = (World::seed(app, &owner).await, World::seed(app, &owner).await);
        let answer = app.affiliate(&ada.ids["aff"]).data(
            "{ conversions(first: 1) { totalCount } clicks(first: 1) { totalCount } commissions(first: 1) { totalCount } \
             affiliates(first: 1) { totalCount } links(first: 1) { totalCount } enrollments(first: 1) { totalCount } \
             campaigns(first: 1) { totalCount } }",
            json!({}),
        ).await;
        assert_eq!(answer, json!({
            "conversions": { "totalCount": 3 }, "clicks": { "totalCount": 5 }, "commissions": { "totalCount": 3 },
            "affiliates": { "totalCount": 1 }, "links": { "totalCount": 2 }, "enrollments": { "totalCount": 2 },
            "campaigns": { "totalCount": 2 },
        }));
        let mut report = samples(&ada).remove("Query.report").expect("a sample").remove(0);
        for filter in ["campaignIds", "affiliateIds"] {
            report["input"].as_object_mut().expect("an input").remove(filter);
        }
        let query = "query($input: ReportInput!) { report(input: $input) { clicks conversions saleAmount { amount } } }";
        let report = app.affiliate(&ada.ids["aff"]).data(query, report).await;
        assert_eq!(report["report"], json!([{ "clicks": 5, "conversions": 3, "saleAmount": { "amount": "299.00" } }]));
    }
}

/// What a viewer reached.
pub struct Reached {
    pub ids: BTreeSet<String>,
    pub answers: Value,
    /// What it met and may not read.
    pub closed: Closed,
}

/// Reads every query as far as the viewer may, without filters.
pub async fn everything(sdl: &Sdl, client: &Client, world: &World) -> Reached {
    let samples = samples(world);
    let mut closed = Closed::new();
    let mut answers = Vec::new();
    for field in sdl.fields("Query") {
        let name = format!("Query.{}", field.name);
        let given = samples.get(name.as_str()).unwrap_or_else(|| panic!("add a sample call of {name}"));
        for sample in given {
            let mut args = fresh(sample);
            args.as_object_mut().expect("arguments").remove("filter");
            if field.is_connection() {
                args["first"] = 100.into();
            }
            answers.extend(read(sdl, client, field, &args, &mut closed).await);
        }
    }
    let answers = Value::from(answers);
    let mut ids = BTreeSet::new();
    look(&answers, &mut ids);
    Reached { ids, answers, closed }
}

/// Reads a root field's answer in as many documents as the guard's bounds make it; what the viewer may not read is left
/// out and noted. Nothing where it may not read even the root.
async fn read(sdl: &Sdl, client: &Client, field: &Field, args: &Value, closed: &mut Closed) -> Vec<Value> {
    let node = if field.is_connection() { sdl.node_of(field) } else { field.named().to_owned() };
    'anew: loop {
        let mut answers = Vec::new();
        for inner in sdl.pieces_once(&node, DEPTH - 1, closed) {
            let selection = match field.is_connection() {
                true => format!("{} edges {{ cursor node {{ {inner} }} }}", sdl.count_of(field)),
                false => inner,
            };
            let document = sdl.document("Query", field, args, &selection);
            let (_, mut body) = client.send(&document, args.clone()).await;
            let Some(errors) = body["errors"].as_array() else {
                answers.push(body["data"].take());
                continue;
            };
            let known = closed.len();
            for error in errors {
                assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{}: {error}", field.name);
                // The location tells more than the path, which ends where nulls end.
                let column = error["locations"][0]["column"].as_u64().and_then(|column| usize::try_from(column).ok());
                let rest = column.and_then(|column| document.get(column - 1..)).expect("a place in the document");
                let name = rest.split(':').next().unwrap_or_default();
                if name == "result" {
                    return Vec::new();
                }
                closed.insert(name.to_owned());
            }
            assert!(closed.len() > known, "what is forbidden was not selected: {body}");
            // Less is selected now, and so is divided otherwise.
            continue 'anew;
        }
        return answers;
    }
}

/// Collects ids, and holds every connection to its count: all that there is fits on one page here.
fn look(answer: &Value, ids: &mut BTreeSet<String>) {
    match answer {
        Value::String(text) if is_id(text) => drop(ids.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| look(item, ids)),
        Value::Object(fields) => {
            if let (Some(count), Some(Value::Array(edges))) = (fields.get("totalCount"), fields.get("edges")) {
                assert_eq!(*count, edges.len(), "totalCount and rows");
            }
            fields.values().for_each(|value| look(value, ids));
        }
        _ => {}
    }
}
