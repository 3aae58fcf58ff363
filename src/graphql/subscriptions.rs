//! Live subscriptions: resumable by cursor, fed by the event log. How to add one is told in [`live::source`].

use std::time::Duration;

use async_graphql::{Context, Enum, ID, Result, SimpleObject, Subscription};
use futures_util::Stream;
use tributary_entity::{Instant, ids::AffiliateId, kinds::EventKind};

use super::{
    context::{Needs, RequestData},
    conversions::{Conversion, ConversionFilterInput},
    earnings::Earnings,
    error::IntoGraphql,
    ids,
    live::source::{self, Topic},
    payouts::{self, PayoutFilterInput, live::PayoutEvent},
    scalars::Cursor,
};
use crate::{
    auth::Permission,
    domain::event::Interest,
    services::{self, earnings::EarningsSnapshot},
};

/// How long changes of earnings gather before the newest values are sent.
const EARNINGS_PACE: Duration = Duration::from_millis(100);

/// The events that tell of conversions.
const OF_CONVERSIONS: &[EventKind] = &[
    EventKind::ConversionRecorded,
    EventKind::ConversionApproved,
    EventKind::ConversionRejected,
    EventKind::ConversionReattributed,
    EventKind::ConversionRerated,
    EventKind::ConversionChanged,
    EventKind::ConversionReversed,
    EventKind::ConversionRestored,
    EventKind::ConversionAdjusted,
];
/// The events that may change what an affiliate has earned.
const OF_EARNINGS: &[EventKind] = &[
    EventKind::ConversionRecorded,
    EventKind::ConversionApproved,
    EventKind::ConversionRejected,
    EventKind::ConversionReattributed,
    EventKind::ConversionRerated,
    EventKind::ConversionChanged,
    EventKind::ConversionReversed,
    EventKind::ConversionRestored,
    EventKind::ConversionAdjusted,
    EventKind::EarningsReleased,
    EventKind::EarningsChanged,
    EventKind::AwardPosted,
    EventKind::BalanceConverted,
    EventKind::PayoutChanged,
    EventKind::JournalPosted,
];

/// What happened to a conversion.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum ConversionEventType {
    /// It was recorded; its status tells what became of it.
    Recorded,
    /// It was approved.
    Approved,
    /// It was rejected.
    Rejected,
    /// An attribution run credited it anew.
    Reattributed,
    /// A tier was reached or lost, and what it earned was rated anew.
    Rerated,
    /// It was re-opened, or the click came that it waited for; its status tells what became of it.
    Changed,
    /// It was taken back, in part or whole.
    Reversed,
    /// A reversal was undone.
    Restored,
    /// Its sale has another amount.
    Adjusted,
}

/// Something happened to a conversion.
#[derive(SimpleObject)]
pub(super) struct ConversionEvent {
    /// Hand it back as `after` to go on behind this event.
    cursor: Cursor,
    /// What happened.
    #[graphql(name = "type")]
    kind: ConversionEventType,
    /// The conversion as it was then.
    conversion: Conversion,
    /// When it happened.
    recorded_at: Instant,
}

#[derive(Default)]
pub(super) struct FeedSubscription;

#[Subscription]
impl FeedSubscription {
    /// New and changed conversions that the viewer may see, each change once, in the order of their commit. Without
    /// `after`, from now on; with it, everything since.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last event that you have; null begins now.")] after: Option<Cursor>,
        #[graphql(desc = "Which conversions. A cursor is good for the filter it came with.")] filter: Option<
            ConversionFilterInput,
        >,
    ) -> Result<impl Stream<Item = Result<ConversionEvent>> + use<>> {
        let (_, viewer) = ctx.caller()?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let ring = viewer.scope.ring();
        let interest = Interest::in_kinds(OF_CONVERSIONS)
            .of_campaigns(filter.campaign_ids.clone())
            .of_affiliates(filter.affiliate_ids.clone())
            .within(ring);
        let topic = Topic::bind(ctx, "conversions", &filter, interest, after)?;
        source::events(ctx, topic, move |event, place| {
            let view = event.conversion.as_ref()?;
            let snapshot = view.snapshot.seen_by(ring).filter(|seen| filter.matches(seen))?;
            Some(ConversionEvent {
                cursor: place.cursor(),
                kind: match event.row.kind {
                    EventKind::ConversionApproved => ConversionEventType::Approved,
                    EventKind::ConversionRejected => ConversionEventType::Rejected,
                    EventKind::ConversionReattributed => ConversionEventType::Reattributed,
                    EventKind::ConversionRerated => ConversionEventType::Rerated,
                    EventKind::ConversionChanged => ConversionEventType::Changed,
                    EventKind::ConversionReversed => ConversionEventType::Reversed,
                    EventKind::ConversionRestored => ConversionEventType::Restored,
                    EventKind::ConversionAdjusted => ConversionEventType::Adjusted,
                    _ => ConversionEventType::Recorded,
                },
                conversion: Conversion::of_event(view, snapshot),
                recorded_at: event.row.recorded_at,
            })
        })
        .await
    }

    /// What an affiliate has earned: first as it is, then the newest values after each change. Changes that come close
    /// together are told as one.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn earnings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose; begins with `aff_`. Affiliates see their own.")] affiliate_id: ID,
        #[graphql(desc = "The last cursor that you have. The first answer is the state as it is, in any case.")]
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<Earnings>> + use<>> {
        let (services, viewer) = ctx.caller()?;
        let id: AffiliateId = ids::parse(&["affiliateId"], &affiliate_id).or_graphql()?;
        let interest = Interest::in_kinds(OF_EARNINGS).of_affiliates(Some(vec![id]));
        let topic = Topic::bind(ctx, "earnings", &id, interest, after)?;
        let (services, viewer) = (services.clone(), viewer.clone());
        let read = {
            let (services, viewer) = (services.clone(), viewer.clone());
            move || {
                let (services, viewer) = (services.clone(), viewer.clone());
                async move {
                    let snapshot = services::earnings::of_affiliate(&services, &viewer, id).await?;
                    Ok((snapshot.position, (snapshot.affiliate, snapshot.earnings)))
                }
            }
        };
        source::state(ctx, topic, EARNINGS_PACE, read, move |(affiliate, earnings), place| {
            let snapshot = EarningsSnapshot { affiliate, earnings, position: place.position() };
            Earnings::of(&services, &viewer, snapshot)
        })
        .await
    }

    /// New and changed payouts that the viewer may see, each change once, in the order of their commit. Without `after`,
    /// from now on; with it, everything since.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payouts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last event that you have; null begins now.")] after: Option<Cursor>,
        #[graphql(desc = "Which payouts. A cursor is good for the filter it came with.")] filter: Option<
            PayoutFilterInput,
        >,
    ) -> Result<impl Stream<Item = Result<PayoutEvent>> + use<>> {
        payouts::live::stream(ctx, after, filter).await
    }
}
