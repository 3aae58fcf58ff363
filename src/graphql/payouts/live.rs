//! Payouts as they change, live.

use async_graphql::{Context, Result, SimpleObject};
use futures_util::Stream;
use tributary_entity::{Instant, kinds::EventKind};

use super::{Payout, PayoutFilterInput};
use crate::{
    domain::event::Interest,
    graphql::{
        context::RequestData,
        error::IntoGraphql,
        live::source::{self, Topic},
        scalars::Cursor,
    },
};

/// A payout was drafted or moved to another state.
#[derive(SimpleObject)]
pub(in crate::graphql) struct PayoutEvent {
    /// Hand it back as `after` to go on behind this event.
    cursor: Cursor,
    /// The payout as it was then; its state tells what happened.
    payout: Payout,
    /// When it happened.
    recorded_at: Instant,
}

/// The stream behind the subscription field.
pub(in crate::graphql) async fn stream(
    ctx: &Context<'_>,
    after: Option<Cursor>,
    filter: Option<PayoutFilterInput>,
) -> Result<impl Stream<Item = Result<PayoutEvent>> + use<>> {
    let (_, viewer) = ctx.caller()?;
    let filter = filter.unwrap_or_default().parse().or_graphql()?;
    let ring = viewer.scope.ring();
    let interest =
        Interest::in_kinds(&[EventKind::PayoutChanged]).of_affiliates(filter.affiliate_ids.clone()).within(ring);
    let topic = Topic::bind(ctx, super::STREAM, &filter, interest, after)?;
    source::events(ctx, topic, move |event, place| {
        let view = event.payout.as_ref().filter(|view| view.is_seen_by(ring) && filter.matches(&view.row))?;
        Some(PayoutEvent { cursor: place.cursor(), payout: view.into(), recorded_at: event.row.recorded_at })
    })
    .await
}
