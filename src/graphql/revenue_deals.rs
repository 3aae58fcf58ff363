//! Revenue deals: what affiliates have of their customers' net revenue in a campaign.

use async_graphql::{Context, Description, Enum, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{kinds, money};

use super::{
    affiliates::Affiliate,
    campaigns::Campaign,
    context::{Needs, RequestData},
    error::IntoGraphql,
    ids,
    kinds::RuleStatus,
    revenue_settlements::RevenueReckoning,
    scalars::{CurrencyCode, Date, Decimal, Money, MoneyInput, SignedMoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        problem::{Problem, ProblemCode},
        revenue_deal::{Basis, Carryover, Deal, Deduction, NewDeal, QualifiedCpa, Terms},
        revenue_record::Amounts,
        rule::{format_percent, parse_percent},
    },
    services::{
        self, ServiceError,
        revenue_deals::{Trial, TrialPeriod},
    },
};

/// How often net revenue is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "kinds::SettlementPeriod")]
pub(super) enum SettlementPeriod {
    /// From Monday.
    Week,
    /// From the first.
    Month,
}

/// Of what a deduction's percentage is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "Basis")]
pub(super) enum DeductionBasis {
    /// Gross gaming revenue.
    Ggr,
    /// Gross gaming revenue less bonuses.
    GgrLessBonuses,
}

/// Who bears a period's loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum CarryoverKind {
    /// The tenant.
    None,
    /// The affiliate, until it is made good.
    Full,
    /// The affiliate, for so many periods after the one of the loss.
    Limited,
    /// The customer who won the limit or more in a period, until it is made good; any other loss is the tenant's.
    HighRoller,
}

/// What an affiliate has of its customers' net revenue in a campaign, and for customers who qualify. Its terms are
/// versioned: a period is settled by those that were in force when it ended.
#[derive(Description)]
pub(super) struct RevenueDeal(pub Deal);

impl From<Deal> for RevenueDeal {
    fn from(deal: Deal) -> Self {
        Self(deal)
    }
}

#[Object(use_type_description)]
impl RevenueDeal {
    /// Begins with `rvd_`.
    pub(super) async fn id(&self) -> ID {
        self.0.head.id.into()
    }

    /// Whose customers.
    #[graphql(guard = "Needs(Permission::ReadCampaigns)")]
    async fn campaign(&self, ctx: &Context<'_>) -> Result<Option<Campaign>> {
        Ok(ctx.loaders()?.campaign().load_one(self.0.head.campaign_id).await.or_graphql()?.map(Campaign))
    }

    /// The affiliate whose deal it is; null means all others of the campaign.
    #[graphql(guard = "Needs(Permission::ReadAffiliates)")]
    async fn affiliate(&self, ctx: &Context<'_>) -> Result<Option<Affiliate>> {
        let Some(id) = self.0.head.affiliate_id else { return Ok(None) };
        Ok(ctx.loaders()?.affiliate().load_one(id).await.or_graphql()?.map(Affiliate))
    }

    /// The share of net revenue, in percent.
    async fn share(&self) -> Decimal {
        Decimal(format_percent(self.0.terms.share_ppm))
    }

    /// What is taken off gross revenue besides bonuses and chargebacks; at most 20.
    async fn deductions(&self) -> Vec<RevenueDeduction> {
        self.0.terms.deductions.iter().map(RevenueDeduction::of).collect()
    }

    /// Who bears a period's loss.
    async fn carryover(&self) -> RevenueCarryover {
        RevenueCarryover::of(self.0.terms.carryover)
    }

    /// How often it is settled.
    async fn period(&self) -> SettlementPeriod {
        self.0.terms.period.into()
    }

    /// Days from the end of a period until it is settled.
    async fn wait_days(&self) -> i32 {
        self.0.terms.wait_days
    }

    /// The amount for each customer who qualifies; null where there is none.
    async fn qualified(&self) -> Option<RevenueQualification> {
        self.0.terms.qualified.map(RevenueQualification::of)
    }

    /// Counts from 1; that it was archived is a version, too.
    async fn version(&self) -> i32 {
        self.0.version
    }

    /// Whether it is in use.
    async fn status(&self) -> RuleStatus {
        self.0.head.status.into()
    }

    /// When it was set first.
    async fn created_at(&self) -> tributary_entity::Instant {
        self.0.head.created_at
    }

    /// When it was last set, or archived.
    async fn updated_at(&self) -> tributary_entity::Instant {
        self.0.head.updated_at
    }
}

/// A percentage that is taken off, as a line of its own.
#[derive(SimpleObject)]
pub(super) struct RevenueDeduction {
    /// Such as "gaming duty".
    name: String,
    /// How much, in percent of the basis.
    percent: Decimal,
    /// Of what.
    basis: DeductionBasis,
}

