//! Campaigns.

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, Result};
use tributary_entity::{campaign, ids::CampaignId};

use super::{
    bonus_rules::BonusRule,
    caps::Cap,
    change::change,
    click_rates::ClickRate,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    enrollments::{self, Enrollment},
    error::IntoGraphql,
    goals::Goal,
    ids,
    kinds::{ApprovalMode, AttributionModel, CampaignStatus, Device, TouchSource},
    override_plans::OverridePlan,
    revenue_deals::RevenueDeal,
    rules::CommissionRule,
    scalars::{CurrencyCode, Url},
};
use crate::{
    auth::Permission,
    domain::{
        attribution,
        campaign::{
            self as settings, CampaignChange, CampaignFilter, DEFAULT_HALF_LIFE_SECS, DEFAULT_HOLD_SECS,
            DEFAULT_WINDOW_SECS, NewCampaign, Redirects, RedirectsChange,
        },
        enrollment::EnrollmentFilter,
        problem::Problem,
        text,
    },
    services::{self, ServiceError},
};

/// A thing promoted: with goals, commission rules, attribution and approval settings.
#[derive(Description)]
pub(super) struct Campaign(pub campaign::Model);

impl From<campaign::Model> for Campaign {
    fn from(row: campaign::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Campaign {
    /// Begins with `cmp_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it takes clicks and conversions.
    async fn status(&self) -> CampaignStatus {
        self.0.status.into()
    }

    /// Commission accrues in this currency; fixed at creation.
    async fn currency(&self) -> CurrencyCode {
        self.0.currency.into()
    }

    /// Where its links lead, unless they name their own destination.
    async fn destination_url(&self) -> Url {
        Url(self.0.destination_url.clone())
    }

    /// How conversions are credited.
    async fn attribution_model(&self) -> AttributionModel {
        self.0.attribution_model.into()
    }

    /// A click counts when 0 <= conversion - click <= window, in seconds.
    async fn attribution_window_seconds(&self) -> i64 {
        self.0.attribution_window_secs
    }

    /// In which a touch loses half its weight, under TIME_DECAY, in seconds.
    async fn attribution_half_life_seconds(&self) -> i64 {
        self.0.attribution_half_life_secs
    }

    /// A conversion that comes sooner after its last click is refused, in seconds; 0 refuses none.
    async fn attribution_minimum_seconds(&self) -> i64 {
        self.0.attribution_min_secs
    }

    /// Where the touches of a conversion are looked for, the first that has one decides; at most three.
    async fn attribution_sources(&self) -> Vec<TouchSource> {
        attribution::sources(&self.0.attribution_sources).into_iter().map(Into::into).collect()
    }

    /// How long a conversion waits for a click that is not there yet, in seconds; 0 refuses it at once.
    async fn click_wait_seconds(&self) -> i64 {
        self.0.click_wait_secs
    }

    /// Who decides that a conversion is good.
    async fn approval(&self) -> ApprovalMode {
        self.0.approval.into()
    }

    /// Seconds from approval until a commission is payable.
    async fn hold_seconds(&self) -> i64 {
        self.0.hold_secs
    }

    /// Whether any affiliate sees it and may apply.
    async fn is_public(&self) -> bool {
        self.0.is_public
    }

    /// Hosts that its links' `to` parameter may lead to: `shop.example`, or `*.shop.example` for all below it; at most 100.
    async fn deep_link_hosts(&self) -> Vec<String> {
        settings::deep_link_hosts(&self.0).unwrap_or_default()
    }

    /// Where its links lead those whom it does not take; null when they are told that there is nothing.
    async fn fallback_url(&self) -> Option<Url> {
        self.0.fallback_url.clone().map(Url)
    }

    /// The countries that it takes visitors from, by ISO 3166-1 alpha-2: at most 249. Null when it takes all.
    async fn countries(&self) -> Option<Vec<String>> {
        settings::countries(&self.0)
    }

    /// The devices that it takes visitors with: at most one of each. Null when it takes all.
    async fn devices(&self) -> Option<Vec<Device>> {
        settings::devices(&self.0).map(|devices| devices.into_iter().map(Into::into).collect())
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.updated_at
    }

    /// Its action types, oldest first; at most 100.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn goals(&self, ctx: &Context<'_>) -> Result<Vec<Goal>> {
        let rows = ctx.loaders()?.goals_of_campaign().load_one(self.0.id).await.or_graphql()?;
        Ok(rows.unwrap_or_default().into_iter().map(Goal).collect())
    }

    /// What affiliates earn, oldest first; at most 100.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn commission_rules(&self, ctx: &Context<'_>) -> Result<Vec<CommissionRule>> {
        let rules = ctx.loaders()?.rules_of_campaign().load_one(self.0.id).await.or_graphql()?;
        Ok(rules.unwrap_or_default().into_iter().map(CommissionRule).collect())
    }

