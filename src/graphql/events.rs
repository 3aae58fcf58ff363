//! The event log: every change that the viewer may watch, as a list and as a stream.
//!
//! # Adding a type
//! A line in `event_types!`, and what the log keeps of it in [`payload`].

use std::collections::BTreeSet;

use async_graphql::{
    Context, Description, Enum, ID, Object, Result, SimpleObject, Subscription, Union, connection::PageInfo,
};
use futures_util::Stream;
use serde::de::DeserializeOwned;
use tributary_entity::{
    Instant, affiliate, attribution_run, award, campaign, conversion_run, coupon, enrollment, event, fx_conversion,
    ids::{
        AffiliateGroupId, AffiliateId, ApiKeyId, AttributionRunId, AwardId, BonusRuleId, CampaignId, ConversionId,
        ConversionRunId, CouponId, EnrollmentId, FxConversionId, FxRateId, JournalId, LinkId, OverridePlanId,
        PayingAccountId, PayoutBatchId, PayoutFileId, PayoutId, PayoutTermsId, PostbackEndpointId, ProcessorId,
        ReconciliationItemId, SessionId, TenantId, UserId,
    },
    kinds::EventKind,
    link, money, paying_account, payout, payout_batch, payout_file, payout_terms,
};
use uuid::Uuid;

use super::{
    affiliates::Affiliate,
    attribution::AttributionRun,
    awards::Award,
    campaigns::Campaign,
    context::{Authenticated, RequestData},
    conversions::{Conversion, ConversionRun},
    coupons::Coupon,
    enrollments::Enrollment,
    error::{self, IntoGraphql},
    fx_conversions::FxConversion,
    links::Link,
    live::source::{self, Topic},
    payout_terms::PayoutTerms,
    payouts::{PayingAccount, Payout, PayoutBatch, PayoutFile},
    scalars::{Cursor, Money},
};
use crate::{
    auth::{Permission, Viewer},
    domain::{conversion::Snapshot, cursor::Position, event::Interest, page::PageSize, tenancy::Ring},
    services::{self, ServiceError, events::LogPageRequest, feed::LiveEvent},
};

