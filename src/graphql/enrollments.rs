//! Enrollments.

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, Result};
use tributary_entity::{enrollment, kinds};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    change::change,
    click_rates::ClickAccrual,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::EnrollmentStatus,
    revenue_settlements::RevenueReckoning,
    rules::CommissionRule,
};
use crate::{
    auth::Permission,
    domain::{
        change::Change,
        enrollment::{EnrollmentFilter, NewEnrollment},
        page::PageRequest,
        problem::Problem,
    },
    services::{self, ServiceError},
};

/// An affiliate's place in a campaign.
#[derive(Description)]
pub(super) struct Enrollment(pub enrollment::Model);

impl From<enrollment::Model> for Enrollment {
    fn from(row: enrollment::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Enrollment {
    /// Begins with `enr_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What is promoted. Null for an affiliate that was rejected and no longer sees the campaign.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// Who promotes.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Affiliate> {
        let row = ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?;
        Ok(Affiliate(row.ok_or(ServiceError::Internal("an enrollment without its affiliate")).or_graphql()?))
    }

    /// Whether the affiliate may promote the campaign.
    async fn status(&self) -> EnrollmentStatus {
        self.0.status.into()
    }

    /// The rule that overrides the campaign's default rules; null when they apply.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn rule(&self, ctx: &Context<'_>) -> Result<Option<CommissionRule>> {
        let Some(id) = self.0.rule_id else { return Ok(None) };
        Ok(ctx.loaders()?.rule().load_one(id).await.or_graphql()?.map(CommissionRule))
    }

    /// What its clicks earned that is not posted yet; null where clicks never earned anything.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn click_accrual(&self, ctx: &Context<'_>) -> Result<Option<ClickAccrual>> {
        let pair = (self.0.campaign_id, self.0.affiliate_id);
        Ok(ctx.loaders()?.click_accrual().load_one(pair).await.or_graphql()?.map(Into::into))
    }

    /// What its customers' net revenue came to in the oldest period that is not settled; null without records in one, or
    /// without a deal.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn revenue_so_far(&self, ctx: &Context<'_>) -> Result<Option<RevenueReckoning>> {
        let pair = (self.0.campaign_id, self.0.affiliate_id);
        Ok(ctx.loaders()?.revenue_so_far().load_one(pair).await.or_graphql()?.map(RevenueReckoning))
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.updated_at
    }
}

/// A page of enrollments, wherever they are listed.
pub(super) async fn page(
    ctx: &Context<'_>,
    filter: EnrollmentFilter,
    request: &PageRequest,
) -> Result<Paged<Enrollment>> {
    let (services, viewer) = ctx.caller()?;
    let page = services::enrollments::list(services, viewer, &filter, request).await.or_graphql()?;
    let count = TotalCount::by(move |services, viewer| {
        let filter = filter.clone();
        async move { services::enrollments::count(&services, &viewer, &filter).await }
    });
    Ok(connection::connect(request, page, count, |row| connection::created(row.id.uuid()), Enrollment))
}

/// Which enrollments. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct EnrollmentFilterInput {
    /// In one of these campaigns; each begins with `cmp_`.
    campaign_ids: Option<Vec<ID>>,
    /// Of one of these affiliates; each begins with `aff_`.
    affiliate_ids: Option<Vec<ID>>,
    /// In one of these states.
    statuses: Option<Vec<EnrollmentStatus>>,
}

impl EnrollmentFilterInput {
    fn parse(self) -> Result<EnrollmentFilter, Problem> {
        Ok(EnrollmentFilter {
            campaign_ids: ids::parse_list(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
        })
    }
}

#[derive(Default)]
pub(super) struct EnrollmentQuery;

#[Object]
impl EnrollmentQuery {
    /// The enrollments that the viewer may see. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn enrollments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which enrollments.")] filter: Option<EnrollmentFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Enrollment>> {
        let request = connection::request("Enrollment", order.unwrap_or_default().into(), first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        page(ctx, filter, &request).await
    }
}

/// A new enrollment.
#[derive(Clone, InputObject)]
pub(super) struct CreateEnrollmentInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// Begins with `aff_`.
    affiliate_id: ID,
    /// An active rule of the campaign that overrides its default rules; begins with `rul_`.
    rule_id: Option<ID>,
}

