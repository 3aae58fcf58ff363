//! Goals.

use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder, Select};
use tributary_entity::{
    goal,
    ids::{CampaignId, GoalId},
};

use super::{
    campaigns, dialect,
    error::StoreError,
    scope::{Tx, any_of},
};

/// Goals of the campaigns that the scope may see.
fn visible(tx: &Tx) -> Select<goal::Entity> {
    campaigns::within_visible(tx, tx.find::<goal::Entity>(), goal::Column::CampaignId)
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: GoalId) -> Result<Option<goal::Model>, StoreError> {
    Ok(visible(tx).filter(goal::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[GoalId]) -> Result<Vec<goal::Model>, StoreError> {
    Ok(visible(tx).filter(any_of(goal::Column::Id, ids.iter().copied())).all(tx.connection()).await?)
}

/// Reads a goal to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: GoalId) -> Result<Option<goal::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<goal::Entity>(id)).one(tx.connection()).await?)
}

/// The goals of campaigns, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<goal::Model>, StoreError> {
    let select = visible(tx).filter(any_of(goal::Column::CampaignId, ids.iter().copied()));
    Ok(select.order_by_asc(goal::Column::Id).all(tx.connection()).await?)
}

/// Every goal of the campaigns, for deciding conversions: rings do not apply to the machine.
///
/// # Errors
/// As the database answers.
pub async fn for_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<goal::Model>, StoreError> {
    let select = tx.find::<goal::Entity>().filter(any_of(goal::Column::CampaignId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// How many goals a campaign has, archived ones too.
///
/// # Errors
/// As the database answers.
pub async fn count_of_campaign(tx: &Tx, id: CampaignId) -> Result<u64, StoreError> {
    Ok(tx.find::<goal::Entity>().filter(goal::Column::CampaignId.eq(id)).count(tx.connection()).await?)
}

/// # Errors
/// `Constraint::GoalCode` when the campaign has a goal of this code.
pub async fn insert(tx: &mut Tx, row: goal::Model) -> Result<(), StoreError> {
    tx.insert::<goal::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: goal::Model) -> Result<(), StoreError> {
    tx.save::<goal::Entity>(row.id, row).await
}
