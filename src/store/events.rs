//! The event log: appended at commit with gap-free numbers, read by number.

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::{event, tenant_counter};

use super::{
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::{
    event::{Interest, NewEvent, further_text},
    log::Stretch,
};

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
            further_affiliates: further_text(&event.further_affiliates),
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
    let select = after(tx, seq, limit).filter(event::Column::Seq.lte(last)).filter(of_interest(interest));
    Ok(select.all(tx.connection()).await?)
}

/// Up to `limit` events of a stretch that an interest covers and the scope's ring may see, from the stretch's begin, or
/// from its end `backward`.
///
/// # Errors
/// As the database answers.
pub async fn list_within(
    tx: &Tx,
    stretch: Stretch,
    interest: &Interest,
    backward: bool,
    limit: u64,
) -> Result<Vec<event::Model>, StoreError> {
    let direction = if backward { Order::Desc } else { Order::Asc };
    let visible = interest.clone().within(tx.scope().ring());
    let select = tx
        .find::<event::Entity>()
        .filter(event::Column::Seq.between(stretch.first, stretch.last))
        .filter(of_interest(&visible))
        .order_by(event::Column::Seq, direction);
    Ok(select.limit(limit).all(tx.connection()).await?)
}

/// The conditions of [`Interest::covers`].
fn of_interest(interest: &Interest) -> Condition {
    let mut condition = any_of(event::Column::Kind, interest.kinds.iter().copied());
    if let Some(ids) = &interest.campaign_ids {
        condition = condition.add(any_of(event::Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &interest.affiliate_ids {
        let further = ids.iter().fold(Condition::any(), |any, id| {
            any.add(event::Column::FurtherAffiliates.contains(id.uuid().to_string()))
        });
        let further = Condition::all().add(event::Column::FurtherAffiliates.is_not_null()).add(further);
        let first = any_of(event::Column::AffiliateId, ids.iter().copied());
        condition = condition.add(Condition::any().add(first).add(further));
    }
    condition
}

fn after(tx: &Tx, seq: i64, limit: u64) -> Select<event::Entity> {
    tx.find::<event::Entity>().filter(event::Column::Seq.gt(seq)).order_by_asc(event::Column::Seq).limit(limit)
}
