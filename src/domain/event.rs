//! What the log says of a change, before it has a number.

use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId},
    kinds::EventKind,
};
use uuid::Uuid;

/// A change to be appended to the tenant's log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub kind: EventKind,
    pub subject_id: Uuid,
    pub campaign_id: Option<CampaignId>,
    /// Whose it is: an affiliate's subscriptions see no other's.
    pub affiliate_id: Option<AffiliateId>,
    /// JSON snapshot of the subject.
    pub payload: String,
    pub recorded_at: Instant,
}

impl NewEvent {
    /// An event about `subject`, whose JSON form becomes the payload.
    pub fn new(kind: EventKind, subject_id: Uuid, subject: &impl Serialize, recorded_at: Instant) -> Self {
        let payload = serde_json::to_string(subject).expect("rows and snapshots serialize: string keys, no floats");
        Self { kind, subject_id, campaign_id: None, affiliate_id: None, payload, recorded_at }
    }

    pub fn of_campaign(mut self, id: Option<CampaignId>) -> Self {
        self.campaign_id = id;
        self
    }

    pub fn of_affiliate(mut self, id: Option<AffiliateId>) -> Self {
        self.affiliate_id = id;
        self
    }
}
