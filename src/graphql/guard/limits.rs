//! The caps on a document, each with its reason, and the error that tells which one was exceeded.
//!
//! They bound what the parser, the validator and the executor do with a document, which is more than its length: a
//! fragment is expanded wherever it is spread, by several rules of the validator and by the executor. Each cap leaves
//! room above what people and tools write: the usual introspection, the largest document around, is below half of each.

use async_graphql::ServerError;

use crate::graphql::error::refused_with;

/// A cap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cap {
    /// Told as `extensions.limit`.
    pub name: &'static str,
    pub most: u64,
}

/// A document exceeds a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Excess {
    pub limit: &'static str,
    pub most: u64,
    /// As far as it was counted.
    pub actual: u64,
}

impl Cap {
    const fn new(name: &'static str, most: u64) -> Self {
        Self { name, most }
    }

    pub(super) const fn check(self, actual: u64) -> Result<(), Excess> {
        if actual > self.most { Err(Excess { limit: self.name, most: self.most, actual }) } else { Ok(()) }
    }
}

/// Values belong into variables; without them, this is a document of a thousand lines.
pub(super) const DOCUMENT_BYTES: Cap = Cap::new("bytes", 64 * 1024);
/// The parser takes one to three microseconds per token; GraphiQL's introspection has 200.
pub(super) const TOKENS: Cap = Cap::new("tokens", 2_000);
/// Brackets of any kind: the parser recurses with each, on a stack of two megabytes.
pub(super) const NESTING: Cap = Cap::new("nesting", 64);

/// Some rules of the validator go through all fragments once per operation.
pub(super) const OPERATIONS: Cap = Cap::new("operations", 50);
/// A page of components, each with its fragment, has a few dozen.
pub(super) const FRAGMENTS: Cap = Cap::new("fragments", 200);
/// Selections inside selections, fragments unfolded: validator and executor recurse with each.
pub(super) const LEVELS: Cap = Cap::new("levels", 64);
/// Fields inside fields; GraphiQL's introspection has 14.
pub(super) const DEPTH: Cap = Cap::new("depth", 24);
/// Fields of all operations, fragments unfolded.
pub(super) const FIELDS: Cap = Cap::new("fields", 1_500);
/// Fields of the root, which are use cases of their own; batches are inputs.
pub(super) const ROOT_FIELDS: Cap = Cap::new("rootFields", 50);
/// Aliases, fragments unfolded.
pub(super) const ALIASES: Cap = Cap::new("aliases", 200);
/// Directives, fragments unfolded.
pub(super) const DIRECTIVES: Cap = Cap::new("directives", 200);
/// Directives at one place.
pub(super) const DIRECTIVES_AT_ONCE: Cap = Cap::new("directivesAtOnce", 8);
/// Arguments of one field or directive: two of the same name are compared with each other, each with each.
pub(super) const ARGUMENTS: Cap = Cap::new("arguments", 32);
/// Lists and objects inside each other in a variable or a literal.
pub(super) const INPUT_DEPTH: Cap = Cap::new("inputDepth", 16);
/// Values in arguments, variables counted wherever they are used, and once per object that the field is asked of. A text
/// counts once more for each 256 bytes. A batch of 1,000 conversions with every label has 30,000.
pub(super) const INPUTS: Cap = Cap::new("inputs", 100_000);
/// Steps of the rules that compare each with each: fields of one selection, fragments unfolded, and uses of variables
/// with their definitions.
pub(super) const COMPARISONS: Cap = Cap::new("comparisons", 50_000);
/// Lists of fields, interfaces and types inside each other in an introspection, whose answer grows by a factor with each.
pub(super) const INTROSPECTION_LISTS: Cap = Cap::new("introspectionLists", 2);

impl From<Excess> for ServerError {
    fn from(excess: Excess) -> Self {
        let Excess { limit, most, actual } = excess;
        refused_with("QUERY_TOO_COMPLEX", format!("the document exceeds the limit of {most} {limit}"), |extensions| {
            extensions.set("limit", limit);
            extensions.set("allowed", most);
            extensions.set("actual", actual);
        })
    }
}
