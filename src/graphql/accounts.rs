//! Accounts of the ledger: lists, histories, balances at instants; and checkpoints of the ledger's seal.

use async_graphql::{
    Context, Description, ID, InputObject, Object, Result, SimpleObject,
    connection::{Connection, Edge},
};
use tributary_entity::{Instant, account, ids::AccountId, money};

use super::{
    connection::{self, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::PayoutMethod,
    ledger::{Journal, LedgerAccount},
    scalars::{CurrencyCode, Money},
};
use crate::{
    auth::Permission,
    domain::{
        account::{AccountEntry, AccountFilter, on_side},
        ledger::Code,
        ledger_chain::Checkpoint,
        page::Order,
        problem::{Problem, ProblemCode},
    },
    services::{self, ledger_blocks},
};

/// Which accounts. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct LedgerAccountFilterInput {
    /// With one of these numbers of the chart, such as 2010.
    codes: Option<Vec<i32>>,
    /// Of one of these affiliates.
    affiliate_ids: Option<Vec<ID>>,
    /// Kept for one of these processors.
    processors: Option<Vec<PayoutMethod>>,
    /// In one of these currencies.
    currencies: Option<Vec<CurrencyCode>>,
}

impl LedgerAccountFilterInput {
    fn parse(self) -> Result<AccountFilter, Problem> {
        let code = |number: i32| {
            let unknown =
                || Problem::new(ProblemCode::OutOfRange, &["filter", "codes"], "not in the chart of accounts");
            Code::from_number(number).ok_or_else(unknown)
        };
        let codes = self.codes.map(|codes| codes.into_iter().map(code).collect()).transpose()?;
        let currencies = self.currencies.map(|all| all.iter().map(|one| one.currency(&["filter"])).collect());
        Ok(AccountFilter {
            codes,
            affiliate_ids: ids::parse_list(&["filter", "affiliateIds"], self.affiliate_ids.as_deref())?,
            processors: self.processors.map(|processors| processors.into_iter().map(Into::into).collect()),
            currencies: currencies.transpose()?,
        })
    }
}

/// Which entries of an account. All conditions must hold.
#[derive(Clone, Default, InputObject)]
pub(super) struct LedgerEntryFilterInput {
    /// Posted from this instant on.
    from: Option<Instant>,
    /// Posted before this instant.
    until: Option<Instant>,
}

/// A page of an account's entries; they are not counted.
pub(super) type Entries = Connection<String, AccountEntryNode>;

/// An account with its history.
#[derive(Description)]
pub(super) struct LedgerAccountHistory(account::Model);

#[Object(use_type_description)]
impl LedgerAccountHistory {
    /// The account.
    async fn account(&self) -> LedgerAccount {
        LedgerAccount(self.0.clone())
    }

    /// Its balance, on the side on which it grows, with all that was posted up to an instant.
    async fn balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The instant, inclusive; now if absent.")] at: Option<Instant>,
    ) -> Result<Money> {
        let (services, viewer) = ctx.caller()?;
        Ok(services::accounts::balance(services, viewer, &self.0, at).await.or_graphql()?.into())
    }

    /// Its entries in the order in which they were posted, newest first, each with the balance after it.
    async fn entries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which entries.")] filter: Option<LedgerEntryFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Entries> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("AccountEntry", Order::CreatedDesc, first, after, last, before)?;
        let LedgerEntryFilterInput { from, until } = filter.unwrap_or_default();
        let period = (from, until);
        let page = services::accounts::entries(services, viewer, self.0.id, period, &request).await.or_graphql()?;
        let code = services::accounts::code(&self.0).or_graphql()?;
        let mut connection = Connection::new(page.has_previous, page.has_next);
        connection.edges.extend(page.rows.into_iter().map(|row| {
            let cursor = request.list.encode(&row.place.position());
            Edge::new(cursor, AccountEntryNode { row, code, currency: self.0.currency })
        }));
        Ok(connection)
    }
}

/// An entry of an account.
#[derive(Description)]
pub(super) struct AccountEntryNode {
    row: AccountEntry,
    code: Code,
    currency: money::Currency,
}

impl AccountEntryNode {
    fn money(&self, amount_minor: i64) -> Money {
        money::Money::new(amount_minor, self.currency).into()
    }
}

#[Object(use_type_description, name = "LedgerAccountEntry")]
impl AccountEntryNode {
    /// The number of its journal: 1, 2, 3.. in the order of posting.
    async fn number(&self) -> i64 {
        self.row.place.seq
    }

    /// The journal it is a line of.
    async fn journal(&self, ctx: &Context<'_>) -> Result<Option<Journal>> {
        Ok(ctx.loaders()?.journal().load_one(self.row.journal_id).await.or_graphql()?.map(Journal::from))
    }

    /// What it did to the balance: negative where it made it smaller.
    async fn amount(&self) -> Money {
        self.money(on_side(self.code.side(), self.row.amount_minor))
    }

    /// The account's balance with this entry and all before it.
    async fn balance_after(&self) -> Money {
        self.money(on_side(self.code.side(), self.row.balance_after))
    }
}

/// A sealed block of the ledger. Keep it elsewhere: `tributary verify --checkpoint` shows with it whether the ledger up to
/// the block is still the same, whoever had the database meanwhile.
#[derive(SimpleObject)]
pub(super) struct LedgerCheckpoint {
    /// The tenant; begins with `ten_`.
    tenant: String,
    /// The block's number.
    block: i64,
    /// How many journals the ledger had with this block.
    journals: i64,
    /// When it was sealed.
    sealed_at: Instant,
    /// The block's hash (SHA-256, hexadecimal), which holds those of all blocks before it.
    hash: String,
    /// With which the signature is checked (Ed25519, hexadecimal).
    public_key: String,
    /// Of `statement` (Ed25519, hexadecimal).
    signature: String,
    /// The text that is signed.
    statement: String,
}

impl From<Checkpoint> for LedgerCheckpoint {
    fn from(checkpoint: Checkpoint) -> Self {
        let statement = checkpoint.statement();
        let Checkpoint { tenant, block, journals, sealed_at, hash, public_key, signature } = checkpoint;
        Self { tenant, block, journals, sealed_at, hash, public_key, signature, statement }
    }
}

#[derive(Default)]
pub(super) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// An account of the ledger with its history; null when there is no such account.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn ledger_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Begins with `acc_`.")] id: ID,
    ) -> Result<Option<LedgerAccountHistory>> {
        let (services, viewer) = ctx.caller()?;
        let id: AccountId = ids::parse(&["id"], &id).or_graphql()?;
        Ok(services::accounts::get(services, viewer, id).await.or_graphql()?.map(LedgerAccountHistory))
    }

    /// The accounts of the ledger.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn ledger_accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which accounts.")] filter: Option<LedgerAccountFilterInput>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<LedgerAccount>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("LedgerAccount", Order::CreatedAsc, first, after, last, before)?;
        let filter = filter.unwrap_or_default().parse().or_graphql()?;
        let page = services::accounts::list(services, viewer, &filter, &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let filter = filter.clone();
            async move { services::accounts::count(&services, &viewer, &filter).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), LedgerAccount))
    }

    /// The newest checkpoint of the ledger's seal, or that of a block; null when there is none.
    #[graphql(guard = "Needs(Permission::ReadLedger)")]
    async fn ledger_checkpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The block's number.")] block: Option<i64>,
    ) -> Result<Option<LedgerCheckpoint>> {
        let (services, viewer) = ctx.caller()?;
        Ok(ledger_blocks::checkpoint(services, viewer, block).await.or_graphql()?.map(Into::into))
    }
}
