//! Balances that were converted into another currency: appended, read.

use sea_orm::{QueryFilter, Select};
use tributary_entity::{
    fx_conversion::{Column, Entity, Model},
    ids::{AffiliateId, FxConversionId},
};

use super::{
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::page::{Page, PageRequest};

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: Model) -> Result<(), StoreError> {
    tx.insert::<Entity>(row).await
}

fn filtered(tx: &Tx, affiliate_ids: Option<&[AffiliateId]>) -> Select<Entity> {
    let select = tx.visible::<Entity>();
    match affiliate_ids {
        Some(ids) => select.filter(any_of(Column::AffiliateId, ids.iter().copied())),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    affiliate_ids: Option<&[AffiliateId]>,
    request: &PageRequest,
) -> Result<Page<Model>, StoreError> {
    page::page(tx, filtered(tx, affiliate_ids), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, affiliate_ids: Option<&[AffiliateId]>) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, affiliate_ids)).await
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[FxConversionId]) -> Result<Vec<Model>, StoreError> {
    let select = tx.visible::<Entity>().filter(any_of(Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}