impl RevenueDeduction {
    fn of(deduction: &Deduction) -> Self {
        let Deduction { name, rate_ppm, basis } = deduction;
        Self { name: name.clone(), percent: Decimal(format_percent(*rate_ppm)), basis: (*basis).into() }
    }
}

/// Who bears a period's loss.
#[derive(SimpleObject)]
pub(super) struct RevenueCarryover {
    /// Who.
    kind: CarryoverKind,
    /// For how many periods; null unless it is `LIMITED`.
    periods: Option<i32>,
    /// From which win on a customer is set apart; null unless it is `HIGH_ROLLER`.
    limit: Option<Money>,
}

impl RevenueCarryover {
    fn of(carryover: Carryover) -> Self {
        let (kind, periods, limit) = match carryover {
            Carryover::None => (CarryoverKind::None, None, None),
            Carryover::Full => (CarryoverKind::Full, None, None),
            Carryover::Limited(periods) => (CarryoverKind::Limited, i32::try_from(periods).ok(), None),
            Carryover::HighRoller(limit) => (CarryoverKind::HighRoller, None, Some(limit.into())),
        };
        Self { kind, periods, limit }
    }
}

/// A fixed amount for each customer who qualifies, once in a campaign (qualified CPA).
#[derive(SimpleObject)]
pub(super) struct RevenueQualification {
    /// For each customer.
    amount: Money,
    /// What the customer has to pay in, at least; null is nothing.
    deposits: Option<Money>,
    /// What the customer has to stake, at least; null is nothing.
    stakes: Option<Money>,
    /// Days that the customer has for it, the one of its first record counted in; null is without end.
    days: Option<i32>,
}

impl RevenueQualification {
    fn of(cpa: QualifiedCpa) -> Self {
        let QualifiedCpa { amount, deposits, stakes, days } = cpa;
        Self { amount: amount.into(), deposits: deposits.map(Into::into), stakes: stakes.map(Into::into), days }
    }
}

/// A percentage that is taken off.
#[derive(Clone, InputObject)]
pub(super) struct RevenueDeductionInput {
    /// Such as "gaming duty"; at most 200 characters.
    name: String,
    /// From 0 to 100, at most 4 digits after the point.
    percent: Decimal,
    /// Of what.
    #[graphql(default_with = "DeductionBasis::Ggr")]
    basis: DeductionBasis,
}

impl RevenueDeductionInput {
    fn parse(self) -> Result<Deduction, Problem> {
        let rate_ppm = parse_percent(&["deductions", "percent"], &self.percent.0)?;
        Ok(Deduction { name: self.name, rate_ppm, basis: self.basis.into() })
    }
}

/// Who is to bear a period's loss.
#[derive(Clone, InputObject)]
pub(super) struct RevenueCarryoverInput {
    /// Who.
    kind: CarryoverKind,
    /// For how many periods, 1 to 120; with `LIMITED`, and only with it.
    periods: Option<i32>,
    /// From which win in a period on a customer is set apart; with `HIGH_ROLLER`, and only with it.
    limit: Option<MoneyInput>,
}

impl RevenueCarryoverInput {
    fn parse(self) -> Result<Carryover, Problem> {
        let problem = |code, part, message: &str| Problem::new(code, &["carryover", part], message);
        let limit = self.limit.map(|limit| limit.money(&["carryover", "limit"])).transpose()?;
        match (self.kind, self.periods, limit) {
            (CarryoverKind::None, None, None) => Ok(Carryover::None),
            (CarryoverKind::Full, None, None) => Ok(Carryover::Full),
            // What is negative is out of range as nothing is.
            (CarryoverKind::Limited, Some(periods), None) => {
                Ok(Carryover::Limited(u32::try_from(periods).unwrap_or_default()))
            }
            (CarryoverKind::HighRoller, None, Some(limit)) => Ok(Carryover::HighRoller(limit)),
            (CarryoverKind::Limited, None, _) => Err(problem(ProblemCode::Required, "periods", "how many periods")),
            (CarryoverKind::HighRoller, _, None) => Err(problem(ProblemCode::Required, "limit", "from which win on")),
            (_, Some(_), _) => Err(problem(ProblemCode::OutOfRange, "periods", "only with `LIMITED`")),
            (_, None, Some(_)) => Err(problem(ProblemCode::OutOfRange, "limit", "only with `HIGH_ROLLER`")),
        }
    }
}

/// An amount for each customer who qualifies, once in the campaign. All in its currency.
#[derive(Clone, InputObject)]
pub(super) struct RevenueQualificationInput {
    /// More than nothing.
    amount: MoneyInput,
    /// What the customer has to pay in, at least.
    deposits: Option<MoneyInput>,
    /// What the customer has to stake, at least.
    stakes: Option<MoneyInput>,
    /// Days that the customer has for it, the one of its first record counted in; absent is without end.
    days: Option<i32>,
}

