//! Typed ids at the edge: a wrong prefix is refused before any look-up.

use std::str::FromStr;

use async_graphql::ID;
use tributary_entity::ids::IdError;

use crate::domain::problem::{Problem, ProblemCode};

/// Ids of one list: far below what a statement can bind.
const LIST_MAX: usize = 1_000;

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
/// `INVALID_ID` at `field` for the first that is none; `BATCH_SIZE` past [`LIST_MAX`].
pub(super) fn parse_list<T: FromStr<Err = IdError>>(
    field: &[&str],
    ids: Option<&[ID]>,
) -> Result<Option<Vec<T>>, Problem> {
    if ids.is_some_and(|ids| ids.len() > LIST_MAX) {
        return Err(Problem::new(ProblemCode::BatchSize, field, format!("at most {LIST_MAX} ids")));
    }
    ids.map(|ids| ids.iter().map(|id| parse(field, id)).collect()).transpose()
}
