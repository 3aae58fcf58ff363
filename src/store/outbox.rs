//! The outbox: work to do after commit, asked for in the same transaction as its cause.

use sea_orm::{ColumnTrait, ConnectionTrait, ExprTrait, QueryFilter, sea_query::Expr};
use tributary_entity::{Instant, ids::OutboxId, kinds::OutboxKind, outbox};

use super::{error::StoreError, scope::Tx};

/// Asks for work at a time. What is already asked for is asked for once more: a worker that has begun it looks too early
/// to see the caller's rows, so its lease is taken back and it finds the work undone.
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
    let statement = tx.statement(
        "INSERT INTO outbox (tenant_id, id, kind, dedup_key, due_at, attempts, leased_until, created_at) \
         VALUES ($1, $2, $3, $4, $5, 0, NULL, $6) \
         ON CONFLICT (tenant_id, kind, dedup_key) DO UPDATE SET leased_until = NULL",
        vec![tx.scope().tenant_id().into(), id.into(), kind.into(), dedup_key.into(), due_at.into(), now.into()],
    );
    tx.connection().execute_raw(statement).await?;
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

/// Takes work away that was done under the lease until `leased_until`. Leaves it when it was asked for again meanwhile.
///
/// # Errors
/// As the database answers.
pub async fn finish(tx: &mut Tx, id: OutboxId, leased_until: Instant) -> Result<(), StoreError> {
    use outbox::Column;
    tx.delete_many::<outbox::Entity>()
        .filter(Column::Id.eq(id))
        .filter(Column::LeasedUntil.eq(leased_until))
        .exec(tx.connection())
        .await?;
    Ok(())
}
