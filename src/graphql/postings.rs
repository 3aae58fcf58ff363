//! What people post to the ledger: deposits, and debts that are given up.

use async_graphql::{Context, ID, InputObject, Object, Result};

use super::{
    context::{Needs, RequestData},
    ids,
    kinds::PayoutMethod,
    ledger::Journal,
    scalars::MoneyInput,
};
use crate::{
    auth::Permission,
    domain::{
        posting::{NewDeposit, NewWriteOff},
        problem::Problem,
    },
    services::postings,
};

/// Money that the tenant paid in.
#[derive(Clone, InputObject)]
pub(super) struct RecordDepositInput {
    /// Makes the call repeatable: the same key and input answers the first call's journal.
    idempotency_key: Option<String>,
    /// At which processor the money is now.
    processor: PayoutMethod,
    /// How much, more than nothing.
    amount: MoneyInput,
    /// The payment's name at the bank or processor, which is posted once. At most 255 characters.
    reference: String,
}

impl RecordDepositInput {
    fn parse(self) -> Result<NewDeposit, Problem> {
        let amount = self.amount.money(&["amount"])?;
        Ok(NewDeposit { processor: self.processor.into(), amount, reference: self.reference })
    }
}

/// An affiliate's debt to give up, whole or in part.
#[derive(Clone, InputObject)]
pub(super) struct WriteOffDebtInput {
    /// Makes the call repeatable: the same key and input answers the first call's journal.
    idempotency_key: Option<String>,
    /// Whose; begins with `aff_`.
    affiliate_id: ID,
    /// How much, at most what is owed.
    amount: MoneyInput,
    /// Why. At most 2,000 characters.
    reason: String,
}

impl WriteOffDebtInput {
    fn parse(self) -> Result<NewWriteOff, Problem> {
        let affiliate_id = ids::parse(&["affiliateId"], &self.affiliate_id)?;
        Ok(NewWriteOff { affiliate_id, amount: self.amount.money(&["amount"])?, reason: self.reason })
    }
}

payload! {
    /// What was posted.
    JournalPayload {
        /// Null when it was refused.
        journal: Journal
    }
}

#[derive(Default)]
pub(super) struct PostingMutation;

#[Object]
impl PostingMutation {
    /// Posts money that the tenant paid in: to cash at the processor, from the tenant's funding.
    #[graphql(guard = "Needs(Permission::ManageLedger)")]
    async fn record_deposit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deposit.")] input: RecordDepositInput,
    ) -> Result<JournalPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { postings::deposit(services, viewer, key.as_deref(), input.parse()?).await };
        JournalPayload::answer(result.await)
    }

    /// Gives an affiliate's debt up: it no longer blocks or nets what the affiliate earns. The expense is the tenant's.
    #[graphql(guard = "Needs(Permission::ManageLedger)")]
    async fn write_off_debt(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The debt.")] input: WriteOffDebtInput,
    ) -> Result<JournalPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { postings::write_off(services, viewer, key.as_deref(), input.parse()?).await };
        JournalPayload::answer(result.await)
    }
}
