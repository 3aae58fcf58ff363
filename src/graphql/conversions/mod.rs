//! Conversions: what they are and which there are. Recording and review are in [`mutations`], refunds and adjustments in
//! [`changes`].

mod changes;
mod mutations;
mod runs;

use std::sync::Arc;

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use tributary_entity::{
    Instant, affiliate, attribution_decision, attribution_touch, click, commission, conversion, conversion_history,
    ids::{AffiliateId, ClickId, ConversionId},
    money,
};

use crate::graphql::{
    affiliates::Affiliate,
    campaigns::Campaign,
    clicks::Click,
    commissions::Commission,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    coupons::Coupon,
    error::IntoGraphql,
    fx_rates::FxQuote,
    goals::Goal,
    ids,
    kinds::{AttributionModel, ConversionReason, ConversionStatus, TouchSource},
    labels::Label,
    scalars::{Cursor, Decimal, Money},
};
use crate::{
    auth::Permission,
    domain::{
        conversion::{ConversionFilter, Rated, Snapshot, sale_left},
        coupon::canonical,
        instant,
        page::{Order, Position},
        problem::Problem,
        text,
    },
    services::{
        self,
        feed::{ConversionView, Relations},
    },
};

use changes::ConversionChange;
pub(in crate::graphql) use changes::ConversionChangeMutation;
pub(in crate::graphql) use mutations::ConversionMutation;
pub(in crate::graphql) use runs::{
    ConversionRun, ConversionRunMutation, ConversionRunQuery, ConversionRunSubscription,
};

/// One recorded action of a customer, with what was decided about it.
#[derive(Description)]
pub(in crate::graphql) struct Conversion {
    row: conversion::Model,
    /// Known already when it was just recorded or comes from the event log.
    decided: Option<Decided>,
    /// Loaded already in subscriptions.
    relations: Option<Arc<Relations>>,
}

struct Decided {
    decision: Option<attribution_decision::Model>,
    touches: Vec<attribution_touch::Model>,
    commissions: Vec<commission::Model>,
}

impl From<conversion::Model> for Conversion {
    fn from(row: conversion::Model) -> Self {
        Self { row, decided: None, relations: None }
    }
}

impl From<Snapshot> for Conversion {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { conversion, decision, touches, commissions } = snapshot;
        Self { row: conversion, decided: Some(Decided { decision, touches, commissions }), relations: None }
    }
}

impl Conversion {
    /// As a ring sees an event's conversion; none for another's.
    pub fn of_event(view: &ConversionView, snapshot: Snapshot) -> Self {
        Self { relations: Some(Arc::clone(&view.relations)), ..Self::from(snapshot) }
    }

    fn known_affiliate(&self, id: AffiliateId) -> Option<affiliate::Model> {
        self.relations.as_ref()?.affiliates.get(&id).cloned()
    }

    fn known_click(&self, id: ClickId) -> Option<click::Model> {
        self.relations.as_ref()?.clicks.get(&id).cloned()
    }
}

#[Object(use_type_description)]
impl Conversion {
    /// Begins with `cnv_`.
    pub(in crate::graphql) async fn id(&self) -> ID {
        self.row.id.into()
    }

    /// Where it stands.
    async fn status(&self) -> ConversionStatus {
        self.row.status.into()
    }

    /// Why it stands there; null when it simply passed every check.
    async fn reason(&self) -> Option<ConversionReason> {
        self.row.reason.map(Into::into)
    }

