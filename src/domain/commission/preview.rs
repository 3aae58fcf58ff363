//! A plan tried out: what rules would pay for a list of events, by the code that pays for real ones.
//!
//! # Decisions
//! - Each event is credited to one affiliate, whole: attribution is another preview's.
//! - Caps begin with nothing used, as tiers do with nothing counted. An event that does not fit is refused and counts for
//!   nothing; what a commission rises by later takes what room is left then.
//! - Events are taken in the order of their time, of equal ones in the order given.
//! - A sale that nobody knows a rate for would wait for one: until then it counts for nothing.
//! - Clicks come in lots, taken in the order of their time. What they earn is told in whole smallest units at the end, as what
//!   remains of a day goes to the next one.
//! - All that is brought counts for bonuses, as if it had been approved in time.
//! - Overrides are told for every level of the plan, as if somebody who may earn were there, of what the event comes to once
//!   tiers have rated it anew: who is above whom is not a part of the plan.

use std::collections::{BTreeMap, HashMap};

use chrono_tz::Tz;
use tributary_entity::{
    Instant, cap,
    ids::{AffiliateId, CampaignId, CapId, CommissionRuleId, GoalId},
    kinds::{CapMetric, TierMode},
    money::{Currency, Money},
};

use super::{
    Book, Explanation,
    book::Deal,
    caps::{Clamp, Course, Room, admit, amounts, course, granted},
    choose::{Occasion, Origin},
    split,
    tiers::{TierKey, reached},
};
use crate::domain::{
    attribution::WHOLE_MILLIONTHS,
    bonus_rule::Brought,
    cap::{self as rules, Demand, period_start},
    click_rate::{self, Rate},
    conversion::Rated,
    fx_rate::Quote,
    override_plan::{self, Ancestor},
    rule::Rule,
};

/// Events and lots of clicks of one preview.
pub const EVENTS_MAX: usize = 1_000;
/// Rules of one preview; of each kind.
pub const RULES_MAX: usize = 100;
/// Clicks of one lot.
pub const CLICKS_MAX: i64 = 1_000_000_000;
/// Caps of a plan that is nowhere stored.
pub const CAPS_MAX: usize = 100;

/// What might happen.
#[derive(Clone, Debug)]
pub struct Event {
    pub affiliate_id: AffiliateId,
    pub goal_id: GoalId,
    pub occurred_at: Instant,
    /// As it is made.
    pub sale: Money,
    /// The same in the plan's currency. None where it is in another one and no rate is known.
    pub rated: Option<Rated>,
    pub customer_id: Option<String>,
    pub product_id: Option<String>,
    pub coupon_code: Option<String>,
    pub origin: Origin,
}

/// Unique valid clicks that might come.
#[derive(Clone, Copy, Debug)]
pub struct Clicks {
    pub affiliate_id: AffiliateId,
    pub occurred_at: Instant,
    /// Up to [`CLICKS_MAX`].
    pub count: i64,
}

/// By what it is paid.
#[derive(Clone, Debug)]
pub struct Setting {
    pub campaign_id: CampaignId,
    pub rules: Vec<Rule>,
    /// The rules that enrollments name.
    pub own_rules: HashMap<AffiliateId, CommissionRuleId>,
    pub book: Book,
    /// What those above earn on top.
    pub overrides: Option<override_plan::Plan>,
    pub caps: Caps,
    /// What clicks earn; active ones.
    pub click_rates: Vec<Rate>,
}

/// Caps, and what events have taken of them.
#[derive(Clone, Debug, Default)]
pub struct Caps {
    caps: Vec<cap::Model>,
    used: HashMap<(CapId, Instant), i64>,
    /// By the event's place.
    taken: HashMap<(usize, CapId), i64>,
}

impl Caps {
    /// Of which nothing is used.
    pub fn new(caps: Vec<cap::Model>) -> Self {
        Self { caps, ..Self::default() }
    }

