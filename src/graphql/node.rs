//! Global ids: any object by its id alone.
//!
//! # Adding one
//! A line in `nodes!`: the GraphQL type (made from its row), its id, the permission that reads it, its loader.

use async_graphql::{Context, ID, Interface, Object, Result};
use futures_util::future;
use tributary_entity::ids::{
    AffiliateId, AttributionRunId, AwardId, BonusRuleId, CampaignId, CapId, ClickId, ClickRateId, CommissionId,
    CommissionRuleId, ConversionId, CouponId, EnrollmentId, FxConversionId, FxRateId, GoalId, JournalId, LinkId,
    OverridePlanId, PayoutBatchId, PayoutDestinationId, PayoutId, RevenueDealId, RevenueRecordId, RevenueSettlementId,
};

use super::{
    affiliates::Affiliate,
    attribution::AttributionRun,
    awards::Award,
    bonus_rules::BonusRule,
    campaigns::Campaign,
    caps::Cap,
    click_rates::ClickRate,
    clicks::Click,
    commissions::Commission,
    context::RequestData,
    conversions::Conversion,
    coupons::Coupon,
    enrollments::Enrollment,
    error::{self, IntoGraphql},
    fx_conversions::FxConversion,
    fx_rates::FxRate,
    goals::Goal,
    ids,
    ledger::Journal,
    links::Link,
    override_plans::OverridePlan,
    payout_destinations::PayoutDestination,
    payouts::{Payout, PayoutBatch},
    revenue_deals::RevenueDeal,
    revenue_records::RevenueRecord,
    revenue_settlements::RevenueSettlement,
    rules::CommissionRule,
};
use crate::{
    auth::Permission,
    domain::problem::{Problem, ProblemCode},
    services::ServiceError,
};

/// Ids of one call.
const NODES_MAX: usize = 100;

macro_rules! nodes {
    ($($node:ident, $id:ident, $permission:ident, $loader:ident;)*) => {
        /// An object with a global id.
        #[derive(Interface)]
        #[expect(clippy::large_enum_variant, reason = "one of a call's few objects, moved once; a box for each would cost more")]
        #[graphql(field(name = "id", ty = "ID", desc = "Tells the type by its prefix; `node` finds the object by it."))]
        pub(super) enum Node {
            $($node($node),)*
        }

        const PREFIXES: &[&str] = &[$($id::PREFIX),*];

        async fn load(ctx: &Context<'_>, field: &[&str], id: &ID) -> Result<Option<Node>> {
            let (_, viewer) = ctx.caller()?;
            match id.split('_').next().unwrap_or_default() {
                $($id::PREFIX => {
                    if !viewer.may(Permission::$permission) {
                        return Err(error::to_graphql(ServiceError::Forbidden));
                    }
                    let id: $id = ids::parse(field, id).or_graphql()?;
                    let row = ctx.loaders()?.$loader().load_one(id).await.or_graphql()?;
                    Ok(row.map(|row| Node::$node($node::from(row))))
                })*
                _ => {
                    let message = format!("expected an id that begins with one of {}", PREFIXES.join(", "));
                    Err(Problem::new(ProblemCode::InvalidId, field, message)).or_graphql()
                }
            }
        }
    };
}

nodes! {
    Campaign, CampaignId, ReadCampaigns, campaign;
    Goal, GoalId, ReadCampaigns, goal;
    Cap, CapId, ReadCampaigns, cap;
    CommissionRule, CommissionRuleId, ReadRules, rule;
    OverridePlan, OverridePlanId, ReadRules, override_plan;
    ClickRate, ClickRateId, ReadRules, click_rate;
    RevenueDeal, RevenueDealId, ReadRules, revenue_deal;
    RevenueRecord, RevenueRecordId, ReadConversions, revenue_record;
    RevenueSettlement, RevenueSettlementId, ReadEarnings, revenue_settlement;
    BonusRule, BonusRuleId, ReadRules, bonus_rule;
    Affiliate, AffiliateId, ReadAffiliates, affiliate;
    Enrollment, EnrollmentId, ReadAffiliates, enrollment;
    Link, LinkId, ReadLinks, link;
    Coupon, CouponId, ReadLinks, coupon;
    Click, ClickId, ReadClicks, click;
    Conversion, ConversionId, ReadConversions, conversion;
    Commission, CommissionId, ReadCommissions, commission;
    Award, AwardId, ReadEarnings, award;
    Journal, JournalId, ReadLedger, journal;
    Payout, PayoutId, ReadPayouts, payout;
    PayoutBatch, PayoutBatchId, ManagePayouts, payout_batch;
    PayoutDestination, PayoutDestinationId, ReadPayouts, payout_destination;
    FxRate, FxRateId, ReadFxRates, fx_rate;
    FxConversion, FxConversionId, ReadEarnings, fx_conversion;
    AttributionRun, AttributionRunId, ReadAttribution, attribution_run;
}

#[derive(Default)]
pub(super) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by its id, or null when it is not there or not the viewer's to see.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The object's id, with its prefix.")] id: ID,
    ) -> Result<Option<Node>> {
        load(ctx, &["id"], &id).await
    }

    /// Objects by their ids, in their order, null for those that are not there or not the viewer's to see.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The objects' ids, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        ctx.caller()?;
        if ids.len() > NODES_MAX {
            let message = format!("at most {NODES_MAX} ids");
            return Err(Problem::new(ProblemCode::BatchSize, &["ids"], message)).or_graphql();
        }
        future::try_join_all(ids.iter().map(|id| load(ctx, &["ids"], id))).await
    }
}
