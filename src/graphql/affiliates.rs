//! Affiliates.

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, Result};
use tributary_entity::{affiliate, ids::AffiliateId, kinds};

use super::{
    affiliate_groups::AffiliateGroup,
    change::change,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    enrollments::{self, Enrollment},
    error::IntoGraphql,
    ids,
    kinds::AffiliateStatus,
    payout_destinations::PayoutDestination,
};
use crate::{
    auth::Permission,
    domain::{
        affiliate::{AffiliateChange, AffiliateFilter, Application, NewAffiliate},
        enrollment::EnrollmentFilter,
        problem::Problem,
        text,
    },
    services::{self, ServiceError},
};

/// Who promotes.
#[derive(Description)]
pub(super) struct Affiliate(pub affiliate::Model);

impl From<affiliate::Model> for Affiliate {
    fn from(row: affiliate::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Affiliate {
    /// Begins with `aff_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// For people.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// In lower case; unique among the affiliates.
    async fn email(&self) -> &str {
        &self.0.email
    }

    /// The firm, if it is one.
    async fn company(&self) -> Option<&str> {
        self.0.company.as_deref()
    }

    /// Whether it may promote and earn.
    async fn status(&self) -> AffiliateStatus {
        self.0.status.into()
    }

    /// Who is above it and may earn overrides on its commissions; null where nobody is, or nobody whom the viewer may see.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Self>> {
        let loaders = ctx.loaders()?;
        let Some(row) = loaders.parent_of_affiliate().load_one(self.0.id).await.or_graphql()? else { return Ok(None) };
        Ok(loaders.affiliate().load_one(row.parent_id).await.or_graphql()?.map(Self))
    }

    /// When it was made.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.updated_at
    }

    /// The group that it is in; null for none.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn group(&self, ctx: &Context<'_>) -> Result<Option<AffiliateGroup>> {
        Ok(ctx.loaders()?.group_of_affiliate().load_one(self.0.id).await.or_graphql()?.map(AffiliateGroup))
    }

    /// Where it is paid: at most one in each currency.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout_destinations(&self, ctx: &Context<'_>) -> Result<Vec<PayoutDestination>> {
        let rows = ctx.loaders()?.destinations_of_affiliate().load_one(self.0.id).await.or_graphql()?;
        Ok(rows.unwrap_or_default().into_iter().map(PayoutDestination).collect())
    }

    /// Its places in campaigns, newest first.
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
        let filter = EnrollmentFilter { affiliate_ids: Some(vec![self.0.id]), ..EnrollmentFilter::default() };
        enrollments::page(ctx, filter, &request).await
    }
}

/// Which affiliates. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct AffiliateFilterInput {
    /// In one of these states.
    statuses: Option<Vec<AffiliateStatus>>,
    /// Part of the name, in any case.
    name_contains: Option<String>,
    /// These; each begins with `aff_`.
    ids: Option<Vec<ID>>,
    /// Directly under one of these; each begins with `aff_`.
    parent_ids: Option<Vec<ID>>,
}

impl AffiliateFilterInput {
    fn parse(self) -> Result<AffiliateFilter, Problem> {
        Ok(AffiliateFilter {
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            name_contains: text::optional(&["filter", "nameContains"], self.name_contains.as_deref(), text::NAME_MAX)?,
            ids: ids::parse_list(&["filter", "ids"], self.ids.as_deref())?,
            parent_ids: ids::parse_list(&["filter", "parentIds"], self.parent_ids.as_deref())?,
        })
    }
}

#[derive(Default)]
pub(super) struct AffiliateQuery;

#[Object]
impl AffiliateQuery {
    /// The affiliates that the viewer may see. An affiliate sees itself.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn affiliates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which affiliates.")] filter: Option<AffiliateFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Affiliate>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Affiliate", order.unwrap_or_default().into(), first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::affiliates::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::affiliates::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Affiliate))
    }

    /// One affiliate, or null.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `aff_`.")] id: ID,
    ) -> Result<Option<Affiliate>> {
        let id: AffiliateId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }
}

/// A new affiliate.
#[derive(Clone, InputObject)]
pub(super) struct CreateAffiliateInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// For people; at most 200 characters.
    name: String,
    /// Unique among the affiliates, in any case.
    email: String,
    /// The firm, if it is one; at most 200 characters.
    company: Option<String>,
}

/// The application of somebody who wants to become an affiliate.
#[derive(Clone, InputObject)]
pub(super) struct ApplyAffiliateInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// The short name of whom to apply to.
    tenant: String,
    /// For people; at most 200 characters.
    name: String,
    /// To log in with; unique among the affiliates, in any case.
    email: String,
    /// The firm, if it is one; at most 200 characters.
    company: Option<String>,
    /// To log in with.
    password: String,
}

