//! Payouts as subscribers see them: as they were at their events, with what may be asked about them.

use std::collections::{BTreeSet, HashMap};

use tributary_entity::{
    affiliate,
    ids::{AffiliateId, PayoutBatchId, PayoutDestinationId},
    payout, payout_batch, payout_destination,
};

use crate::{
    domain::tenancy::{Ring, TenantScope},
    store::{affiliates, database::Db, error::StoreError, payout_batches, payout_destinations},
};

/// A payout as it was at its event; resolving needs no I/O once its relations are loaded.
#[derive(Clone, Debug)]
pub struct PayoutView {
    pub row: payout::Model,
    pub affiliate: Option<affiliate::Model>,
    /// As it is when the event is told.
    pub batch: Option<payout_batch::Model>,
    pub destination: Option<payout_destination::Model>,
}

impl PayoutView {
    /// Relations come with [`load_relations`].
    pub(in crate::services) const fn new(row: payout::Model) -> Self {
        Self { row, affiliate: None, batch: None, destination: None }
    }

    /// Whether a ring may see it: an affiliate its own.
    pub fn is_seen_by(&self, ring: Ring) -> bool {
        match ring {
            Ring::Tenant => true,
            Ring::Affiliate(own) => self.row.affiliate_id == own,
        }
    }
}

/// Loads what these payouts refer to, in one query per kind.
pub(in crate::services) async fn load_relations(
    db: &Db,
    scope: &TenantScope,
    views: Vec<&mut PayoutView>,
) -> Result<(), StoreError> {
    if views.is_empty() {
        return Ok(());
    }
    let affiliate_ids: BTreeSet<AffiliateId> = views.iter().map(|view| view.row.affiliate_id).collect();
    let batch_ids: BTreeSet<PayoutBatchId> = views.iter().map(|view| view.row.batch_id).collect();
    let tx = db.snapshot(scope).await?;
    let affiliates = affiliates::get_many(&tx, &affiliate_ids.into_iter().collect::<Vec<_>>()).await?;
    let batches = payout_batches::get_many(&tx, &batch_ids.into_iter().collect::<Vec<_>>()).await?;
    let destination_ids: BTreeSet<PayoutDestinationId> =
        views.iter().filter_map(|view| view.row.destination_id).collect();
    let destinations = payout_destinations::get_many(&tx, &destination_ids.into_iter().collect::<Vec<_>>()).await?;
    let destinations: HashMap<PayoutDestinationId, payout_destination::Model> =
        destinations.into_iter().map(|row| (row.id, row)).collect();
    let affiliates: HashMap<AffiliateId, affiliate::Model> = affiliates.into_iter().map(|row| (row.id, row)).collect();
    let batches: HashMap<PayoutBatchId, payout_batch::Model> = batches.into_iter().map(|row| (row.id, row)).collect();
    for view in views {
        view.affiliate = affiliates.get(&view.row.affiliate_id).cloned();
        view.batch = batches.get(&view.row.batch_id).cloned();
        view.destination = view.row.destination_id.and_then(|id| destinations.get(&id).cloned());
    }
    Ok(())
}
