//! Crediting recorded conversions anew: what another attribution would pay, runs that post it, and their progress.

use std::time::Duration;

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject, Subscription};
use futures_util::Stream;
use tributary_entity::{
    Instant, attribution_run,
    ids::{AffiliateId, AttributionRunId},
    kinds::EventKind,
    money::{self, Currency},
};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::{AttributionModel, AttributionRunStatus},
    live::source::{self, Topic},
    scalars::{CurrencyCode, Cursor, Money},
};
use crate::{
    auth::Permission,
    domain::{
        event::Interest,
        problem::Problem,
        reattribution::{Adjusted, Effect, Trial},
    },
    services::{
        self, ServiceError,
        attribution::{
            preview::Preview,
            runs::{NewRun, RunState},
        },
    },
};

/// How long the steps of a run gather before its newest state is sent.
const RUN_PACE: Duration = Duration::from_millis(100);

/// Conversions to credit anew, and how.
#[derive(Clone, InputObject)]
pub(super) struct AttributionPreviewInput {
    /// Whose conversions; begins with `cmp_`. Absent, those of all campaigns.
    campaign_id: Option<ID>,
    /// Conversions whose customer acted at or after this.
    from: Instant,
    /// And before this; at most 366 days later.
    until: Instant,
    /// How they would be credited.
    model: AttributionModel,
    /// 1 second to 366 days; each campaign's own if absent.
    window_seconds: Option<i64>,
    /// 1 second to 366 days; each campaign's own if absent.
    half_life_seconds: Option<i64>,
    /// 0 to 366 days; each campaign's own if absent.
    minimum_seconds: Option<i64>,
}

impl AttributionPreviewInput {
    fn parse(self) -> Result<Trial, Problem> {
        Ok(Trial {
            campaign_id: ids::parse_optional(&["campaignId"], self.campaign_id.as_ref())?,
            from: self.from,
            until: self.until,
            model: self.model.into(),
            window_secs: self.window_seconds,
            half_life_secs: self.half_life_seconds,
            min_secs: self.minimum_seconds,
        })
    }
}

/// What another attribution would pay. It looks at PENDING and APPROVED conversions, those credited by a coupon aside,
/// over all valid clicks of their visitors that are stored, and splits commissions by the rules that they were reckoned by.
#[derive(SimpleObject)]
pub(super) struct AttributionPreview {
    /// Conversions that were looked at.
    conversions: i64,
    /// Those that would be credited otherwise.
    changed: i64,
    /// All affiliates together, a line per currency of the campaigns: at most 200.
    totals: Vec<AttributionEffect>,
    /// Those to whom it makes the most difference first; at most 1,000.
    affiliates: Vec<AffiliateEffect>,
    /// How many there are, counted per currency, those that are not listed, too.
    affiliate_count: i64,
}

impl From<Preview> for AttributionPreview {
    fn from(preview: Preview) -> Self {
        let affiliates = preview.affiliates.into_iter();
        Self {
            conversions: preview.conversions,
            changed: preview.changed,
            totals: preview
                .totals
                .into_iter()
                .map(|(currency, effect)| AttributionEffect { currency, effect })
                .collect(),
            affiliates: affiliates
                .map(|(affiliate_id, currency, effect)| AffiliateEffect {
                    affiliate_id,
                    effect: AttributionEffect { currency, effect },
                })
                .collect(),
            affiliate_count: i64::try_from(preview.affiliate_count).unwrap_or(i64::MAX),
        }
    }
}

/// What another attribution would mean in one currency.
#[derive(Clone, Description)]
pub(super) struct AttributionEffect {
    currency: Currency,
    effect: Effect,
}

impl AttributionEffect {
    fn money(&self, amount_minor: i64) -> Money {
        money::Money::new(amount_minor, self.currency).into()
    }
}

#[Object(use_type_description)]
impl AttributionEffect {
    /// The currency of the amounts.
    async fn currency(&self) -> CurrencyCode {
        self.currency.into()
    }

    /// Conversions credited now, wholly or in part; one that several share counts for each.
    async fn conversions(&self) -> i64 {
        self.effect.conversions
    }

    /// Conversions that would be.
    async fn conversions_proposed(&self) -> i64 {
        self.effect.conversions_proposed
    }

    /// Commission as it is, adjustments of earlier runs included.
    async fn commission(&self) -> Money {
        self.money(self.effect.commission_minor)
    }

    /// Commission as it would be.
    async fn commission_proposed(&self) -> Money {
        self.money(self.effect.commission_proposed_minor)
    }

