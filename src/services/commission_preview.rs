//! A plan tried out on a list of events: with rules that are given, or a campaign's as they stand. Nothing is written.

use std::collections::{BTreeMap, HashMap};

use tributary_entity::{
    Instant, affiliate_group, cap, commission_rule,
    ids::{AffiliateGroupId, AffiliateId, CampaignId, CapId, CommissionRuleId, GoalId, OverridePlanId},
    kinds::{CapMetric, CapPeriod, CapStatus, RuleStatus},
    money::{Currency, Money},
    override_plan,
};
use uuid::Uuid;

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        cap::CapAmount,
        click::labels,
        commission::{
            Book,
            choose::Origin,
            preview::{CAPS_MAX, Caps, EVENTS_MAX, Event, Line, RULES_MAX, Setting, simulate},
        },
        coupon,
        override_plan::{self as overrides, Level, NewPlan},
        problem::{Problem, ProblemCode},
        rule::{NewRule, Rule},
        text,
    },
    store::{
        affiliate_groups, affiliates, campaigns, caps, enrollments, goals, override_plans, rules, scope::Tx, tenants,
    },
};

/// By what is to be paid.
#[derive(Clone, Debug)]
pub enum Plan {
    /// The rules of a campaign, with its affiliates' groups and own rules, and its override plan.
    Campaign(CampaignId),
    Rules {
        currency: Currency,
        rules: Vec<TrialRule>,
        modifiers: Vec<(String, i64)>,
    },
}

/// A rule that is tried.
#[derive(Clone, Debug)]
pub struct TrialRule {
    /// Its campaign, goal and group mean nothing.
    pub rule: NewRule,
    /// A goal's code; none means every goal.
    pub goal: Option<String>,
    /// The affiliates whose own it is; none makes it a default.
    pub affiliates: Vec<String>,
}

/// What might happen.
#[derive(Clone, Debug)]
pub struct TrialEvent {
    /// Any name; with a campaign, the id of one of its affiliates brings group and own rule.
    pub affiliate: String,
    pub goal: String,
    pub occurred_at: Instant,
    pub sale: Option<Money>,
    pub customer_id: Option<String>,
    pub product_id: Option<String>,
    pub coupon_code: Option<String>,
    pub origin: Origin,
}

/// A cap that is tried.
#[derive(Clone, Debug)]
pub struct TrialCap {
    /// As events name it; none limits all together.
    pub affiliate: Option<String>,
    pub metric: CapMetric,
    pub period: CapPeriod,
    pub amount: CapAmount,
}

/// A plan, and what it is tried on.
#[derive(Clone, Debug)]
pub struct Trial {
    pub plan: Plan,
    /// What those above affiliates earn on top; none is what a campaign's plan says as it stands, and nothing with rules.
    pub levels: Option<Vec<Level>>,
    /// None takes a campaign's caps as they stand, and none with rules.
    pub caps: Option<Vec<TrialCap>>,
    pub events: Vec<TrialEvent>,
}

/// What each event would earn, in the order given, and each affiliate in sum.
#[derive(Clone, Debug)]
pub struct Preview {
    pub currency: Currency,
    pub lines: Vec<Line>,
    /// By name, in the order of the names.
    pub totals: BTreeMap<String, i64>,
}

