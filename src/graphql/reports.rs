//! Reports.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use chrono::SecondsFormat;
use tributary_entity::{Instant, money};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::ClickInvalidReason,
    scalars::{CurrencyCode, Decimal, Money},
};
use crate::{
    auth::Permission,
    domain::{
        instant,
        problem::Problem,
        report::{Dimension, InvalidRequest, ReportRequest, ReportRow as Row, RowKey},
    },
    services,
};

/// What a report's rows are about.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Dimension")]
pub(super) enum ReportDimension {
    /// Hours, UTC.
    Hour,
    /// Days, UTC.
    Day,
    /// Campaigns.
    Campaign,
    /// Affiliates.
    Affiliate,
}

/// A report that is wanted.
#[derive(Clone, InputObject)]
pub(super) struct ReportInput {
    /// Start of the period, inclusive; whole hours.
    from: Instant,
    /// End of the period, exclusive; whole hours.
    until: Instant,
    /// One row per combination of these (and currency); none gives totals.
    #[graphql(default)]
    group_by: Vec<ReportDimension>,
    /// Only these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Only these affiliates.
    affiliate_ids: Option<Vec<ID>>,
}

impl ReportInput {
    fn parse(self) -> Result<ReportRequest, Problem> {
        Ok(ReportRequest {
            from: instant::checked(&["input", "from"], self.from)?,
            until: instant::checked(&["input", "until"], self.until)?,
            group_by: self.group_by.into_iter().map(Into::into).collect(),
            campaign_ids: ids::parse_list(&["input", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["input", "affiliateIds"], self.affiliate_ids.as_deref())?,
        })
    }
}

/// Totals in one currency. Rejected conversions count nowhere.
#[derive(Description)]
pub(super) struct ReportRow(pub Row);

#[Object(use_type_description)]
impl ReportRow {
    /// Tells the row from the others of its report or dashboard, and stays the same while its values change; opaque.
    async fn key(&self) -> String {
        key(&self.0.key)
    }

    /// Start of the hour or day; null when not grouped by time.
    async fn period(&self) -> Option<Instant> {
        self.0.key.bucket_at
    }

    /// Null when not grouped by campaign.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        let Some(id) = self.0.key.campaign_id else { return Ok(None) };
        Ok(ctx.loaders()?.campaign().load_one(id).await.or_graphql()?.map(Campaign))
    }

    /// Null when not grouped by affiliate.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.key.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// The currency of the amounts; clicks are counted in their campaign's.
    async fn currency(&self) -> CurrencyCode {
        self.0.key.currency.into()
    }

    /// All clicks, invalid ones too.
    async fn clicks_gross(&self) -> i64 {
        self.0.totals.clicks_gross
    }

    /// Valid clicks, repeated ones of a visitor counted once.
    async fn clicks(&self) -> i64 {
        self.0.totals.clicks_unique
    }

    /// Clicks that do not count.
    async fn clicks_invalid(&self) -> i64 {
        self.0.totals.clicks_invalid
    }

    /// Conversions that are not rejected.
    async fn conversions(&self) -> i64 {
        self.0.totals.conversions
    }

    /// What customers paid.
    async fn sale_amount(&self) -> Money {
        money::Money::new(self.0.totals.sale_minor, self.0.key.currency).into()
    }

    /// What affiliates earn.
    async fn commission(&self) -> Money {
        money::Money::new(self.0.totals.commission_minor, self.0.key.currency).into()
    }

    /// Conversions per click; null without clicks.
    async fn cr(&self) -> Option<Decimal> {
        Decimal::ratio(self.0.totals.conversions, self.0.totals.clicks_unique, 0)
    }

    /// Commission per click, in the currency's unit; null without clicks.
    async fn epc(&self) -> Option<Decimal> {
        Decimal::ratio(self.0.totals.commission_minor, self.0.totals.clicks_unique, self.0.key.currency.exponent())
    }

    /// Sale amount per conversion, in the currency's unit; null without conversions.
    async fn aov(&self) -> Option<Decimal> {
        Decimal::ratio(self.0.totals.sale_minor, self.0.totals.conversions, self.0.key.currency.exponent())
    }
}

/// The public form of a row's key.
pub(super) fn key(key: &RowKey) -> String {
    let RowKey { bucket_at, campaign_id, affiliate_id, currency } = key;
    let parts = [
        bucket_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)),
        campaign_id.map(|id| id.to_string()),
        affiliate_id.map(|id| id.to_string()),
    ];
    parts.into_iter().flatten().chain(std::iter::once(currency.code().to_owned())).collect::<Vec<_>>().join("/")
}

/// Counts of invalid clicks that are wanted.
#[derive(Clone, InputObject)]
pub(super) struct InvalidClicksInput {
    /// Start of the period, inclusive; whole hours.
    from: Instant,
    /// End of the period, exclusive; whole hours.
    until: Instant,
    /// Only these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Only these affiliates.
    affiliate_ids: Option<Vec<ID>>,
}

impl InvalidClicksInput {
    fn parse(self) -> Result<InvalidRequest, Problem> {
        Ok(InvalidRequest {
            from: instant::checked(&["input", "from"], self.from)?,
            until: instant::checked(&["input", "until"], self.until)?,
            campaign_ids: ids::parse_list(&["input", "campaignIds"], self.campaign_ids.as_deref())?,
            affiliate_ids: ids::parse_list(&["input", "affiliateIds"], self.affiliate_ids.as_deref())?,
        })
    }
}

/// Clicks that do not count for one reason.
#[derive(SimpleObject)]
pub(super) struct InvalidClicks {
    /// Why they do not count.
    reason: ClickInvalidReason,
    /// How many.
    clicks: i64,
}

#[derive(Default)]
pub(super) struct ReportQuery;

#[Object]
impl ReportQuery {
    /// Totals over a period, kept as facts come in: answered at once. At most 10,000 rows; amounts are never mixed over
    /// currencies. Affiliates see their own.
    #[graphql(guard = "Needs(Permission::ReadReports)")]
    async fn report(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which report.")] input: ReportInput,
    ) -> Result<Vec<ReportRow>> {
        let (services, viewer) = ctx.caller()?;
        let request = input.parse().or_graphql()?;
        let rows = services::reports::report(services, viewer, request).await.or_graphql()?;
        Ok(rows.into_iter().map(ReportRow).collect())
    }

    /// The clicks of a period that do not count, by reason; together they are the report's `clicksInvalid`. At most
    /// one row for each reason, none for those without clicks. Affiliates see their own.
    #[graphql(guard = "Needs(Permission::ReadReports)")]
    async fn invalid_clicks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of what.")] input: InvalidClicksInput,
    ) -> Result<Vec<InvalidClicks>> {
        let (services, viewer) = ctx.caller()?;
        let request = input.parse().or_graphql()?;
        let counts = services::reports::invalid_clicks(services, viewer, &request).await.or_graphql()?;
        let counts = counts.into_iter();
        Ok(counts.map(|count| InvalidClicks { reason: count.reason.into(), clicks: count.clicks }).collect())
    }
}