/// Changes to an affiliate. A field that is absent stays as it is.
#[derive(Clone, InputObject)]
pub(super) struct UpdateAffiliateInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `aff_`.
    id: ID,
    /// For people; at most 200 characters.
    name: Option<String>,
    /// Unique among the affiliates, in any case.
    email: Option<String>,
    /// The firm; null clears it.
    company: MaybeUndefined<String>,
}

/// Who is to be above an affiliate.
#[derive(Clone, InputObject)]
pub(super) struct SetAffiliateParentInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `aff_`.
    id: ID,
    /// Begins with `aff_`. Absent or null means nobody.
    parent_id: Option<ID>,
}

/// Names an affiliate whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct AffiliateStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `aff_`.
    id: ID,
}

/// Puts an affiliate into a group, or into none.
#[derive(Clone, InputObject)]
pub(super) struct SetAffiliateGroupInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `aff_`.
    affiliate_id: ID,
    /// Begins with `agr_`. Absent takes the affiliate out of its group.
    group_id: Option<ID>,
}

payload! {
    /// The affiliate after the call.
    AffiliatePayload {
        /// Null when the call was refused.
        affiliate: Affiliate
    }
}

#[derive(Default)]
pub(super) struct AffiliateMutation;

#[Object]
impl AffiliateMutation {
    /// Makes an affiliate, active at once. It has no log-in until a user is made for it.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn create_affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The affiliate.")] input: CreateAffiliateInput,
    ) -> Result<AffiliatePayload> {
        let (services, viewer) = ctx.caller()?;
        let new = NewAffiliate { name: input.name, email: input.email, company: input.company };
        let result = services::affiliates::create(services, viewer, input.idempotency_key.as_deref(), new);
        AffiliatePayload::answer(result.await)
    }

    /// Applies to become an affiliate: makes a pending one with its log-in. Needs no credential; limited per caller and
    /// tenant.
    async fn apply_affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The application.")] input: ApplyAffiliateInput,
    ) -> Result<AffiliatePayload> {
        let request = ctx.request();
        let application = Application {
            tenant: input.tenant,
            affiliate: NewAffiliate { name: input.name, email: input.email, company: input.company },
            password: input.password,
        };
        let key = input.idempotency_key.as_deref();
        let result = services::affiliates::apply(&request.services, &request.client, key, application);
        AffiliatePayload::answer(result.await)
    }

    /// Changes what is known of an affiliate.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn update_affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateAffiliateInput,
    ) -> Result<AffiliatePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let change = AffiliateChange { name: input.name, email: input.email, company: change(input.company) };
            services::affiliates::update(services, viewer, input.idempotency_key.as_deref(), id, change).await
        };
        AffiliatePayload::answer(result.await)
    }

    /// Puts an affiliate into a group, or into none. What is recorded from now on is reckoned by it.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn set_affiliate_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom, and where.")] input: SetAffiliateGroupInput,
    ) -> Result<AffiliatePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = async {
            let id = ids::parse(&["affiliateId"], &input.affiliate_id)?;
            let group_id = ids::parse_optional(&["groupId"], input.group_id.as_ref())?;
            services::affiliate_groups::place(services, viewer, key, id, group_id).await
        };
        AffiliatePayload::answer(result.await)
    }

    /// Puts an affiliate under another one, who then earns overrides on its commissions, from the next conversion on.
    /// Refused when the parent is below the affiliate, and when somebody would have more than 20 others above.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn set_affiliate_parent(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who, and under whom.")] input: SetAffiliateParentInput,
    ) -> Result<AffiliatePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let parent_id = ids::parse_optional(&["parentId"], input.parent_id.as_ref())?;
            services::affiliate_parents::set(services, viewer, input.idempotency_key.as_deref(), id, parent_id).await
        };
        AffiliatePayload::answer(result.await)
    }

    /// Accepts an application, or takes a rejection or suspension back.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn approve_affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which affiliate.")] input: AffiliateStatusInput,
    ) -> Result<AffiliatePayload> {
        set_status(ctx, input, kinds::AffiliateStatus::Active).await
    }

    /// Refuses an application.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn reject_affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which affiliate.")] input: AffiliateStatusInput,
    ) -> Result<AffiliatePayload> {
        set_status(ctx, input, kinds::AffiliateStatus::Rejected).await
    }

    /// Stops an affiliate: it earns nothing new; what is earned stays.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn suspend_affiliate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which affiliate.")] input: AffiliateStatusInput,
    ) -> Result<AffiliatePayload> {
        set_status(ctx, input, kinds::AffiliateStatus::Suspended).await
    }
}

async fn set_status(
    ctx: &Context<'_>,
    input: AffiliateStatusInput,
    status: kinds::AffiliateStatus,
) -> Result<AffiliatePayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::affiliates::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    AffiliatePayload::answer(result.await)
}
