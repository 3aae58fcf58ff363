//! Payout terms: when affiliates are paid, and from which balance on.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, money, payout_terms};

use super::{
    affiliates::Affiliate,
    connection::{self, CreationOrder, Paged, TotalCount},
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    scalars::{CurrencyCode, Date, Decimal, Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        payout_terms::{NewTerms, Schedule},
        problem::{Problem, ProblemCode},
        rule,
    },
    services,
};

/// When somebody is paid by itself.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum PayoutScheduleKind {
    /// Only in batches that somebody drafts.
    Never,
    /// What a month brought, `day` days after its last day.
    Net,
    /// On a day of the week: Monday is 1, Sunday 7.
    Weekly,
    /// On a day of the month; on the last one of shorter months.
    Monthly,
}

/// When somebody is paid by itself, in the tenant's time zone. The batch is drafted then; somebody approves it.
#[derive(Clone, Copy, SimpleObject)]
pub(super) struct PayoutSchedule {
    /// How its days come.
    kind: PayoutScheduleKind,
    /// NET: days after the month's last. WEEKLY: 1 to 7 from Monday. MONTHLY: the day. Null for NEVER.
    day: Option<i32>,
}

impl From<Schedule> for PayoutSchedule {
    fn from(schedule: Schedule) -> Self {
        let (kind, day) = match schedule {
            Schedule::Never => (PayoutScheduleKind::Never, None),
            Schedule::Net(day) => (PayoutScheduleKind::Net, Some(day)),
            Schedule::Weekly(day) => (PayoutScheduleKind::Weekly, Some(day)),
            Schedule::Monthly(day) => (PayoutScheduleKind::Monthly, Some(day)),
        };
        Self { kind, day }
    }
}

/// As [`PayoutSchedule`], from a row; none for what this version does not know.
pub(super) fn schedule(text: Option<&str>) -> Option<PayoutSchedule> {
    Some(text?.parse::<Schedule>().ok()?.into())
}

/// When somebody is to be paid by itself.
#[derive(Clone, InputObject)]
pub(super) struct PayoutScheduleInput {
    /// How its days come.
    kind: PayoutScheduleKind,
    /// NET: days after the month's last, 0 to 180. WEEKLY: 1 (Monday) to 7. MONTHLY: 1 to 31. Not for NEVER.
    day: Option<i32>,
}

impl PayoutScheduleInput {
    /// # Errors
    /// `REQUIRED` for a missing day; `OUT_OF_RANGE` for one that never has.
    pub fn parse(self) -> Result<Schedule, Problem> {
        let field = &["schedule", "day"];
        let day = || self.day.ok_or_else(|| Problem::required(field));
        Ok(match self.kind {
            PayoutScheduleKind::Never if self.day.is_some() => {
                return Err(Problem::new(ProblemCode::OutOfRange, field, "a schedule that never pays has no day"));
            }
            PayoutScheduleKind::Never => Schedule::Never,
            PayoutScheduleKind::Net => Schedule::Net(day()?),
            PayoutScheduleKind::Weekly => Schedule::Weekly(day()?),
            PayoutScheduleKind::Monthly => Schedule::Monthly(day()?),
        })
    }
}

/// When, and from which balance on, an affiliate or everybody is paid in a currency.
#[derive(Description)]
pub(super) struct PayoutTerms(payout_terms::Model);

impl From<payout_terms::Model> for PayoutTerms {
    fn from(row: payout_terms::Model) -> Self {
        Self(row)
    }
}

#[Object(use_type_description)]
impl PayoutTerms {
    /// Whose; null for the tenant's, which those of affiliates fill up from.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// In which currency.
    async fn currency(&self) -> CurrencyCode {
        self.0.currency.into()
    }

    /// The least balance that is paid, inclusive; what is below rolls over. Null as the tenant's, or any.
    async fn threshold(&self) -> Option<Money> {
        Some(money::Money::new(self.0.threshold_minor?, self.0.currency).into())
    }

    /// When; null as the tenant's, or never by itself.
    async fn schedule(&self) -> Option<PayoutSchedule> {
        schedule(self.0.schedule.as_deref())
    }

    /// Percent of each payout that is withheld as tax; null as the tenant's, or nothing.
    async fn withholding_percent(&self) -> Option<Decimal> {
        Some(Decimal(rule::format_percent(self.0.withholding_ppm?)))
    }

    /// What the affiliate bears of the cost of each payment; null as the tenant's, or nothing.
    async fn fee(&self) -> Option<Money> {
        Some(money::Money::new(self.0.fee_minor?, self.0.currency).into())
    }

    /// When they were first set.
    async fn created_at(&self) -> Instant {
        self.0.created_at
    }

    /// When they were last set.
    async fn updated_at(&self) -> Instant {
        self.0.updated_at
    }
}

/// When, and from which balance on, an affiliate is paid in a currency, the tenant's terms filled in.
#[derive(SimpleObject)]
pub(super) struct EffectivePayoutTerms {
    /// The least balance that is paid, inclusive.
    threshold: Money,
    /// When.
    schedule: PayoutSchedule,
    /// Percent of each payout that is withheld as tax.
    withholding_percent: Decimal,
    /// What it bears of the cost of each payment.
    fee: Money,
    /// The next day after today on which a batch is drafted, in the tenant's time zone; null for NEVER.
    next_day: Option<Date>,
}

