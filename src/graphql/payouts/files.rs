//! Files for banks and from banks, and the accounts that they pay from.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use tributary_entity::{Instant, kinds, money, paying_account, payout_file, payout_notice};

use super::{Payout, PayoutBatch};
use crate::{
    auth::Permission,
    domain::bank::{Address, Originator, PayingAccount as Account},
    graphql::{
        connection::{self, CreationOrder, Paged, TotalCount},
        context::{Needs, RequestData},
        error::IntoGraphql,
        ids,
        kinds::PayoutMethod,
        scalars::Money,
    },
    services::payouts::{
        files::{self, Export, Exported},
        notices::{self, Import},
    },
};

/// What a file of payments, or of a bank's answers, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutFileFormat")]
pub(in crate::graphql) enum PayoutFileFormat {
    /// SEPA credit transfers: pain.001.001.09.
    SepaCreditTransfer,
    /// ACH credits: PPD or CCD.
    Nacha,
    /// A table for people; payouts of every method.
    Csv,
    /// A bank's pain.002.
    PaymentStatusReport,
    /// A bank's camt.054.
    DebitCreditNotification,
    /// A bank's returns and notices of change, in NACHA's format.
    NachaReturn,
}

/// What a bank says became of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutNoticeStatus")]
pub(in crate::graphql) enum PayoutNoticeStatus {
    /// The bank has it, and has not refused it.
    Accepted,
    /// It left the account.
    Paid,
    /// The bank refused it.
    Rejected,
    /// It came back.
    Returned,
    /// It was paid to an account that is to be corrected for the next time.
    Corrected,
    /// Something else.
    Other,
}

/// What was done about a line of a bank's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::PayoutNoticeOutcome")]
pub(in crate::graphql) enum PayoutNoticeOutcome {
    /// The payout was moved.
    Applied,
    /// Nothing was to be done.
    Noted,
    /// It was done before.
    Repeated,
    /// No payout is known by the reference: somebody has to look at it.
    Unknown,
    /// It contradicts the payout, by its state or its amount: see the reconciliation items.
    Refused,
}

/// An account of the tenant that payouts of one method are paid from. Never changed: another one takes its place.
#[derive(Description)]
pub(in crate::graphql) struct PayingAccount(paying_account::Model);