    /// What clicks earn in it, for all and for single affiliates, oldest first; at most 1,000.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn click_rates(&self, ctx: &Context<'_>) -> Result<Vec<ClickRate>> {
        let rates = ctx.loaders()?.click_rates_of_campaign().load_one(self.0.id).await.or_graphql()?;
        Ok(rates.unwrap_or_default().into_iter().map(ClickRate).collect())
    }

    /// What affiliates have of their customers' net revenue in it, for all and for single ones, oldest first; at most 1,000.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn revenue_deals(&self, ctx: &Context<'_>) -> Result<Vec<RevenueDeal>> {
        let deals = ctx.loaders()?.revenue_deals_of_campaign().load_one(self.0.id).await.or_graphql()?;
        Ok(deals.unwrap_or_default().into_iter().map(RevenueDeal).collect())
    }

    /// What affiliates who bring enough in it are given, oldest first; at most 1,000. Rules for all campaigns are in
    /// `bonusRules` alone.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn bonus_rules(&self, ctx: &Context<'_>) -> Result<Vec<BonusRule>> {
        let rows = ctx.loaders()?.bonus_rules_of_campaign().load_one(self.0.id).await.or_graphql()?;
        Ok(rows.unwrap_or_default().into_iter().map(BonusRule).collect())
    }

    /// What those above affiliates earn in it; null where only the tenant's default may hold.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn override_plan(&self, ctx: &Context<'_>) -> Result<Option<OverridePlan>> {
        Ok(ctx.loaders()?.override_plan_of_campaign().load_one(self.0.id).await.or_graphql()?.map(OverridePlan))
    }

    /// Its limits and those of its enrollments, oldest first; at most 1,000. An affiliate sees its own enrollment's.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn caps(&self, ctx: &Context<'_>) -> Result<Vec<Cap>> {
        let states = ctx.loaders()?.caps_of_campaign().load_one(self.0.id).await.or_graphql()?;
        Ok(states.unwrap_or_default().into_iter().map(Cap).collect())
    }

    /// The affiliates in it, newest first. An affiliate sees its own place.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn enrollments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Enrollment>> {
        let request = connection::request("Enrollment", CreationOrder::default().into(), first, after, last, before)?;
        let filter = EnrollmentFilter { campaign_ids: Some(vec![self.0.id]), ..EnrollmentFilter::default() };
        enrollments::page(ctx, filter, &request).await
    }
}

/// Which campaigns. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct CampaignFilterInput {
    /// In one of these states.
    statuses: Option<Vec<CampaignStatus>>,
    /// Part of the name, in any case.
    name_contains: Option<String>,
}

impl CampaignFilterInput {
    fn parse(self) -> Result<CampaignFilter, Problem> {
        Ok(CampaignFilter {
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            name_contains: text::optional(&["filter", "nameContains"], self.name_contains.as_deref(), text::NAME_MAX)?,
        })
    }
}

#[derive(Default)]
pub(super) struct CampaignQuery;

#[Object]
impl CampaignQuery {
    /// The campaigns that the viewer may see. Affiliates see those they are enrolled in and public ones that run.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn campaigns(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which campaigns.")] filter: Option<CampaignFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Campaign>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Campaign", order.unwrap_or_default().into(), first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::campaigns::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::campaigns::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Campaign))
    }

    /// One campaign, or null.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `cmp_`.")] id: ID,
    ) -> Result<Option<Campaign>> {
        let id: CampaignId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }
}

