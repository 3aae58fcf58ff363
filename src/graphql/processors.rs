//! Processors: through whose accounts payouts are made, the calls that came from them, and how the books differ.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use tributary_entity::{Instant, kinds, money, payout_transfer, processor, processor_call, reconciliation_item};

use super::{
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::{self, IntoGraphql, UserError},
    ids,
    kinds::PayoutMethod,
    payouts::Payout,
    scalars::Money,
};
use crate::{
    auth::Permission,
    domain::{page::Order, processor::Credentials},
    services::{
        self, Outcome, ServiceError,
        processors::{ProcessorWithToken, differences},
    },
};

/// What became of a call that came to a processor's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ProcessorCallOutcome")]
pub(super) enum ProcessorCallOutcome {
    /// It was about a payout, which is now where it says, or further.
    Applied,
    /// It was about nothing of ours.
    Unmatched,
    /// It says the contrary of what was settled: see the reconciliation items.
    Contradicted,
    /// It was not the processor's, or could not be read.
    Refused,
}

/// How two books differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ReconciliationKind")]
pub(super) enum ReconciliationKind {
    /// The processor has a transaction of which we know nothing.
    TheirsOnly,
    /// We have a payment of which the processor knows nothing.
    OursOnly,
    /// Both have it, with different amounts.
    Amount,
    /// Both have it, and one says that it was paid and the other that it was not.
    State,
    /// The processor charged another fee than was posted.
    Fee,
    /// The clearing account got another sum in a day than the payouts that came under way in it, less those that ended.
    Clearing,
    /// The cash account got another sum in a day than what was paid, came back and was charged in it; or a payout's
    /// journals are not what it says.
    Ledger,
}

/// Whether somebody said what a difference was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::ReconciliationStatus")]
pub(super) enum ReconciliationStatus {
    /// Nobody yet.
    Open,
    /// Its note says what it was.
    Resolved,
}

/// An account at a processor, through which the tenant pays. Its credentials are never shown.
#[derive(Description)]
pub(super) struct Processor(processor::Model);

impl From<processor::Model> for Processor {
    fn from(row: processor::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl Processor {
    /// Begins with `prc_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// At which processor it is.
    async fn method(&self) -> PayoutMethod {
        self.0.method.into()
    }

    /// The account as far as its owner needs to know it again.
    async fn mask(&self) -> &str {
        &self.0.mask
    }

    /// The last four characters of the token in the address that the processor calls.
    async fn hint(&self) -> &str {
        &self.0.hint
    }

    /// When it was set up.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }

    /// When its credentials were last given.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at
    }

    /// When it was removed; null while it is in use.
    async fn ended_at(&self) -> Option<Instant> {
        self.0.ended_at
    }
}

/// A call that came to a processor's address.
#[derive(Description)]
pub(super) struct ProcessorCall(processor_call::Model);

#[Object(use_type_description)]
impl ProcessorCall {
    /// Begins with `prw_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The id of the account whose address was called; begins with `prc_`.
    async fn processor_id(&self) -> ID {
        self.0.processor_id.into()
    }

    /// The processor's name of the event; null for a call that was refused.
    async fn event_id(&self) -> Option<&str> {
        self.0.event_id.as_deref()
    }

    /// What the processor calls such events.
    async fn event_type(&self) -> Option<&str> {
        self.0.event_type.as_deref()
    }

    /// What became of it.
    async fn outcome(&self) -> ProcessorCallOutcome {
        self.0.outcome.into()
    }

    /// The status that it was answered with.
    async fn http_status(&self) -> i32 {
        self.0.http_status
    }

    /// Why it was refused, or what it contradicts.
    async fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The payout that it is about.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout(&self, ctx: &Context<'_>) -> Result<Option<Payout>> {
        let Some(id) = self.0.payout_id else { return Ok(None) };
        Ok(ctx.loaders()?.payout().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// As it came, cut at 16 kB; null for a call that the processor did not sign.
    async fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }

    /// When it came.
    async fn received_at(&self) -> Instant {
        self.0.received_at
    }

    /// Refused calls before this one that are not listed, as there were too many.
    async fn unlisted_before(&self) -> i64 {
        self.0.unlisted_before
    }
}

/// What a payout is at its processor.
#[derive(SimpleObject)]
pub(super) struct PayoutTransfer {
    /// How often the processor was called about it.
    calls: i32,
    /// When it was first asked to pay; null before.
    handed_at: Option<Instant>,
    /// What the processor calls it.
    external_id: Option<String>,
    /// What the processor charged, as posted.
    fee: Option<Money>,
    /// What stood in the way of the last call; null when it succeeded.
    trouble: Option<String>,
}

impl PayoutTransfer {
    pub(super) fn of(row: payout_transfer::Model, currency: money::Currency) -> Self {
        Self {
            calls: row.calls,
            handed_at: row.handed_at,
            external_id: row.external_id,
            fee: row.fee_minor.map(|minor| money::Money::new(minor, currency).into()),
            trouble: row.trouble,
        }
    }
}

/// A difference between our books and those of a processor, or what a bank says.
#[derive(Description)]
pub(super) struct ReconciliationItem(reconciliation_item::Model);

impl From<reconciliation_item::Model> for ReconciliationItem {
    fn from(row: reconciliation_item::Model) -> Self {
        Self(row)
    }
}

impl ReconciliationItem {
    fn money(&self, minor: Option<i64>) -> Option<Money> {
        Some(money::Money::new(minor?, self.0.currency?).into())
    }
}

#[Object(use_type_description)]
impl ReconciliationItem {
    /// Begins with `rec_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Who pays by the books that differ.
    async fn method(&self) -> PayoutMethod {
        self.0.method.into()
    }

