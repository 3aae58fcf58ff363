//! The event log: appended at commit with gap-free numbers, read by number.

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{event, tenant_counter};

use super::{
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::event::{Interest, NewEvent};

/// Numbers events and writes them. The last thing a transaction does: the counter row stays locked until the commit, so
/// that the order of numbers is the order of commits and nobody ever sees a gap.
pub(super) async fn append(tx: &mut Tx, events: Vec<NewEvent>) -> Result<Vec<event::Model>, StoreError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let count = i64::try_from(events.len()).map_err(|_| StoreError::inconsistent("event", "too many"))?;
    let tenant_id = tx.scope().tenant_id();
    let statement = tx.statement(
        "UPDATE tenant_counter SET event_seq = event_seq + $1 WHERE tenant_id = $2 RETURNING event_seq",
        vec![count.into(), tenant_id.into()],
    );
    let row = tx
        .connection()
        .query_one_raw(statement)
        .await?
        .ok_or_else(|| StoreError::inconsistent("tenant_counter", "no counter for the tenant"))?;
    let last: i64 = row.try_get("", "event_seq")?;
    let rows: Vec<event::Model> = events
        .into_iter()
        .zip(last - count + 1..)
        .map(|(event, seq)| event::Model {
            tenant_id,
            seq,
            kind: event.kind,
            subject_id: event.subject_id,
            campaign_id: event.campaign_id,
            affiliate_id: event.affiliate_id,
            payload: event.payload,
            recorded_at: event.recorded_at,
        })
        .collect();
    tx.insert_all::<event::Entity>(rows.clone()).await?;
    Ok(rows)
}

/// The number of the newest event; 0 before the first.
///
/// # Errors
/// As the database answers.
pub async fn tip(tx: &Tx) -> Result<i64, StoreError> {
    let counter = tx.find::<tenant_counter::Entity>().one(tx.connection()).await?;
    counter
        .map(|counter| counter.event_seq)
        .ok_or_else(|| StoreError::inconsistent("tenant_counter", "no counter for the tenant"))
}

/// Up to `limit` events after `seq`, in order. Of the tenant, whatever the ring: filtering by ring is the feed's.
///
/// # Errors
/// As the database answers.
pub async fn list_after(tx: &Tx, seq: i64, limit: u64) -> Result<Vec<event::Model>, StoreError> {
    Ok(after(tx, seq, limit).all(tx.connection()).await?)
}

/// As [`list_after`], of what an interest covers and not beyond `last`: foreign events are passed over in the database.
///
/// # Errors
/// As the database answers.
pub async fn list_of_interest(
    tx: &Tx,
    interest: &Interest,
    seq: i64,
    last: i64,
    limit: u64,
) -> Result<Vec<event::Model>, StoreError> {
    let mut select = after(tx, seq, limit)
        .filter(event::Column::Seq.lte(last))
        .filter(event::Column::Kind.is_in(interest.kinds.iter().copied()));
    if let Some(ids) = &interest.campaign_ids {
        select = select.filter(any_of(event::Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &interest.affiliate_ids {
        select = select.filter(any_of(event::Column::AffiliateId, ids.iter().copied()));
    }
    Ok(select.all(tx.connection()).await?)
}

fn after(tx: &Tx, seq: i64, limit: u64) -> Select<event::Entity> {
    tx.find::<event::Entity>().filter(event::Column::Seq.gt(seq)).order_by_asc(event::Column::Seq).limit(limit)
}
