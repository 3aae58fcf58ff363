//! API keys: what they may be made for.

use serde::Serialize;
use tributary_entity::{
    Instant,
    kinds::{ApiKeyScope, UnknownKind},
};

use super::{
    instant,
    problem::{Problem, ProblemCode},
    text,
};

/// A new key as a caller describes it.
#[derive(Clone, Debug, Serialize)]
pub struct NewApiKey {
    pub name: String,
    pub scopes: Vec<ApiKeyScope>,
    /// None means until it is revoked.
    pub expires_at: Option<Instant>,
}

impl NewApiKey {
    /// Checks every field; scopes come out in order, each once.
    ///
    /// # Errors
    /// All problems at once.
    pub fn check(mut self, now: Instant) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        match text::required(&["name"], &self.name, text::NAME_MAX) {
            Ok(name) => self.name = name,
            Err(problem) => problems.push(problem),
        }
        self.scopes.sort_unstable();
        self.scopes.dedup();
        if self.scopes.is_empty() {
            problems.push(Problem::required(&["scopes"]));
        }
        match instant::optional(&["expiresAt"], self.expires_at) {
            Ok(Some(at)) if at <= now => {
                problems.push(Problem::new(ProblemCode::OutOfRange, &["expiresAt"], "must lie in the future"));
            }
            Ok(at) => self.expires_at = at,
            Err(problem) => problems.push(problem),
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

/// Scopes as the row holds them.
pub fn scopes_text(scopes: &[ApiKeyScope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",")
}

/// Scopes from what the row holds.
///
/// # Errors
/// For a text that is no scope: another version wrote the row.
pub fn parse_scopes(text: &str) -> Result<Vec<ApiKeyScope>, UnknownKind> {
    text.split(',').map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_round_trip_through_their_text() {
        assert_eq!(parse_scopes(&scopes_text(ApiKeyScope::ALL)).as_deref(), Ok(ApiKeyScope::ALL));
        assert!(parse_scopes("").is_err());
        assert!(parse_scopes("READ,WRITE").is_err());
    }

    #[test]
    fn key_needs_a_name_a_scope_and_a_future() {
        let now = Instant::from_timestamp(1_800_000_000, 0).expect("in range");
        let wrong = NewApiKey { name: String::new(), scopes: Vec::new(), expires_at: Some(now) };
        let fields: Vec<_> = wrong.check(now).expect_err("refused").into_iter().flat_map(|p| p.field).collect();
        assert_eq!(fields, ["name", "scopes", "expiresAt"]);
    }
}
