//! Hold release: commissions become payable when their hold is over.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DurationRound, TimeDelta};
use tributary_entity::{
    Instant, commission,
    ids::{AffiliateId, CommissionId, ConversionId, OutboxId},
    kinds::{EventKind, OutboxKind},
    money::{Currency, Money},
};

use super::{
    ServiceError, Services, awards,
    ledger::{debts, post},
    publish,
};
use crate::{
    ambient,
    domain::{commission::net, event::NewEvent, ledger, tenancy::TenantScope},
    store::{commissions, error::StoreError, outbox, scope::Tx},
};

/// Commissions released in one transaction, about: those of a conversion stay together.
const CHUNK: u64 = 1_000;

/// Asks for the release of what becomes payable at these instants: one piece of work per second and tenant.
///
/// # Errors
/// As the database answers.
pub async fn schedule(tx: &mut Tx, payable: BTreeSet<Instant>, now: Instant) -> Result<(), StoreError> {
    ask_each(tx, OutboxKind::ReleaseHolds, payable.into_iter(), now).await
}

/// Asks for work at these instants: one piece per second and tenant.
pub(super) async fn ask_each(
    tx: &mut Tx,
    kind: OutboxKind,
    at: impl Iterator<Item = Instant>,
    now: Instant,
) -> Result<(), StoreError> {
    let seconds: BTreeSet<Instant> = at.map(next_second).collect();
    for due_at in seconds {
        let id = OutboxId::from_uuid(ambient::new_uuid());
        outbox::ask(tx, id, kind, due_at.timestamp().to_string(), due_at, now).await?;
    }
    Ok(())
}

/// The second after an instant: the work must not run before what it is for is due.
fn next_second(at: Instant) -> Instant {
    at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at) + TimeDelta::seconds(1)
}

/// Releases every commission and award of a tenant whose hold is over. Answers how many. Safe to run at any time, any number of
/// times, on any number of nodes.
///
/// # Errors
/// As the database answers; what was committed before stays released.
pub async fn release_due(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let mut released = 0;
    loop {
        let mut tx = services.db.begin(scope).await?;
        let now = services.now();
        let due = commissions::lock_due(&tx, now, CHUNK).await?;
        if due.is_empty() {
            break;
        }
        release(&mut tx, &due, now).await?;
        publish(&*services.bus, tx).await?;
        released += due.len() as u64;
    }
    loop {
        let mut tx = services.db.begin(scope).await?;
        let now = services.now();
        let got = awards::release(&mut tx, now, CHUNK).await?;
        if got.is_empty() {
            return Ok(released);
        }
        released += got.len() as u64;
        let mut by_affiliate: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
        for (affiliate_id, amount) in got {
            *by_affiliate.entry((affiliate_id, amount.currency)).or_default() += amount.amount_minor;
        }
        tell(&mut tx, by_affiliate, now);
        publish(&*services.bus, tx).await?;
    }
}

async fn release(tx: &mut Tx, due: &[commission::Model], now: Instant) -> Result<(), StoreError> {
    let mut by_conversion: BTreeMap<ConversionId, Vec<(AffiliateId, Money)>> = BTreeMap::new();
    let mut by_affiliate: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    for row in due {
        let money = net(row);
        by_conversion.entry(row.conversion_id).or_default().push((row.affiliate_id, money));
        *by_affiliate.entry((row.affiliate_id, row.currency)).or_default() += money.amount_minor;
    }
    let mut debts = debts(tx, by_affiliate.keys()).await?;
    let mut journals = Vec::with_capacity(by_conversion.len());
    for (conversion_id, earned) in &by_conversion {
        let journal = ledger::hold_released(*conversion_id, earned, &mut debts)
            .map_err(|error| StoreError::inconsistent("journal", error))?;
        journals.extend(journal);
    }
    post(tx, &journals, now).await?;
    let ids: Vec<CommissionId> = due.iter().map(|row| row.id).collect();
    commissions::release(tx, &ids, now).await?;
    tell(tx, by_affiliate, now);
    Ok(())
}

fn tell(tx: &mut Tx, by_affiliate: BTreeMap<(AffiliateId, Currency), i64>, now: Instant) {
    for ((affiliate_id, currency), amount_minor) in by_affiliate {
        let released = Money::new(amount_minor, currency);
        let event = NewEvent::new(EventKind::EarningsReleased, affiliate_id.uuid(), &released, now);
        tx.record(event.of_affiliate(Some(affiliate_id)));
    }
}
