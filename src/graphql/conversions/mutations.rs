//! Conversions: recording and review.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, ids::ConversionId};

use super::Conversion;
use crate::{
    auth::Permission,
    domain::{
        conversion::{NewConversion, Review, Snapshot},
        problem::Problem,
    },
    graphql::{
        context::{Needs, RequestData},
        error::{self, IntoGraphql, UserError},
        ids,
        labels::AdvLabelsInput,
        scalars::MoneyInput,
    },
    services::{
        self, Outcome, ServiceError,
        conversions::{BATCH_MAX, ReopenInput, ReviewInput},
    },
};

/// A conversion: a customer acted. One of `clickId`, `couponCode`, `visitorId` and `customerId` has to lead to an affiliate.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct RecordConversionInput {
    /// Makes the call repeatable: the same key and input answers the first call's conversion. Needed where there is no
    /// order id and the goal may count many times per click.
    idempotency_key: Option<String>,
    /// The click's id, as the landing page received it; begins with `clk_`.
    click_id: Option<ID>,
    /// Your own mark for the visitor, as its clicks carry it. At most 255 characters.
    visitor_id: Option<String>,
    /// The coupon that was used, in any case.
    coupon_code: Option<String>,
    /// Begins with `cmp_`. Where it is absent, the campaign is that of the click, of the coupon or of the visitor's last
    /// click.
    campaign_id: Option<ID>,
    /// The goal's code, such as `sale`.
    goal: String,
    /// Your own reference; counts once per campaign and goal, for ever. At most 255 characters.
    order_id: Option<String>,
    /// Your own customer reference. With a click or visitor it binds the two; later on it finds that visitor's clicks. At
    /// most 255 characters.
    customer_id: Option<String>,
    /// What was bought, such as a SKU; commission rules may ask for it. At most 255 characters.
    product_id: Option<String>,
    /// What the customer paid; absent for a lead.
    sale_amount: Option<MoneyInput>,
    /// When the customer acted; now if absent. Not in the future, nor further back than this installation takes.
    occurred_at: Option<Instant>,
    /// Your labels.
    labels: Option<AdvLabelsInput>,
}

impl RecordConversionInput {
    fn parse(self) -> services::conversions::ConversionInput {
        let new = NewConversion {
            click_id: ids::parse_optional(&["clickId"], self.click_id.as_ref())?,
            visitor_id: self.visitor_id,
            coupon_code: self.coupon_code,
            campaign_id: ids::parse_optional(&["campaignId"], self.campaign_id.as_ref())?,
            goal: self.goal,
            order_id: self.order_id,
            customer_id: self.customer_id,
            product_id: self.product_id,
            sale: self.sale_amount.map(|sale| sale.money(&["saleAmount"])).transpose()?,
            occurred_at: self.occurred_at,
            labels: self.labels.map(AdvLabelsInput::into_labels).unwrap_or_default(),
            needs_review: false,
        };
        Ok((self.idempotency_key, new))
    }
}

/// Conversions to record together.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct RecordConversionsInput {
    /// 1 to 1,000; each may carry its own idempotency key.
    items: Vec<RecordConversionInput>,
}

payload! {
    /// The recorded conversion. A refused business case is recorded too, as REJECTED with its reason.
    RecordConversionPayload {
        /// Null when the input was malformed.
        conversion: Conversion
    }
}

/// The recorded conversions.
#[derive(SimpleObject)]
pub(in crate::graphql) struct RecordConversionsPayload {
    /// One answer per item, in order; a refused item does not touch the others.
    items: Vec<RecordConversionPayload>,
    /// Why the call as a whole was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// Conversions to approve.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct ApproveConversionsInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// 1 to 1,000; each begins with `cnv_`.
    ids: Vec<ID>,
    /// For the history. At most 2,000 characters.
    note: Option<String>,
}

/// Why a reviewer rejects.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(in crate::graphql) enum RejectReason {
    /// No other reason fits.
    Manual,
    /// The goods came back.
    ReturnedGoods,
    /// The payment was charged back.
    Chargeback,
    /// The customer did not pay.
    BadDebt,
    /// Found to be fraud.
    Fraud,
    /// A test.
    Test,
}

impl From<RejectReason> for tributary_entity::kinds::ConversionReason {
    fn from(reason: RejectReason) -> Self {
        match reason {
            RejectReason::Manual => Self::Manual,
            RejectReason::ReturnedGoods => Self::ReturnedGoods,
            RejectReason::Chargeback => Self::Chargeback,
            RejectReason::BadDebt => Self::BadDebt,
            RejectReason::Fraud => Self::Fraud,
            RejectReason::Test => Self::Test,
        }
    }
}

/// Conversions to reject.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct RejectConversionsInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// 1 to 1,000; each begins with `cnv_`.
    ids: Vec<ID>,
    /// Why.
    reason: RejectReason,
    /// For the history. At most 2,000 characters.
    note: Option<String>,
}

