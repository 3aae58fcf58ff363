//! Payouts as subscribers see them: as they were at their events, with what may be asked about them.

use std::collections::{BTreeSet, HashMap};

use tributary_entity::{
    affiliate,
    ids::{AffiliateId, PayoutBatchId},
    payout, payout_batch,
};

use crate::{
    domain::tenancy::Ring,
    store::{affiliates, error::StoreError, payout_batches, scope::Tx},
};

/// A payout as it was at its event; resolving needs no I/O.
#[derive(Clone, Debug)]
pub struct PayoutView {
    pub row: payout::Model,
    pub affiliate: Option<affiliate::Model>,
    /// As it is when the event is told.
    pub batch: Option<payout_batch::Model>,
}

impl PayoutView {
    /// Whether a ring may see it: an affiliate its own.
    pub fn is_seen_by(&self, ring: Ring) -> bool {
        match ring {
            Ring::Tenant => true,
            Ring::Affiliate(own) => self.row.affiliate_id == own,
        }
    }
}

/// The payouts of a batch of events with what they refer to, in one query per kind; in their order.
///
/// # Errors
/// As the database answers.
pub async fn views(tx: &Tx, rows: Vec<payout::Model>) -> Result<Vec<PayoutView>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let affiliate_ids: BTreeSet<AffiliateId> = rows.iter().map(|row| row.affiliate_id).collect();
    let batch_ids: BTreeSet<PayoutBatchId> = rows.iter().map(|row| row.batch_id).collect();
    let affiliates: HashMap<AffiliateId, affiliate::Model> =
        affiliates::get_many(tx, &affiliate_ids.into_iter().collect::<Vec<_>>())
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
    let batches: HashMap<PayoutBatchId, payout_batch::Model> =
        payout_batches::get_many(tx, &batch_ids.into_iter().collect::<Vec<_>>())
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
    Ok(rows
        .into_iter()
        .map(|row| PayoutView {
            affiliate: affiliates.get(&row.affiliate_id).cloned(),
            batch: batches.get(&row.batch_id).cloned(),
            row,
        })
        .collect())
}