    /// How they differ.
    async fn kind(&self) -> ReconciliationKind {
        self.0.kind.into()
    }

    /// Whether somebody said what it was.
    async fn status(&self) -> ReconciliationStatus {
        self.0.status.into()
    }

    /// The payout that it is about, where there is one.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout(&self, ctx: &Context<'_>) -> Result<Option<Payout>> {
        let Some(id) = self.0.payout_id else { return Ok(None) };
        Ok(ctx.loaders()?.payout().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// The processor's name of the transaction, or the bank's of its line.
    async fn external_id(&self) -> Option<&str> {
        self.0.external_id.as_deref()
    }

    /// What our books say; of CLEARING, what the payouts under way sum up to.
    async fn ours(&self) -> Option<Money> {
        self.money(self.0.ours_minor)
    }

    /// What the processor's, or the bank's line, say; of CLEARING, what the account holds.
    async fn theirs(&self) -> Option<Money> {
        self.money(self.0.theirs_minor)
    }

    /// For people.
    async fn detail(&self) -> &str {
        &self.0.detail
    }

    /// When it was found.
    async fn found_at(&self) -> Instant {
        self.0.found_at
    }

    /// What it was, as somebody said.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// Who said so: `user:usr_..` or `operator`.
    async fn resolved_by(&self) -> Option<&str> {
        self.0.resolved_by.as_deref()
    }

    /// When.
    async fn resolved_at(&self) -> Option<Instant> {
        self.0.resolved_at
    }
}

/// Which differences. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct ReconciliationItemFilterInput {
    /// Open ones, or resolved ones.
    status: Option<ReconciliationStatus>,
}

#[derive(Default)]
pub(super) struct ProcessorQuery;

#[Object]
impl ProcessorQuery {
    /// The tenant's accounts at processors that are in use; one per processor at most.
    #[graphql(guard = "Needs(Permission::ManageProcessors)")]
    async fn processors(&self, ctx: &Context<'_>) -> Result<Vec<Processor>> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::processors::list(services, viewer).await.or_graphql()?;
        Ok(rows.into_iter().map(Processor).collect())
    }

    /// The calls that came to the processors' addresses, newest first: what was told, and what was refused. Of an event
    /// that was told several times there is one; refused calls are kept for `TRIBUTARY_POSTBACK_CALL_DAYS`.
    #[graphql(guard = "Needs(Permission::ManageProcessors)")]
    async fn processor_calls(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<ProcessorCall>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("ProcessorCall", Order::CreatedDesc, first, after, last, before)?;
        let page = services::processors::calls(services, viewer, &request).await.or_graphql()?;
        let count =
            TotalCount::by(async |services, viewer| services::processors::count_calls(&services, &viewer).await);
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), ProcessorCall))
    }

    /// Differences between payouts, ledger and the processors' books, and what contradicts payouts, newest first.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn reconciliation_items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which differences.")] filter: Option<ReconciliationItemFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<ReconciliationItem>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("ReconciliationItem", Order::CreatedDesc, first, after, last, before)?;
        let status = filter.unwrap_or_default().status.map(Into::into);
        let page = differences::list(services, viewer, status, &request).await.or_graphql()?;
        let count =
            TotalCount::by(move |services, viewer| async move { differences::count(&services, &viewer, status).await });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), ReconciliationItem))
    }
}

/// An account at a processor.
#[derive(Clone, InputObject)]
pub(super) struct SetProcessorInput {
    /// Makes the call repeatable; a repeated call does not answer the address again.
    idempotency_key: Option<String>,
    /// At which processor, and its credentials, all of them.
    account: ProcessorAccountInput,
    /// The credentials are of the account that is there, such as a new key. It has to be said while payouts are under way
    /// there, where the credentials do not tell it themselves: another account, asked for them, would not know them.
    #[graphql(default)]
    keeps_account: bool,
}

/// Credentials at a processor: exactly one of these. They are kept encrypted, and never shown again.
#[derive(Clone, OneofObject)]
pub(super) enum ProcessorAccountInput {
    /// Stripe Connect: transfers to connected accounts.
    Stripe(StripeProcessorInput),
    /// PayPal Payouts.
    Paypal(PaypalProcessorInput),
    /// Wise: transfers to recipients, from the balance.
    Wise(WiseProcessorInput),
}

