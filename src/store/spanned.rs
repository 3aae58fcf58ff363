//! What a trace tells of a transaction: for whom and for what, how many statements, whether it was committed.

use std::{
    panic::Location,
    sync::atomic::{AtomicU32, Ordering},
};

use sea_orm::DbBackend;
use tracing::{Span, field::Empty};

use crate::domain::tenancy::TenantScope;

/// The span of a transaction, from the wait for a connection on; it ends when this is dropped. Only what is part of a
/// request or a piece of work has one: what is read by the clock, all day long, tells nobody anything.
pub(super) struct Spanned {
    span: Span,
    statements: AtomicU32,
    committed: bool,
}

impl Spanned {
    /// What it is for is told by where in the source it is `wanted_by`.
    pub fn begin(backend: DbBackend, scope: &TenantScope, wanted_by: &Location<'_>) -> Self {
        let part_of = Span::current();
        let span = if part_of.is_none() {
            Span::none()
        } else {
            let system = if backend == DbBackend::Postgres { "postgresql" } else { "sqlite" };
            tracing::debug_span!(
                parent: &part_of,
                "transaction",
                otel.name = %format_args!("transaction {}", purpose(wanted_by.file())),
                otel.kind = "client",
                db.system.name = system,
                tenant.id = %scope.tenant_id(),
                code.file.path = wanted_by.file(),
                code.line.number = wanted_by.line(),
                db.statements = Empty,
                db.committed = Empty,
            )
        };
        Self { span, statements: AtomicU32::new(0), committed: false }
    }

    /// Counts a statement.
    pub fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// What is seen from now on is that all of it counts.
    pub fn commit(&mut self) {
        self.committed = true;
    }
}

impl Drop for Spanned {
    fn drop(&mut self) {
        if !self.span.is_disabled() {
            self.span.record("db.statements", self.statements.load(Ordering::Relaxed));
            self.span.record("db.committed", self.committed);
        }
    }
}

/// `services/affiliates` of `src/services/affiliates.rs`.
fn purpose(file: &str) -> &str {
    let file = file.trim_end_matches(".rs").trim_end_matches("/mod");
    file.split_once("src/").map_or(file, |(_, inside)| inside)
}

#[cfg(test)]
mod tests {
    use super::purpose;

    #[test]
    fn purpose_is_the_module() {
        assert_eq!(purpose("src/services/affiliates.rs"), "services/affiliates");
        assert_eq!(purpose("/root/crate/src/services/redirect/mod.rs"), "services/redirect");
        assert_eq!(purpose("elsewhere.rs"), "elsewhere");
    }
}
