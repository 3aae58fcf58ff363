//! The event log: appended at commit with gap-free numbers, read by number.

use sea_orm::{ColumnTrait, Condition, Order, QueryFilter, QueryOrder, QuerySelect, Select};
use tributary_entity::event;

use super::{
    error::StoreError,
    scope::{Tx, any_of},
    sequences,
};
use crate::domain::{
    event::{Interest, NewEvent, further_text},
    log::Stretch,
};

/// Writes events under the numbers behind `before`, which are theirs until the commit.
pub(super) fn append(tx: &mut Tx, events: Vec<NewEvent>, before: i64) -> Result<Vec<event::Model>, StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let rows: Vec<event::Model> = events
        .into_iter()
        .zip(before + 1..)
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
    tx.insert_later::<event::Entity>(rows.clone(), None)?;
    Ok(rows)
}

/// The number of the newest event; 0 before the first.
///
/// # Errors
/// As the database answers.
pub async fn tip(tx: &Tx) -> Result<i64, StoreError> {
    Ok(sequences::now(tx).await?.event_seq)
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
