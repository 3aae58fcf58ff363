//! Typed ids at the edge: a wrong prefix is refused before any look-up.

use std::str::FromStr;

use async_graphql::ID;
use tributary_entity::ids::IdError;

use crate::domain::problem::Problem;

/// Reads an id argument.
///
/// # Errors
/// `INVALID_ID` at `field`.
pub(super) fn parse<T: FromStr<Err = IdError>>(field: &[&str], id: &ID) -> Result<T, Problem> {
    id.parse().map_err(|error| Problem::id(field, &error))
}

/// Reads an id argument that may be missing.
///
/// # Errors
/// `INVALID_ID` at `field`.
pub(super) fn parse_optional<T: FromStr<Err = IdError>>(field: &[&str], id: Option<&ID>) -> Result<Option<T>, Problem> {
    id.map(|id| parse(field, id)).transpose()
}

/// Reads a list of ids.
///
/// # Errors
/// `INVALID_ID` at `field` for the first that is none.
pub(super) fn parse_list<T: FromStr<Err = IdError>>(
    field: &[&str],
    ids: Option<&[ID]>,
) -> Result<Option<Vec<T>>, Problem> {
    ids.map(|ids| ids.iter().map(|id| parse(field, id)).collect()).transpose()
}
