//! Variables that an operation cannot do without.
//!
//! # Decisions
//! - The crate's validation lets them be absent or null, so that a field fails where the specification refuses the whole
//!   request (CoerceVariableValues): checked here, before anything runs.

use async_graphql::{
    Name, ServerError, Value, Variables,
    parser::types::{ExecutableDocument, VariableDefinition},
};

/// Refuses a request that leaves a needed variable of its operation out, or gives null for it.
///
/// # Errors
/// The first such variable, with its place.
pub(super) fn check(
    document: &ExecutableDocument,
    chosen: Option<&str>,
    variables: &Variables,
) -> Result<(), ServerError> {
    let mut operations = document.operations.iter();
    let operation = operations.find(|(name, _)| chosen.is_none() || name.map(Name::as_str) == chosen);
    let Some((_, operation)) = operation else { return Ok(()) };
    for definition in &operation.node.variable_definitions {
        let VariableDefinition { name, var_type, default_value, .. } = &definition.node;
        let what = match variables.get(&name.node) {
            Some(Value::Null) if !var_type.node.nullable => "must not be null",
            None if !var_type.node.nullable && default_value.is_none() => "was not provided",
            _ => continue,
        };
        let message = format!("Variable \"${}\" of required type \"{}\" {what}.", name.node, var_type.node);
        return Err(ServerError::new(message, Some(definition.pos)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    fn refusal(document: &str, chosen: Option<&str>, variables: serde_json::Value) -> Option<String> {
        let document = parse_query(document).expect("parses");
        check(&document, chosen, &Variables::from_json(variables)).err().map(|error| error.message)
    }

    #[test]
    fn needed_variable_is_there_and_not_null() {
        let query = "query($id: ID!, $first: Int, $tags: [String!]! = []) { a }";
        assert_eq!(refusal(query, None, json!({ "id": "1" })), None);
        assert_eq!(refusal(query, None, json!({ "id": "1", "first": null })), None);
        let missing = "Variable \"$id\" of required type \"ID!\" was not provided.";
        assert_eq!(refusal(query, None, json!({})).as_deref(), Some(missing));
        let null = "Variable \"$tags\" of required type \"[String!]!\" must not be null.";
        assert_eq!(refusal(query, None, json!({ "id": "1", "tags": null })).as_deref(), Some(null));
    }

    #[test]
    fn only_the_chosen_operation_counts() {
        let two = "query A($id: ID!) { a } query B { b }";
        assert_eq!(refusal(two, Some("B"), json!({})), None);
        assert!(refusal(two, Some("A"), json!({})).is_some());
    }
}