impl From<paying_account::Model> for PayingAccount {
    fn from(row: paying_account::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl PayingAccount {
    /// Of which payouts.
    async fn method(&self) -> PayoutMethod {
        self.0.method.into()
    }

    /// The account as far as its owner needs to know it again.
    async fn mask(&self) -> &str {
        &self.0.mask
    }

    /// Who set it.
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// When it was set.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

/// A file of payments that was handed out, or a bank's answer that was taken in.
#[derive(Description)]
pub(in crate::graphql) struct PayoutFile(payout_file::Model);

impl From<payout_file::Model> for PayoutFile {
    fn from(row: payout_file::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl PayoutFile {
    /// Begins with `pfl_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// Of which kind.
    async fn format(&self) -> PayoutFileFormat {
        self.0.format.into()
    }

    /// Whose payments; null for a bank's answer.
    async fn batch(&self, ctx: &Context<'_>) -> Result<Option<PayoutBatch>> {
        let Some(id) = self.0.batch_id else { return Ok(None) };
        Ok(ctx.loaders()?.payout_batch().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// Of a batch that is too large for one file, from 1.
    async fn part(&self) -> i32 {
        self.0.part
    }

    /// SHA-256 of the content, in hexadecimal.
    async fn digest(&self) -> &str {
        &self.0.digest
    }

    /// Payouts in it, or lines of a bank's answer.
    async fn items(&self) -> i64 {
        self.0.items
    }

    /// Who handed it out or in first; in events, who did this time.
    async fn author(&self) -> &str {
        &self.0.author
    }

    /// When it was handed out or in first.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }
}

/// One line of a bank's answer, and what it did.
#[derive(Description)]
pub(in crate::graphql) struct PayoutNotice(payout_notice::Model);

#[Object(use_type_description)]
impl PayoutNotice {
    /// By which name the bank says the payment was given to it; null where it says none.
    async fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// The payout that is known by the reference; null when none is.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn payout(&self, ctx: &Context<'_>) -> Result<Option<Payout>> {
        let Some(id) = self.0.payout_id else { return Ok(None) };
        Ok(ctx.loaders()?.payout().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// What the bank says became of the payment.
    async fn status(&self) -> PayoutNoticeStatus {
        self.0.status.into()
    }

    /// What was done about it.
    async fn outcome(&self) -> PayoutNoticeOutcome {
        self.0.outcome.into()
    }

    /// The bank's code, such as `AC04` or `R03`.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// In the bank's words; for a notice of change, what to put right.
    async fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// How much, where the bank says it.
    async fn amount(&self) -> Option<Money> {
        Some(money::Money::new(self.0.amount_minor?, self.0.currency?).into())
    }

    /// When it was taken in.
    async fn recorded_at(&self) -> Instant {
        self.0.recorded_at
    }
}

/// A file to keep or to hand on.
#[derive(SimpleObject)]
pub(in crate::graphql) struct PayoutDocument {
    /// A name for it.
    name: String,
    /// What it is, such as `application/xml`.
    media_type: &'static str,
    /// What is in it.
    content: String,
    /// What was written down of it.
    file: PayoutFile,
}

impl From<Exported> for PayoutDocument {
    fn from(exported: Exported) -> Self {
        let (ending, media_type) = match exported.file.format {
            kinds::PayoutFileFormat::SepaCreditTransfer => ("xml", "application/xml"),
            kinds::PayoutFileFormat::Csv => ("csv", "text/csv"),
            _ => ("ach", "text/plain"),
        };
        let name = format!("{}.{ending}", exported.file.id);
        Self { name, media_type, content: exported.content, file: exported.file.into() }
    }
}

/// Which files.
#[derive(Clone, Default, InputObject)]
pub(in crate::graphql) struct PayoutFileFilterInput {
    /// Of one of these formats.
    formats: Option<Vec<PayoutFileFormat>>,
}

/// Which lines of banks' answers. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(in crate::graphql) struct PayoutNoticeFilterInput {
    /// In one of these files; each begins with `pfl_`.
    file_ids: Option<Vec<ID>>,
    /// With one of these outcomes.
    outcomes: Option<Vec<PayoutNoticeOutcome>>,
}

#[derive(Default)]
pub(in crate::graphql) struct PayoutFileQuery;

#[Object]
impl PayoutFileQuery {
    /// The tenant's accounts that payouts are paid from, at most one for each method.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn paying_accounts(&self, ctx: &Context<'_>) -> Result<Vec<PayingAccount>> {
        let (services, viewer) = ctx.caller()?;
        let rows = files::accounts(services, viewer).await.or_graphql()?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// One payout file, or null.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn payout_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `pfl_`.")] id: ID,
    ) -> Result<Option<PayoutFile>> {
        let (services, viewer) = ctx.caller()?;
        let id = ids::parse(&["id"], &id).or_graphql()?;
        Ok(files::get(services, viewer, id).await.or_graphql()?.map(Into::into))
    }

    /// Files that were handed out for banks, and their answers that were taken in.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn payout_files(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which files.")] filter: Option<PayoutFileFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PayoutFile>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("PayoutFile", order.unwrap_or_default().into(), first, after, last, before)?;
        let formats: Option<Vec<kinds::PayoutFileFormat>> =
            filter.unwrap_or_default().formats.map(|formats| formats.into_iter().map(Into::into).collect());
        let page = files::list(services, viewer, formats.as_deref(), &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let formats = formats.clone();
            async move { files::count(&services, &viewer, formats.as_deref()).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), PayoutFile))
    }

    /// The lines of banks' answers. Those that are about nothing we know are UNKNOWN.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn payout_notices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which lines.")] filter: Option<PayoutNoticeFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PayoutNotice>> {
        let (services, viewer) = ctx.caller()?;
        let order = order.unwrap_or_default().into();
        let request = connection::request("PayoutNotice", order, first, after, last, before)?;
        let filter = filter.unwrap_or_default();
        let files = ids::parse_list(&["filter", "fileIds"], filter.file_ids.as_deref()).or_graphql()?;
        let outcomes: Option<Vec<kinds::PayoutNoticeOutcome>> =
            filter.outcomes.map(|outcomes| outcomes.into_iter().map(Into::into).collect());
        let page =
            notices::list(services, viewer, files.as_deref(), outcomes.as_deref(), &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let (files, outcomes) = (files.clone(), outcomes.clone());
            async move { notices::count(&services, &viewer, files.as_deref(), outcomes.as_deref()).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), PayoutNotice))
    }
}

/// An account to pay from. Exactly one.
#[derive(Clone, OneofObject)]
pub(in crate::graphql) enum PayingAccountInput {
    /// The debtor of SEPA credit transfers.
    Sepa(SepaDebtorInput),
    /// The originator of ACH credits.
    Ach(AchOriginatorInput),
}

/// The debtor of SEPA credit transfers.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct SepaDebtorInput {
    /// As payees see it. At most 70 characters.
    name: String,
    /// The account's number; spaces do not matter.
    iban: String,
    /// The bank's code, where the bank wants it.
    bic: Option<String>,
    /// Where the debtor sits.
    address: StructuredAddressInput,
}

/// An address in parts.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct StructuredAddressInput {
    /// Without the number. At most 70 characters.
    street: Option<String>,
    /// At most 16 characters.
    building_number: Option<String>,
    /// At most 16 characters.
    post_code: Option<String>,
    /// At most 35 characters.
    town: String,
    /// Two letters, as ISO 3166 has them.
    country: String,
}

