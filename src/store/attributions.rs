//! Attribution decisions and their touches: append-only, the newest version counts.

use sea_orm::{QueryFilter, QueryOrder};
use tributary_entity::{attribution_decision, attribution_touch, ids::ConversionId};

use super::{
    error::StoreError,
    scope::{Tx, any_of},
};

/// # Errors
/// `Inconsistent` for a row without a value; the database answers when they are written.
pub fn insert(
    tx: &mut Tx,
    decisions: Vec<attribution_decision::Model>,
    touches: Vec<attribution_touch::Model>,
) -> Result<(), StoreError> {
    tx.insert_later::<attribution_decision::Entity>(decisions, None)?;
    tx.insert_later::<attribution_touch::Entity>(touches, None)
}

/// All versions of the decisions on these conversions, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn decisions(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<attribution_decision::Model>, StoreError> {
    use attribution_decision::Column;
    let select = tx.find::<attribution_decision::Entity>().filter(any_of(Column::ConversionId, ids.iter().copied()));
    Ok(select.order_by_asc(Column::Version).all(tx.connection()).await?)
}

/// The touches of all those versions that the scope's ring may see, by position.
///
/// # Errors
/// As the database answers.
pub async fn touches(tx: &Tx, ids: &[ConversionId]) -> Result<Vec<attribution_touch::Model>, StoreError> {
    use attribution_touch::Column;
    let select = tx.visible::<attribution_touch::Entity>().filter(any_of(Column::ConversionId, ids.iter().copied()));
    Ok(select.order_by_asc(Column::Position).all(tx.connection()).await?)
}