/// What became of one conversion of a review.
#[derive(SimpleObject)]
pub(in crate::graphql) struct ReviewedConversion {
    /// As named.
    id: ID,
    /// The conversion after the review; null when it was refused.
    conversion: Option<Conversion>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What became of a review.
#[derive(SimpleObject)]
pub(in crate::graphql) struct ReviewConversionsPayload {
    /// One answer per id, in order.
    items: Vec<ReviewedConversion>,
    /// The idempotency key was used before with the same input: nothing was done now.
    replayed: bool,
    /// Why the call as a whole was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub(in crate::graphql) struct ConversionMutation;

#[Object]
impl ConversionMutation {
    /// Records a conversion: attributed, commissioned and, where the campaign approves by itself, entered in the
    /// ledger, exactly once. Answered when it is durable.
    #[graphql(guard = "Needs(Permission::RecordConversions)")]
    async fn record_conversion(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversion.")] input: RecordConversionInput,
    ) -> Result<RecordConversionPayload> {
        let (services, viewer) = ctx.caller()?;
        let mut answers = services::conversions::record(services, viewer, vec![input.parse()]).await.or_graphql()?;
        RecordConversionPayload::answer(answers.pop().unwrap_or(Err(ServiceError::Internal("no answer"))))
    }

    /// Records up to 1,000 conversions. Answered when they are durable.
    #[graphql(guard = "Needs(Permission::RecordConversions)")]
    async fn record_conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversions.")] input: RecordConversionsInput,
    ) -> Result<RecordConversionsPayload> {
        let (services, viewer) = ctx.caller()?;
        if let Some(problem) = Problem::batch_size(&["items"], input.items.len(), BATCH_MAX) {
            return Ok(RecordConversionsPayload { items: Vec::new(), user_errors: vec![problem.into()] });
        }
        let inputs = input.items.into_iter().map(RecordConversionInput::parse).collect();
        let answers = services::conversions::record(services, viewer, inputs).await.or_graphql()?;
        let items = answers.into_iter().map(RecordConversionPayload::answer_item).collect();
        Ok(RecordConversionsPayload { items, user_errors: Vec::new() })
    }

    /// Approves conversions that are PENDING or HELD: their commissions are entered in the ledger and the hold begins.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn approve_conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversions.")] input: ApproveConversionsInput,
    ) -> Result<ReviewConversionsPayload> {
        review(ctx, input.idempotency_key, input.ids, Review::Approve, input.note).await
    }

    /// Rejects conversions that are PENDING or HELD: they count nowhere. What is approved is taken back instead, by
    /// `refundConversion`.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn reject_conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversions.")] input: RejectConversionsInput,
    ) -> Result<ReviewConversionsPayload> {
        review(ctx, input.idempotency_key, input.ids, Review::Reject(input.reason.into()), input.note).await
    }

    /// Takes up conversions again that were REJECTED: decided anew with their checks waived, they wait as PENDING for a
    /// review. What cannot be credited stays refused: an unknown goal, click or coupon, no touch, a duplicate of one that
    /// counts.
    #[graphql(guard = "Needs(Permission::ReviewConversions)")]
    async fn reopen_conversions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which conversions.")] input: ReopenConversionsInput,
    ) -> Result<ReviewConversionsPayload> {
        let (services, viewer) = ctx.caller()?;
        let ids = match named(&input.ids) {
            Ok(ids) => ids,
            Err(problem) => return Ok(ReviewConversionsPayload::refused(vec![problem])),
        };
        let reopen = ReopenInput { ids, note: input.note };
        let key = input.idempotency_key.as_deref();
        ReviewConversionsPayload::answer(input.ids, services::conversions::reopen(services, viewer, key, reopen).await)
    }
}

/// Conversions to take up again.
#[derive(Clone, InputObject)]
pub(in crate::graphql) struct ReopenConversionsInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// 1 to 1,000; each begins with `cnv_`.
    ids: Vec<ID>,
    /// For the history. At most 2,000 characters.
    note: Option<String>,
}

async fn review(
    ctx: &Context<'_>,
    key: Option<String>,
    named: Vec<ID>,
    review: Review,
    note: Option<String>,
) -> Result<ReviewConversionsPayload> {
    let (services, viewer) = ctx.caller()?;
    let ids = match self::named(&named) {
        Ok(ids) => ids,
        Err(problem) => return Ok(ReviewConversionsPayload::refused(vec![problem])),
    };
    let input = ReviewInput { ids, review, note };
    let result = services::conversions::review(services, viewer, key.as_deref(), input).await;
    ReviewConversionsPayload::answer(named, result)
}

/// The ids of a call.
fn named(ids: &[ID]) -> Result<Vec<ConversionId>, Problem> {
    match Problem::batch_size(&["ids"], ids.len(), BATCH_MAX) {
        Some(problem) => Err(problem),
        None => ids.iter().map(|id| ids::parse(&["ids"], id)).collect(),
    }
}

impl ReviewConversionsPayload {
    fn refused(problems: Vec<Problem>) -> Self {
        Self { items: Vec::new(), replayed: false, user_errors: problems.into_iter().map(Into::into).collect() }
    }

    /// From a use case's result: each id with what became of it.
    fn answer(
        named: Vec<ID>,
        result: Result<Outcome<Vec<Result<Snapshot, Problem>>>, ServiceError>,
    ) -> async_graphql::Result<Self> {
        let Outcome { value, replayed } = match result {
            Ok(outcome) => outcome,
            Err(ServiceError::Refused(problems)) => return Ok(Self::refused(problems)),
            Err(error) => return Err(error::to_graphql(error)),
        };
        let items = named.into_iter().zip(value).map(|(id, answer)| match answer {
            Ok(snapshot) => ReviewedConversion { id, conversion: Some(snapshot.into()), user_errors: Vec::new() },
            Err(problem) => ReviewedConversion { id, conversion: None, user_errors: vec![problem.into()] },
        });
        Ok(Self { items: items.collect(), replayed, user_errors: Vec::new() })
    }
}
