//! What a plan would pay.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use tributary_entity::{Instant, ids::CampaignId, money};

use super::{
    bonus_rules::BonusThresholdInput,
    caps::CapAmountInput,
    click_rates::ClickRateTermsInput,
    context::{Needs, RequestData},
    error::IntoGraphql,
    explanation::{CommissionClamp, CommissionExplanation},
    fx_rates::FxQuote,
    ids,
    kinds::{CapMetric, CapPeriod},
    labels::SubLabelsInput,
    override_plans::OverrideLevelInput,
    plans::{CommissionTiersInput, RuleCriteriaInput},
    rules::CommissionTermsInput,
    scalars::{CurrencyCode, Decimal, Money, MoneyInput},
};
use crate::{
    auth::Permission,
    domain::{
        bonus_rule::{NewBonusRule, Threshold},
        click_rate::format_micros,
        commission::choose::Origin,
        override_plan::Level,
        problem::{Problem, ProblemCode},
        rule::{NewRule, parse_percent},
    },
    services::{
        self,
        commission_preview::{
            Bonus, Plan, Preview, Trial, TrialCap, TrialClickRate, TrialClicks, TrialEvent, TrialRule,
        },
    },
};

/// A plan, and what might happen. Give `campaignId`, or `rules` with their `currency`.
#[derive(Clone, InputObject)]
pub(super) struct CommissionPreviewInput {
    /// A campaign's rules as they stand, with its affiliates' groups and own rules; begins with `cmp_`.
    campaign_id: Option<ID>,
    /// Rules that are nowhere stored; 1 to 100.
    rules: Option<Vec<PreviewRuleInput>>,
    /// Of the rules given.
    currency: Option<CurrencyCode>,
    /// What groups would add for affiliates, with rules given.
    #[graphql(default)]
    modifiers: Vec<PreviewModifierInput>,
    /// What those above affiliates would earn on top. Absent takes a campaign's override plan as it stands, and nothing with
    /// rules.
    overrides: Option<PreviewOverridesInput>,
    /// What it may come to. Absent takes a campaign's caps as they stand, and none with rules; at most 100. Nothing is used of
    /// any before the first event.
    caps: Option<Vec<PreviewCapInput>>,
    /// What clicks earn by themselves. Absent takes a campaign's rates as they stand, and none with rules; at most 100.
    click_rates: Option<Vec<PreviewClickRateInput>>,
    /// What who brings enough is given. Absent takes those of a campaign's bonus rules that are in its currency, as they
    /// stand, and none with rules; at most 100. All events count for them, as if they were approved in time. Rules for all
    /// campaigns are not tried: they count what is brought elsewhere, too.
    bonuses: Option<Vec<PreviewBonusInput>>,
    /// With `clicks` 1 to 1,000; they are taken in the order of their time.
    #[graphql(default)]
    events: Vec<PreviewEventInput>,
    /// They are taken in the order of their time.
    #[graphql(default)]
    clicks: Vec<PreviewClicksInput>,
}

/// A rule that is tried.
#[derive(Clone, InputObject)]
pub(super) struct PreviewRuleInput {
    /// For people; at most 200 characters.
    name: String,
    /// What it pays.
    terms: CommissionTermsInput,
    /// The goal's code; absent means every goal.
    goal: Option<String>,
    /// The affiliates whose own it is, as an enrollment names it; absent makes it a default for all.
    #[graphql(default)]
    affiliates: Vec<String>,
    /// Its place, as in `createCommissionRule`.
    position: Option<i32>,
    /// For which events it is.
    criteria: Option<RuleCriteriaInput>,
    /// As in `createCommissionRule`.
    max_months: Option<i32>,
    /// Steps above its own terms.
    tiers: Option<CommissionTiersInput>,
}

/// What a group would add for an affiliate.
#[derive(Clone, InputObject)]
pub(super) struct PreviewModifierInput {
    /// As events name it.
    affiliate: String,
    /// Percent on top: 0 to 100, at most 4 digits after the point.
    percent: Decimal,
}

/// What clicks are tried to earn.
#[derive(Clone, InputObject)]
pub(super) struct PreviewClickRateInput {
    /// The affiliate whose own it is, as events name it; absent is for all without one of their own.
    affiliate: Option<String>,
    /// The rate.
    terms: ClickRateTermsInput,
}