/// Which payout terms.
#[derive(Clone, Default, InputObject)]
pub(super) struct PayoutTermsFilterInput {
    /// Of one of these affiliates; each begins with `aff_`.
    affiliate_ids: Option<Vec<ID>>,
}

#[derive(Default)]
pub(super) struct PayoutTermsQuery;

#[Object]
impl PayoutTermsQuery {
    /// The terms that were set: the tenant's and those of affiliates. An affiliate sees its own.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the field")]
    async fn payout_terms(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which terms.")] filter: Option<PayoutTermsFilterInput>,
        #[graphql(desc = "In which order; newest first if absent.")] order: Option<CreationOrder>,
        #[graphql(desc = "How many from the start, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Go on behind this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Stop before this cursor.")] before: Option<String>,
    ) -> Result<Paged<PayoutTerms>> {
        let (services, viewer) = ctx.caller()?;
        let request = connection::request("PayoutTerms", order.unwrap_or_default().into(), first, after, last, before)?;
        let named = filter.unwrap_or_default().affiliate_ids;
        let affiliates = ids::parse_list(&["filter", "affiliateIds"], named.as_deref()).or_graphql()?;
        let page =
            services::payout_terms::list(services, viewer, affiliates.as_deref(), &request).await.or_graphql()?;
        let count = TotalCount::by(move |services, viewer| {
            let affiliates = affiliates.clone();
            async move { services::payout_terms::count(&services, &viewer, affiliates.as_deref()).await }
        });
        Ok(connection::connect(&request, page, count, |row| connection::created(row.id.uuid()), PayoutTerms))
    }

    /// What an affiliate's terms in a currency come to; null when there is no such affiliate.
    #[graphql(guard = "Needs(Permission::ReadPayouts)")]
    async fn effective_payout_terms(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose; begins with `aff_`. Affiliates see their own.")] affiliate_id: ID,
        #[graphql(desc = "In which currency.")] currency: CurrencyCode,
    ) -> Result<Option<EffectivePayoutTerms>> {
        let (services, viewer) = ctx.caller()?;
        let id = ids::parse(&["affiliateId"], &affiliate_id).or_graphql()?;
        let currency = currency.currency(&[]).or_graphql()?;
        let found = services::payout_terms::effective(services, viewer, id, currency).await.or_graphql()?;
        Ok(found.map(|terms| EffectivePayoutTerms {
            threshold: terms.threshold.into(),
            schedule: terms.schedule.into(),
            withholding_percent: Decimal(rule::format_percent(terms.deductions.withholding_ppm)),
            fee: money::Money::new(terms.deductions.fee_minor, terms.threshold.currency).into(),
            next_day: terms.next_day.map(Date),
        }))
    }
}

/// Payout terms to set, in place of those before.
#[derive(Clone, InputObject)]
pub(super) struct SetPayoutTermsInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Whose; begins with `aff_`. Absent, the tenant's.
    affiliate_id: Option<ID>,
    /// In which currency.
    currency: CurrencyCode,
    /// The least balance that is paid, inclusive. Absent, the tenant's; for the tenant itself, any.
    threshold: Option<MoneyInput>,
    /// When. Absent, as the tenant's; for the tenant itself, never by itself.
    schedule: Option<PayoutScheduleInput>,
    /// Percent of each payout that is withheld as tax: 0 to 100, at most 4 digits after the point. Absent, as the tenant's; for
    /// the tenant itself, nothing.
    withholding_percent: Option<Decimal>,
    /// What an affiliate bears of the cost of each payment. Absent, as the tenant's; for the tenant itself, nothing.
    fee: Option<MoneyInput>,
}

impl SetPayoutTermsInput {
    fn parse(self) -> Result<NewTerms, Problem> {
        Ok(NewTerms {
            affiliate_id: ids::parse_optional(&["affiliateId"], self.affiliate_id.as_ref())?,
            currency: self.currency.currency(&[])?,
            threshold: self.threshold.map(|threshold| threshold.money(&["threshold"])).transpose()?,
            schedule: self.schedule.map(PayoutScheduleInput::parse).transpose()?,
            withholding_ppm: self
                .withholding_percent
                .map(|percent| rule::parse_percent(&["withholdingPercent"], &percent.0))
                .transpose()?,
            fee: self.fee.map(|fee| fee.money(&["fee"])).transpose()?,
        })
    }
}

payload! {
    /// The terms after the call.
    PayoutTermsPayload {
        /// Null when the call was refused.
        payout_terms: PayoutTerms
    }
}

#[derive(Default)]
pub(super) struct PayoutTermsMutation;

#[Object]
impl PayoutTermsMutation {
    /// Sets when, from which balance on, and after which deductions an affiliate or everybody is paid in a currency. Payouts
    /// that are drafted already stay as they are.
    #[graphql(guard = "Needs(Permission::ManagePayouts)")]
    async fn set_payout_terms(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The terms.")] input: SetPayoutTermsInput,
    ) -> Result<PayoutTermsPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::payout_terms::set(services, viewer, key.as_deref(), input.parse()?).await };
        PayoutTermsPayload::answer(result.await)
    }
}
