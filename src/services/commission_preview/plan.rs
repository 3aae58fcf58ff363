//! What is tried, as what decides for real knows it: rows that are nowhere stored, and ids that stand for names.

use std::collections::HashMap;

use chrono_tz::Tz;
use tributary_entity::{
    Instant, affiliate_group, bonus_rule, cap, click_rate, commission_rule,
    ids::{
        AffiliateGroupId, AffiliateId, BonusRuleId, CampaignId, CapId, ClickRateId, CommissionRuleId, GoalId,
        OverridePlanId, TenantId,
    },
    kinds::{CapStatus, RuleStatus},
    money::{Currency, Money},
    override_plan,
};
use uuid::Uuid;

use super::{TrialCap, TrialClickRate, TrialClicks, TrialEvent, TrialRule};
use crate::{
    domain::{
        bonus_rule::NewBonusRule,
        click::labels,
        click_rate::{NewRate, Rate},
        commission::{
            Book,
            choose::Origin,
            preview::{CAPS_MAX, CLICKS_MAX, Caps, Clicks, Event, RULES_MAX, Setting},
        },
        conversion::Rated,
        coupon,
        fx_rate::Rates,
        instant,
        override_plan::{self as overrides, Level, NewPlan},
        problem::{Problem, ProblemCode},
        rule::{NewRule, Rule},
        text,
    },
    services::ServiceError,
    store::{
        affiliate_groups, affiliates, bonus_rules, campaigns, caps, click_rates, enrollments, goals, override_plans,
        rules, scope::Tx,
    },
};

/// The ids that stand for names.
#[derive(Default)]
pub(super) struct Names {
    affiliates: HashMap<String, AffiliateId>,
    goals: HashMap<String, GoalId>,
}

impl Names {
    fn affiliate(&mut self, name: &str) -> AffiliateId {
        let next = self.affiliates.len() as u128;
        *self.affiliates.entry(name.to_owned()).or_insert_with(|| AffiliateId::from_uuid(Uuid::from_u128(next + 1)))
    }

    fn goal(&mut self, code: &str) -> GoalId {
        let next = self.goals.len() as u128;
        *self.goals.entry(code.to_owned()).or_insert_with(|| GoalId::from_uuid(Uuid::from_u128(next + 1)))
    }

    /// The names that ids stand for.
    pub fn of_affiliates(self) -> HashMap<AffiliateId, String> {
        self.affiliates.into_iter().map(|(name, id)| (id, name)).collect()
    }

    fn named(&mut self, list: &str, name: &str) -> Result<AffiliateId, Problem> {
        Ok(self.affiliate(&text::required(&[list, "affiliate"], name, text::NAME_MAX)?))
    }

    pub fn clicks(&mut self, clicks: &TrialClicks) -> Result<Clicks, Problem> {
        if !(1..=CLICKS_MAX).contains(&clicks.count) {
            let message = format!("from 1 to {CLICKS_MAX}");
            return Err(Problem::new(ProblemCode::OutOfRange, &["clicks", "count"], message));
        }
        let affiliate_id = self.named("clicks", &clicks.affiliate)?;
        let occurred_at = instant::checked(&["clicks", "occurredAt"], clicks.occurred_at)?;
        Ok(Clicks { affiliate_id, occurred_at, count: clicks.count })
    }

    /// An event whose instant is checked.
    pub fn event(&mut self, event: &TrialEvent, currency: Currency, rates: &Rates) -> Result<Event, Problem> {
        let checked = |name: &str, text: Option<&str>| text::optional(&["events", name], text, text::REFERENCE_MAX);
        let sale = event.sale.unwrap_or(Money::zero(currency));
        let rate = || rates.find(sale.currency, currency, event.occurred_at.date_naive());
        let coupon_code = checked("couponCode", event.coupon_code.as_deref())?;
        Ok(Event {
            affiliate_id: self.named("events", &event.affiliate)?,
            goal_id: self.goal(&text::required(&["events", "goal"], &event.goal, text::REFERENCE_MAX)?),
            occurred_at: event.occurred_at,
            sale,
            rated: Rated::of(sale, currency, rate),
            customer_id: checked("customerId", event.customer_id.as_deref())?,
            product_id: checked("productId", event.product_id.as_deref())?,
            coupon_code: coupon_code.map(|code| coupon::canonical(&code)),
            origin: Origin {
                country: checked("country", event.origin.country.as_deref())?.map(|code| code.to_ascii_uppercase()),
                source: checked("source", event.origin.source.as_deref())?,
                labels: labels(event.origin.labels.clone())?,
            },
        })
    }
}

