//! Who wants which event: an event is shown to candidates only, however many members there are.
//!
//! # Decisions
//! - A member stands under the narrowest thing that it asks for: its affiliates, else its campaigns, else everything. An
//!   event looks under its own affiliates, its campaign and everything; each candidate is then checked exactly.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tributary_entity::ids::{AffiliateId, CampaignId};

use super::{event::LiveEvent, member::QUEUE, queue::Queue};
use crate::domain::event::{Interest, affiliates};

/// A member's place.
pub(super) struct Slot {
    id: u64,
    pub interest: Interest,
    pub queue: Queue<Arc<LiveEvent>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Affiliate(AffiliateId),
    Campaign(CampaignId),
    Everything,
}

/// The members of a feed, by what they ask for.
pub(super) struct Index {
    /// The last event that was handed out.
    handed: i64,
    retired: bool,
    next_id: u64,
    by_key: HashMap<Key, BTreeMap<u64, Arc<Slot>>>,
}

impl Index {
    pub fn new(handed: i64) -> Self {
        Self { handed, retired: false, next_id: 0, by_key: HashMap::new() }
    }

    pub const fn handed(&self) -> i64 {
        self.handed
    }

    pub const fn is_retired(&self) -> bool {
        self.retired
    }

    /// Adds a member. It gets every event of interest after the number that is answered with it.
    pub fn enter(&mut self, interest: Interest) -> (Arc<Slot>, i64) {
        self.next_id += 1;
        let slot = Arc::new(Slot { id: self.next_id, interest, queue: Queue::new(QUEUE) });
        if self.retired {
            slot.queue.close();
        }
        for key in keys(&slot.interest) {
            self.by_key.entry(key).or_default().insert(slot.id, Arc::clone(&slot));
        }
        (slot, self.handed)
    }

