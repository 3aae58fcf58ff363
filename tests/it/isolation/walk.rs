//! Whatever a viewer can reach from the roots, four objects deep or as deep as one document may go, is the viewer's
//! own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Sdl, Terms, on_both_tuned,
    programme::{enroll, sale},
    sdl::{Closed, Field},
    surface::{World, fresh, is_id, samples},
};

/// Objects below a root field.
const DEPTH: usize = 4;

on_both_tuned! { crate::isolation::without_cost_limit =>
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
            "conversions": { "totalCount": 2 }, "clicks": { "totalCount": 3 }, "commissions": { "totalCount": 2 },
            "affiliates": { "totalCount": 1 }, "links": { "totalCount": 2 }, "enrollments": { "totalCount": 2 },
            "campaigns": { "totalCount": 2 },
        }));
        let mut report = samples(&ada).remove("Query.report").expect("a sample").remove(0);
        for filter in ["campaignIds", "affiliateIds"] {
            report["input"].as_object_mut().expect("an input").remove(filter);
        }
        let query = "query($input: ReportInput!) { report(input: $input) { clicks conversions saleAmount { amount } } }";
        let report = app.affiliate(&ada.ids["aff"]).data(query, report).await;
        assert_eq!(report["report"], json!([{ "clicks": 3, "conversions": 2, "saleAmount": { "amount": "200.00" } }]));
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
            // A document for each field of the answer: one for all would be very large.
            for part in parts(sdl, field) {
                if let Some(answer) = read(sdl, client, field, &args, &part, &mut closed).await {
                    answers.push(answer);
                }
            }
        }
    }
    let answers = Value::from(answers);
    let mut ids = BTreeSet::new();
    look(&answers, &mut ids);
    Reached { ids, answers, closed }
}

/// What one document selects of a node: all would be more than the guard lets through.
enum Part {
    /// Every field that is no object.
    Leaves,
    /// One field that is; of a union's types, one.
    Field(String, Option<String>),
    /// Of a field that is an object, one field that is.
    Below(String, String),
    /// Of an interface's types, one.
    Member(String),
}

/// Aliases of one document, with room below the guard's own bound.
const ALIASES: usize = 150;

fn parts(sdl: &Sdl, field: &Field) -> Vec<Part> {
    let names = |name: &str| sdl.implementors(name).into_iter().map(|def| def.name.clone()).collect::<Vec<_>>();
    let node = if field.is_connection() { sdl.node_of(field) } else { field.named().to_owned() };
    let types = names(&node);
    if !types.is_empty() {
        return types.into_iter().map(Part::Member).collect();
    }
    let is_object = |field: &&Field| !sdl.is_leaf(field.named());
    let objects = sdl.fields(&node).iter().filter(is_object).flat_map(|field| {
        let members = names(field.named());
        let text = sdl.select(field, DEPTH - 1, Some(&Closed::new())).unwrap_or_default();
        if members.is_empty() && !field.is_connection() && text.matches(": ").count() > ALIASES {
            let below = sdl.fields(field.named()).iter().filter(is_object);
            return below.map(|below| Part::Below(field.name.clone(), below.name.clone())).collect::<Vec<_>>();
        }
        let members = if members.is_empty() { vec![None] } else { members.into_iter().map(Some).collect() };
        members.into_iter().map(|member| Part::Field(field.name.clone(), member)).collect()
    });
    std::iter::once(Part::Leaves).chain(objects).collect()
}

/// Reads a part of a root field's answer; what the viewer may not read is left out and noted. None where it may not
/// read even the root.
async fn read(
    sdl: &Sdl,
    client: &Client,
    field: &Field,
    args: &Value,
    part: &Part,
    closed: &mut Closed,
) -> Option<Value> {
    let node = if field.is_connection() { sdl.node_of(field) } else { field.named().to_owned() };
    loop {
        // As deep as one document may go; a member's own list is walked to the end.
        let of_member = |member: &str, closed: &Closed| {
            let deep = (0..DEPTH - 1).rev().map(|depth| sdl.selection(member, depth, Some(closed)));
            let text = deep.into_iter().find(|text| text.matches(": ").count() <= ALIASES).unwrap_or_default();
            format!("__typename ... on {member} {{ {text} }}")
        };
        let inner = match part {
            Part::Leaves => sdl.selection(&node, 0, Some(closed)),
            Part::Member(member) => of_member(member, closed),
            Part::Below(part, below) => {
                let name = format!("{node}_{part}");
                let part = sdl.fields(&node).iter().find(|field| field.name == *part)?;
                let owner = part.named();
                let below_name = format!("{owner}_{below}");
                if closed.contains(&name) || closed.contains(&below_name) {
                    return None;
                }
                let below = sdl.fields(owner).iter().find(|field| field.name == *below)?;
                let leaves = sdl.selection(owner, 0, Some(closed));
                let text = sdl.select(below, DEPTH - 2, Some(closed))?;
                format!("{name}: {} {{ {leaves} {below_name}: {text} }}", part.name)
            }
            Part::Field(part, member) => {
                let name = format!("{node}_{part}");
                if closed.contains(&name) {
                    return None;
                }
                let part = sdl.fields(&node).iter().find(|field| field.name == *part)?;
                let text = match member {
                    Some(member) => format!("{} {{ {} }}", part.name, of_member(member, closed)),
                    None => sdl.select(part, DEPTH - 1, Some(closed))?,
                };
                format!("{name}: {text}")
            }
        };
        let selection = match field.is_connection() {
            true => format!("{} edges {{ cursor node {{ {inner} }} }}", sdl.count_of(field)),
            false => inner,
        };
        let document = sdl.document("Query", field, args, &selection);
        let (_, mut body) = client.send(&document, args.clone()).await;
        let Some(errors) = body["errors"].as_array() else { return Some(body["data"].take()) };
        let known = closed.len();
        for error in errors {
            assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{}: {error}", field.name);
            // The location tells more than the path, which ends where nulls end.
            let column = error["locations"][0]["column"].as_u64().and_then(|column| usize::try_from(column).ok());
            let rest = column.and_then(|column| document.get(column - 1..)).expect("a place in the document");
            let name = rest.split(':').next().unwrap_or_default();
            if name == "result" {
                return None;
            }
            closed.insert(name.to_owned());
        }
        assert!(closed.len() > known, "what is forbidden was not selected: {body}");
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
