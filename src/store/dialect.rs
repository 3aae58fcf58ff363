//! The few places where the two databases differ in what they are told.

use sea_orm::{DbBackend, QuerySelect, Select, sea_query::LockType};

use super::scope::Tx;

/// Locks the selected rows until the transaction ends. SQLite has one writer, who needs no row locks.
pub(super) fn lock<E: sea_orm::EntityTrait>(tx: &Tx, select: Select<E>) -> Select<E> {
    match tx.backend() {
        DbBackend::Sqlite => select,
        _ => select.lock(LockType::Update),
    }
}

/// How many values one statement may bind.
pub(super) const fn bind_limit(backend: DbBackend) -> usize {
    match backend {
        DbBackend::Sqlite => 32_766,
        _ => 65_535,
    }
}

/// `SUM` of a bigint column as bigint; PostgreSQL would answer NUMERIC.
pub(super) fn sum(column: &str) -> String {
    format!("CAST(COALESCE(SUM({column}), 0) AS bigint)")
}