macro_rules! event_types {
    ($($(#[$doc:meta])* $kind:ident, $permission:ident, $id:ident;)*) => {
        /// What kind of change an event tells of.
        #[derive(Clone, Copy, PartialEq, Eq, Enum)]
        #[graphql(remote = "EventKind")]
        pub(super) enum EventType { $($(#[$doc])* $kind,)* }

        /// What a viewer must be permitted to hear of a kind of change.
        const fn permission(kind: EventKind) -> Permission {
            match kind { $(EventKind::$kind => Permission::$permission,)* }
        }

        /// The public id of the object that changed.
        fn subject_id(kind: EventKind, id: Uuid) -> ID {
            match kind { $(EventKind::$kind => $id::from_uuid(id).into(),)* }
        }
    };
}

event_types! {
    /// A conversion was recorded; its status tells what became of it.
    ConversionRecorded, ReadConversions, ConversionId;
    /// A conversion was approved.
    ConversionApproved, ReadConversions, ConversionId;
    /// A conversion was rejected.
    ConversionRejected, ReadConversions, ConversionId;
    /// An attribution run credited a conversion anew.
    ConversionReattributed, ReadConversions, ConversionId;
    /// A tier was reached or lost, and what a conversion earned was rated anew.
    ConversionRerated, ReadConversions, ConversionId;
    /// A conversion was re-opened, or its click came, and it waits for a decision now.
    ConversionChanged, ReadConversions, ConversionId;
    /// A conversion was taken back, in part or whole.
    ConversionReversed, ReadConversions, ConversionId;
    /// A reversal of a conversion was undone.
    ConversionRestored, ReadConversions, ConversionId;
    /// A conversion's sale has another amount.
    ConversionAdjusted, ReadConversions, ConversionId;
    /// Commissions of an affiliate left the hold period; about the affiliate.
    EarningsReleased, ReadEarnings, AffiliateId;
    /// What an affiliate has earned changed by something that is not its own, such as a conversion of somebody below it;
    /// about the affiliate.
    EarningsChanged, ReadEarnings, AffiliateId;
    /// An affiliate got a bonus or an adjustment, or what its clicks earned.
    AwardPosted, ReadEarnings, AwardId;
    /// A campaign was created or changed. Affiliates are not told.
    CampaignChanged, ReadCampaigns, CampaignId;
    /// An affiliate was created or changed.
    AffiliateChanged, ReadAffiliates, AffiliateId;
    /// An affiliate group was created or changed. Affiliates are not told.
    AffiliateGroupChanged, ReadRules, AffiliateGroupId;
    /// An enrollment was created or changed.
    EnrollmentChanged, ReadAffiliates, EnrollmentId;
    /// A link was created or changed.
    LinkChanged, ReadLinks, LinkId;
    /// A coupon was created or changed.
    CouponChanged, ReadLinks, CouponId;
    /// A user was disabled or enabled, or has other roles or another password. Affiliates are not told.
    UserChanged, ReadUsers, UserId;
    /// An API key was made or revoked. Affiliates are not told.
    ApiKeyChanged, ManageApiKeys, ApiKeyId;
    /// A postback endpoint was made or changed. Affiliates are not told.
    PostbackEndpointChanged, ManageApiKeys, PostbackEndpointId;
    /// A session was ended. Affiliates are not told.
    SessionEnded, ReadUsers, SessionId;
    /// The tenant was suspended or resumed, or has other settings. Affiliates are not told.
    TenantChanged, ReadTenant, TenantId;
    /// A payout was drafted or moved to another state.
    PayoutChanged, ReadPayouts, PayoutId;
    /// Exchange rates were set or imported; about the first of them. Affiliates are not told.
    FxRatesChanged, ReadFxRates, FxRateId;
    /// An affiliate's balance was converted into another currency.
    BalanceConverted, ReadEarnings, FxConversionId;
    /// A payout batch was asked for, or moved to another state. Affiliates are not told.
    PayoutBatchChanged, ManagePayouts, PayoutBatchId;
    /// An account that payouts are paid from was set. Affiliates are not told.
    PayingAccountChanged, ManagePayouts, PayingAccountId;
    /// A file of payments was handed out, each time it is, or a bank's answer taken in. Affiliates are not told.
    PayoutFileChanged, ManagePayouts, PayoutFileId;
    /// When, or from how much on, an affiliate or everybody is paid was set.
    PayoutTermsChanged, ReadPayouts, PayoutTermsId;
    /// A person posted to the ledger: a deposit, or the write-off of a debt. Affiliates are not told.
    JournalPosted, ReadLedger, JournalId;
    /// An attribution run was asked for, went on, or came to its end. Affiliates are not told.
    AttributionRunChanged, ReadAttribution, AttributionRunId;
    /// A run over conversions was asked for, went on, or came to its end. Affiliates are not told.
    ConversionRunChanged, ReadConversions, ConversionRunId;
    /// A processor was set up, given other credentials, or removed. Affiliates are not told.
    ProcessorChanged, ManageProcessors, ProcessorId;
    /// A difference between the books was found or resolved. Affiliates are not told.
    ReconciliationItemChanged, ManagePayouts, ReconciliationItemId;
    /// An override plan was set or archived. Affiliates are not told.
    OverridePlanChanged, ReadRules, OverridePlanId;
    /// A bonus rule was made or archived. Affiliates are not told.
    BonusRuleChanged, ReadRules, BonusRuleId;
}

/// What the log keeps of a change.
#[derive(Union)]
pub(super) enum EventPayload {
    Conversion(Box<Conversion>),
    Campaign(Campaign),
    Affiliate(Affiliate),
    Enrollment(Enrollment),
    Link(Link),
    Coupon(Coupon),
    Payout(Box<Payout>),
    PayoutBatch(Box<PayoutBatch>),
    PayoutTerms(PayoutTerms),
    PayoutFile(PayoutFile),
    PayingAccount(PayingAccount),
    ReleasedEarnings(ReleasedEarnings),
    Award(Box<Award>),
    AttributionRun(Box<AttributionRun>),
    FxConversion(Box<FxConversion>),
    ConversionRun(Box<ConversionRun>),
}

/// Commissions that became payable.
#[derive(SimpleObject)]
pub(super) struct ReleasedEarnings {
    /// What was released at once, in one currency.
    amount: Money,
}

/// One change of the tenant's log.
#[derive(SimpleObject)]
pub(super) struct Event {
    /// Hand it back as `after` to go on behind this event, in the list or in the subscription.
    cursor: Cursor,
    /// What happened.
    #[graphql(name = "type")]
    kind: EventType,
    /// What it happened to; the prefix tells the kind of object.
    subject_id: ID,
    /// The object as it was then; what became payable, for released earnings. Null for changed earnings, override plans,
    /// bonus rules, affiliate groups, users, keys, postback endpoints, sessions, exchange rates, journals, processors, reconciliation items
    /// and the tenant, and where the log keeps it in another form than this version reads: ask for the object by `subjectId`.
    payload: Option<EventPayload>,
    /// When it happened.
    recorded_at: Instant,
}

impl Event {
    fn of(event: &LiveEvent, ring: Ring, cursor: Cursor) -> Self {
        let row = &event.row;
        Self {
            cursor,
            kind: row.kind.into(),
            subject_id: subject_id(row.kind, row.subject_id),
            payload: payload(event, ring),
            recorded_at: row.recorded_at,
        }
    }
}

/// What a ring may read of an event that it is told of.
fn payload(event: &LiveEvent, ring: Ring) -> Option<EventPayload> {
    let row = &event.row;
    Some(match row.kind {
        EventKind::ConversionRecorded
        | EventKind::ConversionApproved
        | EventKind::ConversionRejected
        | EventKind::ConversionReattributed
        | EventKind::ConversionRerated
        | EventKind::ConversionChanged
        | EventKind::ConversionReversed
        | EventKind::ConversionRestored
        | EventKind::ConversionAdjusted => {
            EventPayload::Conversion(Box::new(match &event.conversion {
                // From the feed, with its relations.
                Some(view) => Conversion::of_event(view, view.snapshot.seen_by(ring)?),
                None => read::<Snapshot>(row)?.seen_by(ring)?.into(),
            }))
        }
        EventKind::PayoutChanged => EventPayload::Payout(Box::new(match &event.payout {
            // From the feed, with its relations; whose it is was seen to by the interest.
            Some(view) => view.into(),
            None => read::<payout::Model>(row)?.into(),
        })),
        EventKind::EarningsReleased => {
            EventPayload::ReleasedEarnings(ReleasedEarnings { amount: read::<money::Money>(row)?.into() })
        }
        EventKind::AwardPosted => EventPayload::Award(Box::new(Award(read::<award::Model>(row)?))),
        EventKind::CampaignChanged => EventPayload::Campaign(Campaign(read::<campaign::Model>(row)?)),
        EventKind::AffiliateChanged => EventPayload::Affiliate(Affiliate(read::<affiliate::Model>(row)?)),
        EventKind::EnrollmentChanged => EventPayload::Enrollment(Enrollment(read::<enrollment::Model>(row)?)),
        EventKind::LinkChanged => EventPayload::Link(Link(read::<link::Model>(row)?)),
        EventKind::CouponChanged => EventPayload::Coupon(Coupon(read::<coupon::Model>(row)?)),
        // What the log keeps of these is for the program.
        EventKind::EarningsChanged
        | EventKind::OverridePlanChanged
        | EventKind::BonusRuleChanged
        | EventKind::AffiliateGroupChanged
        | EventKind::UserChanged
        | EventKind::ApiKeyChanged
        | EventKind::PostbackEndpointChanged
        | EventKind::SessionEnded
        | EventKind::FxRatesChanged
        | EventKind::ProcessorChanged
        | EventKind::ReconciliationItemChanged
        | EventKind::JournalPosted
        | EventKind::TenantChanged => return None,
        EventKind::BalanceConverted => EventPayload::FxConversion(Box::new(read::<fx_conversion::Model>(row)?.into())),
        EventKind::PayoutBatchChanged => EventPayload::PayoutBatch(Box::new(read::<payout_batch::Model>(row)?.into())),
        EventKind::PayingAccountChanged => EventPayload::PayingAccount(read::<paying_account::Model>(row)?.into()),
        EventKind::PayoutFileChanged => EventPayload::PayoutFile(read::<payout_file::Model>(row)?.into()),
        EventKind::PayoutTermsChanged => EventPayload::PayoutTerms(read::<payout_terms::Model>(row)?.into()),
        EventKind::AttributionRunChanged => {
            EventPayload::AttributionRun(Box::new(read::<attribution_run::Model>(row)?.into()))
        }
        EventKind::ConversionRunChanged => {
            EventPayload::ConversionRun(Box::new(read::<conversion_run::Model>(row)?.into()))
        }
    })
}

/// What was written with an event; none for what another version wrote in another form.
fn read<T: DeserializeOwned>(row: &event::Model) -> Option<T> {
    serde_json::from_str(&row.payload)
        .inspect_err(|error| tracing::debug!(event.seq = row.seq, %error, "an event's payload is of another form"))
        .ok()
}

/// What a caller asked for, and what of it, the same for the list and for the stream.
struct Wanted {
    /// As asked for; cursors are bound to it, not to what was permitted: they stay good when a role changes.
    types: Option<BTreeSet<EventKind>>,
    interest: Interest,
}

/// The name that cursors of the list and of the stream are bound to.
const TOPIC: &str = "events";

impl Wanted {
    /// # Errors
    /// `FORBIDDEN` for a type that is not the viewer's to read, and where none is.
    fn by(viewer: &Viewer, types: Option<Vec<EventType>>) -> Result<Self> {
        let types: Option<BTreeSet<EventKind>> = types.map(|types| types.into_iter().map(Into::into).collect());
        let may_read = |kind: &EventKind| viewer.may(permission(*kind));
        let (kinds, is_permitted): (Vec<EventKind>, bool) = match &types {
            Some(types) => (types.iter().copied().collect(), types.iter().all(may_read)),
            None => (EventKind::ALL.iter().copied().filter(may_read).collect(), EventKind::ALL.iter().any(may_read)),
        };
        if !is_permitted {
            return Err(error::to_graphql(ServiceError::Forbidden));
        }
        Ok(Self { types, interest: Interest::in_kinds(&kinds).within(viewer.scope.ring()) })
    }
}

/// A page of the log: all that was asked for in a stretch of it. It may be short, or empty, and lead on all the same: go
/// by `pageInfo`. There is no `totalCount`: counting would read the whole log.
#[derive(Description)]
pub(super) struct EventConnection {
    edges: Vec<EventEdge>,
    page_info: [String; 2],
    has_previous: bool,
    has_next: bool,
}

/// An event in a page.
#[derive(Description)]
pub(super) struct EventEdge(Event);

#[Object(use_type_description)]
impl EventEdge {
    /// The event's own cursor.
    async fn cursor(&self) -> &str {
        &self.0.cursor.0
    }

    /// The event.
    async fn node(&self) -> &Event {
        &self.0
    }
}

#[Object(use_type_description)]
impl EventConnection {
    /// The events, oldest first.
    async fn edges(&self) -> &[EventEdge] {
        &self.edges
    }

    /// The events without their edges.
    async fn nodes(&self) -> Vec<&Event> {
        self.edges.iter().map(|edge| &edge.0).collect()
    }

    /// The ends of the stretch that the page looked at. Always there, also around an empty page: `endCursor` is where the
    /// next page, or the subscription, goes on without a gap.
    async fn page_info(&self) -> PageInfo {
        let [start, end] = self.page_info.clone();
        PageInfo {
            has_previous_page: self.has_previous,
            has_next_page: self.has_next,
            start_cursor: Some(start),
            end_cursor: Some(end),
        }
    }
}

#[derive(Default)]
pub(super) struct EventQuery;

#[Object]
impl EventQuery {
    /// The changes that the viewer may watch, oldest first, from the begin of the log or behind a cursor. Each type takes
    /// the permission to read what it is about; affiliates see changes of their own rows. To go on live, subscribe to
    /// `events` with the last `endCursor` as `after` and the same `types`.
    #[graphql(guard = "Authenticated")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which changes; all that the viewer may watch if absent.")] types: Option<Vec<EventType>>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor, of this list or of the subscription.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<EventConnection> {
        let (services, viewer) = ctx.caller()?;
        let Wanted { types, interest } = Wanted::by(viewer, types)?;
        let binding = services.cursors.bind(&viewer.scope, TOPIC, &types);
        let position = |text: Option<String>| {
            text.map(|text| binding.decode(&text).ok_or(ServiceError::CursorInvalid)).transpose().or_graphql()
        };
        let size = PageSize::parse(first, last).or_graphql()?;
        let request = LogPageRequest { size, after: position(after)?, before: position(before)? };
        let (page, tip) = services::events::page(services, viewer, &interest, request).await.or_graphql()?;
        let cursor = |seq| binding.encode(&Position { seq, ..tip });
        let edges = page.rows.into_iter().map(|row| {
            let cursor = Cursor(cursor(row.seq));
            EventEdge(Event::of(&LiveEvent { row, conversion: None, payout: None }, viewer.scope.ring(), cursor))
        });
        Ok(EventConnection {
            edges: edges.collect(),
            page_info: [cursor(page.stretch.first), cursor(page.stretch.last)],
            has_previous: page.has_previous,
            has_next: page.has_next,
        })
    }
}

#[derive(Default)]
pub(super) struct EventSubscription;

#[Subscription]
impl EventSubscription {
    /// Every change that the viewer may watch, once, in the order of the commits. Without `after`, from now on; with it,
    /// everything since. Each type takes the permission to read what it is about; affiliates are told of changes of
    /// their own rows.
    #[graphql(guard = "Authenticated")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last event that you have; null begins now.")] after: Option<Cursor>,
        #[graphql(desc = "Which changes; all that the viewer may watch if absent. A cursor is good for the types it \
                          came with.")]
        types: Option<Vec<EventType>>,
    ) -> Result<impl Stream<Item = Result<Event>> + use<>> {
        let (_, viewer) = ctx.caller()?;
        let ring = viewer.scope.ring();
        let Wanted { types, interest } = Wanted::by(viewer, types)?;
        let topic = Topic::bind(ctx, TOPIC, &types, interest, after)?;
        source::events(ctx, topic, move |event, place| Some(Event::of(event, ring, place.cursor()))).await
    }
}