/// A campaign's rules, override plan, caps, click rates and bonus rules in its currency, with the groups and own rules of
/// those affiliates that are named by their ids; none where it is not there.
pub(super) async fn of_campaign(
    tx: &Tx,
    id: CampaignId,
    (events, clicks): (&[TrialEvent], &[TrialClicks]),
    names: &mut Names,
) -> Result<Option<(Currency, Setting, Vec<bonus_rule::Model>)>, ServiceError> {
    let Some(campaign) = campaigns::get(tx, id).await? else { return Ok(None) };
    for goal in goals::of_campaigns(tx, &[id]).await? {
        names.goals.insert(goal.code, goal.id);
    }
    if events.iter().any(|event| !names.goals.contains_key(&event.goal)) {
        return Err(ServiceError::not_found(&["events", "goal"]));
    }
    let named = events.iter().map(|event| &event.affiliate).chain(clicks.iter().map(|clicks| &clicks.affiliate));
    let named: Vec<AffiliateId> = named.filter_map(|name| name.trim().parse().ok()).collect();
    let known: Vec<AffiliateId> = affiliates::get_many(tx, &named).await?.into_iter().map(|row| row.id).collect();
    names.affiliates.extend(known.iter().map(|id| (id.to_string(), *id)));
    let groups = affiliate_groups::of_affiliates(tx, &known).await?;
    let pairs: Vec<_> = known.iter().map(|affiliate_id| (id, *affiliate_id)).collect();
    let own = enrollments::for_pairs(tx, &pairs).await?.into_iter();
    let own_rules = own.filter_map(|row| Some((row.affiliate_id, row.rule_id?))).collect();
    let rules = rules::of_campaigns(tx, &[id]).await?;
    let plans = override_plans::in_force(tx, &[id]).await?;
    let overrides = overrides::in_force(&plans, id).cloned();
    let book = Book { groups: groups.into_iter().collect(), ..Book::default() };
    let caps = Caps::new(caps::for_campaigns(tx, &[id]).await?);
    let click_rates = click_rates::in_force(tx, &[id]).await?;
    let is_tried = |rule: &bonus_rule::Model| rule.status == RuleStatus::Active && rule.currency == campaign.currency;
    let bonuses: Vec<_> = bonus_rules::of_campaigns(tx, &[id]).await?.into_iter().filter(is_tried).collect();
    let setting = Setting { campaign_id: id, rules, own_rules, book, overrides, caps, click_rates };
    Ok(Some((campaign.currency, setting, bonuses)))
}

/// Rules that are nowhere stored.
pub(super) fn of_rules(
    currency: Currency,
    trials: Vec<TrialRule>,
    modifiers: Vec<(String, i64)>,
    now: Instant,
    names: &mut Names,
) -> Result<Setting, Problem> {
    if let Some(problem) = Problem::batch_size(&["rules"], trials.len(), RULES_MAX) {
        return Err(problem);
    }
    let mut setting = Setting {
        campaign_id: CampaignId::default(),
        rules: Vec::with_capacity(trials.len()),
        own_rules: HashMap::new(),
        book: Book::default(),
        overrides: None,
        caps: Caps::default(),
        click_rates: Vec::new(),
    };
    for (number, TrialRule { rule, goal, affiliates }) in (1..).zip(trials) {
        let id = CommissionRuleId::from_uuid(Uuid::from_u128(number));
        let rule = rule.check().map_err(|problem| problem.within("rules"))?;
        let goal_id = goal.map(|code| names.goal(&code));
        let rule = trial(id, &rule, goal_id, affiliates.is_empty(), currency, now);
        setting.rules.push(rule.map_err(|problem| problem.within("rules"))?);
        for name in affiliates {
            // An enrollment names one rule.
            if setting.own_rules.insert(names.affiliate(&name), id).is_some() {
                let message = format!("`{name}` has a rule of its own already");
                return Err(Problem::new(ProblemCode::AlreadyExists, &["rules", "affiliates"], message));
            }
        }
    }
    for (name, modifier_ppm) in modifiers {
        let group = affiliate_group::Model {
            tenant_id: TenantId::default(),
            id: AffiliateGroupId::default(),
            name: "modifier".to_owned(),
            modifier_ppm,
            created_at: now,
            updated_at: now,
        };
        setting.book.groups.insert(names.affiliate(&name), group);
    }
    Ok(setting)
}

/// Caps that are nowhere stored; their ids are their numbers.
pub(super) fn of_caps(
    trials: Vec<TrialCap>,
    currency: Currency,
    now: Instant,
    names: &mut Names,
) -> Result<Vec<cap::Model>, Problem> {
    // None is a plan without caps.
    if let Some(problem) = Problem::batch_size(&["caps"], trials.len(), CAPS_MAX).filter(|_| !trials.is_empty()) {
        return Err(problem);
    }
    let cap = |(number, TrialCap { affiliate, metric, period, amount }): (u128, TrialCap)| {
        Ok(cap::Model {
            tenant_id: TenantId::default(),
            id: CapId::from_uuid(Uuid::from_u128(number)),
            campaign_id: CampaignId::default(),
            enrollment_id: None,
            affiliate_id: affiliate.map(|name| names.affiliate(&name)),
            metric,
            period,
            amount: amount.stored(metric, currency).map_err(|problem| problem.within("caps"))?,
            status: CapStatus::Active,
            created_at: now,
            updated_at: now,
        })
    };
    (1..).zip(trials).map(cap).collect()
}

