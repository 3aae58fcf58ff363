//! What the log says of a change, before it has a number; and which changes somebody follows.

use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId},
    kinds::EventKind,
};
use uuid::Uuid;

use super::tenancy::Ring;

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

/// Which events somebody follows. All conditions must hold; whoever follows may be told of a few more and looks again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    pub kinds: Vec<EventKind>,
    /// Of one of these campaigns; none means any or no campaign.
    pub campaign_ids: Option<Vec<CampaignId>>,
    /// Of one of these affiliates; none means any or no affiliate.
    pub affiliate_ids: Option<Vec<AffiliateId>>,
}

impl Interest {
    /// In all events of these kinds.
    pub fn in_kinds(kinds: &[EventKind]) -> Self {
        Self { kinds: kinds.to_vec(), campaign_ids: None, affiliate_ids: None }
    }

    pub fn of_campaigns(mut self, ids: Option<Vec<CampaignId>>) -> Self {
        self.campaign_ids = ids;
        self
    }

    pub fn of_affiliates(mut self, ids: Option<Vec<AffiliateId>>) -> Self {
        self.affiliate_ids = ids;
        self
    }

    /// Leaves only what a ring may see of events that are an affiliate's own.
    pub fn within(self, ring: Ring) -> Self {
        match ring {
            Ring::Tenant => self,
            Ring::Affiliate(own) => self.of_affiliates(Some(vec![own])),
        }
    }
}
