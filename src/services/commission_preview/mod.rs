//! A plan tried out on events and clicks: with rules that are given, or a campaign's as they stand. Nothing is written.

mod plan;

use std::collections::{BTreeMap, BTreeSet};

use tributary_entity::{
    Instant,
    ids::{AffiliateId, CampaignId},
    kinds::{CapMetric, CapPeriod, ClickRateKind},
    money::{Currency, Money},
};

use self::plan::Names;
use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        bonus_rule::{NewBonusRule, Reached, reached},
        cap::CapAmount,
        commission::{
            choose::Origin,
            preview::{Caps, ClickLine, EVENTS_MAX, Line, RULES_MAX, brought, simulate, simulate_clicks},
        },
        instant,
        override_plan::Level,
        problem::{Problem, ProblemCode},
        rule::NewRule,
    },
    store::{fx_rates, tenants},
};

/// By what is to be paid.
#[derive(Clone, Debug)]
pub enum Plan {
    /// The rules of a campaign, with its affiliates' groups and own rules, and all else that it pays by or limits.
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

/// What clicks are tried to earn.
#[derive(Clone, Debug)]
pub struct TrialClickRate {
    /// As events name it; none is for all without one of their own.
    pub affiliate: Option<String>,
    pub kind: ClickRateKind,
    pub rate_micros: i64,
}

/// Unique valid clicks that might come.
#[derive(Clone, Debug)]
pub struct TrialClicks {
    /// As events name it.
    pub affiliate: String,
    pub occurred_at: Instant,
    pub count: i64,
}

/// A plan, and what it is tried on.
#[derive(Clone, Debug)]
pub struct Trial {
    pub plan: Plan,
    /// What those above affiliates earn on top; none is what a campaign's plan says as it stands, and nothing with rules.
    pub levels: Option<Vec<Level>>,
    /// None takes a campaign's caps as they stand, and none with rules.
    pub caps: Option<Vec<TrialCap>>,
    /// None takes a campaign's rates as they stand, and none with rules.
    pub click_rates: Option<Vec<TrialClickRate>>,
    /// None takes those of a campaign's bonus rules that are in the plan's currency, as they stand, and none with rules.
    pub bonuses: Option<Vec<NewBonusRule>>,
    pub events: Vec<TrialEvent>,
    pub clicks: Vec<TrialClicks>,
}

/// What each event would earn, in the order given, what clicks would, and each affiliate in sum.
#[derive(Clone, Debug)]
pub struct Preview {
    pub currency: Currency,
    pub lines: Vec<Line>,
    /// By name, in the order of the names, as the sums are.
    pub clicks: BTreeMap<String, ClickLine>,
    /// In the order of the rules.
    pub bonuses: Vec<Bonus>,
    /// Of all three.
    pub totals: BTreeMap<String, i64>,
}

/// What would be given to who brought enough.
#[derive(Clone, Debug)]
pub struct Bonus {
    pub affiliate: String,
    /// The rule's name.
    pub name: String,
    pub reached: Reached,
    pub amount: Money,
}

/// Tries a plan. None where there is no such campaign.
///
/// # Errors
/// `NOT_FOUND` for a goal that the campaign does not have; `BATCH_SIZE` past [`EVENTS_MAX`] and the other limits of
/// previews; the problems of rules, levels, caps, click rates and bonuses; `CURRENCY_MISMATCH` for a bonus in another
/// currency; `OUT_OF_RANGE` for instants that are not taken, for more than [`EVENTS_MAX`] bonuses in the answer, and when
/// a sum is past what can be held.
pub async fn preview(services: &Services, viewer: &Viewer, trial: Trial) -> Result<Option<Preview>, ServiceError> {
    let Trial { plan, levels, caps, click_rates, bonuses, mut events, clicks } = trial;
    if let Some(problem) = Problem::batch_size(&["events"], events.len() + clicks.len(), EVENTS_MAX) {
        return Err(problem.into());
    }
    let tx = services.snapshot(viewer).await?;
    let (now, zone) = (services.now(), tenants::zone(&tx).await?);
    let mut names = Names::default();
    let (currency, mut setting, mut bonus_rules) = match plan {
        Plan::Campaign(id) => match plan::of_campaign(&tx, id, (&events, &clicks), &mut names).await? {
            Some(known) => known,
            None => return Ok(None),
        },
        Plan::Rules { currency, rules, modifiers } => {
            (currency, plan::of_rules(currency, rules, modifiers, now, &mut names)?, Vec::new())
        }
    };
    setting.book.zone = zone;
    if let Some(levels) = levels {
        setting.overrides = Some(plan::of_levels(levels, currency, now)?);
    }
    if let Some(caps) = caps {
        setting.caps = Caps::new(plan::of_caps(caps, currency, now, &mut names)?);
    }
    if let Some(rates) = click_rates {
        setting.click_rates = plan::of_click_rates(rates, now, &mut names)?;
    }
    if let Some(bonuses) = bonuses {
        bonus_rules = plan::of_bonuses(bonuses, currency, now, zone)?;
    }
    if bonus_rules.len() > RULES_MAX {
        let message = format!("the campaign has more than {RULES_MAX} bonus rules: say which in `bonuses`");
        return Err(Problem::new(ProblemCode::BatchSize, &["bonuses"], message).into());
    }
    let mut needs = BTreeSet::new();
    for TrialEvent { sale, occurred_at, .. } in &mut events {
        // Days that no database holds are never asked for.
        *occurred_at = instant::checked(&["events", "occurredAt"], *occurred_at)?;
        needs.extend(sale.map(|sale| (sale.currency, currency, occurred_at.date_naive())));
    }
    let rates = fx_rates::of_needs(&tx, needs.into_iter()).await?;
    let events: Vec<_> = events.iter().map(|event| names.event(event, currency, &rates)).collect::<Result<_, _>>()?;
    let clicks: Vec<_> = clicks.iter().map(|clicks| names.clicks(clicks)).collect::<Result<_, _>>()?;
    let past = |field| Problem::new(ProblemCode::OutOfRange, &[field], "a sum is past what can be held");
    let too_large = || past("events");
    let click_lines = simulate_clicks(&setting, &clicks).ok_or_else(|| past("clicks"))?;
    let lines = simulate(setting, &events).ok_or_else(too_large)?;
    let names = names.of_affiliates();
    let name = |id: AffiliateId| names.get(&id).cloned().unwrap_or_default();
    let given = bonus_rules.iter().flat_map(|rule| {
        let amount = Money::new(rule.amount_minor, rule.currency);
        let reached = reached(rule, brought(&events, &lines), zone).into_iter();
        reached.map(move |reached| (rule.name.clone(), reached, amount))
    });
    let bonuses: Vec<Bonus> = given
        .take(EVENTS_MAX + 1)
        .map(|(rule, reached, amount)| Bonus { affiliate: name(reached.affiliate_id), name: rule, reached, amount })
        .collect();
    if bonuses.len() > EVENTS_MAX {
        let message = format!("more than {EVENTS_MAX} bonuses would be given: try fewer rules at once");
        return Err(Problem::new(ProblemCode::OutOfRange, &["bonuses"], message).into());
    }
    let clicks: BTreeMap<String, ClickLine> = click_lines.into_iter().map(|(id, line)| (name(id), line)).collect();
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    let earned = events.iter().zip(&lines).map(|(event, line)| (name(event.affiliate_id), line.total_minor()));
    let of_clicks = clicks.iter().map(|(name, line)| (name.clone(), line.payable(currency).amount_minor));
    let of_bonuses = bonuses.iter().map(|bonus| (bonus.affiliate.clone(), bonus.amount.amount_minor));
    for (name, minor) in earned.chain(of_clicks).chain(of_bonuses) {
        let sum = totals.entry(name).or_default();
        *sum = sum.checked_add(minor).ok_or_else(too_large)?;
    }
    Ok(Some(Preview { currency, lines, clicks, bonuses, totals }))
}
