//! A subscription as it was asked for, split into what it shares with others and its own beginning.
//!
//! # Decisions
//! - `after` is where one client stands, so it is no part of what is shared: the text of a cursor in a variable is taken
//!   out where the variable serves nothing else. A cursor written into the document stays in its text, and such a
//!   document is shared only with its like.
//! - What does not look like this is not shared as widely, never refused: types are the schema's to check. So that one
//!   client's mistake cannot refuse others, a variable is taken out only where any cursor is good in its place.

use async_graphql::{
    Name, Request, Value as Const, Variables,
    parser::types::{DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection},
};

use crate::graphql::execution::{Refusal, RefusalKind};

/// The argument of every subscription field that names where it begins.
const AFTER: &str = "after";

/// What is executed, the same for all who share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Document {
    query: String,
    operation_name: Option<String>,
    /// As JSON, without the one that holds `after`.
    variables: String,
    /// The variable that holds `after`, when it was taken out.
    after_variable: Option<Name>,
}

/// A document, and where its one client begins.
#[derive(Debug)]
pub(super) struct Asked {
    pub document: Document,
    pub after: Option<String>,
}

impl Document {
    /// A request for one more execution. Its `after` means nothing: the machinery says where to begin.
    pub fn request(&self) -> Request {
        let mut variables: Variables = serde_json::from_str(&self.variables).expect("written by `Asked::of`");
        if let Some(name) = &self.after_variable {
            variables.insert(name.clone(), Const::String(String::new()));
        }
        let mut request = Request::new(&self.query).variables(variables);
        request.operation_name.clone_from(&self.operation_name);
        request
    }
}

impl Asked {
    /// Takes a request apart.
    ///
    /// # Errors
    /// [`RefusalKind::Document`] unless it is a subscription to exactly one field.
    pub fn of(mut request: Request) -> Result<Self, Refusal> {
        let chosen = request.operation_name.clone();
        let document = request.parsed_query().map_err(|error| refusal(vec![error]))?;
        let argument = operation(document, chosen.as_deref())
            .and_then(|operation| Some((operation, only_field(operation)?)))
            .map(|(operation, field)| After::of(operation, field))
            .ok_or_else(|| {
                refusal(vec![async_graphql::ServerError::new("a subscription has exactly one field", None)])
            })?;
        let mut after_variable = None;
        let value = match argument {
            After::Constant(value) => value,
            After::Variable { name, nullable, default } => {
                let value = request.variables.get(&name).cloned().or(default);
                let is_cursor = match &value {
                    Some(Const::String(_)) => true,
                    None | Some(Const::Null) => nullable,
                    Some(_) => false,
                };
                if is_cursor && is_used_once(&request.query, &name) {
                    request.variables.remove(&name);
                    after_variable = Some(name);
                }
                value
            }
        };
        let after = match value {
            Some(Const::String(text)) => Some(text),
            _ => None,
        };
        let variables = serde_json::to_string(&request.variables).expect("variables are plain data");
        let document =
            Document { query: request.query, operation_name: request.operation_name, variables, after_variable };
        Ok(Self { document, after })
    }
}

/// How a field is told where to begin.
enum After {
    Constant(Option<Const>),
    Variable { name: Name, nullable: bool, default: Option<Const> },
}

impl After {
    fn of(operation: &OperationDefinition, field: &Field) -> Self {
        let Some(value) = field.get_argument(AFTER) else { return Self::Constant(None) };
        match value.node.clone().into_const_with(Err) {
            Ok(constant) => Self::Constant(Some(constant)),
            Err(name) => {
                let definition =
                    operation.variable_definitions.iter().map(|it| &it.node).find(|it| it.name.node == name);
                Self::Variable {
                    nullable: definition.is_some_and(|it| it.var_type.node.nullable),
                    default: definition.and_then(|it| Some(it.default_value.as_ref()?.node.clone())),
                    name,
                }
            }
        }
    }
}

fn operation<'a>(document: &'a ExecutableDocument, name: Option<&str>) -> Option<&'a OperationDefinition> {
    let operation = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => operation,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name)?,
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => operations.values().next()?,
        _ => return None,
    };
    (operation.node.ty == OperationType::Subscription).then_some(&operation.node)
}