    /// What would be added; negative where it would be taken.
    async fn difference(&self) -> Money {
        self.money(self.effect.difference_minor())
    }
}

/// What another attribution would mean to one affiliate in one currency.
#[derive(Description)]
pub(super) struct AffiliateEffect {
    affiliate_id: AffiliateId,
    effect: AttributionEffect,
}

#[Object(use_type_description)]
impl AffiliateEffect {
    /// Who.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// What it would mean.
    async fn effect(&self) -> AttributionEffect {
        self.effect.clone()
    }
}

/// A run that credits recorded conversions anew and posts the difference.
#[derive(Description)]
pub(super) struct AttributionRun {
    row: attribution_run::Model,
    /// Known already in the subscription.
    totals: Option<Vec<Adjusted>>,
}

impl From<attribution_run::Model> for AttributionRun {
    fn from(row: attribution_run::Model) -> Self {
        Self { row, totals: None }
    }
}

#[Object(use_type_description)]
impl AttributionRun {
    /// Begins with `run_`.
    pub(super) async fn id(&self) -> ID {
        self.row.id.into()
    }

    /// Where it stands.
    async fn status(&self) -> AttributionRunStatus {
        self.row.status.into()
    }

    /// Whose conversions; null for those of all campaigns.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        let Some(id) = self.row.campaign_id else { return Ok(None) };
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }

    /// Conversions whose customer acted at or after this.
    async fn from(&self) -> Instant {
        self.row.occurred_from
    }

    /// And before this.
    async fn until(&self) -> Instant {
        self.row.occurred_before
    }

    /// How they are credited.
    async fn model(&self) -> AttributionModel {
        self.row.model.into()
    }

    /// Null means each campaign's own.
    async fn window_seconds(&self) -> Option<i64> {
        self.row.window_secs
    }

    /// Null means each campaign's own.
    async fn half_life_seconds(&self) -> Option<i64> {
        self.row.half_life_secs
    }

    /// Null means each campaign's own.
    async fn minimum_seconds(&self) -> Option<i64> {
        self.row.min_secs
    }

    /// Its author's.
    async fn reason(&self) -> &str {
        &self.row.reason
    }

    /// Who asked for it: `user:usr_..`, `ext:` with provider and subject, or `operator`.
    async fn author(&self) -> &str {
        &self.row.author
    }

    /// Conversions to look at, counted when it was asked for.
    async fn conversions_total(&self) -> i64 {
        self.row.conversions_total
    }

    /// Conversions that were looked at so far.
    async fn conversions_seen(&self) -> i64 {
        self.row.conversions_seen
    }

    /// Of those, how many were credited otherwise.
    async fn conversions_changed(&self) -> i64 {
        self.row.conversions_changed
    }

    /// What it added and took so far, a line per currency of the campaigns: at most 200.
    async fn totals(&self, ctx: &Context<'_>) -> Result<Vec<AttributionAdjustment>> {
        let totals = match &self.totals {
            Some(totals) => totals.clone(),
            None => {
                let (services, viewer) = ctx.caller()?;
                services::attribution::runs::totals(services, viewer, self.row.id).await.or_graphql()?
            }
        };
        Ok(totals.into_iter().map(AttributionAdjustment).collect())
    }

    /// Affiliates of whom it added or took the most so far, by currency; at most 1,000.
    async fn affiliates(&self, ctx: &Context<'_>) -> Result<Vec<AttributionAdjustment>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::attribution::runs::affiliates(services, viewer, self.row.id).await.or_graphql()?;
        Ok(rows.into_iter().map(AttributionAdjustment).collect())
    }

    /// When it was asked for.
    async fn created_at(&self) -> Instant {
        self.row.created_at
    }

    /// When it last went on.
    async fn updated_at(&self) -> Instant {
        self.row.updated_at
    }

    /// When it was done or given up; null before.
    async fn finished_at(&self) -> Option<Instant> {
        self.row.finished_at
    }
}

/// What a run added to and took from commissions in one currency.
#[derive(Description)]
pub(super) struct AttributionAdjustment(Adjusted);

#[Object(use_type_description)]
impl AttributionAdjustment {
    /// Whose; null for all together.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// Conversions of which something was added or taken.
    async fn conversions(&self) -> i64 {
        self.0.conversions
    }

    /// What was added.
    async fn added(&self) -> Money {
        money::Money::new(self.0.added_minor, self.0.currency).into()
    }

    /// What was taken, as a positive amount.
    async fn taken(&self) -> Money {
        money::Money::new(self.0.taken_minor, self.0.currency).into()
    }
}

