//! Overrides of conversions: reckoned when a conversion is decided, told to whom they are.
//!
//! # Decisions
//! - A parent's part is its commission line and what that is on, no more: it sees neither the conversion nor the customer,
//!   and the affiliate below only by what it is told outside. The log has an event of its own for it, which carries
//!   nothing but that its earnings changed.
//! - A tenant without plans pays one look-up.
//! - Caps have cut the commissions before: what is on top of them takes no room.

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant, commission,
    ids::{AffiliateId, CommissionId},
    kinds::EventKind,
};

use crate::{
    ambient,
    domain::{
        commission::Explanation,
        conversion::Snapshot,
        event::NewEvent,
        override_plan::{self as rules, Chains, Claim, Plan},
    },
    services::ingest::programme::Programme,
    store::{
        affiliate_parents,
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// Adds the overrides to decided conversions that have commissions.
///
/// # Errors
/// `CounterRange` when an amount is past what can be held; as the database answers.
pub(super) async fn add(tx: &Tx, programme: &mut Programme, snapshots: Vec<&mut Snapshot>) -> Result<(), StoreError> {
    let snapshots: Vec<&mut Snapshot> = snapshots.into_iter().filter(|one| !one.commissions.is_empty()).collect();
    programme.add_plans(tx, snapshots.iter().filter_map(|one| one.conversion.campaign_id)).await?;
    let earners = snapshots.iter().flat_map(|one| &one.commissions).map(|row| row.affiliate_id);
    programme.add_chains(tx, earners).await?;
    for snapshot in snapshots {
        let Some(plan) = snapshot.conversion.campaign_id.and_then(|id| programme.plan(id)) else { continue };
        let rows = overrides(snapshot, plan, programme.chains())?;
        let added = rows.iter().try_fold(snapshot.conversion.commission_minor, |sum, row| {
            sum.checked_add(row.amount_minor).ok_or(StoreError::Constraint(Constraint::CounterRange))
        });
        snapshot.conversion.commission_minor = added?;
        snapshot.commissions.extend(rows);
    }
    Ok(())
}

/// Those above affiliates, as far up as any of the plans pays.
///
/// # Errors
/// As the database answers.
pub(super) async fn chains(tx: &Tx, plans: &[Plan], ids: &BTreeSet<AffiliateId>) -> Result<Chains, StoreError> {
    let levels = rules::reach(plans);
    if levels == 0 || ids.is_empty() {
        return Ok(Chains::new());
    }
    let ids: Vec<AffiliateId> = ids.iter().copied().collect();
    affiliate_parents::chains(tx, &ids, levels).await
}

fn overrides(snapshot: &Snapshot, plan: &Plan, chains: &Chains) -> Result<Vec<commission::Model>, StoreError> {
    let mut claims: Vec<(Claim, &commission::Model)> = Vec::new();
    for row in &snapshot.commissions {
        let Some(chain) = chains.get(&row.affiliate_id).filter(|chain| !chain.is_empty()) else { continue };
        let base: Explanation =
            serde_json::from_str(&row.explanation).map_err(|error| StoreError::inconsistent("commission", error))?;
        claims.extend(rules::claims(plan, row.affiliate_id, &base, chain).into_iter().map(|claim| (claim, row)));
    }
    let (claims, rows): (Vec<Claim>, Vec<&commission::Model>) = claims.into_iter().unzip();
    let earned = rules::reckon(&claims).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let overrides = claims.iter().zip(rows).zip(earned).map(|((claim, base), earned)| {
        Ok(commission::Model {
            id: CommissionId::from_uuid(ambient::new_uuid()),
            affiliate_id: claim.affiliate_id,
            level: claim.over.level,
            base_affiliate_id: Some(base.affiliate_id),
            amount_minor: earned.amount.amount_minor,
            currency: earned.amount.currency,
            reversed_minor: 0,
            explanation: serde_json::to_string(&earned)
                .map_err(|error| StoreError::inconsistent("commission", error))?,
            clamp: None,
            // Its state, its time and the rule below are those of the commission that it is on.
            ..base.clone()
        })
    });
    overrides.collect()
}

/// Tells those who earn overrides among these commissions that what they have earned changed. Whoever changes the
/// commissions of a conversion tells them so: the conversion's own event is not theirs to see.
pub(super) fn tell<'a>(tx: &mut Tx, rows: impl Iterator<Item = &'a commission::Model>, now: Instant) {
    let mut changed: BTreeMap<AffiliateId, Vec<CommissionId>> = BTreeMap::new();
    for row in rows.filter(|row| row.level > 0) {
        changed.entry(row.affiliate_id).or_default().push(row.id);
    }
    for (affiliate_id, ids) in changed {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let event = NewEvent::new(EventKind::EarningsChanged, affiliate_id.uuid(), &ids, now);
        tx.record(event.of_affiliate(Some(affiliate_id)));
    }
}
