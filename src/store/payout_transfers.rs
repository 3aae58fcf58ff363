//! What payouts are at their processors.

use sea_orm::{ColumnTrait, EntityTrait, JoinType, QueryFilter, QuerySelect, sea_query::Expr};
use tributary_entity::{
    ids::PayoutId,
    kinds::{PayoutMethod, PayoutStatus},
    payout,
    payout_transfer::{self, Column},
};

use super::{
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[PayoutId]) -> Result<Vec<payout_transfer::Model>, StoreError> {
    let select = tx.find::<payout_transfer::Entity>().filter(any_of(Column::PayoutId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads one to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: PayoutId) -> Result<Option<payout_transfer::Model>, StoreError> {
    let select = tx.find::<payout_transfer::Entity>().filter(Column::PayoutId.eq(id));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// The payout that a processor calls so.
///
/// # Errors
/// As the database answers.
pub async fn by_external(tx: &Tx, method: PayoutMethod, id: &str) -> Result<Option<PayoutId>, StoreError> {
    let select =
        tx.find::<payout_transfer::Entity>().filter(Column::Method.eq(method)).filter(Column::ExternalId.eq(id));
    Ok(select.one(tx.connection()).await?.map(|row| row.payout_id))
}

/// Whether a payout is under way for which a processor was called.
///
/// # Errors
/// As the database answers.
pub async fn is_any_under_way(tx: &Tx, method: PayoutMethod) -> Result<bool, StoreError> {
    let under_way = [PayoutStatus::Submitted, PayoutStatus::InTransit, PayoutStatus::Unknown];
    let of_transfer = payout::Entity::belongs_to(payout_transfer::Entity)
        .from((payout::Column::TenantId, payout::Column::Id))
        .to((Column::TenantId, Column::PayoutId))
        .into();
    let select = tx
        .find::<payout::Entity>()
        .join(JoinType::InnerJoin, of_transfer)
        .filter(any_of(payout::Column::Status, under_way))
        .filter(Column::Method.eq(method))
        .filter(Column::HandedAt.is_not_null());
    Ok(select.one(tx.connection()).await?.is_some())
}

/// # Errors
/// As the database answers.
pub async fn insert_all(tx: &mut Tx, rows: Vec<payout_transfer::Model>) -> Result<(), StoreError> {
    tx.insert_all::<payout_transfer::Entity>(rows).await
}

/// Writes a locked one.
///
/// # Errors
/// `Inconsistent` when it vanished.
pub async fn update(tx: &mut Tx, row: &payout_transfer::Model) -> Result<(), StoreError> {
    let update = tx
        .update_many::<payout_transfer::Entity>()
        .col_expr(Column::Calls, Expr::value(row.calls))
        .col_expr(Column::HandedAt, Expr::value(row.handed_at))
        .col_expr(Column::BusyUntil, Expr::value(row.busy_until))
        .col_expr(Column::NextLookAt, Expr::value(row.next_look_at))
        .col_expr(Column::ExternalId, Expr::value(row.external_id.clone()))
        .col_expr(Column::FeeTransaction, Expr::value(row.fee_transaction.clone()))
        .col_expr(Column::FeeMinor, Expr::value(row.fee_minor))
        .col_expr(Column::Trouble, Expr::value(row.trouble.clone()))
        .col_expr(Column::UpdatedAt, Expr::value(row.updated_at))
        .filter(Column::PayoutId.eq(row.payout_id));
    match update.exec(tx.connection()).await?.rows_affected {
        1 => Ok(()),
        count => Err(StoreError::inconsistent("payout_transfer", format!("{count} rows for one payout"))),
    }
}
