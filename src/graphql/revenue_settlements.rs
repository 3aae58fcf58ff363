//! Revenue settlements: what affiliates got of their customers' net revenue in a period.

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, ids::CampaignId, money, revenue_settlement};

use super::{
    affiliates::Affiliate,
    awards::Award,
    campaigns::Campaign,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    revenue_deals::{DeductionBasis, RevenueDeal},
    scalars::{Date, Decimal, Money},
};
use crate::{
    auth::Permission,
    domain::{
        page::Order,
        problem::Problem,
        revenue_settlement::{Line, SettlementFilter, Taken},
        rule::format_percent,
    },
    services::{self, ServiceError},
};

/// What the net revenue of an affiliate's customers came to in a period, from gross revenue to what the share is of. Unlike
/// a settlement it may change until the period is over.
#[derive(Description)]
pub(super) struct RevenueReckoning(pub revenue_settlement::Model);

impl From<revenue_settlement::Model> for RevenueReckoning {
    fn from(row: revenue_settlement::Model) -> Self {
        Self(row)
    }
}

impl RevenueReckoning {
    fn money(&self, amount_minor: i64) -> Money {
        money::Money::new(amount_minor, self.0.currency).into()
    }
}

#[Object(use_type_description)]
impl RevenueReckoning {
    /// The period's first day.
    async fn from(&self) -> Date {
        Date(self.0.period_start)
    }

    /// The period's last day.
    async fn until(&self) -> Date {
        Date(self.0.period_end.pred_opt().unwrap_or(self.0.period_end))
    }

    /// Gross revenue of all customers.
    async fn ggr(&self) -> Money {
        self.money(self.0.ggr_minor)
    }

    /// Net revenue of the customers who are not set apart, before losses of earlier periods; negative is a loss.
    async fn ngr(&self) -> Money {
        self.money(self.0.ngr_minor)
    }

    /// From gross revenue to what is shared, which they sum to; at most 27.
    async fn lines(&self) -> Result<Vec<RevenueLine>> {
        let lines: std::result::Result<Vec<Line>, _> = serde_json::from_str(&self.0.lines);
        let lines = lines.map_err(|_| ServiceError::Internal("stored lines cannot be read")).or_graphql()?;
        let line = |Line { name, amount_minor, taken }| RevenueLine {
            name,
            amount: self.money(amount_minor),
            basis: taken.map(|taken: Taken| RevenueLineBasis {
                percent: Decimal(format_percent(taken.rate_ppm)),
                kind: taken.basis.into(),
                amount: self.money(taken.basis_minor),
            }),
        };
        Ok(lines.into_iter().map(line).collect())
    }

    /// Of what the share is: net revenue, losses of earlier periods made good.
    async fn shared(&self) -> Money {
        self.money(self.0.shared_minor)
    }

    /// What the affiliate has of that.
    async fn share(&self) -> Money {
        self.money(self.0.share_minor)
    }

    /// Customers who qualified in it.
    async fn qualified(&self) -> i64 {
        self.0.qualified
    }

    /// For them together.
    async fn qualified_amount(&self) -> Money {
        self.money(self.0.qualified_minor)
    }

    /// What the affiliate gets: share and amounts for customers who qualified.
    async fn earned(&self) -> Money {
        self.money(self.0.share_minor + self.0.qualified_minor)
    }

    /// What the next periods have to make good before anything is shared, also of customers who are set apart.
    async fn carried_loss(&self) -> Money {
        self.money(self.0.carried_minor)
    }

    /// Which version of the deal it is reckoned by; it may have been set again since. 0 in a preview of terms.
    async fn deal_version(&self) -> i32 {
        self.0.deal_version
    }
}

/// A step from gross revenue to what is shared.
#[derive(SimpleObject)]
pub(super) struct RevenueLine {
    /// What it is.
    name: String,
    /// Negative where it takes off.
    amount: Money,
    /// What it is a percentage of; null where it is none, and in settlements from before this was kept.
    basis: Option<RevenueLineBasis>,
}

/// What a deduction was taken of.
#[derive(SimpleObject)]
pub(super) struct RevenueLineBasis {
    /// How much of it, in percent.
    percent: Decimal,
    /// Of what.
    kind: DeductionBasis,
    /// What that came to in the period, for the customers who are not set apart.
    amount: Money,
}

/// A period of an affiliate in a campaign, settled once. Never changed: what is recorded later is part of the next one.
#[derive(Description)]
pub(super) struct RevenueSettlement(pub revenue_settlement::Model);

impl From<revenue_settlement::Model> for RevenueSettlement {
    fn from(row: revenue_settlement::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl RevenueSettlement {
    /// Begins with `rvs_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The campaign.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// Whose customers.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// How it came about.
    async fn reckoning(&self) -> RevenueReckoning {
        RevenueReckoning(self.0.clone())
    }

    /// The deal that settled it.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn deal(&self, ctx: &Context<'_>) -> Result<Option<RevenueDeal>> {
        Ok(ctx.loaders()?.revenue_deal().load_one(self.0.deal_id).await.or_graphql()?.map(RevenueDeal))
    }

    /// How many records are part of it.
    async fn records(&self) -> i64 {
        self.0.records
    }

    /// What posted it; null where nothing was earned.
    async fn award(&self, ctx: &Context<'_>) -> Result<Option<Award>> {
        let Some(id) = self.0.award_id else { return Ok(None) };
        Ok(ctx.loaders()?.award().load_one(id).await.or_graphql()?.map(Award))
    }

    /// When it was settled.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

/// Which settlements. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct RevenueSettlementFilterInput {
    /// Of one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// For one of these campaigns.
    campaign_ids: Option<Vec<ID>>,
}

impl RevenueSettlementFilterInput {
    fn parse(self) -> Result<SettlementFilter, Problem> {
        Ok(SettlementFilter {
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            campaign_ids: ids::parse_list::<CampaignId>(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
        })
    }
}

#[derive(Default)]
pub(super) struct RevenueSettlementQuery;

#[Object]
impl RevenueSettlementQuery {
    /// What affiliates got of their customers' net revenue, of what the viewer may see, newest first. An affiliate sees its
    /// own.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn revenue_settlements(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which settlements.")] filter: Option<RevenueSettlementFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<RevenueSettlement>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("RevenueSettlement", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::revenue_settlements::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::revenue_settlements::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), RevenueSettlement))
    }
}
