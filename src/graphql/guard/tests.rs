//! The guard against documents that want to hurt, and the walk against a plain one that unfolds everything.

use std::fmt::Write as _;

use async_graphql::{
    Name, Variables,
    parser::{parse_query, types::DocumentOperations},
    value,
};
use proptest::prelude::*;

use super::{
    limits::INPUT_DEPTH,
    shape::{SCHEMA, Shape},
    walk::{Findings, walk},
    *,
};

fn variables(value: Value) -> Variables {
    Variables::from_value(value)
}

/// What the walk finds in a document over our own schema.
fn walked(text: &str, variables: &Variables) -> Result<Findings, Refused> {
    walk(&SCHEMA, &parse_query(text).expect("parses"), None, variables)
}

fn cost(text: &str, sent: Value) -> u64 {
    let findings = walked(text, &variables(sent)).expect("within all caps");
    findings.work + findings.objects
}

/// The cap that a document exceeds, wherever it is found out.
fn refused_by(text: &str, sent: Value) -> String {
    let document = match parse(text) {
        Ok(document) => document,
        Err(error) => return limit_of(&error),
    };
    weigh(&document, None, &variables(sent)).map_or_else(|error| limit_of(&error), |demand| format!("none: {demand:?}"))
}

fn limit_of(error: &ServerError) -> String {
    let extensions = error.extensions.as_ref().unwrap_or_else(|| panic!("{error:?}"));
    match extensions.get("limit").or_else(|| extensions.get("code")) {
        Some(Value::String(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

/// Fragments that each spread the next one `width` times, in fields of their own.
fn bomb(width: usize, depth: usize) -> String {
    let mut text = "{ viewer { ...F0 } }".to_owned();
    for level in 0..depth {
        let spreads: String = (0..width).map(|field| format!("f{field}: x {{ ...F{} }} ", level + 1)).collect();
        let _ = write!(text, "fragment F{level} on Viewer {{ {spreads} }} ");
    }
    let _ = write!(text, "fragment F{depth} on Viewer {{ x }}");
    text
}

/// As [`bomb`], spread side by side.
fn flat_bomb(width: usize, depth: usize) -> String {
    let mut text = "{ viewer { ...F0 } }".to_owned();
    for level in 0..depth {
        let spreads = format!("...F{} ", level + 1).repeat(width);
        let _ = write!(text, "fragment F{level} on Viewer {{ {spreads} }} ");
    }
    let _ = write!(text, "fragment F{depth} on Viewer {{ x }}");
    text
}

fn nested(open: &str, close: &str, times: usize, inner: &str) -> String {
    format!("{}{inner}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn hostile_documents_are_refused_by_a_cap() {
    let many = |part: &dyn Fn(usize) -> String, times| (0..times).map(part).collect::<String>();
    let cycle = "{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }";
    let cases: Vec<(String, &str)> = vec![
        (bomb(2, 20), "aliases"),
        (bomb(10, 6), "aliases"),
        (bomb(30, 5), "aliases"),
        (flat_bomb(2, 20), "fields"),
        (flat_bomb(10, 6), "fields"),
        (flat_bomb(30, 5), "fields"),
        (flat_bomb(2, 25), "fields"),
        (bomb(1, 30), "depth"),
        (flat_bomb(1, 150), "levels"),
        (flat_bomb(1, 220), "fragments"),
        (cycle.to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ ...A } fragment A on Query { ...A }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        (format!("{{ {} }}", many(&|number| format!("a{number}: __typename "), 300)), "rootFields"),
        (format!("{{ viewer {{ {} }} }}", many(&|number| format!("a{number}: roles "), 300)), "aliases"),
        (format!("{{ viewer {{ {} }} }}", "roles ".repeat(1_600)), "fields"),
        (format!("{{ viewer {} {{ roles }} }}", "@skip(if: false)".repeat(200)), "directivesAtOnce"),
        (format!("{{ viewer {} {{ roles }} }}", "@a".repeat(900)), "directivesAtOnce"),
        (format!("{{ viewer {{ {} }} }}", "roles @a @b ".repeat(150)), "directives"),
        (nested("{a", "}", 600, ""), "nesting"),
        (nested("{a", "}", 63, ""), "depth"),
        (nested("{...", "}", 60, "{a}"), "none"),
        (format!("{{ a(b: {}) }}", nested("[", "]", 900, "")), "nesting"),
        (format!("{{ a(b: {}) }}", nested("[", "]", 40, "")), "inputDepth"),
        (format!("{{ a(b: {}) }}", nested("{c:", "}", 40, "1")), "inputDepth"),
        (format!("query($a: Int = {}) {{ a }}", nested("[", "]", 40, "")), "inputDepth"),
        (format!("{{ a(b: [{}]) }}", "1,".repeat(10_000)), "tokens"),
        (format!("{{ a({}) }}", many(&|number| format!("b{number}: 1 "), 100)), "arguments"),
        (many(&|number| format!("query Q{number} {{ viewer {{ roles }} }} "), 100), "operations"),
        ("#".repeat(100_000), "bytes"),
        ("{ a }".repeat(10_000), "tokens"),
        (
            "subscription { conversions { cursor } earnings(affiliateId: 1) { cursor } }".to_owned(),
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ];
    for (text, limit) in cases {
        let refused = refused_by(&text, Value::Null);
        assert!(refused.starts_with(limit), "{limit}, not {refused}: {}", &text[..text.len().min(200)]);
    }
}

#[test]
fn comparisons_of_the_validator_are_bounded() {
    // Inline fragments inside each other: each level looks through all below it.
    let deep = format!("{{ viewer {} }}", nested("{ ...", "}", 55, &format!("{{ {} }}", "roles ".repeat(1_200))));
    assert_eq!(refused_by(&deep, Value::Null), "comparisons");
    // Many selections that each spread the same large fragment.
    let wide = format!(
        "{{ viewer {{ {} }} }} fragment F on Viewer {{ {} }}",
        "x { ...F } ".repeat(10),
        "roles(a: [1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0]) ".repeat(30)
    );
    assert!(refused_by(&wide, Value::Null).starts_with("none"));
    let wider = wide.replacen("x { ...F } ", &"... @skip(if: true) { ...F } ".repeat(4), 10);
    assert_eq!(refused_by(&wider, Value::Null), "comparisons");
    // Many operations over many variables, used in one fragment.
    let definitions: String = (0..10).map(|number| format!("$v{number}: Int ")).collect();
    let operations: String =
        (0..20).map(|number| format!("query Q{number}({definitions}) {{ viewer {{ ...F }} }} ")).collect();
    let text = format!("{operations} fragment F on Viewer {{ roles(a: [{}]) }}", "$v9 ".repeat(300));
    assert_eq!(refused_by(&text, Value::Null), "comparisons");
}

#[test]
fn variables_are_bounded_where_they_are_used() {
    let mut deep = value!(1);
    for _ in 0..=INPUT_DEPTH.most {
        deep = Value::List(vec![deep]);
    }
    assert_eq!(refused_by("query($v: [Int]) { a(b: $v) }", value!({ "v": deep })), "inputDepth");
    let long = Value::List(vec![value!(1); 60_000]);
    assert!(refused_by("query($v: [Int]) { a(b: $v) }", value!({ "v": long.clone() })).starts_with("none"));
    assert_eq!(refused_by("query($v: [Int]) { a(b: $v) c(b: $v) }", value!({ "v": long.clone() })), "inputs");
    let paged = "query($v: [Int]) { campaigns(first: 100) { nodes { name(x: $v) } } }";
    assert_eq!(refused_by(paged, value!({ "v": Value::List(vec![value!(1); 2_000]) })), "inputs");
    let text = Value::String("x".repeat(2_000_000));
    assert_eq!(
        refused_by("query($v: Int) { campaigns(first: 100) { nodes { name(x: $v) } } }", value!({ "v": text })),
        "inputs"
    );
    assert_eq!(refused_by("{ a }", value!({ "unused": Value::List(vec![value!(1); 200_000]) })), "inputs");
}

#[test]
fn work_is_linear_in_the_document() {
    let findings = walked(&flat_bomb(3, 6), &Variables::default()).expect("passes");
    assert_eq!((findings.fields, findings.visited), (1 + 729, 1 + 1 + 6 * 3 + 1));
    let text = format!("{{ viewer {{ {} }} }} fragment F on Viewer {{ roles roles }}", "...F ".repeat(500));
    assert_eq!(walked(&text, &Variables::default()).expect("passes").visited, 1 + 500 + 2);
}

#[test]
fn sums_saturate() {
    let excess = walked(&flat_bomb(100, 40), &Variables::default()).expect_err("refused");
    assert!(
        matches!(excess, Refused::Exceeds(excess) if excess.limit == "fields" && excess.actual == u64::MAX),
        "{excess:?}"
    );
    let levels = nested("campaigns(first: 100) { nodes { x { ", "} } }", 7, "id");
    assert!(walked(&format!("{{ {levels} }}"), &Variables::default()).is_ok());
}

#[test]
fn objects_of_the_answer_are_what_a_request_costs() {
    assert_eq!(cost("{ viewer { roles } }", Value::Null), 1);
    assert_eq!(cost("{ viewer { nope { nope } } nope }", Value::Null), 1);
    assert_eq!(cost("{ campaigns(first: 10) { nodes { id } } }", Value::Null), 11);
    assert_eq!(
        cost("{ campaigns(last: 10) { edges { node { id } } pageInfo { endCursor } totalCount } }", Value::Null),
        22
    );
    assert_eq!(cost("{ campaigns { nodes { id } } }", Value::Null), 1, "refused by the field");
    for (size, expected) in [(0, 1), (-1, 1), (100, 101), (101, 101), (i32::MAX, 101), (i32::MIN, 1)] {
        assert_eq!(cost(&format!("{{ campaigns(first: {size}) {{ nodes {{ id }} }} }}"), Value::Null), expected);
        let sent = value!({ "n": size });
        assert_eq!(cost("query($n: Int) { campaigns(first: $n) { nodes { id } } }", sent), expected);
    }
    assert_eq!(cost("query($n: Int = 7) { campaigns(first: $n) { nodes { id } } }", Value::Null), 8);
    assert_eq!(cost("query($n: Int = 7) { campaigns(first: $n) { nodes { id } } }", value!({ "n": 2 })), 3);
    let fragment = "{ a: campaigns(first: 3) { ...F } b: campaigns(first: 5) { ...F } } fragment F on CampaignConnection { nodes { id } }";
    assert_eq!(cost(fragment, Value::Null), 2 + 3 + 5, "a fragment takes the size of where it is spread");
    assert_eq!(
        cost("{ nodes(ids: [\"a\", \"b\"]) { id ... on Campaign { goals { id } } } }", Value::Null),
        2 * (1 + 10)
    );
    assert_eq!(cost("query($i: [ID!]!) { nodes(ids: $i) { id } }", value!({ "i": ["a", "b", "c"] })), 3);
}

#[test]
fn mutations_cost_a_transaction_and_batches_their_items() {
    assert_eq!(
        cost(
            "mutation($i: X) { recordConversion(input: $i) { conversion { id } } }",
            value!({ "i": { "goal": "sale" } })
        ),
        12
    );
    let batch = "mutation($i: X) { recordConversions(input: $i) { items { conversion { id } userErrors { code } } userErrors { code } } }";
    let items = Value::List(vec![value!({ "goal": "sale" }); 1_000]);
    assert_eq!(cost(batch, value!({ "i": { "items": items.clone() } })), 10 + 1_000 + 1 + 1 + 1_000 * 3);
    let inside = "mutation($i: [X]) { recordConversions(input: { items: $i }) { items { replayed } } }";
    assert_eq!(cost(inside, value!({ "i": items })), 10 + 1_000 + 1 + 1_000);
    let ids = "mutation { approveConversions(input: { ids: [\"a\", \"b\"] }) { items { id } } }";
    assert_eq!(cost(ids, Value::Null), 10 + 2 + 1 + 2);
}

#[test]
fn only_the_chosen_operation_is_charged() {
    let document =
        parse_query("query A { viewer { roles } } query B { campaigns(first: 50) { nodes { id } } }").expect("parses");
    let requested = |name| weigh(&document, name, &Variables::default()).expect("passes").requested;
    assert_eq!((requested(Some("A")), requested(Some("B")), requested(None)), (1, 51, 51));
}

#[test]
fn introspection_of_tools_passes_and_bombs_do_not() {
    let usual = include_str!("../../../tests/it/support/introspection.graphql");
    let document = parse(usual).expect("parses");
    let demand = weigh(&document, None, &Variables::default()).expect("passes");
    assert!(demand.introspects && demand.requested == 1_000, "{demand:?}");
    let bomb = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    assert_eq!(refused_by(bomb, Value::Null), "introspectionLists");
    assert!(
        !weigh(&parse("{ __typename }").expect("parses"), None, &Variables::default()).expect("passes").introspects
    );
}

#[test]
fn actual_cost_counts_what_the_answer_holds() {
    let demand = Demand { requested: 100, work: 12, introspects: false };
    let data = value!({ "a": { "b": [{ "c": 1 }, { "c": null }] }, "d": null });
    assert_eq!(demand.actual(&data), 12 + 3);
    assert_eq!(demand.actual(&Value::Null), 12);
}

/// A small schema in which everything can stand in everything.
const SMALL: &str = "
    type Query { a: A! many: [A!]! page(first: Int, last: Int): AConnection! x: Int }
    type A { a: A! many: [A!]! page(first: Int, last: Int): AConnection! x: Int }
    type AConnection { nodes: [A!]! edges: [AEdge!]! x: Int }
    type AEdge { node: A! x: Int }
";

/// Writes a selection by the numbers on a tape; a fragment spreads only those before it.
fn write_selection(
    tape: &mut impl Iterator<Item = u8>,
    of: &str,
    depth: usize,
    fragments: &[(String, &str)],
    text: &mut String,
) {
    text.push_str("{ x ");
    for _ in 0..tape.next().unwrap_or(0) % 4 {
        let choice = tape.next().unwrap_or(0);
        let spread = fragments.iter().filter(|(_, on)| *on == of).nth(usize::from(choice / 8));
        let (field, inner) = match (choice % 8, of) {
            (0 | 1, _) if spread.is_some() => {
                let _ = write!(text, "...{} ", spread.expect("some").0);
                continue;
            }
            (2, _) => (format!("... on {of}"), of),
            (3, "AConnection") => ("edges".to_owned(), "AEdge"),
            (_, "AConnection") => ("nodes".to_owned(), "A"),
            (_, "AEdge") => ("node".to_owned(), "A"),
            (3 | 4, _) => (format!("f{choice}: page(first: {})", choice / 8), "AConnection"),
            (5, _) => ("many".to_owned(), "A"),
            _ => ("a".to_owned(), "A"),
        };
        if depth > 0 {
            text.push_str(&field);
            write_selection(tape, inner, depth - 1, fragments, text);
        }
    }
    text.push_str("} ");
}

fn random_document(tape: &[u8]) -> String {
    let mut tape = tape.iter().copied();
    let (mut fragments, mut definitions) = (Vec::new(), String::new());
    for (number, of) in ["A", "AConnection", "A", "AEdge", "A", "AConnection", "Query"].into_iter().enumerate() {
        let _ = write!(definitions, "fragment F{number} on {of} ");
        write_selection(&mut tape, of, 2, &fragments, &mut definitions);
        fragments.push((format!("F{number}"), of));
    }
    let mut text = String::new();
    write_selection(&mut tape, "Query", 3, &fragments, &mut text);
    text + &definitions
}

/// Fields and objects of a selection, everything unfolded.
fn unfold(document: &ExecutableDocument, set: &async_graphql::parser::types::SelectionSet, size: u64) -> (u64, u64) {
    use async_graphql::parser::types::Selection;
    let (mut fields, mut objects) = (0, 0);
    for selection in &set.items {
        let (more_fields, more_objects) = match &selection.node {
            Selection::InlineFragment(inline) => unfold(document, &inline.node.selection_set.node, size),
            Selection::FragmentSpread(spread) => {
                let fragment = &document.fragments[&spread.node.fragment_name.node].node;
                unfold(document, &fragment.selection_set.node, size)
            }
            Selection::Field(field) => {
                let times = match field.node.name.node.as_str() {
                    "x" => 0,
                    "edges" | "nodes" => size,
                    "many" => 10,
                    _ => 1,
                };
                let size = match field.node.get_argument("first").map(|value| value.node.to_string()) {
                    Some(number) => number.parse().expect("a number"),
                    None => 0,
                };
                let (fields, objects) = unfold(document, &field.node.selection_set.node, size);
                (1 + fields, times * (1 + objects))
            }
        };
        fields += more_fields;
        objects += more_objects;
    }
    (fields, objects)
}

proptest! {
    #[test]
    fn walk_finds_what_unfolding_finds(tape in prop::collection::vec(any::<u8>(), 0..120)) {
        let schema = Shape::parse(SMALL);
        let text = random_document(&tape);
        let document = parse_query(&text).expect("parses");
        let DocumentOperations::Single(operation) = &document.operations else { panic!("one operation") };
        let (fields, objects) = unfold(&document, &operation.node.selection_set.node, 0);
        match walk(&schema, &document, None, &Variables::default()) {
            Ok(findings) => prop_assert_eq!((findings.fields, findings.objects), (fields, objects), "{}", text),
            Err(Refused::Exceeds(excess)) if excess.limit == "fields" => prop_assert_eq!(excess.actual, fields),
            Err(Refused::Exceeds(_)) => {}
            Err(Refused::Invalid(why)) => panic!("{why}: {text}"),
        }
    }

    #[test]
    fn any_variables_are_weighed(number in any::<i64>(), depth in 0..20_usize, length in 0..50_usize) {
        let mut value = Value::from(number);
        for _ in 0..depth {
            value = Value::List(vec![value; length.min(2)]);
        }
        let sent = Variables::from_value(Value::Object([(Name::new("n"), value)].into_iter().collect()));
        let document = parse_query("query($n: Int) { campaigns(first: $n) { nodes { id } } nodes(ids: $n) { id } }").expect("parses");
        let _ = weigh(&document, None, &sent);
    }
}