    pub fn leave(&mut self, slot: &Slot) {
        for key in keys(&slot.interest) {
            if let Some(slots) = self.by_key.get_mut(&key) {
                slots.remove(&slot.id);
                if slots.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }

    /// Begins a member's queue anew: it gets every event of interest after the number that is answered.
    pub fn restart(&self, slot: &Slot) -> i64 {
        slot.queue.restart();
        self.handed
    }

    /// Hands an event to all who want it. Answers how many took it.
    pub fn hand_out(&mut self, event: &Arc<LiveEvent>) -> usize {
        let taken = self.candidates(event).into_iter().filter(|slot| slot.queue.push(Arc::clone(event))).count();
        self.handed = event.row.seq;
        taken
    }

    /// Whether anybody wants an event.
    pub fn is_wanted(&self, event: &LiveEvent) -> bool {
        !self.candidates(event).is_empty()
    }

    /// Ends the feed for all members.
    pub fn retire(&mut self) {
        self.retired = true;
        for slot in self.by_key.values().flat_map(BTreeMap::values) {
            slot.queue.close();
        }
    }

    fn candidates(&self, event: &LiveEvent) -> Vec<&Arc<Slot>> {
        let keys = affiliates(&event.row)
            .map(Key::Affiliate)
            .chain(event.row.campaign_id.map(Key::Campaign))
            .chain(std::iter::once(Key::Everything));
        let mut slots: Vec<&Arc<Slot>> = keys
            .filter_map(|key| self.by_key.get(&key))
            .flat_map(BTreeMap::values)
            .filter(|slot| slot.interest.covers(&event.row))
            .collect();
        // Who asks for two of the event's affiliates was found twice.
        slots.sort_unstable_by_key(|slot| slot.id);
        slots.dedup_by_key(|slot| slot.id);
        slots
    }
}

/// Where a member with this interest stands.
fn keys(interest: &Interest) -> Vec<Key> {
    match (&interest.affiliate_ids, &interest.campaign_ids) {
        (Some(ids), _) => ids.iter().copied().map(Key::Affiliate).collect(),
        (None, Some(ids)) => ids.iter().copied().map(Key::Campaign).collect(),
        (None, None) => vec![Key::Everything],
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::{collection::vec, option, prelude::*, sample::select};
    use tributary_entity::{Instant, event, ids::TenantId, kinds::EventKind};
    use uuid::Uuid;

    use super::{super::queue::Popped, *};

    fn id<T>(from: impl Fn(Uuid) -> T, number: u8) -> T {
        from(Uuid::from_u128(number.into()))
    }

    fn event(seq: i64, kind: EventKind, campaign: Option<u8>, [affiliate, further]: [Option<u8>; 2]) -> Arc<LiveEvent> {
        let row = event::Model {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            seq,
            kind,
            subject_id: Uuid::nil(),
            campaign_id: campaign.map(|number| id(CampaignId::from_uuid, number)),
            affiliate_id: affiliate.map(|number| id(AffiliateId::from_uuid, number)),
            further_affiliates: further.map(|number| id(AffiliateId::from_uuid, number).uuid().to_string()),
            payload: "{}".to_owned(),
            recorded_at: Instant::default(),
        };
        Arc::new(LiveEvent { row, conversion: None, payout: None })
    }

    fn kinds() -> impl Strategy<Value = EventKind> {
        select(EventKind::ALL)
    }

    prop_compose! {
        fn interests()(
            kinds in vec(kinds(), 0..4),
            campaigns in option::of(vec(0..4_u8, 0..3)),
            affiliates in option::of(vec(0..4_u8, 0..3)),
        ) -> Interest {
            Interest::in_kinds(&kinds)
                .of_campaigns(campaigns.map(|ids| ids.into_iter().map(|number| id(CampaignId::from_uuid, number)).collect()))
                .of_affiliates(affiliates.map(|ids| ids.into_iter().map(|number| id(AffiliateId::from_uuid, number)).collect()))
        }
    }

    proptest! {
        #[test]
        fn candidates_are_those_whom_a_look_at_everybody_finds(
            interests in vec(interests(), 0..20),
            leaving in vec(any::<bool>(), 20),
            events in vec((kinds(), option::of(0..5_u8), [option::of(0..5_u8), option::of(0..5_u8)]), 0..20),
        ) {
            let mut index = Index::new(0);
            let mut members: Vec<Arc<Slot>> =
                interests.into_iter().map(|interest| index.enter(interest).0).collect();
            let mut leaving = leaving.into_iter();
            members.retain(|slot| {
                let leaves = leaving.next() == Some(true);
                if leaves {
                    index.leave(slot);
                }
                !leaves
            });
            for (seq, (kind, campaign, affiliates)) in (1..).zip(events) {
                let event = event(seq, kind, campaign, affiliates);
                let expected: Vec<u64> =
                    members.iter().filter(|slot| slot.interest.covers(&event.row)).map(|slot| slot.id).collect();
                let found: Vec<u64> = index.candidates(&event).into_iter().map(|slot| slot.id).collect();
                prop_assert_eq!(&found, &expected);
                prop_assert_eq!(index.is_wanted(&event), !expected.is_empty());
                prop_assert_eq!(index.hand_out(&event), expected.len());
                prop_assert_eq!(index.handed(), seq);
            }
            for slot in &members {
                index.leave(slot);
            }
            prop_assert!(index.by_key.is_empty());
        }
    }

    #[test]
    fn member_gets_what_is_handed_out_after_it_entered() {
        let mut index = Index::new(7);
        let interest = Interest::in_kinds(&[EventKind::LinkChanged]);
        let (early, _) = index.enter(interest.clone());
        index.hand_out(&event(8, EventKind::LinkChanged, None, [None, None]));
        let (late, handed) = index.enter(interest);
        assert_eq!(handed, 8);
        index.hand_out(&event(9, EventKind::LinkChanged, None, [None, None]));
        let read = |slot: &Slot| match slot.queue.pop().now_or_never() {
            Some(Popped::Item(event)) => event.row.seq,
            other => panic!("an event, not {other:?}"),
        };
        assert_eq!([read(&early), read(&early), read(&late)], [8, 9, 9]);
    }

    #[test]
    fn retired_index_ends_members_of_then_and_of_later() {
        let mut index = Index::new(0);
        let interest = Interest::in_kinds(EventKind::ALL);
        let (before, _) = index.enter(interest.clone());
        index.retire();
        let (after, _) = index.enter(interest);
        for slot in [before, after] {
            assert!(matches!(slot.queue.pop().now_or_never(), Some(Popped::Closed)));
        }
    }
}