/// Click rates that are nowhere stored.
pub(super) fn of_click_rates(
    trials: Vec<TrialClickRate>,
    now: Instant,
    names: &mut Names,
) -> Result<Vec<Rate>, Problem> {
    // None is a plan by which clicks earn nothing.
    if let Some(problem) = Problem::batch_size(&["clickRates"], trials.len(), RULES_MAX).filter(|_| !trials.is_empty())
    {
        return Err(problem);
    }
    let mut rates: Vec<Rate> = Vec::with_capacity(trials.len());
    for (number, TrialClickRate { affiliate, kind, rate_micros }) in (1..).zip(trials) {
        let affiliate_id = affiliate.map(|name| names.named("clickRates", &name)).transpose()?;
        if rates.iter().any(|rate| rate.head.affiliate_id == affiliate_id) {
            let message = "another rate for the same clicks";
            return Err(Problem::new(ProblemCode::AlreadyExists, &["clickRates", "affiliate"], message));
        }
        let head = click_rate::Model {
            tenant_id: TenantId::default(),
            id: ClickRateId::from_uuid(Uuid::from_u128(number)),
            campaign_id: CampaignId::default(),
            affiliate_id,
            group_id: None,
            current_version: 1,
            status: RuleStatus::Active,
            created_at: now,
            updated_at: now,
        };
        let new = NewRate { campaign_id: head.campaign_id, affiliate_id, group_id: None, kind, rate_micros };
        rates.push(Rate { terms: new.version(head.tenant_id, &head, now), head });
    }
    Ok(rates)
}

/// Bonus rules that are nowhere stored.
pub(super) fn of_bonuses(
    trials: Vec<NewBonusRule>,
    currency: Currency,
    now: Instant,
    zone: Tz,
) -> Result<Vec<bonus_rule::Model>, Vec<Problem>> {
    // None is a plan without bonuses.
    if let Some(problem) = Problem::batch_size(&["bonuses"], trials.len(), RULES_MAX).filter(|_| !trials.is_empty()) {
        return Err(vec![problem]);
    }
    let bonus = |(number, new): (u128, NewBonusRule)| {
        if new.amount.currency != currency {
            let message = format!("the plan's commissions are in {currency}");
            let field = ["bonuses", "amount", "currency"];
            return Err(vec![Problem::new(ProblemCode::CurrencyMismatch, &field, message)]);
        }
        let within = |problems: Vec<Problem>| -> Vec<Problem> {
            problems.into_iter().map(|problem| problem.within("bonuses")).collect()
        };
        let new = new.check().map_err(within)?;
        Ok(new.row(TenantId::default(), BonusRuleId::from_uuid(Uuid::from_u128(number)), now, zone))
    };
    (1..).zip(trials).map(bonus).collect()
}

/// Levels that are nowhere stored.
pub(super) fn of_levels(levels: Vec<Level>, currency: Currency, now: Instant) -> Result<overrides::Plan, Vec<Problem>> {
    let new = NewPlan { campaign_id: None, levels };
    if let Err(problems) = new.check(Some(currency)) {
        return Err(problems.into_iter().map(|problem| problem.within("overrides")).collect());
    }
    let head = override_plan::Model {
        tenant_id: TenantId::default(),
        id: OverridePlanId::default(),
        campaign_id: None,
        current_version: 1,
        status: RuleStatus::Active,
        created_at: now,
        updated_at: now,
    };
    Ok(overrides::Plan { terms: new.version(head.tenant_id, &head, now), head })
}

fn trial(
    id: CommissionRuleId,
    new: &NewRule,
    goal_id: Option<GoalId>,
    is_default: bool,
    currency: Currency,
    now: Instant,
) -> Result<Rule, Problem> {
    let head = commission_rule::Model {
        tenant_id: TenantId::default(),
        id,
        campaign_id: CampaignId::default(),
        goal_id,
        name: new.name.clone(),
        is_default,
        group_id: None,
        position: new.position,
        current_version: 1,
        status: RuleStatus::Active,
        created_at: now,
        updated_at: now,
    };
    let terms = new.terms.version(head.tenant_id, id, 1, currency, now)?;
    Ok(Rule { head, terms, plan: new.plan(currency)? })
}
