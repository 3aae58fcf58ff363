//! Payouts: what they are and which there are. Batches are in [`batches`], what moves them in [`mutations`], their
//! stream in [`live`].

mod batches;
mod files;
pub(in crate::graphql) mod live;
mod mutations;
mod preview;

use async_graphql::{Context, Description, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{
    Instant, affiliate,
    ids::{JournalId, PayoutId},
    money, payout, payout_batch, payout_destination, payout_history,
};

use super::{
    affiliates::Affiliate,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    downloads::{Download, DownloadForm},
    error::IntoGraphql,
    ids,
    kinds::{PayoutMethod, PayoutStatus},
    ledger::Journal,
    payout_destinations::PayoutDestination,
    processors::PayoutTransfer,
    scalars::{CurrencyCode, Cursor, Money},
};
use crate::{
    auth::Permission,
    domain::{
        page::PageRequest,
        payout::PayoutFilter,
        payout_deductions::net_minor,
        problem::{Problem, ProblemCode},
    },
    services::{self, payouts::live::PayoutView},
};

pub(in crate::graphql) use batches::PayoutBatch;
pub(in crate::graphql) use files::{PayingAccount, PayoutFile, PayoutFileMutation, PayoutFileQuery, PayoutNotice};
pub(in crate::graphql) use mutations::PayoutMutation;
pub(in crate::graphql) use preview::{PayoutPreviewLine, PayoutPreviewQuery};

/// Names the stream that cursors are good for.
const STREAM: &str = "payouts";
/// Currencies of one filter: there are no more.
const CURRENCIES_MAX: usize = 200;

/// One payment to one affiliate in one currency.
#[derive(Description)]
pub(in crate::graphql) struct Payout {
    row: payout::Model,
    /// Loaded already in subscriptions.
    affiliate: Option<affiliate::Model>,
    batch: Option<payout_batch::Model>,
    destination: Option<payout_destination::Model>,
}

impl From<payout::Model> for Payout {
    fn from(row: payout::Model) -> Self {
        Self { row, affiliate: None, batch: None, destination: None }
    }
}

impl From<&PayoutView> for Payout {
    fn from(view: &PayoutView) -> Self {
        Self {
            row: view.row.clone(),
            affiliate: view.affiliate.clone(),
            batch: view.batch.clone(),
            destination: view.destination.clone(),
        }
    }
}

#[Object(use_type_description)]
impl Payout {
    /// Begins with `pay_`.
    pub(in crate::graphql) async fn id(&self) -> ID {
        self.row.id.into()
    }

    /// Who is paid.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        match &self.affiliate {
            Some(row) => Ok(Some(Affiliate(row.clone()))),
            None => Ok(ctx.loaders()?.affiliate().load_one(self.row.affiliate_id).await.or_graphql()?.map(Affiliate)),
        }
    }

    /// The batch that it is decided on with.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn batch(&self, ctx: &Context<'_>) -> Result<Option<PayoutBatch>> {
        match &self.batch {
            Some(row) => Ok(Some(row.clone().into())),
            None => Ok(ctx.loaders()?.payout_batch().load_one(self.row.batch_id).await.or_graphql()?.map(Into::into)),
        }
    }

    /// What leaves the affiliate's balance.
    async fn gross(&self) -> Money {
        money::Money::new(self.row.gross_minor, self.row.currency).into()
    }

    /// Of that, what is withheld as tax, by the terms when it was drafted.
    async fn tax(&self) -> Money {
        money::Money::new(self.row.tax_minor, self.row.currency).into()
    }

    /// Of that, what the affiliate bears of the cost of the payment, by the terms when it was drafted.
    async fn fee(&self) -> Money {
        money::Money::new(self.row.fee_minor, self.row.currency).into()
    }

    /// What is paid: the gross amount without tax and fee.
    async fn net(&self) -> Money {
        money::Money::new(net_minor(&self.row), self.row.currency).into()
    }

    /// Where it goes, as it was set when the payout was drafted; null when nothing was set.
    async fn destination(&self, ctx: &Context<'_>) -> Result<Option<PayoutDestination>> {
        if let Some(row) = &self.destination {
            return Ok(Some(PayoutDestination(row.clone())));
        }
        let Some(id) = self.row.destination_id else { return Ok(None) };
        Ok(ctx.loaders()?.payout_destination().load_one(id).await.or_graphql()?.map(PayoutDestination))
    }

    /// By which processor it is made.
    async fn method(&self) -> PayoutMethod {
        self.row.method.into()
    }

    /// Where it stands.
    async fn status(&self) -> PayoutStatus {
        self.row.status.into()
    }

    /// The payment's name at the bank or processor; null before it is paid.
    async fn reference(&self) -> Option<&str> {
        self.row.reference.as_deref()
    }

    /// By which name the bank knows it, where it was handed over in a file of payments.
    async fn bank_reference(&self) -> Option<&str> {
        self.row.bank_reference.as_deref()
    }

    /// Why it failed, was cancelled or came back.
    async fn reason(&self) -> Option<&str> {
        self.row.reason.as_deref()
    }

    /// The id of the failed or returned payout that this one repeats; begins with `pay_`.
    async fn retry_of(&self) -> Option<ID> {
        self.row.retry_of.map(Into::into)
    }

    /// Grows by one with each change.
    async fn version(&self) -> i32 {
        self.row.version
    }

    /// When it was drafted.
    async fn created_at(&self) -> Instant {
        self.row.created_at
    }

    /// When its batch was approved; null before.
    async fn approved_at(&self) -> Option<Instant> {
        self.row.approved_at
    }

    /// When its money left the affiliate's balance; null before.
    async fn submitted_at(&self) -> Option<Instant> {
        self.row.submitted_at
    }

    /// When it was paid; null before.
    async fn paid_at(&self) -> Option<Instant> {
        self.row.paid_at
    }

    /// When it failed, was cancelled or came back; null before.
    async fn closed_at(&self) -> Option<Instant> {
        self.row.closed_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> Instant {
        self.row.updated_at
    }

    /// What it is at its processor; null before it is submitted, and where no processor makes it.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn transfer(&self, ctx: &Context<'_>) -> Result<Option<PayoutTransfer>> {
        let row = ctx.loaders()?.payout_transfer().load_one(self.row.id).await.or_graphql()?;
        Ok(row.map(|row| PayoutTransfer::of(row, self.row.currency)))
    }

    /// What it pays, for who receives it; null before it is submitted. The same bytes each time.
    async fn remittance_advice(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "In which form; PDF if absent.")] form: Option<DownloadForm>,
    ) -> Result<Option<Download>> {
        let (services, viewer) = ctx.caller()?;
        let form = form.unwrap_or(DownloadForm::Pdf).into();
        let found = services::payouts::advice::of_payout(services, viewer, self.row.id, form).await.or_graphql()?;
        Ok(found.map(|bytes| Download::new(&self.row.id.to_string(), form, &bytes)))
    }

    /// The steps of its life, oldest first; at most 100. An affiliate sees those of its own payouts.
    async fn history(&self, ctx: &Context<'_>) -> Result<Vec<PayoutStep>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::payouts::history(services, viewer, self.row.id).await.or_graphql()?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

/// One step of a payout's life.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(in crate::graphql) struct PayoutStep {
    /// The payout's version after the step.
    version: i32,
    /// Where it stood; null for the draft.
    from_status: Option<PayoutStatus>,
    /// Where it stood then.
    to_status: PayoutStatus,
    /// Why, where it failed, was cancelled or came back.
    reason: Option<String>,
    /// Of the payment, or of its return.
    reference: Option<String>,
    /// Who: `user:usr_..`, `operator` or `system`.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    actor: String,
    /// When.
    recorded_at: Instant,
    #[graphql(skip)]
    journal_id: Option<JournalId>,
}