impl RevenueQualificationInput {
    fn parse(self) -> Result<QualifiedCpa, Problem> {
        let money = |field, money: MoneyInput| money.money(&["qualified", field]);
        Ok(QualifiedCpa {
            amount: money("amount", self.amount)?,
            deposits: self.deposits.map(|deposits| money("deposits", deposits)).transpose()?,
            stakes: self.stakes.map(|stakes| money("stakes", stakes)).transpose()?,
            days: self.days,
        })
    }
}

/// What affiliates are to have of their customers' net revenue in a campaign, and for customers who qualify: a share, an
/// amount for each, or both.
#[derive(Clone, InputObject)]
pub(super) struct SetRevenueDealInput {
    /// Makes the call repeatable: the same key and input answers the first call's result.
    idempotency_key: Option<String>,
    /// Begins with `cmp_`.
    campaign_id: ID,
    /// Begins with `aff_`. Absent sets the deal of all affiliates without one of their own.
    affiliate_id: Option<ID>,
    /// The share of net revenue in percent, from 0 to 100, at most 4 digits after the point.
    #[graphql(default_with = "Decimal(\"0\".to_owned())")]
    share: Decimal,
    /// What is taken off gross revenue besides bonuses and chargebacks, in this order; at most 20.
    #[graphql(default)]
    deductions: Vec<RevenueDeductionInput>,
    /// Who bears a period's loss; absent is the tenant.
    carryover: Option<RevenueCarryoverInput>,
    /// How often it is settled.
    #[graphql(default_with = "SettlementPeriod::Month")]
    period: SettlementPeriod,
    /// Days from the end of a period until it is settled, for records that come late; at most 90.
    #[graphql(default = 0)]
    wait_days: i32,
    /// The amount for each customer who qualifies.
    qualified: Option<RevenueQualificationInput>,
}

fn terms(
    share: Decimal,
    deductions: Vec<RevenueDeductionInput>,
    carryover: Option<RevenueCarryoverInput>,
    period: SettlementPeriod,
    wait_days: i32,
    qualified: Option<RevenueQualificationInput>,
) -> Result<Terms, Problem> {
    Ok(Terms {
        share_ppm: parse_percent(&["share"], &share.0)?,
        deductions: deductions.into_iter().map(RevenueDeductionInput::parse).collect::<Result<_, _>>()?,
        carryover: carryover.map_or(Ok(Carryover::None), RevenueCarryoverInput::parse)?,
        period: period.into(),
        wait_days,
        qualified: qualified.map(RevenueQualificationInput::parse).transpose()?,
    })
}

impl SetRevenueDealInput {
    fn parse(self) -> Result<NewDeal, Problem> {
        Ok(NewDeal {
            campaign_id: ids::parse(&["campaignId"], &self.campaign_id)?,
            affiliate_id: self.affiliate_id.map(|id| ids::parse(&["affiliateId"], &id)).transpose()?,
            terms: terms(self.share, self.deductions, self.carryover, self.period, self.wait_days, self.qualified)?,
        })
    }
}

/// Terms of a revenue deal, and what they are tried on.
#[derive(Clone, InputObject)]
pub(super) struct RevenueDealPreviewInput {
    /// Of all amounts.
    currency: CurrencyCode,
    /// As in `setRevenueDeal`.
    #[graphql(default_with = "Decimal(\"0\".to_owned())")]
    share: Decimal,
    /// As in `setRevenueDeal`.
    #[graphql(default)]
    deductions: Vec<RevenueDeductionInput>,
    /// As in `setRevenueDeal`.
    carryover: Option<RevenueCarryoverInput>,
    /// How long a period is.
    #[graphql(default_with = "SettlementPeriod::Month")]
    period: SettlementPeriod,
    /// As in `setRevenueDeal`; who qualifies is told with the periods.
    qualified: Option<RevenueQualificationInput>,
    /// A day of the first period.
    from: Date,
    /// One after the other, without a gap; 1 to 120, with at most 1,000 records in all.
    periods: Vec<PreviewRevenuePeriodInput>,
}

/// What an affiliate's customers might bring in a period.
#[derive(Clone, InputObject)]
pub(super) struct PreviewRevenuePeriodInput {
    /// Of one customer they are summed up.
    #[graphql(default)]
    records: Vec<PreviewRevenueInput>,
    /// How many customers qualify in it.
    #[graphql(default = 0)]
    qualified: i64,
}

