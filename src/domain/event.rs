//! What the log says of a change, before it has a number; and which changes somebody follows.

use std::collections::BTreeSet;

use serde::Serialize;
use tributary_entity::{
    Instant, event,
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
    /// Whose it is besides.
    pub further_affiliates: Vec<AffiliateId>,
    /// JSON snapshot of the subject.
    pub payload: String,
    pub recorded_at: Instant,
}

impl NewEvent {
    /// An event about `subject`, whose JSON form becomes the payload.
    pub fn new(kind: EventKind, subject_id: Uuid, subject: &impl Serialize, recorded_at: Instant) -> Self {
        let payload = serde_json::to_string(subject).expect("rows and snapshots serialize: string keys, no floats");
        Self {
            kind,
            subject_id,
            campaign_id: None,
            affiliate_id: None,
            further_affiliates: Vec::new(),
            payload,
            recorded_at,
        }
    }

    pub fn of_campaign(mut self, id: Option<CampaignId>) -> Self {
        self.campaign_id = id;
        self
    }

    pub fn of_affiliate(mut self, id: Option<AffiliateId>) -> Self {
        self.affiliate_id = id;
        self
    }

    /// Of several affiliates, the first one in front.
    pub fn of_affiliates(mut self, ids: impl Iterator<Item = AffiliateId>) -> Self {
        for id in ids {
            match self.affiliate_id {
                None => self.affiliate_id = Some(id),
                Some(first) if first == id || self.further_affiliates.contains(&id) => {}
                Some(_) => self.further_affiliates.push(id),
            }
        }
        self
    }
}

/// How the log keeps the affiliates of an event besides the first.
pub fn further_text(ids: &[AffiliateId]) -> Option<String> {
    (!ids.is_empty()).then(|| ids.iter().map(|id| id.uuid().to_string()).collect::<Vec<_>>().join(","))
}

/// Whose an event is: an affiliate's subscriptions see no other's.
pub fn affiliates(row: &event::Model) -> impl Iterator<Item = AffiliateId> {
    let further = row.further_affiliates.iter().flat_map(|ids| ids.split(','));
    row.affiliate_id.into_iter().chain(further.filter_map(|id| Uuid::parse_str(id).ok()).map(AffiliateId::from_uuid))
}

/// What a transaction did that others may wait for.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// As the log holds them.
    pub events: Vec<event::Model>,
    /// Whose hourly totals changed.
    pub counted: BTreeSet<(CampaignId, AffiliateId)>,
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

    /// Whether an event's row meets all conditions.
    pub fn covers(&self, row: &event::Model) -> bool {
        fn one_of<T: PartialEq>(wanted: Option<&Vec<T>>, value: Option<T>) -> bool {
            wanted.is_none_or(|wanted| value.is_some_and(|value| wanted.contains(&value)))
        }
        self.kinds.contains(&row.kind)
            && one_of(self.campaign_ids.as_ref(), row.campaign_id)
            && self.affiliate_ids.as_ref().is_none_or(|wanted| affiliates(row).any(|id| wanted.contains(&id)))
    }
}
