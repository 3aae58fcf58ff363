//! Moves between states: a table per noun, and one answer for what is not in it.

use std::fmt::Display;

use super::problem::{Problem, ProblemCode};

/// Moves a status when the noun's table has the move. `noun` with its article: `an affiliate`.
///
/// # Errors
/// `INVALID_TRANSITION` at `id`.
pub fn step<S: Copy + PartialEq + Display>(table: &[(S, S)], noun: &str, from: S, to: S) -> Result<S, Problem> {
    if table.contains(&(from, to)) {
        Ok(to)
    } else {
        Err(refused(&["id"], format!("{noun} that is {from} cannot become {to}")))
    }
}

/// The answer when an object's state does not allow something.
pub fn refused(field: &[&str], message: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::InvalidTransition, field, message)
}
