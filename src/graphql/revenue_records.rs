//! Revenue records: what customers brought, as the tenant's servers tell.

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, ids::CampaignId, money, revenue_record};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::{IntoGraphql, UserError},
    ids,
    kinds::ConversionReason,
    revenue_settlements::RevenueSettlement,
    scalars::{Date, Money, SignedMoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        page::Order,
        problem::Problem,
        revenue_record::{Amounts, NewRecord, RecordFilter},
        text,
    },
    services::{self, revenue_records::BATCH_MAX},
};

/// What a customer brought on a day. Never changed: what was wrong is put right by another, which may be negative.
#[derive(Description)]
pub(super) struct RevenueRecord(pub revenue_record::Model);

impl From<revenue_record::Model> for RevenueRecord {
    fn from(row: revenue_record::Model) -> Self {
        Self(row)
    }
}

impl RevenueRecord {
    fn money(&self, amount_minor: i64) -> Money {
        money::Money::new(amount_minor, self.0.currency).into()
    }
}

#[Object(use_type_description)]
impl RevenueRecord {
    /// Begins with `rvr_`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The campaign that brought the customer.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// Whose customer it is; null while nobody is credited with one of its conversions.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// The tenant's own customer reference.
    async fn customer_id(&self) -> &str {
        &self.0.customer_id
    }

    /// The sender's own, once in a campaign.
    async fn reference(&self) -> &str {
        &self.0.reference
    }

    /// The day, in the tenant's time zone.
    async fn day(&self) -> Date {
        Date(self.0.day)
    }

    /// Gross gaming revenue: stakes less winnings; negative where the customer won.
    async fn ggr(&self) -> Money {
        self.money(self.0.ggr_minor)
    }

    /// What the customer was given.
    async fn bonuses(&self) -> Money {
        self.money(self.0.bonuses_minor)
    }

    /// Payments that were taken back.
    async fn chargebacks(&self) -> Money {
        self.money(self.0.chargebacks_minor)
    }

    /// What the customer paid in.
    async fn deposits(&self) -> Money {
        self.money(self.0.deposits_minor)
    }

    /// What the customer staked.
    async fn stakes(&self) -> Money {
        self.money(self.0.stakes_minor)
    }

    /// Why it counts for nothing: AFFILIATE_NOT_ACTIVE or ENROLLMENT_NOT_APPROVED, as it was when the record came. Null where
    /// it counts.
    async fn reason(&self) -> Option<ConversionReason> {
        self.0.reason.map(Into::into)
    }

    /// The settlement that it is part of; null while it is open, and where it counts for nothing.
    #[graphql(guard = "Needs(Permission::ReadEarnings)")]
    async fn settlement(&self, ctx: &Context<'_>) -> Result<Option<RevenueSettlement>> {
        let Some(id) = self.0.settlement_id else { return Ok(None) };
        Ok(ctx.loaders()?.revenue_settlement().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// When it was recorded.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at
    }
}

/// Which records. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct RevenueRecordFilterInput {
    /// Of one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// For one of these campaigns.
    campaign_ids: Option<Vec<ID>>,
    /// Of one of these customers.
    customer_ids: Option<Vec<String>>,
    /// Whether it is part of a settlement.
    settled: Option<bool>,
    /// Whether it counts for nothing, for a `reason`.
    refused: Option<bool>,
}

impl RevenueRecordFilterInput {
    fn parse(self) -> Result<RecordFilter, Problem> {
        Ok(RecordFilter {
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            campaign_ids: ids::parse_list::<CampaignId>(&["filter", "campaignIds"], self.campaign_ids.as_deref())?,
            customer_ids: text::list(&["filter", "customerIds"], self.customer_ids)?,
            is_settled: self.settled,
            is_refused: self.refused,
        })
    }
}

#[derive(Default)]
pub(super) struct RevenueRecordQuery;