    /// The campaign; null while nothing leads to one.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        let Some(id) = self.row.campaign_id else { return Ok(None) };
        if let Some(row) = self.relations.as_ref().and_then(|relations| relations.campaigns.get(&id)) {
            return Ok(Some(Campaign(row.clone())));
        }
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }

    /// The goal's code, as sent.
    async fn goal_code(&self) -> &str {
        &self.row.goal_code
    }

    /// The goal; null when the campaign has none of this code.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn goal(&self, ctx: &Context<'_>) -> Result<Option<Goal>> {
        let Some(id) = self.row.goal_id else { return Ok(None) };
        if let Some(row) = self.relations.as_ref().and_then(|relations| relations.goals.get(&id)) {
            return Ok(Some(Goal(row.clone())));
        }
        Ok(ctx.loaders()?.goal().load_one(id).await.or_graphql()?.map(Goal))
    }

    /// Who is credited, or would have been: of several the one with the largest share; an affiliate sees itself. Null when
    /// nothing leads to one.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.row.affiliate_id else { return Ok(None) };
        if let Some(row) = self.known_affiliate(id) {
            return Ok(Some(Affiliate(row)));
        }
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// The visitor's mark, as sent.
    async fn visitor_id(&self) -> Option<&str> {
        self.row.visitor_id.as_deref()
    }

    /// The coupon's code, as sent, in upper case. Affiliates see it where it credits them.
    async fn coupon_code(&self) -> Option<&str> {
        self.row.coupon_code.as_deref()
    }

    /// What was bought, as sent.
    async fn product_id(&self) -> Option<&str> {
        self.row.product_id.as_deref()
    }

    /// Until when it waits for its click; null when it does not.
    async fn held_until(&self) -> Option<Instant> {
        self.row.held_until
    }

    /// The click id, as sent; null when none was, and for affiliates when it is another's.
    async fn click_id(&self) -> Option<ID> {
        self.row.sent_click_id.map(Into::into)
    }

    /// The click that it was credited to, or refused for; of several the last one of `affiliate`. Null when there is none.
    #[graphql(guard = "Needs(Permission::ReadClicks)")]
    async fn click(&self, ctx: &Context<'_>) -> Result<Option<Click>> {
        let Some(id) = self.row.click_id else { return Ok(None) };
        if let Some(row) = self.known_click(id) {
            return Ok(Some(Click(row)));
        }
        Ok(ctx.loaders()?.click().load_one(id).await.or_graphql()?.map(Click))
    }

    /// The advertiser's own reference.
    async fn order_id(&self) -> Option<&str> {
        self.row.order_id.as_deref()
    }

    /// The tenant's own customer reference.
    async fn customer_id(&self) -> Option<&str> {
        self.row.customer_id.as_deref()
    }

    /// What the customer paid, as it was sent and in the currency it was sent in.
    async fn sale_amount(&self) -> Money {
        money::Money::new(self.row.sale_minor, self.row.sale_currency).into()
    }

    /// What the customer paid in the campaign's currency, which commissions are reckoned from; null while no exchange rate
    /// is known, and for a conversion that leads to no campaign.
    async fn rated_sale_amount(&self) -> Option<Money> {
        self.row.campaign_id?;
        Rated::of_row(&self.row).map(|rated| rated.sale.into())
    }

    /// The exchange rate that it was reckoned by; null where the customer paid in the campaign's currency.
    async fn fx(&self) -> Option<FxQuote> {
        FxQuote::read(self.row.fx.as_deref()?)
    }

    /// What was added to the sale since by adjustments; negative where it was lowered.
    async fn sale_adjustment(&self) -> Money {
        money::Money::new(self.row.sale_adjusted_minor, self.row.sale_currency).into()
    }

    /// What was taken back of the sale: refunds, chargebacks and the like, those that were undone aside.
    async fn refunded_amount(&self) -> Money {
        money::Money::new(self.row.refunded_minor, self.row.sale_currency).into()
    }

    /// What is left of the sale: `saleAmount` and `saleAdjustment` less `refundedAmount`. Reports count this.
    async fn net_sale_amount(&self) -> Money {
        money::Money::new(sale_left(&self.row), self.row.sale_currency).into()
    }

    /// All its commissions together as they are now, overrides too, in the campaign's currency. An affiliate is told its own.
    async fn commission_total(&self) -> Money {
        money::Money::new(self.row.commission_minor, self.row.commission_currency).into()
    }

    /// What each credited affiliate earns, and those above it on top; at most 1,100. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadCommissions)")]
    async fn commissions(&self, ctx: &Context<'_>) -> Result<Vec<Commission>> {
        let rows = match &self.decided {
            Some(decided) => decided.commissions.clone(),
            None => {
                let loader = &ctx.loaders()?.commissions_of_conversion();
                loader.load_one(self.row.id).await.or_graphql()?.unwrap_or_default()
            }
        };
        let is_told = ctx.caller()?.1.scope.own_affiliate().is_none();
        let commission = |row: commission::Model| Commission {
            affiliate: self.known_affiliate(row.affiliate_id),
            base: row.base_affiliate_id.filter(|_| is_told).and_then(|id| self.known_affiliate(id)),
            row,
        };
        Ok(rows.into_iter().map(commission).collect())
    }

    /// How it was credited; null for a conversion that was refused.
    async fn attribution(&self, ctx: &Context<'_>) -> Result<Option<Attribution>> {
        let known = match &self.decided {
            Some(decided) => decided.decision.clone().map(|decision| (decision, decided.touches.clone())),
            None => ctx.loaders()?.attribution_of_conversion().load_one(self.row.id).await.or_graphql()?,
        };
        Ok(known.map(|(decision, touches)| Attribution {
            model: decision.model.into(),
            window_seconds: decision.window_secs,
            half_life_seconds: decision.half_life_secs,
            minimum_seconds: decision.min_secs,
            source: decision.source.into(),
            version: decision.version,
            decided_at: decision.decided_at,
            touches: touches
                .into_iter()
                .map(|row| Touch {
                    affiliate: self.known_affiliate(row.affiliate_id),
                    click: row.click_id.and_then(|id| self.known_click(id)),
                    row,
                })
                .collect(),
        }))
    }

    /// `adv1`..`adv10`, those that are set.
    async fn labels(&self) -> Result<Vec<Label>> {
        Label::list(self.row.labels.as_deref())
    }

    /// When the customer acted.
    async fn occurred_at(&self) -> Instant {
        self.row.occurred_at
    }

    /// When it was recorded.
    async fn recorded_at(&self) -> Instant {
        self.row.recorded_at
    }

    /// When it was approved; null before.
    async fn approved_at(&self) -> Option<Instant> {
        self.row.approved_at
    }

    /// From when its commissions are payable; null before approval.
    async fn payable_at(&self) -> Option<Instant> {
        self.row.payable_at
    }

    /// Grows by one with each change.
    async fn version(&self) -> i32 {
        self.row.version
    }

    /// Refunds, adjustments and the like, newest first; at most 100.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn changes(&self, ctx: &Context<'_>) -> Result<Vec<ConversionChange>> {
        let (services, viewer) = ctx.caller()?;
        let changes = services::conversions::changes_of(services, viewer, self.row.id).await.or_graphql()?;
        Ok(changes.into_iter().map(Into::into).collect())
    }

    /// The steps of its life, oldest first; at most 100.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn history(&self, ctx: &Context<'_>) -> Result<Vec<ConversionStep>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::conversions::history(services, viewer, self.row.id).await.or_graphql()?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

