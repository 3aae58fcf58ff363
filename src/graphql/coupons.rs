//! Coupons.

use async_graphql::{Context, Description, ID, InputObject, Object, Result};
use tributary_entity::{coupon, ids::CouponId, kinds};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::CouponStatus,
};
use crate::{
    auth::Permission,
    domain::{
        coupon::{CouponFilter, NewCoupon, canonical},
        problem::Problem,
        text,
    },
    services::{self, ServiceError},
};

/// A code that stands for one affiliate in one campaign: a sale with it needs no click.
#[derive(Description)]
pub(super) struct Coupon(pub coupon::Model);

impl From<coupon::Model> for Coupon {
    fn from(row: coupon::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Coupon {
    /// Begins with `cpn_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What customers type, in upper case; unique in the campaign.
    async fn code(&self) -> &str {
        &self.0.code
    }

    /// What is promoted. Null for an affiliate that was rejected and no longer sees the campaign.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// Who is credited with its sales.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Affiliate> {
        let row = ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?;
        Ok(Affiliate(row.ok_or(ServiceError::Internal("a coupon without its affiliate")).or_graphql()?))
    }

    /// Whether it counts.
    async fn status(&self) -> CouponStatus {
        self.0.status.into()
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

/// Which coupons. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct CouponFilterInput {
    /// In one of these campaigns; each begins with `cmp_`.
    campaign_ids: Option<Vec<ID>>,
    /// Of one of these affiliates; each begins with `aff_`.
    affiliate_ids: Option<Vec<ID>>,
    /// In one of these states.
    statuses: Option<Vec<CouponStatus>>,
    /// With one of these codes, in any case.
    codes: Option<Vec<String>>,
}

impl CouponFilterInput {
    fn parse(self) -> Result<CouponFilter, Problem> {
        let codes = text::list(&["filter", "codes"], self.codes)?;
        Ok(CouponFilter {
            campaign_ids: ids::parse_list(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
            codes: codes.map(|codes| codes.iter().map(|code| canonical(code)).collect()),
        })
    }
}

#[derive(Default)]
pub(super) struct CouponQuery;

#[Object]
impl CouponQuery {
    /// The coupons that the viewer may see. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadLinks)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn coupons(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which coupons.")] filter: Option<CouponFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Coupon>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Coupon", order.unwrap_or_default().into(), first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::coupons::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::coupons::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), Coupon))
    }

    /// One coupon, or null.
    #[graphql(guard = "Needs(Permission::ReadLinks)")]
    async fn coupon(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `cpn_`.")] id: ID,
    ) -> Result<Option<Coupon>> {
        let id: CouponId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.coupon().load_one(id).await.or_graphql()?.map(Coupon))
    }
}

/// A new coupon.
#[derive(Clone, InputObject)]
pub(super) struct CreateCouponInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// Begins with `aff_`.
    affiliate_id: ID,
    /// What customers type; kept in upper case, unique in the campaign. At most 64 characters.
    code: String,
}

impl CreateCouponInput {
    fn parse(self) -> Result<NewCoupon, Problem> {
        Ok(NewCoupon {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            affiliate_id: ids::parse(&["affiliateId"], &self.affiliate_id)?,
            code: self.code,
        })
    }
}

/// Names a coupon whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct CouponStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `cpn_`.
    id: ID,
}

payload! {
    /// The coupon after the call.
    CouponPayload {
        /// Null when the call was refused.
        coupon: Coupon
    }
}

#[derive(Default)]
pub(super) struct CouponMutation;

#[Object]
impl CouponMutation {
    /// Gives an affiliate a coupon code in a campaign.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn create_coupon(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The coupon.")] input: CreateCouponInput,
    ) -> Result<CouponPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::coupons::create(services, viewer, key.as_deref(), input.parse()?).await };
        CouponPayload::answer(result.await)
    }

    /// Stops crediting sales with a coupon: its code leads to nobody.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn disable_coupon(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which coupon.")] input: CouponStatusInput,
    ) -> Result<CouponPayload> {
        set_status(ctx, input, kinds::CouponStatus::Disabled).await
    }

    /// Credits sales with a coupon again.
    #[graphql(guard = "Needs(Permission::ManageAffiliates)")]
    async fn enable_coupon(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which coupon.")] input: CouponStatusInput,
    ) -> Result<CouponPayload> {
        set_status(ctx, input, kinds::CouponStatus::Active).await
    }
}

async fn set_status(ctx: &Context<'_>, input: CouponStatusInput, status: kinds::CouponStatus) -> Result<CouponPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
        services::coupons::set_status(services, viewer, input.idempotency_key.as_deref(), id, status).await
    };
    CouponPayload::answer(result.await)
}
