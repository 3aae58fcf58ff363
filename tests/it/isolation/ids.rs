//! Another's id answers exactly like one that names nothing, in every argument that takes an id.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::walk;
use crate::support::{
    Client, Sdl, on_both_tuned,
    samples::{fresh, samples},
    sdl::Field,
    surface::{self, World, is_id},
};

/// How long a subscription is watched that may say nothing.
const WATCH: Duration = Duration::from_millis(400);

on_both_tuned! { crate::isolation::without_limits =>
    async fn id_of_another_tenant_answers_like_one_that_names_nothing(app) {
        let (owner, stranger) = (app.owner(), app.stranger());
        let home = World::seed(app, &owner).await;
        let away = World::seed(app, &stranger).await;
        let sdl = Sdl::of_this_build();
        let before = walk::everything(&sdl, &stranger, &away).await.answers;

        let caller = Caller { sdl: &sdl, client: &owner, affiliate: app.affiliate(&home.ids["aff"]), own: &home };
        for place in places(&sdl, &home) {
            caller.tells_no_difference(&place, &away).await;
        }
        assert_eq!(walk::everything(&sdl, &stranger, &away).await.answers, before, "the other tenant was touched");

        // The samples are good calls, and so were refused above for nothing but the id.
        for place in in_order(places(&sdl, &home)) {
            let answer = caller.call(&place, &fresh(&place.sample)).await;
            let codes = codes(&answer);
            assert!(
                answer.get("errors").is_none() && !codes.iter().any(|code| code == "NOT_FOUND" || code == "INVALID_ID"),
                "{place}: a sample with own ids is not found: {answer}"
            );
            let empty = answer["data"]["result"].is_null() || answer["data"]["result"]["edges"] == json!([]);
            assert!(place.root == "Subscription" || !empty, "{place}: a sample with own ids finds nothing: {answer}");
        }
    }

    async fn id_of_another_affiliate_answers_like_one_that_names_nothing(app) {
        let owner = app.owner();
        let (ada, bob) = (World::seed(app, &owner).await, World::seed(app, &owner).await);
        let sdl = Sdl::of_this_build();
        let client = app.affiliate(&ada.ids["aff"]);
        let caller = Caller { sdl: &sdl, client: &client, affiliate: client.clone(), own: &ada };
        for place in places(&sdl, &ada) {
            caller.tells_no_difference(&place, &bob).await;
        }
    }

    async fn id_of_another_kind_is_refused_as_such(app) {
        let owner = app.owner();
        let home = World::seed(app, &owner).await;
        let sdl = Sdl::of_this_build();
        let caller = Caller { sdl: &sdl, client: &owner, affiliate: app.affiliate(&home.ids["aff"]), own: &home };
        for place in places(&sdl, &home) {
            for wrong in [app.home.to_string(), surface::random_id("xyz"), "cmp_1".to_owned(), String::new()] {
                let answer = caller.call(&place, &place.with(&wrong)).await;
                assert_eq!(codes(&answer), ["INVALID_ID"], "{place} with `{wrong}`: {answer}");
                let refused_as_data = answer.get("errors").is_none();
                assert_eq!(refused_as_data, place.root == "Mutation", "{place} with `{wrong}`: {answer}");
            }
        }
    }
}

#[test]
fn every_argument_that_takes_an_id_is_in_a_sample() {
    let sdl = Sdl::of_this_build();
    // Only roots are called here: an id deeper down would go untested.
    for def in sdl.types.values().filter(|def| !ROOTS.contains(&def.name.as_str())) {
        for field in &def.fields {
            let ids: Vec<String> = field.args.iter().flat_map(|arg| pointers(&sdl, arg)).collect();
            assert!(ids.is_empty(), "{}.{} takes ids {ids:?}: teach this test to call it", def.name, field.name);
        }
    }
    let nodes = sdl.implementors("Node").len();
    assert_eq!(nodes, surface::NODES.len(), "each type that implements Node has its prefix in surface::NODES");
}

const ROOTS: [&str; 3] = ["Query", "Mutation", "Subscription"];

/// One argument of type ID in a good call.
struct Place {
    root: &'static str,
    field: Field,
    sample: Value,
    pointer: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{} {}", self.root, self.field.name, self.pointer)
    }
}

impl Place {
    /// The sample with another id in this place.
    fn with(&self, id: &str) -> Value {
        let mut args = fresh(&self.sample);
        *args.pointer_mut(&self.pointer).expect("a place in its sample") = id.into();
        args
    }

    fn id(&self) -> &str {
        self.sample.pointer(&self.pointer).and_then(Value::as_str).expect("an id in its place")
    }
}

/// All places of the schema, each in a sample over `own` objects.
fn places(sdl: &Sdl, own: &World) -> Vec<Place> {
    let samples = samples(own);
    let mut places = Vec::new();
    for root in ROOTS {
        for field in sdl.fields(root) {
            for pointer in field.args.iter().flat_map(|arg| pointers(sdl, arg)) {
                let name = format!("{root}.{}", field.name);
                let given: Vec<&Value> = samples.get(name.as_str()).into_iter().flatten().collect();
                let good: Vec<_> = given.into_iter().filter(|sample| sample.pointer(&pointer).is_some()).collect();
                assert!(!good.is_empty(), "{name} takes an id at {pointer}: add a sample call to support/samples.rs");
                places.extend(good.into_iter().map(|sample| Place {
                    root,
                    field: field.clone(),
                    sample: sample.clone(),
                    pointer: pointer.clone(),
                }));
            }
        }
    }
    assert!(places.len() > 60, "the walk finds ids");
    places
}