/// A bonus that is tried.
#[derive(Clone, InputObject)]
pub(super) struct PreviewBonusInput {
    /// For people; at most 200 characters.
    name: String,
    /// How much an affiliate has to bring, inclusive.
    threshold: BonusThresholdInput,
    /// What is counted together, in the tenant's time zone. LIFETIME is given once.
    period: CapPeriod,
    /// What is given; more than nothing.
    amount: MoneyInput,
}

/// Unique valid clicks that might come.
#[derive(Clone, InputObject)]
pub(super) struct PreviewClicksInput {
    /// As events name it.
    affiliate: String,
    /// When: it matters to caps on clicks.
    occurred_at: Instant,
    /// How many; 1 to 1,000,000,000.
    count: i64,
}

/// A cap that is tried. Caps on clicks limit `clicks`, the others events.
#[derive(Clone, InputObject)]
pub(super) struct PreviewCapInput {
    /// Limits one affiliate, as events name it; absent limits all together.
    affiliate: Option<String>,
    /// What is limited.
    metric: CapMetric,
    /// After what it begins anew, in the tenant's time zone.
    period: CapPeriod,
    /// The most of a period.
    amount: CapAmountInput,
}

/// What those above affiliates would earn on top.
#[derive(Clone, InputObject)]
pub(super) struct PreviewOverridesInput {
    /// What each level earns: the parent's first, then the parent's parent's, and so on; at most 10.
    levels: Vec<OverrideLevelInput>,
}

/// What might happen: a conversion that one affiliate is credited with.
#[derive(Clone, InputObject)]
pub(super) struct PreviewEventInput {
    /// Any name; with a campaign, an affiliate's id brings its group and own rule.
    affiliate: String,
    /// The goal's code.
    #[graphql(default = "sale")]
    goal: String,
    /// When; of equal ones the first given comes first.
    occurred_at: Instant,
    /// What the customer would pay; absent for a lead. In another currency than the plan's it is reckoned by the tenant's
    /// rate of its day.
    sale_amount: Option<MoneyInput>,
    /// Who the customer is.
    customer_id: Option<String>,
    /// What would be bought.
    product_id: Option<String>,
    /// The coupon that would be used, in any case.
    coupon_code: Option<String>,
    /// Of the credited click; ISO 3166-1 alpha-2.
    country: Option<String>,
    /// Of the credited click.
    source: Option<String>,
    /// Of the credited click.
    labels: Option<SubLabelsInput>,
}

impl PreviewRuleInput {
    fn parse(self) -> Result<TrialRule, Problem> {
        let rule = NewRule {
            campaign_id: CampaignId::default(),
            goal_id: None,
            name: self.name,
            is_default: self.affiliates.is_empty(),
            terms: self.terms.parse_at(&["rules"])?,
            is_flat_refunded_in_part: false,
            group_id: None,
            position: self.position,
            criteria: self.criteria.unwrap_or_default().parse(&["rules", "criteria"])?,
            max_months: self.max_months,
            tiers: self.tiers.map(|tiers| tiers.parse(&["rules", "tiers"])).transpose()?,
        };
        Ok(TrialRule { rule, goal: self.goal, affiliates: self.affiliates })
    }
}

impl PreviewOverridesInput {
    fn parse(self) -> Result<Vec<Level>, Problem> {
        let levels: Result<_, _> = self.levels.iter().map(OverrideLevelInput::parse).collect();
        levels.map_err(|problem: Problem| problem.within("overrides"))
    }
}

impl PreviewCapInput {
    fn parse(self) -> Result<TrialCap, Problem> {
        let amount = self.amount.parse().map_err(|problem| problem.within("caps"))?;
        let (metric, period) = (self.metric.into(), self.period.into());
        Ok(TrialCap { affiliate: self.affiliate, metric, period, amount })
    }
}

impl PreviewClickRateInput {
    fn parse(self) -> Result<TrialClickRate, Problem> {
        let (kind, rate_micros) = self.terms.parse().map_err(|problem| problem.within("clickRates"))?;
        Ok(TrialClickRate { affiliate: self.affiliate, kind, rate_micros })
    }
}

impl PreviewBonusInput {
    fn parse(self) -> Result<NewBonusRule, Problem> {
        Ok(NewBonusRule {
            campaign_id: None,
            name: self.name,
            threshold: self.threshold.parse().map_err(|problem| problem.within("bonuses"))?,
            period: self.period.into(),
            amount: self.amount.money(&["bonuses", "amount"])?,
            hold_secs: 0,
            wait_days: 0,
        })
    }
}

impl From<PreviewClicksInput> for TrialClicks {
    fn from(input: PreviewClicksInput) -> Self {
        Self { affiliate: input.affiliate, occurred_at: input.occurred_at, count: input.count }
    }
}

