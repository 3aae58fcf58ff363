//! Live subscriptions: resumable by cursor, fed by the event log.

use std::{collections::VecDeque, future::ready, time::Duration};

use async_graphql::{Context, Description, Enum, ID, Result, SimpleObject, Subscription as GraphqlSubscription};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;
use tributary_entity::{Instant, ids::AffiliateId, kinds::EventKind};

use super::{
    context::{Needs, RequestData},
    conversions::{Conversion, ConversionFilterInput},
    earnings::Earnings,
    error::{IntoGraphql, to_graphql},
    ids,
    scalars::Cursor,
};
use crate::{
    auth::{Permission, Viewer},
    domain::cursor::{Binding, Position},
    services::{self, ServiceError, Services, feed},
};

/// How long changes of earnings gather before the newest values are sent.
const CONFLATE: Duration = Duration::from_millis(100);
/// How long to wait before asking a database again that did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// What happened to a conversion.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum ConversionEventType {
    /// It was recorded; its status tells what became of it.
    Recorded,
    /// It was approved.
    Approved,
    /// It was rejected.
    Rejected,
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

/// Watch.
#[derive(Description)]
pub struct Subscription;

#[GraphqlSubscription(use_type_description)]
impl Subscription {
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
        let (services, viewer) = ctx.caller()?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let binding = services.cursors.bind(&viewer.scope, "conversions", &filter);
        let (member, epoch) = join(services, viewer).await?;
        let from = start(&binding, after, epoch, member.tip())?;
        let ring = viewer.scope.ring();
        let events = member.events_after(from).filter_map(move |event| {
            ready(event.conversion.as_ref().and_then(|view| {
                let snapshot = view.snapshot.seen_by(ring).filter(|seen| filter.matches(&seen.conversion))?;
                Some(Ok(ConversionEvent {
                    cursor: Cursor(binding.encode(&Position { epoch, seq: event.row.seq })),
                    kind: match event.row.kind {
                        EventKind::ConversionApproved => ConversionEventType::Approved,
                        EventKind::ConversionRejected => ConversionEventType::Rejected,
                        _ => ConversionEventType::Recorded,
                    },
                    conversion: Conversion::of_event(view, snapshot),
                    recorded_at: event.row.recorded_at,
                }))
            }))
        });
        Ok(events)
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
        let binding = services.cursors.bind(&viewer.scope, "earnings", &id);
        let (member, epoch) = join(services, viewer).await?;
        start(&binding, after, epoch, member.tip())?;
        // Refused here rather than in the stream when it is not the viewer's to see.
        let first = services::earnings::of_affiliate(services, viewer, id).await.or_graphql()?;
        let watch = EarningsWatch { services: services.clone(), viewer: viewer.clone(), id, member, last: None };
        let ready = VecDeque::from([first]);
        let values = stream::unfold((watch, ready), async |(mut watch, mut ready)| {
            let snapshot = match ready.pop_front() {
                Some(first) => Ok(first),
                None => watch.next().await,
            };
            let value = snapshot.map(|snapshot| {
                watch.last = Some(snapshot.earnings.clone());
                Earnings::of(&watch.services, &watch.viewer, snapshot)
            });
            Some((value.map_err(to_graphql), (watch, ready)))
        });
        Ok(values)
    }
}

/// Follows the earnings of one affiliate.
struct EarningsWatch {
    services: Services,
    viewer: Viewer,
    id: AffiliateId,
    member: feed::Member,
    last: Option<Vec<crate::domain::earnings::Earnings>>,
}

impl EarningsWatch {
    /// The next values that differ from the last.
    async fn next(&mut self) -> Result<services::earnings::EarningsSnapshot, ServiceError> {
        loop {
            let id = self.id;
            self.member.changed(|event| concerns(event, id)).await;
            loop {
                sleep(CONFLATE).await;
                self.member.skip_pending();
                match services::earnings::of_affiliate(&self.services, &self.viewer, self.id).await {
                    Ok(snapshot) if self.last.as_ref() == Some(&snapshot.earnings) => break,
                    // Asked again at once: no other change may ever come to tell of this one.
                    Err(error) if error.is_transient() => {
                        tracing::warn!(%error, "earnings cannot be read; trying again");
                        sleep(RETRY).await;
                    }
                    answer => return answer,
                }
            }
        }
    }
}

/// Whether an event may have changed what an affiliate has earned.
fn concerns(event: &feed::LiveEvent, id: AffiliateId) -> bool {
    let earns = |view: &feed::ConversionView| view.snapshot.commissions.iter().any(|row| row.affiliate_id == id);
    event.row.affiliate_id == Some(id) || event.conversion.as_deref().is_some_and(earns)
}

async fn join(services: &Services, viewer: &Viewer) -> Result<(feed::Member, uuid::Uuid)> {
    let tenant = services::tenants::get(services, viewer).await.or_graphql()?;
    let member = services.feeds.join(&viewer.scope).await.or_graphql()?;
    Ok((member, tenant.epoch))
}

/// Where a subscription begins: at its cursor, or now.
fn start(binding: &Binding, after: Option<Cursor>, epoch: uuid::Uuid, tip: i64) -> Result<i64> {
    match after {
        None => Ok(tip),
        Some(Cursor(text)) => {
            let position = binding.decode(&text).ok_or(ServiceError::CursorInvalid).or_graphql()?;
            feed::resume(position, epoch, tip).or_graphql()
        }
    }
}