/// An account at Stripe.
#[derive(Clone, InputObject)]
pub(super) struct StripeProcessorInput {
    /// Begins with `sk_` or `rk_`; may make and read transfers, and read balance transactions.
    secret_key: String,
    /// Of the webhook endpoint at Stripe; begins with `whsec_`.
    webhook_secret: String,
}

/// An app at PayPal, with Payouts and Transaction Search.
#[derive(Clone, InputObject)]
pub(super) struct PaypalProcessorInput {
    /// The app's id.
    client_id: String,
    /// The app's secret.
    client_secret: String,
    /// The id of the app's webhook.
    webhook_id: String,
}

/// A profile at Wise.
#[derive(Clone, InputObject)]
pub(super) struct WiseProcessorInput {
    /// A token that may make transfers.
    api_token: String,
    /// The number of the profile whose balance pays.
    profile_id: String,
}

impl From<ProcessorAccountInput> for Credentials {
    fn from(input: ProcessorAccountInput) -> Self {
        use ProcessorAccountInput as Input;
        match input {
            Input::Stripe(StripeProcessorInput { secret_key, webhook_secret }) => {
                Self::Stripe { secret_key, webhook_secret }
            }
            Input::Paypal(PaypalProcessorInput { client_id, client_secret, webhook_id }) => {
                Self::Paypal { client_id, client_secret, webhook_id }
            }
            Input::Wise(WiseProcessorInput { api_token, profile_id }) => Self::Wise { api_token, profile_id },
        }
    }
}

/// The account after the call.
#[derive(SimpleObject)]
pub(super) struct SetProcessorPayload {
    /// Null when the call was refused.
    processor: Option<Processor>,
    /// The address that the processor is to call, told once: null when the account was there, and in a repeated call.
    webhook_url: Option<String>,
    /// The idempotency key was used before with the same input: this is that call's result, nothing was done now.
    replayed: bool,
    /// Why nothing was done; empty when it was.
    user_errors: Vec<UserError>,
}

impl SetProcessorPayload {
    fn answer(result: Result<Outcome<ProcessorWithToken>, ServiceError>, base: &str) -> Result<Self> {
        match result {
            Ok(Outcome { value: ProcessorWithToken { row, token }, replayed }) => {
                let name = row.method.as_str().to_ascii_lowercase();
                let webhook_url = token.map(|token| format!("{base}/processors/{name}/{token}"));
                Ok(Self { processor: Some(Processor(row)), webhook_url, replayed, user_errors: Vec::new() })
            }
            Err(ServiceError::Refused(problems)) => Ok(Self {
                processor: None,
                webhook_url: None,
                replayed: false,
                user_errors: problems.into_iter().map(Into::into).collect(),
            }),
            Err(error) => Err(error::to_graphql(error)),
        }
    }
}

/// Names an account at a processor to remove.
#[derive(Clone, InputObject)]
pub(super) struct RemoveProcessorInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `prc_`.
    id: ID,
}

/// What a difference was.
#[derive(Clone, InputObject)]
pub(super) struct ResolveReconciliationItemInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `rec_`.
    id: ID,
    /// What it was, and what was done about it. At most 2,000 characters.
    note: String,
}

payload! {
    /// The account after the call.
    ProcessorPayload {
        /// Null when the call was refused.
        processor: Processor
    }
}

payload! {
    /// The difference after the call.
    ReconciliationItemPayload {
        /// Null when the call was refused.
        reconciliation_item: ReconciliationItem
    }
}

#[derive(Default)]
pub(super) struct ProcessorMutation;

#[Object]
impl ProcessorMutation {
    /// Sets up an account at a processor, or gives the one that is there other credentials. Where the processor is, the
    /// operator's settings say.
    #[graphql(guard = "Needs(Permission::ManageProcessors)")]
    async fn set_processor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] input: SetProcessorInput,
    ) -> Result<SetProcessorPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = services::processors::set(services, viewer, key, input.account.into(), input.keeps_account).await;
        SetProcessorPayload::answer(result, &services.settings.base_url())
    }

    /// Removes an account at a processor. Payouts that are under way there wait until it is set up again, or are marked by
    /// hand.
    #[graphql(guard = "Needs(Permission::ManageProcessors)")]
    async fn remove_processor(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one.")] input: RemoveProcessorInput,
    ) -> Result<ProcessorPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            services::processors::remove(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        ProcessorPayload::answer(result.await)
    }

    /// Says what a difference between the books was.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn resolve_reconciliation_item(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which one, and what it was.")] input: ResolveReconciliationItemInput,
    ) -> Result<ReconciliationItemPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            differences::resolve(services, viewer, input.idempotency_key.as_deref(), id, &input.note).await
        };
        ReconciliationItemPayload::answer(result.await)
    }
}