/// JSON pointers to the ids of an argument, by its type.
fn pointers(sdl: &Sdl, arg: &Field) -> Vec<String> {
    let here = if arg.is_list() { format!("/{}/0", arg.name) } else { format!("/{}", arg.name) };
    match arg.named() {
        "ID" => vec![here],
        other => {
            let below = sdl.fields(other).iter().filter(|_| !sdl.is_leaf(other));
            below.flat_map(|field| pointers(sdl, field)).map(|rest| format!("{here}{rest}")).collect()
        }
    }
}

/// What ends something comes after what needs it.
fn in_order(mut places: Vec<Place>) -> Vec<Place> {
    let ends = ["archive", "reject", "suspend", "revoke", "disable", "setUserRoles"];
    places.sort_by_key(|place| ends.iter().any(|end| place.field.name.starts_with(end)));
    places
}

/// Somebody who tries ids.
struct Caller<'a> {
    sdl: &'a Sdl,
    client: &'a Client,
    /// Calls what only affiliates may.
    affiliate: Client,
    own: &'a World,
}

impl Caller<'_> {
    /// Fails unless the other's id at a place answers as an id does that names nothing.
    async fn tells_no_difference(&self, place: &Place, other: &World) {
        let nothing = self.own.of_nothing();
        let foreign = self.call(place, &place.with(&other.like(place.id()))).await;
        let absent = self.call(place, &place.with(&nothing.like(place.id()))).await;
        assert_eq!(plain(&foreign), plain(&absent), "{place}: another's id is told from one that names nothing");
        for secret in [&other.name].into_iter().chain(other.ids.values()) {
            let echoed = place_value(&place.with(&other.like(place.id())), &place.pointer) == *secret;
            assert!(echoed || !foreign.to_string().contains(secret.as_str()), "{place} tells {secret}: {foreign}");
        }
    }

    async fn call(&self, place: &Place, args: &Value) -> Value {
        let client = if place.field.name == "applyToCampaign" { &self.affiliate } else { self.client };
        call(self.sdl, client, place.root, &place.field, args).await
    }
}

fn place_value<'a>(args: &'a Value, pointer: &str) -> &'a str {
    args.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Calls a root field and selects all of its answer, two objects deep: of a query, in as many documents as it takes, whose
/// answers are `further`; of what is done by being asked, in one, as deep as that may go. Of a subscription, the first
/// message or silence.
async fn call(sdl: &Sdl, client: &Client, root: &str, field: &Field, args: &Value) -> Value {
    if root == "Query" {
        let mut answers = Vec::new();
        for selection in sdl.pieces(field.named(), 2, None) {
            answers.push(client.send(&sdl.document(root, field, args, &selection), args.clone()).await.1);
        }
        let further = answers.split_off(1);
        let mut answer = answers.remove(0);
        if !further.is_empty() {
            answer["further"] = further.into();
        }
        return answer;
    }
    let deep = (0..=2).rev().map(|depth| sdl.pieces(field.named(), depth, None));
    let selection = deep.filter(|pieces| pieces.len() == 1).flatten().next().unwrap_or_default();
    let document = sdl.document(root, field, args, &selection);
    if root != "Subscription" {
        return client.send(&document, args.clone()).await.1;
    }
    let mut socket = client.subscribe(&document, args.clone()).await;
    match timeout(WATCH, socket.message()).await {
        Ok(mut message) if message["type"] == "error" => json!({ "errors": message["payload"].take() }),
        Ok(mut message) => message["payload"].take(),
        Err(_) => json!("silence"),
    }
}

/// The codes of an answer: of its errors and of its `userErrors`.
fn codes(answer: &Value) -> Vec<String> {
    let mut codes = Vec::new();
    for error in answer["errors"].as_array().into_iter().flatten() {
        codes.push(error["extensions"]["code"].as_str().unwrap_or("(none)").to_owned());
    }
    let result = &answer["data"]["result"];
    for payload in std::iter::once(result).chain(result["items"].as_array().into_iter().flatten()) {
        for error in payload["userErrors"].as_array().into_iter().flatten() {
            codes.push(error["code"].as_str().unwrap_or("(none)").to_owned());
        }
    }
    codes
}

/// An answer without what two equal calls differ in: ids become numbers in the order in which they appear, instants,
/// cursors, codes and texts made for the call become words.
fn plain(answer: &Value) -> Value {
    fn word(token: &str, seen: &mut BTreeMap<String, usize>) -> String {
        if is_id(token) {
            let next = seen.len();
            let number = *seen.entry(token.to_owned()).or_insert(next);
            return format!("{}#{number}", &token[..3]);
        }
        if token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return "UNIQUE".to_owned();
        }
        token.to_owned()
    }
    fn text(text: &str, seen: &mut BTreeMap<String, usize>) -> String {
        if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
            return "INSTANT".to_owned();
        }
        // A cursor is signed with the filter it is for, and the filter names the id.
        if text.len() == 55 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return "CURSOR".to_owned();
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut plain = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            plain += &word(&rest[..end], seen);
            let next = rest[end..].find(is_part).map_or(rest.len(), |start| end + start);
            plain += &rest[end..next];
            rest = &rest[next..];
        }
        plain
    }
    fn value(given: &Value, seen: &mut BTreeMap<String, usize>) -> Value {
        match given {
            Value::String(given) => text(given, seen).into(),
            Value::Array(items) => items.iter().map(|item| value(item, seen)).collect(),
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(name, _)| *name != "requestId" && *name != "cursor");
                kept.map(|(name, given)| (name.clone(), value(given, seen))).collect()
            }
            other => other.clone(),
        }
    }
    value(answer, &mut BTreeMap::new())
}
