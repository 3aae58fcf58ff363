//! The schema keeps its own conventions, everywhere: described, paged, bounded, idempotent. Found by walking it, so that
//! a new type is held to them as it comes; what is different is on a list with its reason.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::support::{
    Client, Programme, Sdl, Terms, on_both,
    samples::{fresh, samples},
    sdl::{Field, Kind},
    surface::World,
};

/// Lists that are no connections and do not say `at most`: what bounds each.
const BOUNDED: &[(&str, &str)] = &[
    ("ApiKey.scopes", "one of each scope"),
    ("Click.labels", "ten"),
    ("Conversion.labels", "ten"),
    ("Earnings.balances", "one per currency"),
    ("Journal.entries", "two to four per commission of one conversion"),
    ("Query.nodes", "one per id, of which at most 100"),
    ("RecordClicksPayload.items", "one per item, of which at most 1,000"),
    ("RecordConversionsPayload.items", "one per item, of which at most 1,000"),
    ("ReviewConversionsPayload.items", "one per id, of which at most 1,000"),
    ("TrialBalance.lines", "one per account code and currency"),
    ("TrialBalance.totals", "one per currency"),
    ("User.roles", "one of each role"),
    ("UserError.field", "the depth of an input"),
    ("Viewer.permissions", "one of each permission"),
    ("Viewer.roles", "one of each role"),
];
/// Mutations that answer no `replayed`: a repeated call does something, or its items say it each.
const NOT_REPLAYED: &[&str] =
    &["login", "logout", "recordClicks", "recordConversions", "recordRevenue", "refreshSession"];

#[test]
fn schema_file_is_that_of_this_build() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let file = fs::read_to_string(path).expect("schema.graphql");
    let built = tributary::graphql::sdl();
    let differs = file.lines().zip(built.lines()).position(|(file, built)| file != built);
    assert!(file == built, "schema.graphql is not current from line {differs:?} on: `make schema` renews it");
}

#[test]
fn everything_in_the_schema_is_described() {
    let sdl = Sdl::of_this_build();
    let mut bare = Vec::new();
    let is_bare = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().len() < 3);
    for def in sdl.types.values() {
        if is_bare(&def.description) {
            bare.push(def.name.clone());
        }
        for field in &def.fields {
            if is_bare(&field.description) {
                bare.push(format!("{}.{}", def.name, field.name));
            }
            let args = field.args.iter().filter(|arg| is_bare(&arg.description));
            bare.extend(args.map(|arg| format!("{}.{}({})", def.name, field.name, arg.name)));
        }
    }
    assert!(bare.is_empty(), "without a description: {bare:#?}");
}

#[test]
fn every_list_is_a_connection_or_bounded() {
    let sdl = Sdl::of_this_build();
    let mut unbounded = BTreeSet::new();
    let mut listed = BTreeSet::new();
    for def in sdl.types.values().filter(|def| matches!(def.kind, Kind::Object | Kind::Interface)) {
        for field in def.fields.iter().filter(|field| field.is_list()) {
            let name = format!("{}.{}", def.name, field.name);
            let description = field.description.clone().unwrap_or_default().to_lowercase();
            let of_page = def.name.ends_with("Connection") && (field.name == "edges" || field.name == "nodes");
            if BOUNDED.iter().any(|(known, _)| *known == name) {
                listed.insert(name);
            } else if !of_page && field.named() != "UserError" && !description.contains("at most") {
                unbounded.insert(name);
            }
        }
    }
    assert!(unbounded.is_empty(), "make it a connection, or say `at most` how many: {unbounded:#?}");
    assert_eq!(listed.len(), BOUNDED.len(), "off the list what is no list any more");
}