/// What a customer might bring.
#[derive(Clone, InputObject)]
pub(super) struct PreviewRevenueInput {
    /// Any name; at most 255 characters.
    customer_id: String,
    /// Gross gaming revenue: stakes less winnings.
    ggr: Option<SignedMoneyInput>,
    /// What the customer is given.
    bonuses: Option<SignedMoneyInput>,
    /// Payments that are taken back.
    chargebacks: Option<SignedMoneyInput>,
}

impl PreviewRevenueInput {
    fn parse(self) -> Result<(String, Amounts), Problem> {
        let money = |name, money: Option<SignedMoneyInput>| {
            money.map(|money| money.money(&["periods", "records", name])).transpose()
        };
        let amounts = Amounts {
            ggr: money("ggr", self.ggr)?,
            bonuses: money("bonuses", self.bonuses)?,
            chargebacks: money("chargebacks", self.chargebacks)?,
            ..Amounts::default()
        };
        Ok((self.customer_id, amounts))
    }
}

impl PreviewRevenuePeriodInput {
    fn parse(self) -> Result<TrialPeriod, Problem> {
        let records = self.records.into_iter().map(PreviewRevenueInput::parse).collect::<Result<_, _>>()?;
        Ok(TrialPeriod { records, qualified: self.qualified })
    }
}

impl RevenueDealPreviewInput {
    fn parse(self) -> Result<Trial, Problem> {
        Ok(Trial {
            currency: self.currency.currency(&[])?,
            terms: terms(self.share, self.deductions, self.carryover, self.period, 0, self.qualified)?,
            from: self.from.0,
            periods: self.periods.into_iter().map(PreviewRevenuePeriodInput::parse).collect::<Result<_, _>>()?,
        })
    }
}

/// What a revenue deal would pay. Nothing was written.
#[derive(SimpleObject)]
pub(super) struct RevenueDealPreview {
    /// Each with what the one before left; at most 120.
    periods: Vec<RevenueReckoning>,
    /// What the affiliate would get in all.
    earned: Money,
}

#[derive(Default)]
pub(super) struct RevenueDealQuery;

#[Object]
impl RevenueDealQuery {
    /// Tries the terms of a revenue deal on what customers might bring, period by period, by the code that settles real ones.
    /// Nothing is written.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn revenue_deal_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The terms and the periods.")] input: RevenueDealPreviewInput,
    ) -> Result<RevenueDealPreview> {
        let (services, _) = ctx.caller()?;
        let trial = input.parse().or_graphql()?;
        let currency = trial.currency;
        let settled = services::revenue_deals::preview(services, trial).or_graphql()?;
        let mut earned = settled.iter().map(|row| row.share_minor + row.qualified_minor);
        let too_large = || ServiceError::from(Problem::new(ProblemCode::OutOfRange, &["periods"], "too large a sum"));
        let earned = earned.try_fold(0_i64, i64::checked_add).ok_or_else(too_large).or_graphql()?;
        Ok(RevenueDealPreview {
            earned: money::Money::new(earned, currency).into(),
            periods: settled.into_iter().map(RevenueReckoning).collect(),
        })
    }
}

/// Names a revenue deal that is to end.
#[derive(Clone, InputObject)]
pub(super) struct ArchiveRevenueDealInput {
    /// Makes the call repeatable.
    idempotency_key: Option<String>,
    /// Begins with `rvd_`.
    id: ID,
}

payload! {
    /// The revenue deal after the call.
    RevenueDealPayload {
        /// Null when the call was refused.
        revenue_deal: RevenueDeal
    }
}

#[derive(Default)]
pub(super) struct RevenueDealMutation;

#[Object]
impl RevenueDealMutation {
    /// Says what an affiliate, or all others of a campaign, have of their customers' net revenue. Periods that end from now
    /// on are settled by it, and what is open from before a deal was there.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn set_revenue_deal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deal.")] input: SetRevenueDealInput,
    ) -> Result<RevenueDealPayload> {
        let (services, viewer) = ctx.caller()?;
        let key = input.idempotency_key.clone();
        let result = async { services::revenue_deals::set(services, viewer, key.as_deref(), input.parse()?).await };
        RevenueDealPayload::answer(result.await)
    }

    /// Ends a revenue deal until it is set again. What is recorded without a deal waits for one.
    #[graphql(guard = "Needs(Permission::ManageCampaigns)")]
    async fn archive_revenue_deal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which deal.")] input: ArchiveRevenueDealInput,
    ) -> Result<RevenueDealPayload> {
        let (services, viewer) = ctx.caller()?;
        let result = async {
            let id = ids::parse(&["id"], &input.id).map_err(ServiceError::from)?;
            services::revenue_deals::archive(services, viewer, input.idempotency_key.as_deref(), id).await
        };
        RevenueDealPayload::answer(result.await)
    }
}
