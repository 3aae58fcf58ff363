//! Payouts: drafting, approving and submitting batches, and telling what became of payouts.

use async_graphql::{Context, ID, InputObject, Object, Result};
use tributary_entity::{Instant, payout};

use super::{Payout, PayoutBatch};
use crate::{
    auth::Permission,
    domain::{
        payout::{NewBatch, Step},
        problem::Problem,
    },
    graphql::{
        context::{Needs, RequestData},
        ids,
        scalars::{CurrencyCode, MoneyInput},
    },
    services::{self, Outcome, ServiceError, payouts::batches},
};

/// A payout batch to draft.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct CreatePayoutBatchInput {
    /// Makes the call repeatable: the same key and input answers the first call's batch.
    idempotency_key: Option<String>,
    /// The currency of its payouts.
    currency: CurrencyCode,
    /// Whom to pay, 1 to 1,000; each begins with `aff_`. Absent, everybody.
    affiliate_ids: Option<Vec<ID>>,
    /// The least available balance that is paid, inclusive, in the batch's currency. Absent, each affiliate's threshold.
    minimum_amount: Option<MoneyInput>,
    /// For whoever approves. At most 2,000 characters.
    note: Option<String>,
}

impl CreatePayoutBatchInput {
    fn parse(self) -> Result<NewBatch, Problem> {
        Ok(NewBatch {
            currency: self.currency.currency(&[])?,
            affiliate_ids: ids::parse_list(&["affiliateIds"], self.affiliate_ids.as_deref())?,
            minimum: self.minimum_amount.map(|minimum| minimum.money(&["minimumAmount"])).transpose()?,
            note: self.note,
        })
    }
}

/// Names a payout batch that is to move on.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct PayoutBatchStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pbt_`.
    id: ID,
}

/// A payout to give up.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct CancelPayoutInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pay_`.
    id: ID,
    /// Why. At most 2,000 characters.
    reason: Option<String>,
}

/// A payout that was paid.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct MarkPayoutPaidInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pay_`.
    id: ID,
    /// The payment's name at the bank. At most 255 characters.
    reference: String,
    /// When it was paid; now if absent.
    paid_at: Option<Instant>,
}

/// A payout that was not paid and will not be.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct MarkPayoutFailedInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pay_`.
    id: ID,
    /// Why. At most 2,000 characters.
    reason: String,
}

/// A payout that was paid and came back.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct MarkPayoutReturnedInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `pay_`.
    id: ID,
    /// The return's name at the bank. At most 255 characters.
    reference: String,
    /// Why. At most 2,000 characters.
    reason: String,
}

/// A payout to repeat.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct RetryPayoutInput {
    /// Makes the call repeatable: the same key and input answers the first call's new payout.
    idempotency_key: Option<String>,
    /// The failed or returned one; begins with `pay_`.
    id: ID,
}

payload! {
    /// The drafted batch.
    CreatePayoutBatchPayload {
        /// Null when it was refused.
        payout_batch: PayoutBatch
    }
}

payload! {
    /// The batch after its step.
    PayoutBatchPayload {
        /// Null when the step was refused.
        payout_batch: PayoutBatch
    }
}

payload! {
    /// The payout after its step; for a repetition, the new one.
    PayoutPayload {
        /// Null when it was refused.
        payout: Payout
    }
}

#[derive(Default)]
pub(in crate::graphql) struct PayoutMutation;

#[Object]
impl PayoutMutation {
    /// Drafts a payout of all that is available for each affiliate with the minimum or more. No money moves. Who has an
    /// open payout in the currency, or owes something, is passed over, and told. A large batch is DRAFTING for a while.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn create_payout_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The batch.")] input: CreatePayoutBatchInput,
    ) -> Result<CreatePayoutBatchPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async {
            let batch = input.parse()?;
            batches::create(services, viewer, key.as_deref(), batch).await
        };
        CreatePayoutBatchPayload::answer(result.await)
    }

    /// Approves a drafted batch with its payouts. No money moves. Where the tenant wants four eyes, not for its author.
    #[graphql(guard = "Needs(Permission::ApprovePayouts)")]
    async fn approve_payout_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] input: PayoutBatchStatusInput,
    ) -> Result<PayoutBatchPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            batches::approve(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        PayoutBatchPayload::answer(result.await)
    }

    /// Submits an approved batch: each payout's money leaves its affiliate's available balance. A payout that the balance
    /// no longer covers is cancelled, and the others go on. Where the tenant wants four eyes, one that came by its schedule is
    /// not submitted by its approver.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn submit_payout_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] input: PayoutBatchStatusInput,
    ) -> Result<PayoutBatchPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            batches::submit(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        PayoutBatchPayload::answer(result.await)
    }

    /// Gives up a drafted or approved batch with its payouts. No money has moved, and the affiliates can be paid by another.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn cancel_payout_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] input: PayoutBatchStatusInput,
    ) -> Result<PayoutBatchPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            batches::cancel(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        PayoutBatchPayload::answer(result.await)
    }

    /// Gives a payout up that is not paid. What left the affiliate's balance comes back, debts netted first.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn cancel_payout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which payout.")] input: CancelPayoutInput,
    ) -> Result<PayoutPayload> {
        take(ctx, input.idempotency_key, input.id, Step::cancelled(input.reason.as_deref())).await
    }

    /// Notes that a submitted payout was paid. One that a processor has is marked by nobody, unless it is UNKNOWN, and the
    /// processor neither can be asked about it nor found it when it was asked to pay again.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn mark_payout_paid(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which payout, and the payment.")] input: MarkPayoutPaidInput,
    ) -> Result<PayoutPayload> {
        let (services, _) = ctx.caller()?;
        let step = Step::paid(&input.reference, input.paid_at, services.now());
        take(ctx, input.idempotency_key, input.id, step).await
    }

    /// Notes that a submitted payout was not paid and will not be. Its money comes back to the affiliate's balance, debts
    /// netted first. One that is UNKNOWN may have been paid: look into the processor's books before.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn mark_payout_failed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which payout, and why.")] input: MarkPayoutFailedInput,
    ) -> Result<PayoutPayload> {
        take(ctx, input.idempotency_key, input.id, Step::failed(&input.reason)).await
    }

    /// Notes that a paid payout came back, however late. Its money comes back to the affiliate's balance, debts netted
    /// first.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn mark_payout_returned(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which payout, and the return.")] input: MarkPayoutReturnedInput,
    ) -> Result<PayoutPayload> {
        take(ctx, input.idempotency_key, input.id, Step::returned(&input.reference, &input.reason)).await
    }

    /// Repeats a payout that failed or came back: drafts a new one, in a batch of its own, of what it did not pay, as far
    /// as that is available.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn retry_payout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which payout.")] input: RetryPayoutInput,
    ) -> Result<PayoutPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            batches::retry(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        PayoutPayload::answer(result.await)
    }
}

async fn take(ctx: &Context<'_>, key: Option<String>, id: ID, step: Result<Step, Problem>) -> Result<PayoutPayload> {
    let (services, viewer) = ctx.caller()?;
    let result = async {
        let id = ids::parse(&["id"], &id)?;
        services::payouts::take(services, viewer, key.as_deref(), id, step?).await
    };
    let result: Result<Outcome<payout::Model>, ServiceError> = result.await;
    PayoutPayload::answer(result)
}
