//! Payout batches: what they are.

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, kinds, money, payout_batch, payout_skip};

use super::{Payout, PayoutFile};
use crate::{
    auth::Permission,
    domain::{
        page::PageRequest,
        payout::{PayoutFilter, StatusTotal},
    },
    graphql::{
        affiliates::Affiliate,
        connection::{self, CreationOrder, Paged, TotalCount},
        context::{Needs, RequestData},
        error::IntoGraphql,
        kinds::{PayoutBatchStatus, PayoutSkipReason, PayoutStatus},
        payout_terms::{self, PayoutSchedule},
        scalars::{CurrencyCode, Date, Money},
    },
    services,
};

/// Payouts of one currency that are decided on together.
#[derive(Description)]
pub(in crate::graphql) struct PayoutBatch(payout_batch::Model);

impl From<payout_batch::Model> for PayoutBatch {
    fn from(row: payout_batch::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl PayoutBatch {
    /// Begins with `pbt_`.
    pub(in crate::graphql) async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Where it stands.
    async fn status(&self) -> PayoutBatchStatus {
        self.0.status.into()
    }

    /// The currency of all its payouts.
    async fn currency(&self) -> CurrencyCode {
        self.0.currency.into()
    }

    /// The least available balance that it pays, inclusive.
    async fn minimum_amount(&self) -> Money {
        money::Money::new(self.0.minimum_minor, self.0.currency).into()
    }

    /// Whether affiliates' own thresholds go before `minimumAmount`.
    async fn follows_terms(&self) -> bool {
        self.0.by_terms
    }

    /// The schedule that it was drafted by; null for one by hand.
    async fn schedule(&self) -> Option<PayoutSchedule> {
        payout_terms::schedule(self.0.schedule.as_deref())
    }

    /// The day that was due, in the tenant's time zone; null for one by hand.
    async fn due_on(&self) -> Option<Date> {
        self.0.due_on.map(Date)
    }

    /// Its author's note.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// Who drafted it: `user:usr_..`, `operator`, or `system` for a schedule.
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// Who approved it; null before.
    async fn approver(&self) -> Option<&str> {
        self.0.approver.as_deref()
    }

    /// Who submitted it; null before.
    async fn submitter(&self) -> Option<&str> {
        self.0.submitter.as_deref()
    }

    /// Who gave it up; null unless somebody did.
    async fn canceller(&self) -> Option<&str> {
        self.0.canceller.as_deref()
    }

    /// When it was drafted.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }

    /// When it was approved; null before.
    async fn approved_at(&self) -> Option<Instant> {
        self.0.approved_at
    }

    /// When it was submitted; null before.
    async fn submitted_at(&self) -> Option<Instant> {
        self.0.submitted_at
    }

    /// When it was given up; null unless it was.
    async fn cancelled_at(&self) -> Option<Instant> {
        self.0.cancelled_at
    }

    /// Its payouts, newest first.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payouts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Payout>> {
        let request = connection::request("Payout", CreationOrder::default().into(), first, after, last, before)?;
        let filter = PayoutFilter { batch_ids: Some(vec![self.0.id]), ..PayoutFilter::default() };
        super::page(ctx, filter, &request).await
    }

    /// Its payouts counted and summed, one line for each state that some are in: at most nine.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn totals(&self, ctx: &Context<'_>) -> Result<Vec<PayoutTotal>> {
        let loader = &ctx.loaders()?.totals_of_payout_batch();
        let mut totals = loader.load_one(self.0.id).await.or_graphql()?.unwrap_or_default();
        totals.sort_by_key(|total| total.status);
        Ok(totals.into_iter().map(Into::into).collect())
    }

    /// The files that it was handed to banks in; at most 100.
    async fn files(&self, ctx: &Context<'_>) -> Result<Vec<PayoutFile>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::payouts::files::of_batch(services, viewer, self.0.id).await.or_graphql()?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Affiliates that it could have paid and did not; at most 1,000.
    async fn passed_over(&self, ctx: &Context<'_>) -> Result<Vec<PassedOver>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::payouts::batches::skips(services, viewer, self.0.id).await.or_graphql()?;
        Ok(rows.into_iter().map(PassedOver).collect())
    }
}

/// The payouts of a batch that are in one state.
#[derive(SimpleObject)]
pub(in crate::graphql) struct PayoutTotal {
    /// The state.
    status: PayoutStatus,
    /// How many.
    count: i64,
    /// Their sum.
    gross: Money,
}

impl From<StatusTotal> for PayoutTotal {
    fn from(total: StatusTotal) -> Self {
        Self { status: total.status.into(), count: total.count, gross: total.total.into() }
    }
}

/// An affiliate that a batch could have paid and did not.
#[derive(Description)]
pub(in crate::graphql) struct PassedOver(payout_skip::Model);

#[Object(use_type_description)]
impl PassedOver {
    /// Who was passed over.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        Ok(ctx.loaders()?.affiliate().load_one(self.0.affiliate_id).await.or_graphql()?.map(Affiliate))
    }

    /// Why.
    async fn reason(&self) -> PayoutSkipReason {
        self.0.reason.into()
    }

    /// The open payout that stood in the way.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout(&self, ctx: &Context<'_>) -> Result<Option<Payout>> {
        let Some(id) = self.0.payout_id else { return Ok(None) };
        Ok(ctx.loaders()?.payout().load_one(id).await.or_graphql()?.map(Into::into))
    }
}

/// Which payout batches.
#[derive(Clone, Default, InputObject)]
pub(in crate::graphql) struct PayoutBatchFilterInput {
    /// In one of these states.
    statuses: Option<Vec<PayoutBatchStatus>>,
}

impl PayoutBatchFilterInput {
    pub(super) fn parse(self) -> Option<Vec<kinds::PayoutBatchStatus>> {
        Some(self.statuses?.into_iter().map(Into::into).collect())
    }
}

/// A page of batches.
pub(super) async fn page(
    ctx: &Context<'_>,
    statuses: Option<Vec<kinds::PayoutBatchStatus>>,
    request: &PageRequest,
) -> Result<Paged<PayoutBatch>> {
    let (services, viewer) = ctx.caller()?;
    let page = services::payouts::batches::list(services, viewer, statuses.as_deref(), request).await.or_graphql()?;
    let count = TotalCount::by(move |services, viewer| {
        let statuses = statuses.clone();
        async move { services::payouts::batches::count(&services, &viewer, statuses.as_deref()).await }
    });
    Ok(connection::connect(request, page, count, |row| connection::created(row.id.uuid()), PayoutBatch))
}
