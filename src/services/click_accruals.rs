//! What clicks earn becomes money: accrued in the clicks' own batch, posted when the day is over.
//!
//! # Decisions
//! - The day is the tenant's. It ends when it is posted: clicks that are recorded until then, a moment after midnight, are in
//!   it. An accrual has no day of its own, so that clicks that come late are never lost to a day that is over.
//! - One transaction for each accrual: its row is locked before anything of the affiliate's balances is, as a batch does. Of
//!   two that post at once the second finds the remainder, which is nothing to post.
//! - Caps on commission do not measure it: a commission is what one conversion earns. Caps on clicks limit it, where the click
//!   is recorded.

use std::collections::BTreeMap;

use tributary_entity::{
    Instant, click, click_accrual,
    ids::{AffiliateId, AwardId, CampaignId},
    kinds::{AwardKind, OutboxKind},
};

use super::{
    ServiceError, Services,
    awards::{Award, give},
    holds, publish,
};
use crate::{
    ambient,
    auth::{Actor, Viewer},
    domain::{cap, click_rate as rules, tenancy::TenantScope},
    store::{campaigns, click_accruals, error::StoreError, scope::Tx, tenants},
};

/// Less is a whole minor unit in no currency.
const LEAST_MICROS: i64 = 100;

/// What clicks of a batch earned: how many for each campaign, affiliate and what they earned by, and how much.
#[derive(Default)]
pub(super) struct Accruals(BTreeMap<(click_accruals::Key, rules::Basis), (i64, i64)>);

impl Accruals {
    /// Counts a click that earns.
    pub fn add(&mut self, row: &click::Model, basis: rules::Basis, micros: i64) {
        let (clicks, sum) = self.0.entry(((row.campaign_id, row.affiliate_id), basis)).or_default();
        *clicks += 1;
        *sum = sum.saturating_add(micros);
    }

    /// Writes what was counted, and asks for it to be posted when the tenant's day is over.
    ///
    /// # Errors
    /// As the database answers.
    pub async fn write(self, tx: &mut Tx, now: Instant) -> Result<(), StoreError> {
        if self.0.is_empty() {
            return Ok(());
        }
        click_accruals::add(tx, &self.0).await?;
        let zone = tenants::zone(tx).await?;
        holds::ask_each(tx, OutboxKind::PostClicks, std::iter::once(cap::next_day(now, zone)), now).await
    }
}

/// Posts the whole minor units of every accrual of a tenant. Answers how many were posted. Safe to run at any time, any
/// number of times, on any number of nodes.
///
/// # Errors
/// As the database answers; what was committed before stays posted.
pub async fn post_due(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let tx = services.db.snapshot(scope).await?;
    let due = click_accruals::of_at_least(&tx, LEAST_MICROS).await?;
    drop(tx);
    let mut posted = 0;
    for row in due {
        let mut tx = services.db.begin(scope).await?;
        if post_one(&mut tx, (row.campaign_id, row.affiliate_id), services.now()).await? {
            publish(&*services.bus, tx).await?;
            posted += 1;
        }
    }
    Ok(posted)
}

async fn post_one(tx: &mut Tx, key: click_accruals::Key, now: Instant) -> Result<bool, StoreError> {
    let Some(accrual) = click_accruals::lock(tx, key).await? else { return Ok(false) };
    let campaign = campaigns::get_many(tx, &[key.0]).await?.pop();
    let campaign = campaign.ok_or_else(|| StoreError::inconsistent("click_accrual", "of no campaign"))?;
    let (amount, remainder_micros) = rules::payable(accrual.accrued_micros, campaign.currency);
    if amount.amount_minor == 0 {
        return Ok(false);
    }
    let parts = click_accruals::parts(tx, key).await?;
    click_accruals::settle(tx, key, remainder_micros).await?;
    let award = Award {
        id: AwardId::from_uuid(ambient::new_uuid()),
        kind: AwardKind::Clicks,
        affiliate_id: key.1,
        campaign_id: Some(key.0),
        amount,
        reason: format!("{} clicks", accrual.clicks),
        steps: rules::steps(accrual.clicks, accrual.accrued_micros, remainder_micros, &parts),
        author: Actor::System.to_string(),
        hold_secs: campaign.hold_secs,
    };
    give(tx, award, now).await?;
    Ok(true)
}

/// What clicks of these pairs earned that is not posted yet, of those that the viewer may see.
///
/// # Errors
/// As the database answers.
pub async fn of(
    services: &Services,
    viewer: &Viewer,
    keys: &[(CampaignId, AffiliateId)],
) -> Result<Vec<click_accrual::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(click_accruals::of(&tx, keys).await?)
}
