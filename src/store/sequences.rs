//! The tenant's counters: each number is used once, in the order of commits, without a gap.

use sea_orm::ConnectionTrait;
use tributary_entity::tenant_counter;

use super::{error::StoreError, scope::Tx};

/// Takes the next numbers for so many events and journals; answers the counters as they were before. One of the last
/// things that a transaction does: the row stays locked until the commit, so that the order of numbers is the order of
/// commits and nobody ever sees a gap. One statement for both counters: a journal's number costs none of its own.
pub(super) async fn advance(tx: &mut Tx, events: usize, journals: i64) -> Result<tenant_counter::Model, StoreError> {
    let tenant_id = tx.scope().tenant_id();
    if events == 0 && journals == 0 {
        return Ok(tenant_counter::Model { tenant_id, event_seq: 0, journal_seq: 0 });
    }
    let events = i64::try_from(events).map_err(|_| StoreError::inconsistent("event", "too many"))?;
    let statement = tx.statement(
        "UPDATE tenant_counter SET event_seq = event_seq + $1, journal_seq = journal_seq + $2 \
         WHERE tenant_id = $3 RETURNING event_seq, journal_seq",
        vec![events.into(), journals.into(), tenant_id.into()],
    );
    let row = tx.connection().query_one_raw(statement).await?.ok_or_else(missing)?;
    let (event_seq, journal_seq): (i64, i64) = (row.try_get("", "event_seq")?, row.try_get("", "journal_seq")?);
    Ok(tenant_counter::Model { tenant_id, event_seq: event_seq - events, journal_seq: journal_seq - journals })
}

/// The counters as they stand.
///
/// # Errors
/// `Inconsistent` when the tenant has none.
pub async fn now(tx: &Tx) -> Result<tenant_counter::Model, StoreError> {
    tx.find::<tenant_counter::Entity>().one(tx.connection()).await?.ok_or_else(missing)
}

fn missing() -> StoreError {
    StoreError::inconsistent("tenant_counter", "no counter for the tenant")
}