#[async_graphql::ComplexObject]
impl PayoutStep {
    /// What it posted; null for a step that moves no money.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn journal(&self, ctx: &Context<'_>) -> Result<Option<Journal>> {
        let Some(id) = self.journal_id else { return Ok(None) };
        Ok(ctx.loaders()?.journal().load_one(id).await.or_graphql()?.map(Journal))
    }
}

impl From<payout_history::Model> for PayoutStep {
    fn from(row: payout_history::Model) -> Self {
        Self {
            version: row.version,
            from_status: row.from_status.map(Into::into),
            to_status: row.to_status.into(),
            reason: row.reason,
            reference: row.reference,
            actor: row.actor,
            recorded_at: row.recorded_at,
            journal_id: row.journal_id,
        }
    }
}

/// Which payouts. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(in crate::graphql) struct PayoutFilterInput {
    /// To one of these affiliates; each begins with `aff_`.
    affiliate_ids: Option<Vec<ID>>,
    /// Of one of these batches; each begins with `pbt_`.
    batch_ids: Option<Vec<ID>>,
    /// In one of these currencies.
    currencies: Option<Vec<CurrencyCode>>,
    /// In one of these states.
    statuses: Option<Vec<PayoutStatus>>,
}

impl PayoutFilterInput {
    /// # Errors
    /// `INVALID_ID`, `UNKNOWN_CURRENCY` or `BATCH_SIZE` at the field.
    pub fn parse(self) -> Result<PayoutFilter, Problem> {
        Ok(PayoutFilter {
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            batch_ids: ids::parse_list(&["filter", "batchIds"], self.batch_ids.as_deref())?,
            currencies: self.currencies.map(|codes| currencies(&codes)).transpose()?,
            statuses: self.statuses.map(|statuses| statuses.into_iter().map(Into::into).collect()),
        })
    }
}