/// Which attribution runs.
#[derive(Clone, Default, InputObject)]
pub(super) struct AttributionRunFilterInput {
    /// Over one of these campaigns alone.
    campaign_ids: Option<Vec<ID>>,
}

#[derive(Default)]
pub(super) struct AttributionQuery;

#[Object]
impl AttributionQuery {
    /// What another attribution would pay for a period's conversions. Nothing is changed.
    #[graphql(guard = "Needs(Permission::ReadAttribution)")]
    async fn attribution_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to try.")] input: AttributionPreviewInput,
    ) -> Result<AttributionPreview> {
        let (services, viewer) = ctx.caller()?;
        let trial = input.parse().or_graphql()?;
        Ok(services::attribution::preview::preview(services, viewer, trial).await.or_graphql()?.into())
    }

    /// One attribution run, or null.
    #[graphql(guard = "Needs(Permission::ReadAttribution)")]
    async fn attribution_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `run_`.")] id: ID,
    ) -> Result<Option<AttributionRun>> {
        let id: AttributionRunId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.attribution_run().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// The attribution runs.
    #[graphql(guard = "Needs(Permission::ReadAttribution)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn attribution_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which runs.")] filter: Option<AttributionRunFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<AttributionRun>> {
        let (services, viewer) = ctx.caller()?;
        let order = order.unwrap_or_default().into();
        let request = connection::request("AttributionRun", order, first, after, last, before)?;
        let campaign_ids = filter.unwrap_or_default().campaign_ids;
        let campaign_ids = ids::parse_list(&["filter", "campaignIds"], campaign_ids.as_deref()).or_graphql()?;
        let page = services::attribution::runs::list(services, viewer, campaign_ids.as_deref(), &request);
        let page = page.await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let campaign_ids = campaign_ids.clone();
            async move { services::attribution::runs::count(&services, &viewer, campaign_ids.as_deref()).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Into::into))
    }
}

/// A run to ask for.
#[derive(Clone, InputObject)]
pub(super) struct ApplyAttributionInput {
    /// Makes the call repeatable: the same key and input answers the first call's run.
    idempotency_key: Option<String>,
    /// What to apply; see `attributionPreview`.
    #[graphql(flatten)]
    trial: AttributionPreviewInput,
    /// Why. At most 2,000 characters.
    reason: String,
}

payload! {
    /// The run.
    ApplyAttributionPayload {
        /// Null when it was refused.
        attribution_run: AttributionRun
    }
}

#[derive(Default)]
pub(super) struct AttributionMutation;

#[Object]
impl AttributionMutation {
    /// Credits a period's conversions anew, in the background, and posts the difference to what affiliates earn from them.
    /// Nothing that was decided or posted is edited; the same again makes no difference.
    #[graphql(guard = "Needs(Permission::ApplyAttribution)")]
    async fn apply_attribution(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to apply, and why.")] input: ApplyAttributionInput,
    ) -> Result<ApplyAttributionPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async {
            let run = NewRun { trial: input.trial.parse().map_err(ServiceError::from)?, reason: input.reason };
            services::attribution::runs::create(services, viewer, key.as_deref(), run).await
        };
        ApplyAttributionPayload::answer(result.await)
    }
}

/// How far a run has come.
#[derive(SimpleObject)]
pub(super) struct AttributionRunProgress {
    /// Its place in the event log.
    cursor: Cursor,
    /// The run as it stands, all of it.
    run: AttributionRun,
}

#[derive(Default)]
pub(super) struct AttributionSubscription;

#[Subscription]
impl AttributionSubscription {
    /// How far an attribution run has come: first as it is, then as it goes on. Steps that come close together are told as
    /// one.
    #[graphql(guard = "Needs(Permission::ReadAttribution)")]
    async fn attribution_run(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `run_`.")] id: ID,
        #[graphql(desc = "The last cursor that you have. The first answer is the state as it is, in any case.")]
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<AttributionRunProgress>> + use<>> {
        let (services, viewer) = ctx.caller()?;
        let id: AttributionRunId = ids::parse(&["id"], &id).or_graphql()?;
        let topic =
            Topic::bind(ctx, "attributionRun", &id, Interest::in_kinds(&[EventKind::AttributionRunChanged]), after)?;
        let (services, viewer) = (services.clone(), viewer.clone());
        let read = move || {
            let (services, viewer) = (services.clone(), viewer.clone());
            async move { services::attribution::runs::state(&services, &viewer, id).await }
        };
        source::state(ctx, topic, RUN_PACE, read, |RunState { run, totals }, place| AttributionRunProgress {
            cursor: place.cursor(),
            run: AttributionRun { row: run, totals: Some(totals) },
        })
        .await
    }
}