impl PreviewEventInput {
    fn parse(self) -> Result<TrialEvent, Problem> {
        let labels = self.labels.map(SubLabelsInput::into_labels).unwrap_or_default();
        Ok(TrialEvent {
            affiliate: self.affiliate,
            goal: self.goal,
            occurred_at: self.occurred_at,
            sale: self.sale_amount.map(|sale| sale.money(&["events", "saleAmount"])).transpose()?,
            customer_id: self.customer_id,
            product_id: self.product_id,
            coupon_code: self.coupon_code,
            origin: Origin { country: self.country, source: self.source, labels },
        })
    }
}

impl CommissionPreviewInput {
    fn parse(self) -> Result<Trial, Problem> {
        let modifier = |modifier: PreviewModifierInput| {
            Ok((modifier.affiliate, parse_percent(&["modifiers", "percent"], &modifier.percent.0)?))
        };
        let plan = match (self.campaign_id, self.rules) {
            (Some(id), None) => Plan::Campaign(ids::parse(&["campaignId"], &id)?),
            (None, Some(rules)) => Plan::Rules {
                currency: self.currency.ok_or_else(|| Problem::required(&["currency"]))?.currency(&[])?,
                rules: rules.into_iter().map(PreviewRuleInput::parse).collect::<Result<_, _>>()?,
                modifiers: self.modifiers.into_iter().map(modifier).collect::<Result<_, Problem>>()?,
            },
            _ => {
                let message = "one of `campaignId` and `rules`";
                return Err(Problem::new(ProblemCode::Required, &["rules"], message));
            }
        };
        let events = self.events.into_iter().map(PreviewEventInput::parse).collect::<Result<_, _>>()?;
        let clicks = self.clicks.into_iter().map(TrialClicks::from).collect();
        let levels = self.overrides.map(PreviewOverridesInput::parse).transpose()?;
        let caps = self.caps.map(|caps| caps.into_iter().map(PreviewCapInput::parse).collect()).transpose()?;
        let click_rates = self.click_rates.map(|rates| rates.into_iter().map(PreviewClickRateInput::parse).collect());
        let bonuses = self.bonuses.map(|bonuses| bonuses.into_iter().map(PreviewBonusInput::parse).collect());
        let (click_rates, bonuses) = (click_rates.transpose()?, bonuses.transpose()?);
        Ok(Trial { plan, levels, caps, click_rates, bonuses, events, clicks })
    }
}

/// What a plan would pay. Nothing was written.
#[derive(SimpleObject)]
pub(super) struct CommissionPreview {
    /// What each event would earn, in the order given; at most 1,000.
    lines: Vec<CommissionPreviewLine>,
    /// What each affiliate's clicks would earn, by name; at most 1,000.
    clicks: Vec<CommissionPreviewClicks>,
    /// What would be given to who brought enough, as if the rules had always been there; at most 1,000.
    bonuses: Vec<CommissionPreviewBonus>,
    /// What each affiliate would earn in all, by name; at most 1,000.
    totals: Vec<CommissionPreviewTotal>,
}

/// What an event would earn.
#[derive(SimpleObject)]
pub(super) struct CommissionPreviewLine {
    /// As the event names it.
    affiliate: String,
    /// What it would earn when it came; zero where no rule applies.
    amount: Money,
    /// What later events of its period would add, where tiers rate anew.
    adjustment: Money,
    /// What a cap would leave of it where tiers rate it up, with what it had before; null where none would cut it.
    adjustment_clamp: Option<CommissionClamp>,
    /// It would not fit into a cap: it would be refused, and count for nothing.
    over_cap: bool,
    /// No exchange rate is known for its sale: it would wait for one, and counts for nothing here.
    waits_for_rate: bool,
    /// By what its sale was reckoned; null where it is in the plan's currency, and where it waits for a rate.
    fx: Option<FxQuote>,
    /// Both together.
    total: Money,
    /// Why; null where no rule applies.
    explanation: Option<CommissionExplanation>,
    /// What each level above would earn on top of the total, if somebody is there who may earn: the parent's first;
    /// at most 10.
    overrides: Vec<CommissionPreviewOverride>,
}

/// What a level above would earn on an event.
#[derive(SimpleObject)]
pub(super) struct CommissionPreviewOverride {
    /// 1 is the parent of who earned the commission.
    level: i32,
    /// Paid on top: it takes nothing from the commission.
    amount: Money,
}