fn currencies(codes: &[CurrencyCode]) -> Result<Vec<money::Currency>, Problem> {
    let field = ["filter", "currencies"];
    if codes.len() > CURRENCIES_MAX {
        return Err(Problem::new(ProblemCode::BatchSize, &field, format!("at most {CURRENCIES_MAX} currencies")));
    }
    codes.iter().map(|code| code.currency(&field)).collect()
}

/// A page of payouts, for every field that answers one.
async fn page(ctx: &Context<'_>, filter: PayoutFilter, request: &PageRequest) -> Result<Paged<Payout>> {
    let (services, viewer) = ctx.caller()?;
    let page = services::payouts::list(services, viewer, &filter, request).await.or_graphql()?;
    let count = TotalCount::by(move |services, viewer| {
        let filter = filter.clone();
        async move { services::payouts::count(&services, &viewer, &filter).await }
    });
    Ok(connection::connect(request, page, count, |row| connection::created(row.id.uuid()), Payout::from))
}

#[derive(Default)]
pub(in crate::graphql) struct PayoutQuery;

#[Object]
impl PayoutQuery {
    /// The payouts that the viewer may see. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn payouts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which payouts.")] filter: Option<PayoutFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Payout>> {
        let request = connection::request("Payout", order.unwrap_or_default().into(), first, after, last, before)?;
        page(ctx, filter.unwrap_or_default().parse().or_graphql()?, &request).await
    }

    /// The place in the event log now. Ask for it before a list and hand it to the subscription as `after`: what happens
    /// between the two is in the stream.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout_cursor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The filter of the subscription.")] filter: Option<PayoutFilterInput>,
    ) -> Result<Cursor> {
        let (services, viewer) = ctx.caller()?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let binding = services.cursors.bind(&viewer.scope, STREAM, &filter);
        let position = services::payouts::position(services, viewer).await.or_graphql()?;
        Ok(Cursor(binding.encode(&position)))
    }

    /// One payout, or null.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `pay_`.")] id: ID,
    ) -> Result<Option<Payout>> {
        let id: PayoutId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.payout().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// The tenant's payout batches.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn payout_batches(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batches.")] filter: Option<batches::PayoutBatchFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PayoutBatch>> {
        let order = order.unwrap_or_default().into();
        let request = connection::request("PayoutBatch", order, first, after, last, before)?;
        batches::page(ctx, filter.unwrap_or_default().parse(), &request).await
    }

    /// One payout batch, or null.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn payout_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `pbt_`.")] id: ID,
    ) -> Result<Option<PayoutBatch>> {
        let id = ids::parse(&["id"], &id).or_graphql()?;
        Ok(ctx.loaders()?.payout_batch().load_one(id).await.or_graphql()?.map(Into::into))
    }
}