    fn rooms(&self, at: Instant, zone: Tz) -> Vec<Room<'_>> {
        let used =
            |cap: &cap::Model| self.used.get(&(cap.id, period_start(cap.period, at, zone))).copied().unwrap_or(0);
        self.caps.iter().map(|cap| Room { cap, used: used(cap), taken: 0 }).collect()
    }

    /// Takes an amount of each cap, in their order; or gives back.
    fn take(&mut self, place: usize, at: Instant, zone: Tz, amounts: &[i64]) {
        for (cap, amount) in self.caps.iter().zip(amounts) {
            let used = self.used.entry((cap.id, period_start(cap.period, at, zone))).or_default();
            *used = used.saturating_add(*amount);
            let taken = self.taken.entry((place, cap.id)).or_default();
            *taken = taken.saturating_add(*amount);
        }
    }

    /// Counts clicks as far as there is room for them. Answers how many that are.
    fn admit_clicks(&mut self, clicks: &Clicks, zone: Tz) -> i64 {
        let limits = |cap: &cap::Model| cap.metric == CapMetric::Clicks && rules::concerns(cap, clicks.affiliate_id);
        let keys = self.caps.iter().filter(|cap| limits(cap));
        let keys: Vec<_> =
            keys.map(|cap| ((cap.id, period_start(cap.period, clicks.occurred_at, zone)), cap.amount)).collect();
        let left = |(key, amount): &(_, i64)| amount - self.used.get(key).copied().unwrap_or(0);
        let count = keys.iter().map(left).fold(clicks.count, i64::min).max(0);
        for (key, _) in keys {
            *self.used.entry(key).or_default() += count;
        }
        count
    }

    /// Cuts what an event earns to what is left, and takes it. False where that refuses the event.
    fn admit(
        &mut self,
        place: usize,
        (event, sale_minor): (&Event, i64),
        zone: Tz,
        lines: &mut [(AffiliateId, Explanation)],
    ) -> bool {
        let (at, affiliate_id) = (event.occurred_at, event.affiliate_id);
        if !admit(lines, &mut self.rooms(at, zone), affiliate_id, sale_minor) {
            return false;
        }
        let granted = amounts(lines);
        let demand = Demand { affiliate_id, sale_minor, commissions: &granted };
        let amounts: Vec<i64> = self.caps.iter().map(|cap| demand.of(cap)).collect();
        self.take(place, at, zone, &amounts);
        true
    }

    /// By how much a commission changes that has `has_minor`, when its terms give so much more or less; and what cuts it.
    fn course(
        &mut self,
        (place, event): (usize, &Event),
        zone: Tz,
        (has_minor, clamp): (i64, Option<Clamp>),
        difference_minor: i64,
    ) -> (i64, Option<Clamp>) {
        let at = event.occurred_at;
        let limits = |room: &Room<'_>| room.limits(event.affiliate_id);
        let rooms = self.rooms(at, zone);
        let limiting: Vec<Room<'_>> = rooms.iter().filter(|room| limits(room)).cloned().collect();
        let (change, clamp) = match course(has_minor, clamp, difference_minor) {
            Course::Rises(earned_minor) => {
                let (granted, cut_by) = granted(&limiting, earned_minor - has_minor);
                let left_minor = has_minor + granted;
                (granted, cut_by.map(|cap_id| Clamp { cap_id, earned_minor, left_minor }))
            }
            Course::Falls(change, clamp) => (change, clamp),
        };
        // As much as it has taken can be given back.
        let has = |cap: &cap::Model| self.taken.get(&(place, cap.id)).copied().unwrap_or(0);
        let amount = |room: &Room<'_>| if limits(room) { change.max(-has(room.cap)) } else { 0 };
        let amounts: Vec<i64> = rooms.iter().map(amount).collect();
        self.take(place, at, zone, &amounts);
        (change, clamp)
    }
}

/// What became of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What it earned when it came; none where no rule applied.
    pub earned: Option<Explanation>,
    /// What later events of its period added, where tiers rate anew; negative where they took.
    pub rerated_minor: i64,
    /// What a cap left of it when it rose last; none where none cut it then.
    pub clamp: Option<Clamp>,
    /// It does not fit into a cap, and is refused.
    pub is_over_cap: bool,
    /// No rate is known for its sale: it waits for one.
    pub waits_for_rate: bool,
    /// By what its sale was reckoned; none where that was not needed.
    pub fx: Option<Quote>,
    /// What each level above would earn on that, the parent's first.
    pub overrides: Vec<(i32, Money)>,
    /// The step that it is rated at now.
    step: i64,
}

impl Line {
    /// What it comes to, in minor units.
    pub fn total_minor(&self) -> i64 {
        self.earned.as_ref().map_or(0, |earned| earned.amount.amount_minor) + self.rerated_minor
    }
}

/// What an affiliate's clicks come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClickLine {
    /// Those that fit into every cap.
    pub clicks: i64,
    pub over_cap: i64,
    /// In millionths of the major unit.
    pub earned_micros: i64,
}

impl ClickLine {
    /// The whole smallest units of it.
    pub fn payable(&self, currency: Currency) -> Money {
        click_rate::payable(self.earned_micros, currency).0
    }
}

/// What clicks earn. None when an amount is past what can be held.
pub fn simulate_clicks(setting: &Setting, clicks: &[Clicks]) -> Option<BTreeMap<AffiliateId, ClickLine>> {
    let mut caps = setting.caps.clone();
    let mut order: Vec<&Clicks> = clicks.iter().collect();
    order.sort_by_key(|lot| lot.occurred_at);
    let mut lines: BTreeMap<AffiliateId, ClickLine> = BTreeMap::new();
    for lot in order {
        let count = caps.admit_clicks(lot, setting.book.zone);
        let group = setting.book.groups.get(&lot.affiliate_id);
        let earned = click_rate::earned(setting.click_rates.iter(), lot.affiliate_id, group);
        let micros = earned.map_or(0, |(_, micros)| micros).checked_mul(count)?;
        let line = lines.entry(lot.affiliate_id).or_default();
        line.clicks += count;
        line.over_cap += lot.count - count;
        line.earned_micros = line.earned_micros.checked_add(micros)?;
    }
    Some(lines)
}

