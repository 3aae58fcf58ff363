//! Payouts as subscribers see them: as they were at their events, with what may be asked about them.

use std::collections::{BTreeSet, HashMap};

use tributary_entity::{
    affiliate,
    ids::{AffiliateId, PayoutBatchId},
    payout, payout_batch,
};

use crate::{
    domain::tenancy::{Ring, TenantScope},
    store::{affiliates, database::Db, error::StoreError, payout_batches},
};

/// A payout as it was at its event; resolving needs no I/O once its relations are loaded.
#[derive(Clone, Debug)]
pub struct PayoutView {
    pub row: payout::Model,
    pub affiliate: Option<affiliate::Model>,
    /// As it is when the event is told.
    pub batch: Option<payout_batch::Model>,
}

impl PayoutView {
    /// Relations come with [`load_relations`].
    pub(in crate::services) const fn new(row: payout::Model) -> Self {
        Self { row, affiliate: None, batch: None }
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
    let affiliates: HashMap<AffiliateId, affiliate::Model> = affiliates.into_iter().map(|row| (row.id, row)).collect();
    let batches: HashMap<PayoutBatchId, payout_batch::Model> = batches.into_iter().map(|row| (row.id, row)).collect();
    for view in views {
        view.affiliate = affiliates.get(&view.row.affiliate_id).cloned();
        view.batch = batches.get(&view.row.batch_id).cloned();
    }
    Ok(())
}
