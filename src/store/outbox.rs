//! The outbox: work to do after commit, asked for in the same transaction as its cause.

use sea_orm::{ColumnTrait, ExprTrait, QueryFilter, sea_query::Expr};
use tributary_entity::{Instant, ids::OutboxId, kinds::OutboxKind, outbox};

use super::{error::StoreError, scope::Tx};

/// Asks for work at a time. Asking again for what is already asked for changes nothing.
///
/// # Errors
/// As the database answers.
pub async fn ask(
    tx: &mut Tx,
    id: OutboxId,
    kind: OutboxKind,
    dedup_key: String,
    due_at: Instant,
    now: Instant,
) -> Result<(), StoreError> {
    let row = outbox::Model {
        tenant_id: tx.scope().tenant_id(),
        id,
        kind,
        dedup_key,
        due_at,
        attempts: 0,
        leased_until: None,
        created_at: now,
    };
    let conflict = [outbox::Column::TenantId, outbox::Column::Kind, outbox::Column::DedupKey];
    tx.insert_ignoring::<outbox::Entity>(vec![row], Some(&conflict)).await?;
    Ok(())
}

/// Takes a lease on due work. False when somebody else has it or has done it.
///
/// # Errors
/// As the database answers.
pub async fn lease(tx: &mut Tx, id: OutboxId, now: Instant, until: Instant) -> Result<bool, StoreError> {
    use outbox::Column;
    let update = tx
        .update_many::<outbox::Entity>()
        .col_expr(Column::LeasedUntil, Expr::value(until))
        .col_expr(Column::Attempts, Expr::cust("attempts + 1"))
        .filter(Column::Id.eq(id))
        .filter(Column::LeasedUntil.is_null().or(Column::LeasedUntil.lt(now)));
    Ok(update.exec(tx.connection()).await?.rows_affected == 1)
}

/// Work that is done.
///
/// # Errors
/// As the database answers.
pub async fn delete(tx: &mut Tx, id: OutboxId) -> Result<(), StoreError> {
    tx.delete_many::<outbox::Entity>().filter(outbox::Column::Id.eq(id)).exec(tx.connection()).await?;
    Ok(())
}