#[Object]
impl RevenueRecordQuery {
    /// What customers brought, of what the viewer may see, newest first. An affiliate sees its own customers.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn revenue_records(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which records.")] filter: Option<RevenueRecordFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<RevenueRecord>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("RevenueRecord", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::revenue_records::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::revenue_records::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), RevenueRecord))
    }
}

/// What a customer brought on a day. All amounts are in the campaign's currency and nothing where they are absent; negative
/// ones put right what was recorded before.
#[derive(Clone, InputObject)]
pub(super) struct RevenueRecordInput {
    /// The campaign that brought the customer; begins with `cmp_`.
    campaign_id: ID,
    /// Whose customer it is; begins with `aff_`. Absent is whom the customer's first conversion in the campaign is credited
    /// to.
    affiliate_id: Option<ID>,
    /// Your own customer reference, as conversions have it; at most 255 characters.
    customer_id: String,
    /// Your own, once in a campaign: the same record sent again is recorded once. At most 255 characters.
    reference: String,
    /// The day, in the tenant's time zone; not in the future.
    day: Date,
    /// Gross gaming revenue: stakes less winnings.
    ggr: Option<SignedMoneyInput>,
    /// What the customer was given.
    bonuses: Option<SignedMoneyInput>,
    /// Payments that were taken back.
    chargebacks: Option<SignedMoneyInput>,
    /// What the customer paid in.
    deposits: Option<SignedMoneyInput>,
    /// What the customer staked.
    stakes: Option<SignedMoneyInput>,
}

impl RevenueRecordInput {
    fn parse(self) -> Result<NewRecord, Problem> {
        let money = |field, money: Option<SignedMoneyInput>| money.map(|money| money.money(&[field])).transpose();
        Ok(NewRecord {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            affiliate_id: self.affiliate_id.map(|id| ids::parse(&["affiliateId"], &id)).transpose()?,
            customer_id: self.customer_id,
            reference: self.reference,
            day: self.day.0,
            amounts: Amounts {
                ggr: money("ggr", self.ggr)?,
                bonuses: money("bonuses", self.bonuses)?,
                chargebacks: money("chargebacks", self.chargebacks)?,
                deposits: money("deposits", self.deposits)?,
                stakes: money("stakes", self.stakes)?,
            },
        })
    }
}

/// What customers brought.
#[derive(Clone, InputObject)]
pub(super) struct RecordRevenueInput {
    /// From 1 to 1,000.
    items: Vec<RevenueRecordInput>,
}

payload! {
    /// What became of one record.
    RecordRevenueItem {
        /// Null when it was refused.
        revenue_record: RevenueRecord
    }
}

/// What became of the records.
#[derive(SimpleObject)]
pub(super) struct RecordRevenuePayload {
    /// One per record, in order; at most 1,000.
    items: Vec<RecordRevenueItem>,
    /// Why nothing was looked at; empty when it was.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub(super) struct RevenueRecordMutation;

#[Object]
impl RevenueRecordMutation {
    /// Records what customers brought, such as once a day for each. A record that is refused does not touch the others. One
    /// that comes while its affiliate may not earn is recorded with the `reason` and counts for nothing, also later.
    #[graphql(guard = "Needs(Permission::RecordConversions)")]
    async fn record_revenue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The records.")] input: RecordRevenueInput,
    ) -> Result<RecordRevenuePayload> {
        let (services, viewer) = ctx.caller()?;
        if let Some(problem) = Problem::batch_size(&["items"], input.items.len(), BATCH_MAX) {
            return Ok(RecordRevenuePayload { items: Vec::new(), user_errors: vec![problem.into()] });
        }
        let inputs = input.items.into_iter().map(RevenueRecordInput::parse).collect();
        let answers = services::revenue_records::record(services, viewer, inputs).await.or_graphql()?;
        let items = answers.into_iter().map(RecordRevenueItem::answer_item).collect();
        Ok(RecordRevenuePayload { items, user_errors: Vec::new() })
    }
}
