//! The ledger: journals and the trial balance.

use std::collections::BTreeMap;

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, account, entry, ids::ConversionId, money};

use super::{
    affiliates::Affiliate,
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    conversions::Conversion,
    error::IntoGraphql,
    ids,
    kinds::{JournalKind, PayoutMethod},
    scalars::{CurrencyCode, Money},
};
use crate::{
    auth::Permission,
    domain::{
        ledger::{Code, JournalFilter, Side},
        page::Order,
        problem::Problem,
    },
    services::{self, ServiceError, ledger::PostedJournal},
};

/// A set of entries that balances; never changed, corrected only by another.
#[derive(Description)]
pub(super) struct Journal(pub PostedJournal);

impl From<PostedJournal> for Journal {
    fn from(journal: PostedJournal) -> Self {
        Self(journal)
    }
}

#[Object(use_type_description)]
impl Journal {
    /// Begins with `jrn_`.
    pub(super) async fn id(&self) -> ID {
        self.0.head.id.into()
    }

    /// What it posts.
    async fn kind(&self) -> JournalKind {
        self.0.head.kind.into()
    }

    /// The fact it posts; unique per kind, so that a fact posts once.
    async fn business_key(&self) -> &str {
        &self.0.head.business_key
    }

    /// The conversion behind it.
    #[graphql(guard = "Needs(Permission::ReadConversions)")]
    async fn conversion(&self, ctx: &Context<'_>) -> Result<Option<Conversion>> {
        let Some(id) = self.0.head.conversion_id else { return Ok(None) };
        Ok(ctx.loaders()?.conversion().load_one(id).await.or_graphql()?.map(Into::into))
    }

    /// When it was posted.
    async fn posted_at(&self) -> Instant {
        self.0.head.posted_at
    }

    /// Its lines, in order.
    async fn entries(&self) -> Vec<LedgerEntry> {
        self.0.lines.iter().cloned().map(|(row, account)| LedgerEntry { row, account }).collect()
    }
}

/// One line of a journal.
#[derive(Description)]
pub(super) struct LedgerEntry {
    row: entry::Model,
    account: account::Model,
}

#[Object(use_type_description)]
impl LedgerEntry {
    /// The account it is on.
    async fn account(&self) -> LedgerAccount {
        LedgerAccount(self.account.clone())
    }

    /// The amount, when it is a debit.
    async fn debit(&self) -> Option<Money> {
        (self.row.amount_minor > 0).then(|| money::Money::new(self.row.amount_minor, self.row.currency).into())
    }

    /// The amount, when it is a credit.
    async fn credit(&self) -> Option<Money> {
        (self.row.amount_minor < 0).then(|| money::Money::new(-self.row.amount_minor, self.row.currency).into())
    }
}

/// On which side an account grows.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "Side")]
pub(super) enum LedgerSide {
    /// Left.
    Debit,
    /// Right.
    Credit,
}

/// A ledger account: one code, one owner, one currency.
#[derive(Description)]
pub(super) struct LedgerAccount(pub account::Model);

#[Object(use_type_description)]
impl LedgerAccount {
    /// Begins with `acc_`.
    async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// The number in the chart, such as 2000.
    async fn code(&self) -> i32 {
        self.0.code
    }

    /// The name in the chart.
    async fn name(&self) -> Result<&'static str> {
        Ok(chart(self.0.code)?.name())
    }

    /// On which side it grows.
    async fn side(&self) -> Result<LedgerSide> {
        Ok(chart(self.0.code)?.side().into())
    }

    /// The currency of its entries.
    async fn currency(&self) -> CurrencyCode {
        self.0.currency.into()
    }

    /// The processor that it is kept for; null for accounts of the tenant and of affiliates.
    async fn processor(&self) -> Option<PayoutMethod> {
        self.0.processor.map(Into::into)
    }

    /// The affiliate that owns it; null for accounts of the tenant and of processors.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }
}