/// A new campaign.
#[derive(Clone, InputObject)]
pub(super) struct CreateCampaignInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// For people; at most 200 characters.
    name: String,
    /// Commission accrues in this currency; cannot be changed later.
    currency: CurrencyCode,
    /// Where its links lead.
    destination_url: Url,
    /// How conversions are credited.
    #[graphql(default_with = "tributary_entity::kinds::AttributionModel::LastClick.into()")]
    attribution_model: AttributionModel,
    /// A click counts when 0 <= conversion - click <= window. 1 second to 366 days; 30 days by default.
    #[graphql(default_with = "DEFAULT_WINDOW_SECS")]
    attribution_window_seconds: i64,
    /// In which a touch loses half its weight, under TIME_DECAY. 1 second to 366 days; 7 days by default.
    #[graphql(default_with = "DEFAULT_HALF_LIFE_SECS")]
    attribution_half_life_seconds: i64,
    /// A conversion that comes sooner after its last click is refused. 0 to 366 days; 0 by default.
    #[graphql(default = 0)]
    attribution_minimum_seconds: i64,
    /// Where the touches of a conversion are looked for, the first that has one decides: each at most once. All three by
    /// default, in the order of the enum.
    attribution_sources: Option<Vec<TouchSource>>,
    /// How long a conversion waits for a click that is not there yet. 0 to 30 days; 0, the default, refuses it at once.
    #[graphql(default = 0)]
    click_wait_seconds: i64,
    /// Who decides that a conversion is good.
    #[graphql(default_with = "tributary_entity::kinds::ApprovalMode::Manual.into()")]
    approval: ApprovalMode,
    /// Seconds from approval until a commission is payable. 0 to 366 days; 30 days by default.
    #[graphql(default_with = "DEFAULT_HOLD_SECS")]
    hold_seconds: i64,
    /// Whether any affiliate sees it and may apply.
    #[graphql(default = false)]
    is_public: bool,
    /// Hosts that its links' `to` parameter may lead to: `shop.example`, or `*.shop.example` for all below it; at most 100.
    deep_link_hosts: Option<Vec<String>>,
    /// Where its links lead those whom it does not take: it is paused, or does not take their country or device. May hold
    /// macros, as `destinationUrl`.
    fallback_url: Option<Url>,
    /// The countries that it takes visitors from, by ISO 3166-1 alpha-2; all if absent. Who comes from nobody knows where
    /// is taken.
    countries: Option<Vec<String>>,
    /// The devices that it takes visitors with; all if absent. Who comes with an unknown one is taken.
    devices: Option<Vec<Device>>,
}

impl CreateCampaignInput {
    fn parse(self) -> Result<NewCampaign, Problem> {
        Ok(NewCampaign {
            name: self.name,
            currency: self.currency.currency(&[])?,
            destination_url: self.destination_url.0,
            attribution_model: self.attribution_model.into(),
            attribution_window_secs: self.attribution_window_seconds,
            attribution_half_life_secs: self.attribution_half_life_seconds,
            attribution_min_secs: self.attribution_minimum_seconds,
            attribution_sources: match self.attribution_sources {
                Some(sources) => sources.into_iter().map(Into::into).collect(),
                None => attribution::DEFAULT_SOURCES.to_vec(),
            },
            click_wait_secs: self.click_wait_seconds,
            approval: self.approval.into(),
            hold_secs: self.hold_seconds,
            is_public: self.is_public,
            redirects: Redirects {
                deep_link_hosts: self.deep_link_hosts,
                fallback_url: self.fallback_url.map(|url| url.0),
                countries: self.countries,
                devices: self.devices.map(|devices| devices.into_iter().map(Into::into).collect()),
            },
        })
    }
}

