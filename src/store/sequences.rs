//! The tenant's counters: each number is used once, in the order of commits, without a gap.

use sea_orm::ConnectionTrait;
use tributary_entity::tenant_counter;

use super::{error::StoreError, scope::Tx};

/// What a transaction counts.
pub(super) struct Steps {
    pub events: usize,
    pub journals: i64,
    /// It changes what batches remember.
    pub changes_programme: bool,
}

/// Takes the next numbers for so many events and journals; answers the counters as they were before. One of the last
/// things that a transaction does: the row stays locked until the commit, so that the order of numbers is the order of
/// commits and nobody ever sees a gap. One statement for all counters: a journal's number costs none of its own.
///
/// None when there is nothing to count.
pub(super) async fn advance(tx: &mut Tx, steps: &Steps) -> Result<Option<tenant_counter::Model>, StoreError> {
    let Steps { events, journals, changes_programme } = *steps;
    if events == 0 && journals == 0 && !changes_programme {
        return Ok(None);
    }
    let tenant_id = tx.scope().tenant_id();
    let events = i64::try_from(events).map_err(|_| StoreError::inconsistent("event", "too many"))?;
    let changes = i64::from(changes_programme);
    let statement = tx.statement(
        "UPDATE tenant_counter SET event_seq = event_seq + $1, journal_seq = journal_seq + $2, \
         programme_version = programme_version + $3 \
         WHERE tenant_id = $4 RETURNING event_seq, journal_seq, programme_version",
        vec![events.into(), journals.into(), changes.into(), tenant_id.into()],
    );
    let row = tx.connection().query_one_raw(statement).await?.ok_or_else(missing)?;
    Ok(Some(tenant_counter::Model {
        tenant_id,
        event_seq: row.try_get::<i64>("", "event_seq")? - events,
        journal_seq: row.try_get::<i64>("", "journal_seq")? - journals,
        programme_version: row.try_get::<i64>("", "programme_version")? - changes,
    }))
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