fn only_field(operation: &OperationDefinition) -> Option<&Field> {
    match &operation.selection_set.node.items[..] {
        [selection] => match &selection.node {
            Selection::Field(field) => Some(&field.node),
            Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
        },
        _ => None,
    }
}

/// Whether a variable stands in the text but for its declaration and one use. Told by the text: a mention in a string or
/// a comment only makes the answer no.
fn is_used_once(query: &str, name: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mentions = query.split('$').skip(1).filter(|rest| {
        let rest = rest.trim_start();
        rest.strip_prefix(name).is_some_and(|behind| !behind.starts_with(is_name))
    });
    mentions.count() == 2
}

const fn refusal(errors: Vec<async_graphql::ServerError>) -> Refusal {
    Refusal { kind: RefusalKind::Document, errors }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn asked(query: &str, variables: Json) -> Asked {
        Asked::of(Request::new(query).variables(Variables::from_json(variables))).expect("one field")
    }

    const QUERY: &str = "subscription($after: Cursor, $goals: [String!]) { \
        conversions(after: $after, filter: { goals: $goals }) { cursor } }";

    #[test]
    fn clients_at_different_places_share_a_document() {
        let first = asked(QUERY, json!({ "goals": ["sale"] }));
        let second = asked(QUERY, json!({ "goals": ["sale"], "after": null }));
        let third = asked(QUERY, json!({ "goals": ["sale"], "after": "x" }));
        assert_eq!((&first.document, &second.document), (&third.document, &third.document));
        assert_eq!((first.after, second.after, third.after.as_deref()), (None, None, Some("x")));
        assert_ne!(third.document, asked(QUERY, json!({ "goals": ["lead"] })).document);
    }

    #[test]
    fn cursor_in_the_text_is_found_and_not_shared() {
        let query = |after: &str| format!("subscription {{ conversions(after: {after}) {{ cursor }} }}");
        let first = asked(&query("\"x\""), json!({}));
        assert_eq!(first.after.as_deref(), Some("x"));
        assert_ne!(first.document, asked(&query("null"), json!({})).document);
    }

    #[test]
    fn variable_with_another_use_stays() {
        let query =
            "subscription($after: String) { conversions(after: $after, filter: { goals: [$after] }) { cursor } }";
        let first = asked(query, json!({ "after": "a" }));
        assert_eq!(first.after.as_deref(), Some("a"));
        assert_ne!(first.document, asked(query, json!({ "after": "b" })).document);
    }

    #[test]
    fn what_only_one_client_sent_wrongly_is_its_own() {
        let strict = QUERY.replace("Cursor,", "Cursor!,");
        let good = asked(&strict, json!({ "after": "x" }));
        assert_ne!(good.document, asked(&strict, json!({ "after": null })).document);
        assert_ne!(good.document, asked(&strict, json!({})).document);
        assert_ne!(asked(QUERY, json!({ "after": 5 })).document, asked(QUERY, json!({})).document);
    }

    #[test]
    fn default_of_the_variable_counts() {
        let query = "subscription($after: Cursor = \"d\") { conversions(after: $after) { cursor } }";
        assert_eq!(asked(query, json!({})).after.as_deref(), Some("d"));
        assert_eq!(asked(query, json!({ "after": null })).after, None);
    }

    #[test]
    fn only_subscriptions_to_one_field_are_taken() {
        for query in [
            "{ conversions(first: 1) { totalCount } }",
            "subscription { a: conversions { cursor } b: conversions { cursor } }",
            "subscription { ...F } fragment F on Subscription { conversions { cursor } }",
            "subscription A { conversions { cursor } } subscription B { conversions { cursor } }",
            "subscription {",
        ] {
            let refusal = Asked::of(Request::new(query)).expect_err(query);
            assert_eq!((refusal.kind, refusal.errors.len()), (RefusalKind::Document, 1), "{query}");
        }
    }

    #[test]
    fn request_of_a_document_asks_the_same() {
        let request = asked(QUERY, json!({ "goals": ["sale"], "after": "x" })).document.request();
        assert_eq!(request.query, QUERY);
        assert_eq!(serde_json::to_value(request.variables).expect("plain"), json!({ "goals": ["sale"], "after": "" }));
    }
}