#[test]
fn every_mutation_takes_one_input_and_answers_refusals_as_data() {
    let sdl = Sdl::of_this_build();
    let text = |field: &Field| field.ty.as_ref().map(ToString::to_string).unwrap_or_default();
    for mutation in sdl.fields("Mutation") {
        let name = &mutation.name;
        let args: Vec<_> = mutation.args.iter().map(|arg| arg.name.as_str()).collect();
        assert_eq!(args, ["input"], "{name}");
        let input = sdl.get(mutation.args[0].named()).expect("an input type");
        assert!(input.kind == Kind::Input && text(&mutation.args[0]).ends_with('!'), "{name} needs its input");

        let payload = sdl.fields(mutation.named());
        assert!(mutation.named().ends_with("Payload") && text(mutation).ends_with('!'), "{name} answers a payload");
        let answer = |field: &str| payload.iter().find(|known| known.name == field).map(text);
        assert_eq!(answer("userErrors").as_deref(), Some("[UserError!]!"), "{name}");
        let is_exception = NOT_REPLAYED.contains(&name.as_str());
        let expected = (!is_exception).then_some("Boolean!");
        assert_eq!(answer("replayed").as_deref(), expected, "{name} says whether it is an earlier call's answer");

        let has_key = |fields: &[Field]| fields.iter().any(|field| field.name == "idempotencyKey");
        assert_eq!(has_key(&input.fields), !is_exception, "{name} takes an idempotency key");
        if let Some(items) = input.fields.iter().find(|field| field.name == "items") {
            let fields = sdl.fields(items.named());
            // A reference that each has to have is one for ever.
            let has_reference = fields.iter().any(|field| field.name == "reference" && text(field) == "String!");
            assert!(has_key(fields) || has_reference, "{name}: each item takes an idempotency key");
            let answers = payload.iter().find(|field| field.name == "items").expect("an answer per item");
            assert!(
                sdl.fields(answers.named()).iter().any(|field| field.name == "replayed"),
                "{name}: each item says it"
            );
        }
    }
}

#[test]
fn every_connection_has_the_same_arguments() {
    let sdl = Sdl::of_this_build();
    for (name, field) in connections(&sdl) {
        for (arg, expected) in [("first", "Int"), ("after", "String"), ("last", "Int"), ("before", "String")] {
            let ty = field.arg(arg).and_then(|arg| arg.ty.as_ref()).map(ToString::to_string);
            assert_eq!(ty.as_deref(), Some(expected), "{name}({arg})");
        }
    }
}

on_both! {
    async fn every_connection_wants_a_good_page(app) {
        let owner = app.owner();
        let pages = Pages::of(Sdl::of_this_build(), World::seed(app, &owner).await);
        let cursor = pages.cursor(&owner).await;
        for (name, field) in connections(&pages.sdl) {
            for (good, bad) in [("first", "last"), ("last", "first")] {
                for page in [format!("{good}: 1"), format!("{good}: 100"), format!("{good}: 5, {bad}: null")] {
                    let answer = pages.read(&owner, &name, &field, &page).await;
                    assert!(answer.get("errors").is_none(), "{name}({page}): {answer}");
                }
                for (page, code) in [
                    (format!("{good}: 0"), "OUT_OF_RANGE"),
                    (format!("{good}: -1"), "OUT_OF_RANGE"),
                    (format!("{good}: 101"), "OUT_OF_RANGE"),
                    (format!("{good}: 2147483647"), "OUT_OF_RANGE"),
                    (format!("{good}: -2147483648"), "OUT_OF_RANGE"),
                    (format!("{good}: 2147483648"), "GRAPHQL_VALIDATION_FAILED"),
                    (format!("{good}: 1, {bad}: 1"), "REQUIRED"),
                    (format!("{good}: null"), "REQUIRED"),
                ] {
                    assert_eq!(pages.code(&owner, &name, &field, &page).await, code, "{name}({page})");
                }
            }
            assert_eq!(pages.code(&owner, &name, &field, "").await, "REQUIRED", "{name} without a page");
            for (direction, side) in [("first", "after"), ("last", "before")] {
                for wrong in ["", "nonsense", "AAAA", "\\u0000"] {
                    let page = format!("{direction}: 1, {side}: \"{wrong}\"");
                    assert_eq!(pages.code(&owner, &name, &field, &page).await, "CURSOR_INVALID", "{name}({page})");
                }
                let page = format!("{direction}: 1, {side}: {cursor}");
                let answer = pages.read(&owner, &name, &field, &page).await;
                assert_eq!(answer.get("errors").is_none(), name == CURSOR_OF, "{name}: a cursor of {CURSOR_OF}: {answer}");
            }
        }
    }

    async fn example_of_the_contract_works_as_written(app) {
        let owner = app.owner();
        let programme = Programme::build(&owner, &Terms::default()).await;
        let click = programme.click(&owner).await;
        let filter = SUBSCRIPTION.replace("cmp_..", &programme.campaign);
        let mut live = owner.subscribe(&filter, json!({})).await;
        let mutation = MUTATION.replace("clk_..", &click);
        // A subscription without a cursor begins when it is in place: told apart by repeating the call with other orders.
        let mut event = Value::Null;
        let mut payload = Value::Null;
        for order in 1_001..1_100 {
            let mutation = mutation.replace("1001", &order.to_string());
            payload = owner.data(&mutation, json!({})).await["recordConversion"].take();
            assert_eq!(payload["userErrors"], json!([]), "{payload}");
            let waited = tokio::time::timeout(std::time::Duration::from_millis(300), live.next()).await;
            if let Ok(mut data) = waited {
                event = data["conversions"].take();
                break;
            }
        }
        let conversion = &payload["conversion"];
        assert_eq!(event["conversion"]["id"], conversion["id"]);
        assert_eq!(event["type"], "RECORDED");
        assert_eq!(event["conversion"]["commissionTotal"], json!({ "amount": "4.90", "currency": "EUR" }));
        assert_eq!(event["conversion"]["affiliate"], conversion["attribution"]["touches"][0]["affiliate"]);
        assert_eq!(conversion["saleAmount"], json!({ "amount": "49.00", "currency": "EUR" }));
        assert_eq!(payload["replayed"], false);
        let again = owner.data(&mutation, json!({})).await["recordConversion"].take();
        assert_eq!(again["replayed"], true);
        assert_eq!(again["conversion"]["status"], conversion["status"]);
    }
}