impl CreateEnrollmentInput {
    fn parse(&self) -> Result<NewEnrollment, Problem> {
        Ok(NewEnrollment {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            affiliate_id: ids::parse(&["affiliateId"], &self.affiliate_id)?,
            rule_id: ids::parse_optional(&["ruleId"], self.rule_id.as_ref())?,
        })
    }
}

/// The application of an affiliate to promote a campaign.
#[derive(Clone, InputObject)]
pub(super) struct ApplyToCampaignInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
}

/// Changes to an enrollment. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateEnrollmentInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `enr_`.
    id: ID,
    /// An active rule of the campaign that overrides its default rules; null clears it. Holds for conversions from now
    /// on.
    rule_id: MaybeUndefined<ID>,
}

/// Names an enrollment whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct EnrollmentStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `enr_`.
    id: ID,
}

payload! {
    /// The enrollment after the call.
    EnrollmentPayload {
        /// Null when the call was refused.
        enrollment: Enrollment
    }
}

#[derive(Default)]
pub(super) struct EnrollmentMutation;

#[Object]
impl EnrollmentMutation {
    /// Enrolls an affiliate in a campaign, approved at once.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn create_enrollment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The enrollment.")] input: CreateEnrollmentInput,
    ) -> Result<EnrollmentPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = async { services::enrollments::create(services, viewer, key, input.parse()?).await };
        EnrollmentPayload::answer(result.await)
    }

    /// Asks to promote a campaign, in the viewer's own name; it waits as PENDING for a decision.
    #[graphql(guard = "Needs(Permission::ActAsAffiliate)")]
    async fn apply_to_campaign(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which campaign.")] input: ApplyToCampaignInput,
    ) -> Result<EnrollmentPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let campaign_id = ids::parse(&["campaignId"], &input.campaign_id).map_err(ServiceError::from)?;
            services::enrollments::apply(services, viewer, input.idempotency_key.as_deref(), campaign_id).await
        };
        EnrollmentPayload::answer(result.await)
    }

    /// Sets or clears the rule that overrides the campaign's default rules. Past conversions keep what they were decided
    /// by.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn update_enrollment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateEnrollmentInput,
    ) -> Result<EnrollmentPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let rule_id = match change(input.rule_id) {
                Change::Keep => Change::Keep,
                Change::Clear => Change::Clear,
                Change::Set(id) => Change::Set(ids::parse(&["ruleId"], &id)?),
            };
            services::enrollments::update(services, viewer, input.idempotency_key.as_deref(), id, rule_id).await
        };
        EnrollmentPayload::answer(result.await)
    }

    /// Accepts an application, or takes a rejection or suspension back.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn approve_enrollment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which enrollment.")] input: EnrollmentStatusInput,
    ) -> Result<EnrollmentPayload> {
        set_status(ctx, input, kinds::EnrollmentStatus::Approved).await
    }

    /// Refuses an application.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn reject_enrollment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which enrollment.")] input: EnrollmentStatusInput,
    ) -> Result<EnrollmentPayload> {
        set_status(ctx, input, kinds::EnrollmentStatus::Rejected).await
    }

    /// Stops an affiliate in one campaign: it earns nothing new there; what is earned stays.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn suspend_enrollment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which enrollment.")] input: EnrollmentStatusInput,
    ) -> Result<EnrollmentPayload> {
        set_status(ctx, input, kinds::EnrollmentStatus::Suspended).await
    }
}

async fn set_status(
    ctx: &Context<'_>,
    input: EnrollmentStatusInput,
    status: kinds::EnrollmentStatus,
) -> Result<EnrollmentPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::enrollments::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    EnrollmentPayload::answer(result.await)
}