/// What counts for bonuses of events that came to these lines.
pub fn brought<'a>(events: &'a [Event], lines: &'a [Line]) -> impl Iterator<Item = Brought> + Clone + 'a {
    let counts = |line: &Line| !line.is_over_cap && !line.waits_for_rate;
    let counted = events.iter().zip(lines).filter(move |(_, line)| counts(line));
    counted.map(|(event, _)| Brought {
        affiliate_id: event.affiliate_id,
        occurred_at: event.occurred_at,
        sale: event.sale,
    })
}

/// What the events earn, in the order given. None when an amount is past what can be held.
pub fn simulate(mut setting: Setting, events: &[Event]) -> Option<Vec<Line>> {
    let mut lines = vec![Line::default(); events.len()];
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by_key(|place| events[*place].occurred_at);
    let mut of_period: BTreeMap<TierKey, Vec<usize>> = BTreeMap::new();
    for place in order {
        let event = &events[place];
        let Some(Rated { sale, fx }) = event.rated else {
            lines[place].waits_for_rate = true;
            continue;
        };
        lines[place].fx = fx;
        let deal = setting.deal(event, sale);
        let mut earned = setting.earned(&deal, event)?;
        if !setting.caps.admit(place, (event, sale.amount_minor), setting.book.zone, &mut earned) {
            lines[place].is_over_cap = true;
            continue;
        }
        setting.book.enter(&deal, &earned);
        let Some((affiliate_id, earned)) = earned.into_iter().next() else { continue };
        let key = earned.tier_key(affiliate_id);
        lines[place].step = earned.tier.map_or(0, |tier| tier.step);
        lines[place].earned = Some(earned);
        if let Some(key) = key {
            let places = of_period.entry(key).or_default();
            places.push(place);
            setting.rate_again(key, places, events, &mut lines)?;
        }
    }
    for (event, line) in events.iter().zip(&mut lines) {
        line.overrides = setting.on_top(event.affiliate_id, line)?;
    }
    Some(lines)
}

impl Setting {
    fn deal<'e>(&self, event: &'e Event, sale: Money) -> Deal<'e> {
        Deal {
            campaign_id: self.campaign_id,
            occurred_at: event.occurred_at,
            sale,
            left_minor: sale.amount_minor,
            customer_id: event.customer_id.as_deref(),
        }
    }

    fn earned(&self, deal: &Deal<'_>, event: &Event) -> Option<Vec<(AffiliateId, Explanation)>> {
        let occasion = Occasion {
            affiliate_id: event.affiliate_id,
            goal_id: event.goal_id,
            origin: Some(&event.origin),
            product_id: event.product_id.as_deref(),
            coupon_code: event.coupon_code.as_deref(),
            group_id: None,
            own_rule: self.own_rules.get(&event.affiliate_id).copied(),
        };
        split(deal.sale, &[(event.affiliate_id, WHOLE_MILLIONTHS)], |_| self.book.offer(&self.rules, deal, &occasion))
    }

    /// What every level of the plan would earn on what an event comes to.
    fn on_top(&self, affiliate_id: AffiliateId, line: &Line) -> Option<Vec<(i32, Money)>> {
        let (Some(plan), Some(earned)) = (&self.overrides, &line.earned) else { return Some(Vec::new()) };
        let amount = Money::new(line.total_minor(), earned.amount.currency);
        let base = Explanation { amount, ..earned.clone() };
        let somebody = |(level, _)| Ancestor { affiliate_id: AffiliateId::default(), level, may_earn: true };
        let chain: Vec<Ancestor> = (1..).zip(plan.levels()).map(somebody).collect();
        let claims = override_plan::claims(plan, affiliate_id, &base, &chain);
        let earned = override_plan::reckon(&claims)?;
        Some(claims.iter().zip(earned).map(|(claim, earned)| (claim.over.level, earned.amount)).collect())
    }

    /// Rates what a period earned at the step that it has reached.
    fn rate_again(&mut self, key: TierKey, places: &[usize], events: &[Event], lines: &mut [Line]) -> Option<()> {
        let Self { rules, book, caps, .. } = self;
        let Some(rule) = rules.iter().find(|rule| rule.head.id == key.rule_id) else { return Some(()) };
        let Some(tiers) = rule.plan.tiers.as_ref().filter(|tiers| tiers.mode == TierMode::Whole) else {
            return Some(());
        };
        let counted = book.tiers.get(&key).copied().unwrap_or_default();
        let step = reached(tiers, rule.base(), counted.of(tiers.basis)).from;
        for place in places {
            let line = &mut lines[*place];
            // What a cap cut when it came stays as it was cut.
            let earned = line.earned.as_ref().filter(|earned| line.step != step && earned.clamp.is_none());
            let Some(earned) = earned else { continue };
            let pays = |step| earned.at_step(rule, step, earned.sale.amount_minor, WHOLE_MILLIONTHS);
            let difference = pays(step)?.checked_sub(pays(line.step)?)?;
            let has = (line.total_minor(), line.clamp);
            let (change, clamp) = caps.course((*place, &events[*place]), book.zone, has, difference);
            line.rerated_minor = line.rerated_minor.checked_add(change)?;
            (line.step, line.clamp) = (step, clamp);
        }
        Some(())
    }
}
