//! The outbox: work to do after commit, asked for in the same transaction as its cause.

use sea_orm::{ColumnTrait, ConnectionTrait, ExprTrait, QueryFilter, Value, sea_query::Expr};
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
    ask_all(tx, kind, vec![(id, dedup_key)], due_at, now).await
}

/// As [`ask`], for many pieces of work, in few statements; their keys are distinct, and in an order that all callers keep.
///
/// # Errors
/// As the database answers.
pub async fn ask_all(
    tx: &mut Tx,
    kind: OutboxKind,
    pieces: Vec<(OutboxId, String)>,
    due_at: Instant,
    now: Instant,
) -> Result<(), StoreError> {
    for pieces in pieces.chunks(500) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), kind.into(), due_at.into(), now.into()];
        let rows: Vec<String> = pieces
            .iter()
            .map(|(id, key)| {
                values.extend([(*id).into(), key.clone().into()]);
                format!("($1, ${}, $2, ${}, $3, 0, NULL, $4)", values.len() - 1, values.len())
            })
            .collect();
        let sql = format!(
            "INSERT INTO outbox (tenant_id, id, kind, dedup_key, due_at, attempts, leased_until, created_at) VALUES {} \
             ON CONFLICT (tenant_id, kind, dedup_key) DO UPDATE SET leased_until = NULL",
            rows.join(", ")
        );
        tx.connection().execute_raw(tx.statement(sql, values)).await?;
    }
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