fn chart(number: i32) -> Result<Code> {
    Code::from_number(number).ok_or(ServiceError::Internal("an account is not in the chart")).or_graphql()
}

/// Which journals. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct JournalFilterInput {
    /// Of one of these kinds.
    kinds: Option<Vec<JournalKind>>,
    /// About one of these conversions.
    conversion_ids: Option<Vec<ID>>,
    /// With a line on one of these accounts.
    account_ids: Option<Vec<ID>>,
}

impl JournalFilterInput {
    fn parse(self) -> Result<JournalFilter, Problem> {
        Ok(JournalFilter {
            kinds: self.kinds.map(|kinds| kinds.into_iter().map(Into::into).collect()),
            conversion_ids: ids::parse_list::<ConversionId>(
                &["filter", "conversionIds"],
                self.conversion_ids.as_deref(),
            )?,
            account_ids: ids::parse_list(&["filter", "accountIds"], self.account_ids.as_deref())?,
        })
    }
}

/// The sums of all entries, at one moment.
#[derive(SimpleObject)]
pub(super) struct TrialBalance {
    /// One per account code and currency, in the order of the chart.
    lines: Vec<TrialBalanceLine>,
    /// One per currency: debits and credits of all lines.
    totals: Vec<TrialBalanceTotal>,
    /// Whether debits equal credits in every currency. Anything else is a defect.
    balanced: bool,
}

/// All accounts of one code in one currency.
#[derive(SimpleObject)]
pub(super) struct TrialBalanceLine {
    /// The number in the chart.
    code: i32,
    /// The name in the chart.
    name: &'static str,
    /// The currency of both sums.
    currency: CurrencyCode,
    /// Sum of debits.
    debit: Money,
    /// Sum of credits.
    credit: Money,
}

/// Debits and credits of all accounts in one currency.
#[derive(SimpleObject)]
pub(super) struct TrialBalanceTotal {
    /// The currency of both sums.
    currency: CurrencyCode,
    /// Sum of debits.
    debit: Money,
    /// Sum of credits.
    credit: Money,
    /// Debits less credits: zero.
    difference: Money,
}

#[derive(Default)]
pub(super) struct LedgerQuery;

#[Object]
impl LedgerQuery {
    /// The tenant's journals, newest first.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn journals(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which journals.")] filter: Option<JournalFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<Journal>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("Journal", Order::CreatedDesc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::ledger::journals(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::ledger::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.head.id.uuid()), Journal))
    }

    /// The trial balance: every debit and credit posted up to an instant, by account code and currency.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn trial_balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The instant, inclusive; now if absent.")] at: Option<Instant>,
    ) -> Result<TrialBalance> {
        let (services, viewer) = ctx.caller()?;
        let rows = services::ledger::trial_balance(services, viewer, at).await.or_graphql()?;
        let mut totals: BTreeMap<money::Currency, (i64, i64)> = BTreeMap::new();
        for row in &rows {
            let (debit, credit) = totals.entry(row.currency).or_default();
            *debit += row.debit_minor;
            *credit += row.credit_minor;
        }
        let balanced = totals.values().all(|(debit, credit)| debit == credit);
        let amount = |minor, currency| Money::from(money::Money::new(minor, currency));
        Ok(TrialBalance {
            lines: rows
                .into_iter()
                .map(|row| TrialBalanceLine {
                    code: row.code.number(),
                    name: row.code.name(),
                    currency: row.currency.into(),
                    debit: amount(row.debit_minor, row.currency),
                    credit: amount(row.credit_minor, row.currency),
                })
                .collect(),
            totals: totals
                .into_iter()
                .map(|(currency, (debit, credit))| TrialBalanceTotal {
                    currency: currency.into(),
                    debit: amount(debit, currency),
                    credit: amount(credit, currency),
                    difference: amount(debit - credit, currency),
                })
                .collect(),
            balanced,
        })
    }
}
