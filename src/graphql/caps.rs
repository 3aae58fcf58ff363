//! Caps.

use async_graphql::{Context, Description, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use tributary_entity::Instant;

use super::{
    affiliates::Affiliate,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::{CapMetric, CapPeriod, CapStatus},
    scalars::{Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        cap::{self as rules, CapTarget, NewCap},
        problem::{Problem, ProblemCode},
    },
    services::{self, ServiceError, caps::CapState},
};

/// The most that a campaign, or one affiliate in it, may bring in a period. What does not fit is refused as OVER_CAP; a
/// commission is cut to what is left, and refused where that is nothing.
#[derive(Description)]
pub(super) struct Cap(pub CapState);

impl From<CapState> for Cap {
    fn from(state: CapState) -> Self {
        Self(state)
    }
}

/// A count or an amount; the other one is null.
#[derive(SimpleObject)]
pub(super) struct CapAmount {
    /// Of clicks or conversions.
    count: Option<i64>,
    /// In the campaign's currency.
    money: Option<Money>,
}

impl From<rules::CapAmount> for CapAmount {
    fn from(amount: rules::CapAmount) -> Self {
        match amount {
            rules::CapAmount::Count(count) => Self { count: Some(count), money: None },
            rules::CapAmount::Money(money) => Self { count: None, money: Some(money.into()) },
        }
    }
}

#[Object(use_type_description)]
impl Cap {
    /// Begins with `cap_`.
    pub(super) async fn id(&self) -> ID {
        self.0.cap.id.into()
    }

    /// What is limited.
    async fn metric(&self) -> CapMetric {
        self.0.cap.metric.into()
    }

    /// After what it begins anew.
    async fn period(&self) -> CapPeriod {
        self.0.cap.period.into()
    }

    /// The most of a period.
    async fn amount(&self) -> CapAmount {
        rules::CapAmount::of(self.0.cap.metric, self.0.cap.amount, self.0.currency).into()
    }

    /// What the current period has used since the cap was made.
    async fn used(&self) -> CapAmount {
        rules::CapAmount::of(self.0.cap.metric, self.0.used, self.0.currency).into()
    }

    /// When the current period began.
    async fn period_start(&self) -> Instant {
        self.0.period_start
    }

    /// Whose enrollment is limited; null limits the whole campaign.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.cap.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// Whether it limits anything.
    async fn status(&self) -> CapStatus {
        self.0.cap.status.into()
    }

    /// When it was made.
    async fn created_at(&self) -> Instant {
        self.0.cap.created_at
    }

    /// When it was last changed.
    async fn updated_at(&self) -> Instant {
        self.0.cap.updated_at
    }
}

/// A count, or an amount.
#[derive(Clone, OneofObject)]
pub(super) enum CapAmountInput {
    /// For CLICKS and CONVERSIONS; not negative.
    Count(i64),
    /// For SALE_AMOUNT and COMMISSION, in the campaign's currency.
    Money(MoneyInput),
}

impl CapAmountInput {
    pub(super) fn parse(&self) -> Result<rules::CapAmount, Problem> {
        Ok(match self {
            Self::Count(count) => rules::CapAmount::Count(*count),
            Self::Money(money) => rules::CapAmount::Money(money.money(&["amount", "money"])?),
        })
    }
}

/// A new cap, of a campaign or of an enrollment.
#[derive(Clone, InputObject)]
pub(super) struct CreateCapInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Limits the whole campaign; begins with `cmp_`. Give this or `enrollmentId`.
    campaign_id: Option<ID>,
    /// Limits one affiliate in its campaign; begins with `enr_`.
    enrollment_id: Option<ID>,
    /// What is limited; one active cap for each metric and period.
    metric: CapMetric,
    /// After what it begins anew.
    period: CapPeriod,
    /// The most of a period.
    amount: CapAmountInput,
}

impl CreateCapInput {
    fn parse(&self) -> Result<NewCap, Problem> {
        let target = match (&self.campaign_id, &self.enrollment_id) {
            (Some(id), None) => CapTarget::Campaign(ids::parse(&["campaignId"], id)?),
            (None, Some(id)) => CapTarget::Enrollment(ids::parse(&["enrollmentId"], id)?),
            _ => {
                let message = "one of `campaignId` and `enrollmentId`";
                return Err(Problem::new(ProblemCode::Required, &["campaignId"], message));
            }
        };
        Ok(NewCap { target, metric: self.metric.into(), period: self.period.into(), amount: self.amount.parse()? })
    }
}

/// Changes a cap.
#[derive(Clone, InputObject)]
pub(super) struct UpdateCapInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `cap_`.
    id: ID,
    /// The most of a period; holds from now on, also in the current one.
    amount: CapAmountInput,
}

/// Names a cap whose state is to change.
#[derive(Clone, InputObject)]
pub(super) struct CapStatusInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `cap_`.
    id: ID,
}

payload! {
    /// The cap after the call.
    CapPayload {
        /// Null when the call was refused.
        cap: Cap
    }
}

#[derive(Default)]
pub(super) struct CapMutation;

#[Object]
impl CapMutation {
    /// Limits what a campaign, or one affiliate in it, may bring in a period. Counts from now on.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn create_cap(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The cap.")] input: CreateCapInput,
    ) -> Result<CapPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.as_deref();
        let result = async { services::caps::create(services, viewer, key, input.parse()?).await };
        CapPayload::answer(result.await)
    }

    /// Changes a cap's amount. What was decided stays decided.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn update_cap(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UpdateCapInput,
    ) -> Result<CapPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id)?;
            let amount = input.amount.parse()?;
            services::caps::update(services, viewer, input.idempotency_key.as_deref(), id, amount).await
        };
        CapPayload::answer(result.await)
    }

    /// Ends a cap for good: it limits nothing any more.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_cap(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which cap.")] input: CapStatusInput,
    ) -> Result<CapPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::caps::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        CapPayload::answer(result.await)
    }
}