/// Tries a plan. None where there is no such campaign.
///
/// # Errors
/// `NOT_FOUND` for a goal that the campaign does not have; `BATCH_SIZE` past [`EVENTS_MAX`], [`RULES_MAX`] or
/// [`CAPS_MAX`]; the problems of rules, levels and caps; `CURRENCY_MISMATCH` for a sale in another currency; `OUT_OF_RANGE`
/// when a sum is past what can be held.
pub async fn preview(services: &Services, viewer: &Viewer, trial: Trial) -> Result<Option<Preview>, ServiceError> {
    let Trial { plan, levels, caps, events } = trial;
    if let Some(problem) = Problem::batch_size(&["events"], events.len(), EVENTS_MAX) {
        return Err(problem.into());
    }
    let tx = services.snapshot(viewer).await?;
    let mut names = Names::default();
    let (currency, mut setting) = match plan {
        Plan::Campaign(id) => match of_campaign(&tx, id, &events, &mut names).await? {
            Some(known) => known,
            None => return Ok(None),
        },
        Plan::Rules { currency, rules, modifiers } => {
            (currency, of_rules(currency, rules, modifiers, services.now(), &mut names)?)
        }
    };
    if let Some(levels) = levels {
        setting.overrides = Some(of_levels(levels, currency, services.now())?);
    }
    if let Some(caps) = caps {
        setting.caps = Caps::new(of_caps(caps, currency, services.now(), &mut names)?);
    }
    setting.book.zone = tenants::zone(&tx).await?;
    let mut happening = Vec::with_capacity(events.len());
    for event in &events {
        happening.push(names.event(event, currency)?);
    }
    let too_large = || Problem::new(ProblemCode::OutOfRange, &["events"], "a sum is past what can be held");
    let lines = simulate(setting, &happening).ok_or_else(too_large)?;
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    for (event, line) in events.iter().zip(&lines) {
        let sum = totals.entry(event.affiliate.clone()).or_default();
        *sum = sum.checked_add(line.total_minor()).ok_or_else(too_large)?;
    }
    Ok(Some(Preview { currency, lines, totals }))
}

/// The ids that stand for names.
#[derive(Default)]
struct Names {
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

    fn event(&mut self, event: &TrialEvent, currency: Currency) -> Result<Event, Problem> {
        let checked = |name: &str, text: Option<&str>| text::optional(&["events", name], text, text::REFERENCE_MAX);
        let sale = event.sale.unwrap_or(Money::zero(currency));
        if sale.currency != currency {
            let message = format!("the plan's commissions are in {currency}");
            let field = ["events", "saleAmount", "currency"];
            return Err(Problem::new(ProblemCode::CurrencyMismatch, &field, message));
        }
        let coupon_code = checked("couponCode", event.coupon_code.as_deref())?;
        Ok(Event {
            affiliate_id: self.affiliate(&text::required(&["events", "affiliate"], &event.affiliate, text::NAME_MAX)?),
            goal_id: self.goal(&text::required(&["events", "goal"], &event.goal, text::REFERENCE_MAX)?),
            occurred_at: event.occurred_at,
            sale,
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

/// A campaign's rules and override plan, with the groups and own rules of those affiliates that are named by their ids; none
/// where it is not there.
async fn of_campaign(
    tx: &Tx,
    id: CampaignId,
    events: &[TrialEvent],
    names: &mut Names,
) -> Result<Option<(Currency, Setting)>, ServiceError> {
    let Some(campaign) = campaigns::get(tx, id).await? else { return Ok(None) };
    for goal in goals::of_campaigns(tx, &[id]).await? {
        names.goals.insert(goal.code, goal.id);
    }
    if events.iter().any(|event| !names.goals.contains_key(&event.goal)) {
        return Err(ServiceError::not_found(&["events", "goal"]));
    }
    let named: Vec<AffiliateId> = events.iter().filter_map(|event| event.affiliate.trim().parse().ok()).collect();
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
    Ok(Some((campaign.currency, Setting { campaign_id: id, rules, own_rules, book, overrides, caps })))
}

/// Rules that are nowhere stored.
fn of_rules(
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
            tenant_id: tributary_entity::ids::TenantId::default(),
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
fn of_caps(
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
            tenant_id: tributary_entity::ids::TenantId::default(),
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

/// Levels that are nowhere stored.
fn of_levels(levels: Vec<Level>, currency: Currency, now: Instant) -> Result<overrides::Plan, Vec<Problem>> {
    let new = NewPlan { campaign_id: None, levels };
    if let Err(problems) = new.check(Some(currency)) {
        return Err(problems.into_iter().map(|problem| problem.within("overrides")).collect());
    }
    let head = override_plan::Model {
        tenant_id: tributary_entity::ids::TenantId::default(),
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
        tenant_id: tributary_entity::ids::TenantId::default(),
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