/// One step of a conversion's life.
#[derive(SimpleObject)]
pub(in crate::graphql) struct ConversionStep {
    /// The conversion's version after the step.
    version: i32,
    /// Where it stood; null for the recording.
    from_status: Option<ConversionStatus>,
    /// Where it stood then.
    to_status: ConversionStatus,
    /// Why.
    reason: Option<ConversionReason>,
    /// Who: `user:usr_..`, `key:key_..`, `ext:` with provider and subject, `operator` or `system`.
    actor: String,
    /// The reviewer's note.
    note: Option<String>,
    /// When.
    recorded_at: Instant,
}

impl From<conversion_history::Model> for ConversionStep {
    fn from(row: conversion_history::Model) -> Self {
        Self {
            version: row.version,
            from_status: row.from_status.map(Into::into),
            to_status: row.to_status.into(),
            reason: row.reason.map(Into::into),
            actor: row.actor,
            note: row.note,
            recorded_at: row.recorded_at,
        }
    }
}

/// Which touches were credited, by which model.
#[derive(SimpleObject)]
pub(in crate::graphql) struct Attribution {
    /// The model that decided.
    model: AttributionModel,
    /// The window it used.
    window_seconds: i64,
    /// The half-life that it would have used, or did under TIME_DECAY.
    half_life_seconds: i64,
    /// The minimum time between the last click and the conversion.
    minimum_seconds: i64,
    /// What led to the touches.
    source: TouchSource,
    /// From 1; a re-run adds one.
    version: i32,
    /// When it was decided.
    decided_at: Instant,
    /// The credited touches by time, at most 100; of an affiliate its own. Empty where a re-run found none that counts.
    touches: Vec<Touch>,
}

/// A credited touch: a click or a coupon.
#[derive(Description)]
pub(in crate::graphql) struct Touch {
    row: attribution_touch::Model,
    affiliate: Option<affiliate::Model>,
    click: Option<click::Model>,
}

#[Object(use_type_description)]
impl Touch {
    /// The click; null for a coupon, and for a click that is no longer kept.
    #[graphql(guard = "Needs(Permission::ReadClicks)")]
    async fn click(&self, ctx: &Context<'_>) -> Result<Option<Click>> {
        if let Some(row) = &self.click {
            return Ok(Some(Click(row.clone())));
        }
        let Some(id) = self.row.click_id else { return Ok(None) };
        Ok(ctx.loaders()?.click().load_one(id).await.or_graphql()?.map(Click))
    }

    /// The coupon; null for a click.
    #[graphql(guard = "Needs(Permission::ReadLinks)")]
    async fn coupon(&self, ctx: &Context<'_>) -> Result<Option<Coupon>> {
        let Some(id) = self.row.coupon_id else { return Ok(None) };
        Ok(ctx.loaders()?.coupon().load_one(id).await.or_graphql()?.map(Coupon))
    }

    /// Who is credited.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        match &self.affiliate {
            Some(row) => Ok(Some(Affiliate(row.clone()))),
            None => Ok(ctx.loaders()?.affiliate().load_one(self.row.affiliate_id).await.or_graphql()?.map(Affiliate)),
        }
    }

    /// From 0, by time.
    async fn position(&self) -> i32 {
        self.row.position
    }

    /// The part of the conversion, from 0 to 1; all parts sum to 1.
    async fn share(&self) -> Decimal {
        Decimal::millionths(self.row.share_millionths)
    }
}