/// The originator of ACH credits.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct AchOriginatorInput {
    /// As payees see it. At most 16 characters.
    company_name: String,
    /// The ten letters and digits that the bank gave.
    company_id: String,
    /// The number of the bank that sends the entries.
    bank_routing_number: String,
    /// Its name. At most 23 characters.
    bank_name: String,
    /// Whether payees are companies (CCD), not consumers (PPD).
    corporate: Option<bool>,
}

impl From<PayingAccountInput> for Account {
    fn from(input: PayingAccountInput) -> Self {
        match input {
            PayingAccountInput::Sepa(SepaDebtorInput { name, iban, bic, address }) => {
                let StructuredAddressInput { street, building_number, post_code, town, country } = address;
                let address = Address { street, building_number, post_code, town, country };
                Self::Sepa { name, iban, bic, address }
            }
            PayingAccountInput::Ach(input) => Self::Ach(Originator {
                company_name: input.company_name,
                company_id: input.company_id,
                bank_routing_number: input.bank_routing_number,
                bank_name: input.bank_name,
                is_corporate: input.corporate.unwrap_or(false),
            }),
        }
    }
}

/// An account to set.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct SetPayingAccountInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// The account.
    account: PayingAccountInput,
}

/// A file to write.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct ExportPayoutFileInput {
    /// Makes the call repeatable. Without one, too, the same part is the same bytes.
    idempotency_key: Option<String>,
    /// The submitted batch; begins with `pbt_`.
    batch_id: ID,
    /// SEPA_CREDIT_TRANSFER, NACHA or CSV.
    format: PayoutFileFormat,
    /// Which part of a batch of more than 2,000 payouts, from 1; the first if absent.
    part: Option<i32>,
}

/// A bank's answer.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct ImportPayoutFileInput {
    /// Makes the call repeatable. Without one, too, the same file is taken in once.
    idempotency_key: Option<String>,
    /// PAYMENT_STATUS_REPORT, DEBIT_CREDIT_NOTIFICATION or NACHA_RETURN.
    format: PayoutFileFormat,
    /// What is in the file, whole; at most 5,000 lines.
    content: String,
}

payload! {
    /// The account after the call.
    PayingAccountPayload {
        /// Null when the call was refused.
        paying_account: PayingAccount
    }
}

payload! {
    /// The file that was written.
    ExportPayoutFilePayload {
        /// Null when the call was refused.
        document: PayoutDocument
    }
}

payload! {
    /// The file that was taken in.
    ImportPayoutFilePayload {
        /// Null when the call was refused.
        payout_file: PayoutFile
    }
}

#[derive(Default)]
pub(in crate::graphql) struct PayoutFileMutation;

#[Object]
impl PayoutFileMutation {
    /// Sets the account that payouts of its method are paid from, in place of what was set before.
    #[graphql(guard = "Needs(Permission::ManagePayingAccounts)")]
    async fn set_paying_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] input: SetPayingAccountInput,
    ) -> Result<PayingAccountPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = files::set_account(services, viewer, input.idempotency_key.as_deref(), input.account.into()).await;
        PayingAccountPayload::answer(result)
    }

    /// Writes the file of a submitted batch for the bank, or writes it again. Its payouts are IN_TRANSIT then, and in no
    /// other file.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn export_payout_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which file.")] input: ExportPayoutFileInput,
    ) -> Result<ExportPayoutFilePayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let batch_id = ids::parse(&["batchId"], &input.batch_id)?;
            let export = Export { batch_id, format: input.format.into(), part: input.part.unwrap_or(1) };
            files::export(services, viewer, input.idempotency_key.as_deref(), export, files::FILE_MAX).await
        };
        ExportPayoutFilePayload::answer(result.await)
    }

    /// Takes in what a bank writes back: payouts become PAID, FAILED or RETURNED as it says. Each file and each of its lines
    /// counts once; every line is listed in `payoutNotices`.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn import_payout_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file.")] input: ImportPayoutFileInput,
    ) -> Result<ImportPayoutFilePayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let import = Import { format: input.format.into(), content: input.content };
        ImportPayoutFilePayload::answer(notices::import(services, viewer, key.as_deref(), import).await)
    }
}