/// The example of the API contract, as clients read it.
const MUTATION: &str = r#"mutation { recordConversion(input: { idempotencyKey: "o-1001", clickId: "clk_..", goal: "sale", orderId: "1001", saleAmount: { amount: "49.00", currency: EUR } }) {
  replayed conversion { id status saleAmount { amount currency } attribution { model touches { click { id } affiliate { name } share } } commissions { affiliate { name } amount { amount currency } explanation { rule tier fx } } } userErrors { code field message } } }"#;
const SUBSCRIPTION: &str = r#"subscription { conversions(after: null, filter: { campaignIds: ["cmp_.."] }) { cursor type conversion { id status affiliate { name } commissionTotal { amount currency } } } }"#;

/// Every connection of the schema, as `Type.field`.
fn connections(sdl: &Sdl) -> Vec<(String, Field)> {
    let mut found = Vec::new();
    for def in sdl.types.values() {
        let fields = def.fields.iter().filter(|field| field.is_connection());
        found.extend(fields.map(|field| (format!("{}.{}", def.name, field.name), field.clone())));
    }
    assert!(found.len() >= 12, "connections are found");
    found
}

/// The connection whose cursor is tried on all others.
const CURSOR_OF: &str = "Query.affiliates";

/// Reads pages of any connection.
struct Pages {
    sdl: Sdl,
    world: World,
}

impl Pages {
    const fn of(sdl: Sdl, world: World) -> Self {
        Self { sdl, world }
    }

    /// A page of a connection at a root, or below the object of a sample.
    async fn read(&self, client: &Client, name: &str, field: &Field, page: &str) -> Value {
        let page = if page.is_empty() { String::new() } else { format!("({page})") };
        let inner = format!("{}{page} {{ edges {{ cursor }} }}", field.name);
        let (of, _) = name.split_once('.').expect("a type");
        if of == "Query" {
            return client.send(&format!("{{ {inner} }}"), json!({})).await.1;
        }
        let by_id = self.sdl.fields("Query").iter().find(|field| field.named() == of && field.arg("id").is_some());
        let by_id = by_id.unwrap_or_else(|| panic!("{name}: a query that answers one {of} by its id"));
        let samples = samples(&self.world);
        let args = fresh(&samples[format!("Query.{}", by_id.name).as_str()][0]);
        client.send(&self.sdl.document("Query", by_id, &args, &inner), args).await.1
    }

    async fn code(&self, client: &Client, name: &str, field: &Field, page: &str) -> String {
        let answer = self.read(client, name, field, page).await;
        answer["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{name}({page}): {answer}"))
            .to_owned()
    }

    /// A good cursor, as a literal.
    async fn cursor(&self, client: &Client) -> String {
        let answer = client.data("{ affiliates(first: 1) { edges { cursor } } }", json!({})).await;
        answer["affiliates"]["edges"][0]["cursor"].to_string()
    }
}