/// Which conversions. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(in crate::graphql) struct ConversionFilterInput {
    /// Of one of these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Credited to one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// In one of these states.
    statuses: Option<Vec<ConversionStatus>>,
    /// Of a goal with one of these codes.
    goals: Option<Vec<String>>,
    /// With one of these order ids.
    order_ids: Option<Vec<String>>,
    /// In its state for one of these reasons.
    reasons: Option<Vec<ConversionReason>>,
    /// Of one of these customers.
    customer_ids: Option<Vec<String>>,
    /// With one of these coupon codes, in any case.
    coupon_codes: Option<Vec<String>>,
    /// At or after.
    occurred_from: Option<Instant>,
    /// Before.
    occurred_before: Option<Instant>,
}

impl ConversionFilterInput {
    /// # Errors
    /// `INVALID_ID` or `OUT_OF_RANGE` at the field.
    pub fn parse(self) -> Result<ConversionFilter, Problem> {
        let coupon_codes = text::list(&["filter", "couponCodes"], self.coupon_codes)?;
        Ok(ConversionFilter {
            campaign_ids: ids::parse_list(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            goals: text::list(&["filter", "goals"], self.goals)?,
            order_ids: text::list(&["filter", "orderIds"], self.order_ids)?,
            reasons: self.reasons.map(|reasons| reasons.into_iter().map(Into::into).collect()),
            customer_ids: text::list(&["filter", "customerIds"], self.customer_ids)?,
            coupon_codes: coupon_codes.map(|codes| codes.iter().map(|code| canonical(code)).collect()),
            occurred_from: instant::optional(&["filter", "occurredFrom"], self.occurred_from)?,
            occurred_before: instant::optional(&["filter", "occurredBefore"], self.occurred_before)?,
        })
    }
}

/// How conversions are sorted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum ConversionOrder {
    /// Last recorded first.
    #[default]
    CreatedDesc,
    /// First recorded first.
    CreatedAsc,
    /// Latest action first.
    OccurredDesc,
    /// Earliest action first.
    OccurredAsc,
}

/// Names one conversion.
#[derive(Clone, OneofObject)]
pub(in crate::graphql) enum ConversionBy {
    /// By its id; begins with `cnv_`.
    Id(ID),
    /// By the advertiser's own reference; of several, the one that counts.
    OrderId(String),
}

#[derive(Default)]
pub(in crate::graphql) struct ConversionQuery;

#[Object]
impl ConversionQuery {
    /// The conversions that the viewer may see.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversions.")] filter: Option<ConversionFilterInput>,
        #[graphql(desc = "In which order; last recorded first if absent.")] order: Option<ConversionOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Conversion>> {
        let (services, viewer) = ctx.caller()?;
        let order = match order.unwrap_or_default() {
            ConversionOrder::CreatedDesc => Order::CreatedDesc,
            ConversionOrder::CreatedAsc => Order::CreatedAsc,
            ConversionOrder::OccurredDesc => Order::OccurredDesc,
            ConversionOrder::OccurredAsc => Order::OccurredAsc,
        };
        let request = connection::request("Conversion", order, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::conversions::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::conversions::count(&services, &viewer, &filter).await }
        });
        let position = |row: &conversion::Model| Position {
            occurred_at: order.by_occurrence().then_some(row.occurred_at),
            id: row.id.uuid(),
        };
        Ok(connection::connect(&request, page, count, position, Into::into))
    }

    /// The place in the event log now. Ask for it before a list and hand it to the subscription as `after`: what happens
    /// between the two is in the stream.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversion_cursor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The filter of the subscription.")] filter: Option<ConversionFilterInput>,
    ) -> Result<Cursor> {
        let (services, viewer) = ctx.caller()?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let binding = services.cursors.bind(&viewer.scope, "conversions", &filter);
        let position = services::conversions::position(services, viewer).await.or_graphql()?;
        Ok(Cursor(binding.encode(&position)))
    }

    /// One conversion, or null.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversion(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] by: ConversionBy,
    ) -> Result<Option<Conversion>> {
        let (services, viewer) = ctx.caller()?;
        let row = match by {
            ConversionBy::Id(id) => {
                let id: ConversionId = ids::parse(&["by", "id"], &id).or_graphql()?;
                ctx.loaders()?.conversion().load_one(id).await.or_graphql()?
            }
            ConversionBy::OrderId(order_id) => {
                match text::optional(&["by", "orderId"], Some(&order_id), text::REFERENCE_MAX).or_graphql()? {
                    Some(order_id) => {
                        services::conversions::get_by_order(services, viewer, &order_id).await.or_graphql()?
                    }
                    None => None,
                }
            }
        };
        Ok(row.map(Into::into))
    }
}
