//! Tenants.

use chrono_tz::Tz;
use sea_orm::{ColumnTrait, QueryFilter, sea_query::Expr};
use tributary_entity::{kinds::TenantStatus, tenant, tenant_counter};

use super::{dialect, error::StoreError, scope::Tx};
use crate::domain::cap;

/// The scope's own tenant.
///
/// # Errors
/// `Inconsistent` when a scope exists for no tenant.
pub async fn get(tx: &Tx) -> Result<tenant::Model, StoreError> {
    let row = tx.find::<tenant::Entity>().one(tx.connection()).await?;
    row.ok_or_else(|| StoreError::inconsistent("tenant", "a scope without its tenant"))
}

/// As [`get`], locked until the transaction ends: what must happen one after the other in a whole tenant.
///
/// # Errors
/// As [`get`].
pub async fn lock(tx: &Tx) -> Result<tenant::Model, StoreError> {
    let row = dialect::lock(tx, tx.find::<tenant::Entity>()).one(tx.connection()).await?;
    row.ok_or_else(|| StoreError::inconsistent("tenant", "a scope without its tenant"))
}

/// Writes a new tenant with its counters at 0.
///
/// # Errors
/// `Constraint::TenantSlug` when the slug is taken.
pub async fn insert(tx: &mut Tx, row: tenant::Model) -> Result<(), StoreError> {
    let counter =
        tenant_counter::Model { tenant_id: row.tenant_id, event_seq: 0, journal_seq: 0, programme_version: 0 };
    tx.insert::<tenant::Entity>(row).await?;
    tx.insert::<tenant_counter::Entity>(counter).await
}

/// Moves the scope's tenant to another status. False when it has that already: of two that do so at once, one gets
/// through.
///
/// # Errors
/// As the database answers.
pub async fn update_status(tx: &mut Tx, status: TenantStatus) -> Result<bool, StoreError> {
    let update = tx
        .update_many::<tenant::Entity>()
        .filter(tenant::Column::Status.ne(status))
        .col_expr(tenant::Column::Status, Expr::value(status));
    Ok(update.exec(tx.connection()).await?.rows_affected == 1)
}

/// Says whether payout batches want four eyes.
///
/// # Errors
/// As the database answers.
pub async fn set_payout_four_eyes(tx: &mut Tx, four_eyes: bool) -> Result<(), StoreError> {
    let update = tx.update_many::<tenant::Entity>().col_expr(tenant::Column::PayoutFourEyes, Expr::value(four_eyes));
    update.exec(tx.connection()).await?;
    Ok(())
}

/// Moves the tenant's days.
///
/// # Errors
/// As the database answers.
pub async fn set_time_zone(tx: &mut Tx, name: String) -> Result<(), StoreError> {
    let update = tx.update_many::<tenant::Entity>().col_expr(tenant::Column::TimeZone, Expr::value(name));
    update.exec(tx.connection()).await?;
    Ok(())
}

/// The time zone of the tenant's days.
///
/// # Errors
/// As the database answers.
pub async fn zone(tx: &Tx) -> Result<Tz, StoreError> {
    Ok(cap::zone(&get(tx).await?.time_zone))
}

/// Names the history that the log's numbers are of.
///
/// # Errors
/// As the database answers.
pub async fn set_epoch(tx: &mut Tx, epoch: uuid::Uuid) -> Result<(), StoreError> {
    let update = tx.update_many::<tenant::Entity>().col_expr(tenant::Column::Epoch, Expr::value(epoch));
    update.exec(tx.connection()).await?;
    Ok(())
}

/// Says how long conversions wait for clicks.
///
/// # Errors
/// As the database answers.
pub async fn set_click_wait(tx: &mut Tx, secs: i64) -> Result<(), StoreError> {
    let update = tx.update_many::<tenant::Entity>().col_expr(tenant::Column::ClickWaitSecs, Expr::value(secs));
    update.exec(tx.connection()).await?;
    Ok(())
}