/// What an affiliate's clicks would earn.
#[derive(SimpleObject)]
pub(super) struct CommissionPreviewClicks {
    /// As the clicks name it.
    affiliate: String,
    /// Those that fit into every cap.
    clicks: i64,
    /// Those that do not: they would be invalid.
    over_cap: i64,
    /// To a millionth of the currency's unit.
    accrued: Decimal,
    /// The whole smallest units of it, which are paid.
    amount: Money,
}

/// What would be given to who brought enough.
#[derive(SimpleObject)]
pub(super) struct CommissionPreviewBonus {
    /// As the events name it.
    affiliate: String,
    /// The bonus's name.
    name: String,
    /// From when it counts; of a milestone the beginning of time.
    from: Instant,
    /// Until when, exclusive: it is given then.
    until: Instant,
    /// The conversions that count; null where sales are counted.
    conversions: Option<i64>,
    /// The sales that count; null where conversions are counted.
    sale_amount: Option<Money>,
    /// What is given.
    amount: Money,
}

impl From<Bonus> for CommissionPreviewBonus {
    fn from(bonus: Bonus) -> Self {
        let Bonus { affiliate, name, reached, amount } = bonus;
        let (conversions, sale_amount) = match reached.counted {
            Threshold::Conversions(count) => (Some(count), None),
            Threshold::SaleAmount(sale) => (None, Some(sale.into())),
        };
        let (from, until) = (reached.from, reached.until);
        Self { affiliate, name, from, until, conversions, sale_amount, amount: amount.into() }
    }
}

/// What an affiliate would earn.
#[derive(SimpleObject)]
pub(super) struct CommissionPreviewTotal {
    /// As its events and clicks name it.
    affiliate: String,
    /// Of all its events and clicks, with its bonuses.
    total: Money,
}

impl From<(i32, money::Money)> for CommissionPreviewOverride {
    fn from((level, amount): (i32, money::Money)) -> Self {
        Self { level, amount: amount.into() }
    }
}

impl CommissionPreview {
    fn of(preview: Preview, affiliates: Vec<String>) -> Self {
        let money = |minor| Money::from(money::Money::new(minor, preview.currency));
        let lines = affiliates.into_iter().zip(preview.lines).map(|(affiliate, line)| CommissionPreviewLine {
            affiliate,
            amount: money(line.total_minor() - line.rerated_minor),
            adjustment: money(line.rerated_minor),
            adjustment_clamp: line.clamp.map(|clamp| CommissionClamp::of(clamp, preview.currency)),
            over_cap: line.is_over_cap,
            waits_for_rate: line.waits_for_rate,
            fx: line.fx.map(FxQuote::from),
            total: money(line.total_minor()),
            explanation: line.earned.map(CommissionExplanation),
            overrides: line.overrides.into_iter().map(CommissionPreviewOverride::from).collect(),
        });
        let clicks = preview.clicks.into_iter().map(|(affiliate, line)| CommissionPreviewClicks {
            affiliate,
            clicks: line.clicks,
            over_cap: line.over_cap,
            accrued: Decimal(format_micros(line.earned_micros)),
            amount: line.payable(preview.currency).into(),
        });
        let totals = preview.totals.into_iter();
        let totals = totals.map(|(affiliate, total)| CommissionPreviewTotal { affiliate, total: money(total) });
        Self {
            lines: lines.collect(),
            clicks: clicks.collect(),
            bonuses: preview.bonuses.into_iter().map(Into::into).collect(),
            totals: totals.collect(),
        }
    }
}

#[derive(Default)]
pub(super) struct CommissionPreviewQuery;

#[Object]
impl CommissionPreviewQuery {
    /// Tries a plan on events and clicks, by the code that pays for real ones. Nothing is written. Caps cut and refuse as they
    /// would, each from nothing used. Attribution is tried by `attributionPreview`, shares of net revenue by
    /// `revenueDealPreview`; refunds are not. Null where there is no such campaign.
    #[graphql(guard = "Needs(Permission::ReadRules)")]
    async fn commission_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The plan and the events.")] input: CommissionPreviewInput,
    ) -> Result<Option<CommissionPreview>> {
        let (services, viewer) = ctx.caller()?;
        let affiliates = input.events.iter().map(|event| event.affiliate.clone()).collect();
        let trial = input.parse().or_graphql()?;
        let preview = services::commission_preview::preview(services, viewer, trial).await.or_graphql()?;
        Ok(preview.map(|preview| CommissionPreview::of(preview, affiliates)))
    }
}