/// Changes to a campaign. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateCampaignInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    id: ID,
    /// For people; at most 200 characters.
    name: Option<String>,
    /// Where its links lead.
    destination_url: Option<Url>,
    /// Holds for conversions from now on, as all that follows here about attribution; `attributionPreview` tells what it
    /// would have made of earlier ones.
    attribution_model: Option<AttributionModel>,
    /// 1 second to 366 days.
    attribution_window_seconds: Option<i64>,
    /// 1 second to 366 days.
    attribution_half_life_seconds: Option<i64>,
    /// 0 to 366 days.
    attribution_minimum_seconds: Option<i64>,
    /// Where the touches of a conversion are looked for, the first that has one decides: at least one, each at most once.
    attribution_sources: Option<Vec<TouchSource>>,
    /// How long a conversion waits for a click that is not there yet. 0 to 30 days.
    click_wait_seconds: Option<i64>,
    /// Holds for conversions from now on.
    approval: Option<ApprovalMode>,
    /// Holds for approvals from now on.
    hold_seconds: Option<i64>,
    /// Whether any affiliate sees it and may apply.
    is_public: Option<bool>,
    /// Hosts that its links' `to` parameter may lead to; null allows none.
    deep_link_hosts: MaybeUndefined<Vec<String>>,
    /// Where its links lead those whom it does not take; null has them told that there is nothing.
    fallback_url: MaybeUndefined<Url>,
    /// The countries that it takes visitors from, by ISO 3166-1 alpha-2; null takes all.
    countries: MaybeUndefined<Vec<String>>,
    /// The devices that it takes visitors with; null takes all.
    devices: MaybeUndefined<Vec<Device>>,
}

/// Names a campaign whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct CampaignStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    id: ID,
}

payload! {
    /// The campaign after the call.
    CampaignPayload {
        /// Null when the call was refused.
        campaign: Campaign
    }
}

#[derive(Default)]
pub(super) struct CampaignMutation;

#[Object]
impl CampaignMutation {
    /// Makes a campaign, as a draft: add goals and rules, then activate it.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn create_campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The campaign.")] input: CreateCampaignInput,
    ) -> Result<CampaignPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::campaigns::create(services, viewer, key.as_deref(), input.parse()?).await };
        CampaignPayload::answer(result.await)
    }

    /// Changes a campaign's settings. Past conversions keep what they were decided by.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn update_campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateCampaignInput,
    ) -> Result<CampaignPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let change = CampaignChange {
                name: input.name,
                destination_url: input.destination_url.map(|url| url.0),
                attribution_model: input.attribution_model.map(Into::into),
                attribution_window_secs: input.attribution_window_seconds,
                attribution_half_life_secs: input.attribution_half_life_seconds,
                attribution_min_secs: input.attribution_minimum_seconds,
                attribution_sources: input.attribution_sources.map(|list| list.into_iter().map(Into::into).collect()),
                click_wait_secs: input.click_wait_seconds,
                approval: input.approval.map(Into::into),
                hold_secs: input.hold_seconds,
                is_public: input.is_public,
                redirects: RedirectsChange {
                    deep_link_hosts: change(input.deep_link_hosts),
                    fallback_url: change(input.fallback_url).map(|url| url.0),
                    countries: change(input.countries),
                    devices: change(input.devices).map(|devices| devices.into_iter().map(Into::into).collect()),
                },
            };
            services::campaigns::update(services, viewer, input.idempotency_key.as_deref(), id, change).await
        };
        CampaignPayload::answer(result.await)
    }

    /// Starts or resumes a campaign.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn activate_campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which campaign.")] input: CampaignStatusInput,
    ) -> Result<CampaignPayload> {
        set_status(ctx, input, tributary_entity::kinds::CampaignStatus::Active).await
    }

    /// Stops taking new clicks; conversions of earlier clicks still count inside the window.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn pause_campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which campaign.")] input: CampaignStatusInput,
    ) -> Result<CampaignPayload> {
        set_status(ctx, input, tributary_entity::kinds::CampaignStatus::Paused).await
    }

    /// Ends a campaign for good.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which campaign.")] input: CampaignStatusInput,
    ) -> Result<CampaignPayload> {
        set_status(ctx, input, tributary_entity::kinds::CampaignStatus::Archived).await
    }
}

async fn set_status(
    ctx: &Context<'_>,
    input: CampaignStatusInput,
    status: tributary_entity::kinds::CampaignStatus,
) -> Result<CampaignPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::campaigns::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    CampaignPayload::answer(result.await)
}
