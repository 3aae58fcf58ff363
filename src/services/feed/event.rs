//! Events as subscribers get them: payload read, relations loaded a batch at a time, so that resolving needs no I/O.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use tributary_entity::{
    affiliate, campaign, click, event, goal,
    ids::{AffiliateId, CampaignId, ClickId, GoalId},
    kinds::EventKind,
};

use crate::{
    domain::{conversion::Snapshot, tenancy::TenantScope},
    services::payouts::live::{self, PayoutView},
    store::{affiliates, campaigns, clicks, database::Db, error::StoreError, goals},
};

/// An event with its payload read and its relations loaded.
#[derive(Debug)]
pub struct LiveEvent {
    pub row: event::Model,
    /// Set for conversion events.
    pub conversion: Option<ConversionView>,
    /// Set for payout events.
    pub payout: Option<PayoutView>,
}

impl LiveEvent {
    /// The payload read; relations come with [`load_relations`].
    pub(super) fn read(row: event::Model) -> Self {
        let (mut conversion, mut payout) = (None, None);
        match row.kind {
            EventKind::ConversionRecorded
            | EventKind::ConversionApproved
            | EventKind::ConversionRejected
            | EventKind::ConversionReattributed
            | EventKind::ConversionRerated
            | EventKind::ConversionChanged
            | EventKind::ConversionReversed
            | EventKind::ConversionRestored
            | EventKind::ConversionAdjusted => {
                conversion = subject(&row).map(|snapshot| ConversionView { snapshot, relations: Arc::default() });
            }
            EventKind::PayoutChanged => payout = subject(&row).map(PayoutView::new),
            EventKind::EarningsReleased
            | EventKind::EarningsChanged
            | EventKind::AwardPosted
            | EventKind::CampaignChanged
            | EventKind::AffiliateChanged
            | EventKind::AffiliateGroupChanged
            | EventKind::EnrollmentChanged
            | EventKind::LinkChanged
            | EventKind::CouponChanged
            | EventKind::UserChanged
            | EventKind::ApiKeyChanged
            | EventKind::PostbackEndpointChanged
            | EventKind::SessionEnded
            | EventKind::TenantChanged
            | EventKind::JournalPosted
            | EventKind::FxRatesChanged
            | EventKind::BalanceConverted
            | EventKind::PayoutBatchChanged
            | EventKind::PayingAccountChanged
            | EventKind::PayoutFileChanged
            | EventKind::PayoutTermsChanged
            | EventKind::AttributionRunChanged
            | EventKind::ConversionRunChanged
            | EventKind::ProcessorChanged
            | EventKind::ReconciliationItemChanged
            | EventKind::OverridePlanChanged
            | EventKind::BonusRuleChanged => {}
        }
        Self { row, conversion, payout }
    }
}

/// A conversion as it was at its event, with what a subscriber may ask about it: resolving needs no I/O.
#[derive(Debug)]
pub struct ConversionView {
    pub snapshot: Snapshot,
    pub relations: Arc<Relations>,
}

/// What a batch of events refers to.
#[derive(Debug, Default)]
pub struct Relations {
    pub campaigns: HashMap<CampaignId, campaign::Model>,
    pub affiliates: HashMap<AffiliateId, affiliate::Model>,
    pub clicks: HashMap<ClickId, click::Model>,
    pub goals: HashMap<GoalId, goal::Model>,
}

/// Loads what these events refer to, in one query per kind.
pub(super) async fn load_relations<'a>(
    db: &Db,
    scope: &TenantScope,
    events: impl Iterator<Item = &'a mut LiveEvent>,
) -> Result<(), StoreError> {
    let mut views: Vec<&mut ConversionView> = Vec::new();
    let mut payouts: Vec<&mut PayoutView> = Vec::new();
    for event in events {
        views.extend(event.conversion.as_mut());
        payouts.extend(event.payout.as_mut());
    }
    live::load_relations(db, scope, payouts).await?;
    let snapshots: Vec<&Snapshot> = views.iter().map(|view| &view.snapshot).collect();
    let relations = Arc::new(relations(db, scope, &snapshots).await?);
    for view in views {
        view.relations = Arc::clone(&relations);
    }
    Ok(())
}

/// The object that an event tells of, as it was. One that cannot be read is a defect and is passed over, loudly: waiting for it
/// would end the tenant's feed for ever, and so would an error, at which clients come back to the very same event.
fn subject<T: DeserializeOwned>(row: &event::Model) -> Option<T> {
    serde_json::from_str(&row.payload)
        .inspect_err(|error| {
            tracing::error!(
                tenant.id = %row.tenant_id, event.seq = row.seq, %error,
                "an event cannot be read; subscribers go on without it"
            );
        })
        .ok()
}

async fn relations(db: &Db, scope: &TenantScope, snapshots: &[&Snapshot]) -> Result<Relations, StoreError> {
    if snapshots.is_empty() {
        return Ok(Relations::default());
    }
    let campaign_ids: BTreeSet<_> = snapshots.iter().filter_map(|snapshot| snapshot.conversion.campaign_id).collect();
    let affiliate_ids: BTreeSet<_> = snapshots
        .iter()
        .flat_map(|snapshot| {
            let touches = snapshot.touches.iter().map(|touch| touch.affiliate_id);
            let commissions = snapshot.commissions.iter().map(|row| row.affiliate_id);
            touches.chain(commissions).chain(snapshot.conversion.affiliate_id)
        })
        .collect();
    let click_ids: BTreeSet<_> = snapshots
        .iter()
        .flat_map(|snapshot| {
            snapshot.touches.iter().filter_map(|touch| touch.click_id).chain(snapshot.conversion.click_id)
        })
        .collect();
    let goal_ids: BTreeSet<_> = snapshots.iter().filter_map(|snapshot| snapshot.conversion.goal_id).collect();
    let tx = db.snapshot(scope).await?;
    let goals = goals::get_many(&tx, &goal_ids.into_iter().collect::<Vec<_>>()).await?;
    let campaigns = campaigns::get_many(&tx, &campaign_ids.into_iter().collect::<Vec<_>>()).await?;
    let affiliates = affiliates::get_many(&tx, &affiliate_ids.into_iter().collect::<Vec<_>>()).await?;
    let clicks = clicks::get_many(&tx, &click_ids.into_iter().collect::<Vec<_>>()).await?;
    Ok(Relations {
        campaigns: campaigns.into_iter().map(|row| (row.id, row)).collect(),
        affiliates: affiliates.into_iter().map(|row| (row.id, row)).collect(),
        clicks: clicks.into_iter().map(|row| (row.id, row)).collect(),
        goals: goals.into_iter().map(|row| (row.id, row)).collect(),
    })
}
