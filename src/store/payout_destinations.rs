//! Payout destinations.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, PayoutDestinationId},
    kinds::PayoutMethod,
    money::Currency,
    payout_destination::{self, Column},
};

use super::{
    dialect,
    error::StoreError,
    scope::{Tx, any_of},
};

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[PayoutDestinationId]) -> Result<Vec<payout_destination::Model>, StoreError> {
    let select = tx.visible::<payout_destination::Entity>().filter(any_of(Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Those in use of these affiliates, in the order of their currencies.
///
/// # Errors
/// As the database answers.
pub async fn of_affiliates(tx: &Tx, ids: &[AffiliateId]) -> Result<Vec<payout_destination::Model>, StoreError> {
    let select = tx
        .visible::<payout_destination::Entity>()
        .filter(any_of(Column::AffiliateId, ids.iter().copied()))
        .filter(Column::EndedAt.is_null());
    Ok(select.order_by_asc(Column::Currency).all(tx.connection()).await?)
}

/// Which of these affiliates is paid where in a currency, and how.
///
/// # Errors
/// As the database answers.
pub async fn live(
    tx: &Tx,
    currency: Currency,
    ids: &[AffiliateId],
) -> Result<BTreeMap<AffiliateId, (PayoutDestinationId, PayoutMethod)>, StoreError> {
    let rows: Vec<(AffiliateId, PayoutDestinationId, PayoutMethod)> = tx
        .find::<payout_destination::Entity>()
        .select_only()
        .columns([Column::AffiliateId, Column::Id, Column::Method])
        .filter(any_of(Column::AffiliateId, ids.iter().copied()))
        .filter(Column::Currency.eq(currency))
        .filter(Column::EndedAt.is_null())
        .into_tuple()
        .all(tx.connection())
        .await?;
    Ok(rows.into_iter().map(|(affiliate_id, id, method)| (affiliate_id, (id, method))).collect())
}

/// The one in use of an affiliate in a currency, locked until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_live(
    tx: &Tx,
    affiliate_id: AffiliateId,
    currency: Currency,
) -> Result<Option<payout_destination::Model>, StoreError> {
    let select = tx
        .visible::<payout_destination::Entity>()
        .filter(Column::AffiliateId.eq(affiliate_id))
        .filter(Column::Currency.eq(currency))
        .filter(Column::EndedAt.is_null());
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// `Constraint::PayoutDestination` when another one was set at the same time.
pub async fn insert(tx: &mut Tx, row: payout_destination::Model) -> Result<(), StoreError> {
    tx.insert::<payout_destination::Entity>(row).await
}

/// Ends one that is in use. False when it is not.
///
/// # Errors
/// As the database answers.
pub async fn end(tx: &mut Tx, id: PayoutDestinationId, now: Instant) -> Result<bool, StoreError> {
    let update = tx
        .update_many::<payout_destination::Entity>()
        .filter(Column::Id.eq(id))
        .filter(Column::EndedAt.is_null())
        .col_expr(Column::EndedAt, Expr::value(now));
    Ok(update.exec(tx.connection()).await?.rows_affected == 1)
}
