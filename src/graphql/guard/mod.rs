//! The guard before execution: what a document holds and may cost, found out before anything of it runs.
//!
//! First the text is scanned ([`scan`]), so that the parser sees nothing that hurts it; then the parsed document is
//! walked once ([`walk`]) and held to the caps of [`limits`]. Both are linear in what was sent, and neither depends on
//! what a document unfolds to. Measured on a core of two shared ones, release build: fragment bombs take 0.08 to 0.4 ms,
//! the parser's part being nine tenths; the longest document that the scan lets pass 2.5 ms; and what passes all caps
//! keeps the validator busy for 1.2 ms at most.
//!
//! # What a request costs
//! - One point per object that the answer may hold. A connection repeats what is below it `first` or `last` times, a
//!   list of ids as often as it has ids, a batch as often as it has items, any other list as [`shape`] reckons.
//! - Scalars and enums are free; so is a field that the schema does not have, which the validator refuses.
//! - Ten points per mutation, and one per item of a batch.
//! - An introspection costs 1,000. A subscription costs what one of its events does.
//!
//! What the walk reckons is *requested*; when the answer is there, its objects are counted, and the difference is given
//! back or charged.
//!
//! # Decisions
//! - Our own walk and not the crate's limits: those are checked by walks that unfold every fragment, which is what has
//!   to be bounded in the first place (1,042 bytes take them 5.7 s).
//! - The schema is read from its SDL and not from the crate's registry, which is private in all but name.

mod inputs;
mod limits;
mod scan;
mod shape;
mod walk;

use async_graphql::{ServerError, Value, Variables, parser::types::ExecutableDocument};

use super::error::refused;
use limits::Excess;

/// Selections inside selections, fragments unfolded, for the crate's own check.
#[expect(clippy::cast_possible_truncation, reason = "a small constant")]
pub(super) const LEVELS: usize = limits::LEVELS.most as usize;

/// Why a document is not executed.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Exceeds(Excess),
    /// What the validator would say, if it could be let near it.
    Invalid(&'static str),
}

impl From<Excess> for Refused {
    fn from(excess: Excess) -> Self {
        Self::Exceeds(excess)
    }
}

impl From<Refused> for ServerError {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Exceeds(excess) => excess.into(),
            Refused::Invalid(why) => refused("GRAPHQL_VALIDATION_FAILED", why),
        }
    }
}

/// What a document asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// Points, as far as they can be told before.
    pub requested: u64,
    /// Those of them that do not depend on the answer.
    pub work: u64,
    /// Whether it asks for the schema.
    pub introspects: bool,
}

impl Demand {
    /// The points of the answer that was given.
    pub fn actual(&self, data: &Value) -> u64 {
        // The root is no object of ours.
        self.work.saturating_add(objects(data).saturating_sub(1))
    }
}

fn objects(value: &Value) -> u64 {
    match value {
        Value::Object(fields) => 1 + fields.values().map(objects).sum::<u64>(),
        Value::List(items) => items.iter().map(objects).sum(),
        _ => 0,
    }
}

/// Parses a document that can be parsed without harm.
pub(super) fn parse(text: &str) -> Result<ExecutableDocument, ServerError> {
    scan::check(text).map_err(ServerError::from)?;
    Ok(async_graphql::parser::parse_query(text)?)
}

/// Holds a document to the caps and reckons what its operation costs.
pub(super) fn weigh(
    document: &ExecutableDocument,
    operation: Option<&str>,
    variables: &Variables,
) -> Result<Demand, ServerError> {
    let findings = walk::walk(&shape::SCHEMA, document, operation, variables)?;
    Ok(Demand {
        requested: findings.work.saturating_add(findings.objects),
        work: findings.work,
        introspects: findings.introspects,
    })
}

#[cfg(test)]
mod tests;
