//! What a batch would pay if it were drafted now.

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::money::{self, Currency};

use super::Payout;
use crate::{
    auth::Permission,
    domain::{page::Order, payout::NewBatch, problem::Problem},
    graphql::{
        affiliates::Affiliate,
        connection::{self, Paged, TotalCount},
        context::{Needs, RequestData},
        error::IntoGraphql,
        ids,
        kinds::PayoutSkipReason,
        payout_destinations::PayoutDestination,
        payout_terms::PayoutScheduleInput,
        scalars::{CurrencyCode, Money, MoneyInput},
    },
    services::{
        payouts::preview::{self, Line, Trial},
        tenants,
    },
};

/// A batch that might be drafted.
#[derive(Clone, Default, InputObject)]
pub(super) struct PayoutPreviewFilterInput {
    /// The currency of its payouts; the tenant's if absent.
    currency: Option<CurrencyCode>,
    /// Whom to pay, 1 to 1,000; each begins with `aff_`. Absent, everybody.
    affiliate_ids: Option<Vec<ID>>,
    /// The least available balance that is paid, inclusive. Absent, each affiliate's threshold.
    minimum_amount: Option<MoneyInput>,
    /// Only who is paid by this schedule, as on its last day that was due. Absent, everybody.
    schedule: Option<PayoutScheduleInput>,
}

impl PayoutPreviewFilterInput {
    fn parse(self, currency: Currency) -> Result<Trial, Problem> {
        Ok(Trial {
            batch: NewBatch {
                currency: self.currency.map_or(Ok(currency), |code| code.currency(&["filter"]))?,
                affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
                minimum: self.minimum_amount.map(|minimum| minimum.money(&["filter", "minimumAmount"])).transpose()?,
                note: None,
            },
            schedule: self.schedule.map(PayoutScheduleInput::parse).transpose()?,
        })
    }
}

/// What is asked for, checked.
async fn trial(ctx: &Context<'_>, filter: Option<PayoutPreviewFilterInput>) -> Result<Trial> {
    let (services, viewer) = ctx.caller()?;
    let currency = tenants::get(services, viewer).await.or_graphql()?.currency;
    filter.unwrap_or_default().parse(currency).or_graphql()?.check().or_graphql()
}

/// All that a batch would pay if it were drafted now. Nothing is written.
#[derive(SimpleObject)]
pub(super) struct PayoutPreview {
    /// How many payouts.
    payouts: i64,
    /// What would leave balances.
    gross: Money,
    /// What would be paid: without taxes and fees.
    net: Money,
    /// How many affiliates with something available would be passed over, by reason; at most one line for each.
    passed_over: Vec<PassedOverCount>,
}

/// Affiliates that would be passed over for one reason.
#[derive(SimpleObject)]
pub(super) struct PassedOverCount {
    /// Why.
    reason: PayoutSkipReason,
    /// How many.
    count: i64,
}

/// An affiliate with something available, and what a batch would do about it.
#[derive(Description)]
pub(in crate::graphql) struct PayoutPreviewLine {
    line: Line,
    currency: Currency,
}

impl PayoutPreviewLine {
    fn money(&self, amount_minor: i64) -> Money {
        money::Money::new(amount_minor, self.currency).into()
    }
}

#[Object(use_type_description)]
impl PayoutPreviewLine {
    /// Who.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.line.candidate.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// Its available balance.
    async fn available(&self) -> Money {
        self.money(self.line.candidate.available_minor)
    }

    /// What it owes.
    async fn debt(&self) -> Money {
        self.money(self.line.candidate.debt_minor)
    }

    /// The least that it is paid, inclusive.
    async fn threshold(&self) -> Money {
        self.money(self.line.threshold_minor)
    }

    /// What would leave its balance; null when it would be passed over.
    async fn gross(&self) -> Option<Money> {
        self.line.amounts.ok().map(|amounts| self.money(amounts.gross_minor))
    }

    /// What it would be paid: without tax and fee; null when it would be passed over.
    async fn net(&self) -> Option<Money> {
        self.line.amounts.ok().map(|amounts| self.money(amounts.net_minor()))
    }

    /// Why it would be passed over; null when it would be paid.
    async fn reason(&self) -> Option<PayoutSkipReason> {
        self.line.amounts.err().map(Into::into)
    }

    /// Where it would be paid; null when nothing is set.
    async fn destination(&self, ctx: &Context<'_>) -> Result<Option<PayoutDestination>> {
        let Some((id, _)) = self.line.candidate.destination else { return Ok(None) };
        Ok(ctx.loaders()?.payout_destination().load_one(id).await.or_graphql()?.map(PayoutDestination))
    }

    /// The open payout that stands in the way.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn open_payout(&self, ctx: &Context<'_>) -> Result<Option<Payout>> {
        let Some(id) = self.line.candidate.open_payout else { return Ok(None) };
        Ok(ctx.loaders()?.payout().load_one(id).await.or_graphql()?.map(Into::into))
    }
}

#[derive(Default)]
pub(in crate::graphql) struct PayoutPreviewQuery;

#[Object]
impl PayoutPreviewQuery {
    /// What a batch would pay if it were drafted now, all together. Reads the balance of everybody who has one.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn payout_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] filter: Option<PayoutPreviewFilterInput>,
    ) -> Result<PayoutPreview> {
        let trial = trial(ctx, filter).await?;
        let (services, viewer) = ctx.caller()?;
        let summary = preview::summary(services, viewer, &trial).await.or_graphql()?;
        let skipped = summary.skipped.into_iter();
        Ok(PayoutPreview {
            payouts: summary.payouts,
            gross: money::Money::new(summary.gross_minor, trial.batch.currency).into(),
            net: money::Money::new(summary.net_minor, trial.batch.currency).into(),
            passed_over: skipped.map(|(reason, count)| PassedOverCount { reason: reason.into(), count }).collect(),
        })
    }

    /// What a batch would do about each affiliate with something available if it were drafted now, in the order in which
    /// they were made.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn payout_preview_lines(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] filter: Option<PayoutPreviewFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PayoutPreviewLine>> {
        let request = connection::request("PayoutPreviewLine", Order::CreatedAsc, first, after, last, before)?;
        let trial = trial(ctx, filter).await?;
        let (services, viewer) = ctx.caller()?;
        let page = preview::lines(services, viewer, &trial, &request).await.or_graphql()?;
        let currency = trial.batch.currency;
        let count = TotalCount::by(move |services, viewer| {
            let trial = trial.clone();
            async move { preview::count(&services, &viewer, &trial).await }
        });
        let position = |line: &Line| connection::created(line.candidate.affiliate_id.uuid());
        Ok(connection::connect(&request, page, count, position, |line| PayoutPreviewLine { line, currency }))
    }
}
