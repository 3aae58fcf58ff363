//! The conversions of a batch: [traces](traces) looked up, decided in `domain`, [written](write) with everything that follows
//! from them. Conversions that [waited](waiting) for a click, or are taken up again by a person, go the same way.

mod book;
pub(in crate::services) mod rated;
mod rows;
mod traces;
pub(in crate::services) mod waiting;
mod write;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use tributary_entity::{
    Instant, click, conversion, goal,
    ids::{AffiliateId, CampaignId, ClickId, ConversionId, GoalId},
    kinds::{ConversionReason, ConversionStatus},
    money::Money,
    tenant,
};

use super::programme::{BatchTotals, Programme};
use crate::{
    domain::{
        commission::{Book, book::Deal},
        conversion::{self as rules, Decision, Facts, NewConversion, Promoter, Rated, Snapshot},
        fx_rate::Rates,
        problem::{Problem, ProblemCode},
        touches::{self, Named, Scrutiny},
    },
    services::{conversions as noun, overrides},
    store::{
        attributions, conversions,
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

use book::BatchBook;
pub(in crate::services) use traces::load_clicks;
use traces::{Trace, look_up};

/// A conversion to be decided: a new one, one that waited, or one that is taken up again.
pub(in crate::services) struct Case<'a> {
    pub id: ConversionId,
    pub input: Cow<'a, NewConversion>,
    /// As it stands, if it is recorded; locked.
    pub before: Option<conversion::Model>,
    /// Who did it, as the history has it.
    pub actor: Cow<'a, str>,
    /// For the history.
    pub note: Option<&'a str>,
    pub scrutiny: Scrutiny,
    /// The call carries an idempotency key.
    pub has_key: bool,
}

impl<'a> Case<'a> {
    /// Of a conversion that is recorded and to be decided anew.
    pub fn again(row: conversion::Model, actor: Cow<'a, str>, note: Option<&'a str>, scrutiny: Scrutiny) -> Self {
        let input = Cow::Owned(NewConversion::of_row(&row));
        Self { id: row.id, input, before: Some(row), actor, note, scrutiny, has_key: true }
    }

    fn occurred_at(&self, now: Instant) -> Instant {
        self.input.occurred_at.unwrap_or(now)
    }
}

/// Decides conversions and writes what follows. Answers in their order; who has to mend something is told so, and nothing
/// is written of it.
pub(in crate::services) async fn settle(
    tx: &mut Tx,
    cases: Vec<Case<'_>>,
    known: &HashMap<ClickId, click::Model>,
    programme: &mut Programme,
    totals: &mut BatchTotals,
    now: Instant,
) -> Result<Vec<Result<Snapshot, Problem>>, StoreError> {
    if cases.is_empty() {
        return Ok(Vec::new());
    }
    let traces = look_up(tx, &cases, known, programme, now).await?;
    let mut leads: Vec<Result<Lead<'_, '_>, Problem>> = Vec::with_capacity(cases.len());
    for (case, trace) in cases.iter().zip(&traces) {
        leads.push(match trace {
            Ok(trace) => Lead::of(case, trace, programme, now)?,
            Err(problem) => Err(problem.clone()),
        });
    }
    let mut taken = Taken::load(tx, leads.iter().flatten()).await?;
    let campaign_ids: BTreeSet<CampaignId> = leads.iter().flatten().filter_map(|lead| lead.trace.campaign_id).collect();
    let instants = cases.iter().map(|case| case.occurred_at(now)).collect();
    let campaign_ids = Vec::from_iter(campaign_ids);
    totals.caps.learn(tx, programme, &campaign_ids).await?;
    totals.caps.prepare(tx, &campaign_ids, &instants).await?;
    let counting: Vec<&Lead<'_, '_>> = leads.iter().flatten().collect();
    let rates = rated::rates(tx, counting.iter().copied(), programme, now).await?;
    let mut book = BatchBook::load(tx, &counting, known, programme, &rates, now).await?;
    let needs_tenant = leads.iter().flatten().any(|lead| lead.trace.campaign_id.is_none());
    let tenant = if needs_tenant { Some(programme.tenant(tx).await?.clone()) } else { None };
    let versions = decision_versions(tx, &cases).await?;
    let mut answers = Vec::with_capacity(cases.len());
    let mut batch = Batch { taken: &mut taken, totals: &mut *totals, book: &mut book, rates: &rates };
    for lead in leads {
        let snapshot = match lead {
            Ok(lead) => decided(tx, &lead, programme, &mut batch, tenant.as_ref(), now)?,
            Err(problem) => Err(problem),
        };
        answers.push(snapshot);
    }
    for snapshot in answers.iter_mut().flatten() {
        snapshot.set_decision_version(versions.get(&snapshot.conversion.id).map_or(1, |newest| newest + 1));
    }
    overrides::add(tx, programme, answers.iter_mut().flatten().collect()).await?;
    noun::carry_over(tx, &mut answers).await?;
    let written: Vec<(&Case<'_>, &Snapshot)> =
        cases.iter().zip(&answers).filter_map(|(case, answer)| Some((case, answer.as_ref().ok()?))).collect();
    write::write(tx, &written, totals, book, now).await?;
    Ok(answers)
}

/// The newest attribution decision of each conversion that has one.
async fn decision_versions(tx: &Tx, cases: &[Case<'_>]) -> Result<HashMap<ConversionId, i32>, StoreError> {
    let ids: Vec<ConversionId> = cases.iter().filter(|case| case.before.is_some()).map(|case| case.id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    // Oldest first: the newest stays in the map.
    let decisions = attributions::decisions(tx, &ids).await?;
    Ok(decisions.into_iter().map(|row| (row.conversion_id, row.version)).collect())
}

/// A case with its touches.
struct Lead<'a, 'case> {
    case: &'a Case<'case>,
    trace: &'a Trace,
    found: Result<touches::Found, ConversionReason>,
    /// The goal, where it counts once per click, and the click by which it counts.
    once: Option<(GoalId, ClickId)>,
}

impl<'a, 'case> Lead<'a, 'case> {
    fn of(
        case: &'a Case<'case>,
        trace: &'a Trace,
        programme: &Programme,
        now: Instant,
    ) -> Result<Result<Self, Problem>, StoreError> {
        let view = trace.view();
        let (found, goal) = match trace.campaign_id {
            None => (Err(touches::refusal_without_campaign(&view)), None),
            Some(id) => (
                touches::find(programme.campaign(id)?, &view, case.occurred_at(now), case.scrutiny),
                programme.goal(id, &case.input.goal),
            ),
        };
        let click_id = view.click.known().map(|click| click.id);
        let click_id = click_id.or(found.as_ref().ok().and_then(touches::Found::last_click));
        let once = goal.filter(|goal| goal.once_per_click).map(|goal| goal.id).zip(click_id);
        // Nothing could tell it from its own repetition.
        if case.before.is_none() && !case.has_key && case.input.order_id.is_none() && once.is_none() {
            let message = "this goal may count many times per click: send an orderId or an idempotencyKey";
            return Ok(Err(Problem::new(ProblemCode::Required, &["orderId"], message)));
        }
        Ok(Ok(Self { case, trace, found, once }))
    }
}

impl Lead<'_, '_> {
    /// The natural key that it takes; none for one without an order id.
    fn order(&self, campaign_id: CampaignId, goal: Option<&goal::Model>) -> Option<(CampaignId, GoalId, String)> {
        Some((campaign_id, goal?.id, self.case.input.order_id.clone()?))
    }

    /// Whom its touches lead to.
    fn affiliates(&self) -> impl Iterator<Item = AffiliateId> {
        self.found.iter().flat_map(|found| &found.touches).map(|touch| touch.affiliate_id)
    }
}

/// The natural keys that are already taken, by rows and by earlier cases.
#[derive(Default)]
struct Taken {
    orders: HashSet<(CampaignId, GoalId, String)>,
    clicks: HashSet<(GoalId, ClickId)>,
}

impl Taken {
    async fn load<'a, 'case: 'a>(
        tx: &Tx,
        leads: impl Iterator<Item = &'a Lead<'a, 'case>> + Clone,
    ) -> Result<Self, StoreError> {
        let orders: BTreeSet<&String> = leads.clone().filter_map(|lead| lead.case.input.order_id.as_ref()).collect();
        let orders: Vec<String> = orders.into_iter().cloned().collect();
        let clicks: BTreeSet<(GoalId, ClickId)> = leads.filter_map(|lead| lead.once).collect();
        Ok(Self {
            orders: conversions::orders_taken(tx, &orders).await?,
            clicks: conversions::clicks_taken(tx, &clicks).await?,
        })
    }
}

/// What the cases of a batch take, one after the other.
struct Batch<'a> {
    taken: &'a mut Taken,
    totals: &'a mut BatchTotals,
    book: &'a mut BatchBook,
    rates: &'a Rates,
}

/// What cases are held against.
struct Past<'a> {
    taken: &'a Taken,
    book: &'a Book,
    rates: &'a Rates,
}

/// What is known of a case whose campaign is known.
fn facts<'a>(
    lead: &'a Lead<'_, '_>,
    programme: &'a Programme,
    promoters: &'a BTreeMap<AffiliateId, Promoter<'a>>,
    Past { taken, book, rates }: Past<'a>,
    campaign_id: CampaignId,
    now: Instant,
) -> Result<Facts<'a>, StoreError> {
    let Lead { case, found, once, .. } = lead;
    let campaign = programme.campaign(campaign_id)?;
    let goal = programme.goal(campaign.id, &case.input.goal);
    let order = lead.order(campaign_id, goal);
    // What a conversion has taken itself is not taken from it.
    let (own_order, own_click) = case
        .before
        .as_ref()
        .map_or((false, false), |row| (row.unique_order_id.is_some(), row.unique_click_id.is_some()));
    let sale = case.input.sale.unwrap_or(Money::zero(campaign.currency));
    let on = case.occurred_at(now).date_naive();
    Ok(Facts {
        sale,
        rated: Rated::of(sale, campaign.currency, || rates.find(sale.currency, campaign.currency, on)),
        occurred_at: case.occurred_at(now),
        campaign,
        goal,
        found: found.as_ref().map_err(|reason| *reason),
        promoters,
        rules: programme.rules(campaign.id),
        book,
        customer_id: case.input.customer_id.as_deref(),
        product_id: case.input.product_id.as_deref(),
        coupon_code: case.input.coupon_code.as_deref(),
        order_taken: !own_order && order.as_ref().is_some_and(|order| taken.orders.contains(order)),
        click_taken: !own_click && once.is_some_and(|once| taken.clicks.contains(&once)),
        scrutiny: case.scrutiny,
        needs_review: case.input.needs_review,
    })
}

/// Decides one case. A problem for one that is taken up again and cannot be credited.
fn decided(
    tx: &Tx,
    lead: &Lead<'_, '_>,
    programme: &Programme,
    batch: &mut Batch<'_>,
    tenant: Option<&tenant::Model>,
    now: Instant,
) -> Result<Result<Snapshot, Problem>, StoreError> {
    let Some(campaign_id) = lead.trace.campaign_id else {
        let tenant = tenant.ok_or_else(|| StoreError::inconsistent("tenant", "not read"))?;
        return Ok(without_campaign(tx, lead, tenant, now));
    };
    let Lead { case, trace, found, once } = lead;
    let campaign = programme.campaign(campaign_id)?;
    let goal = programme.goal(campaign.id, &case.input.goal);
    let promoters = promoters(lead, programme, campaign_id)?;
    let past = Past { taken: batch.taken, book: &batch.book.book, rates: batch.rates };
    let facts = facts(lead, programme, &promoters, past, campaign_id, now)?;
    let (sale, rated) = (facts.sale, facts.rated);
    let mut decision = rules::decide(&facts).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let mut held_until = None;
    if decision.reason == found.as_ref().err().copied() && decision.status == ConversionStatus::Rejected {
        held_until = waiting::until(case, trace, campaign.click_wait_secs, now);
    }
    if held_until.is_some() {
        decision = Decision::awaits_click();
    } else {
        decision = batch.totals.caps.admit(case.id, &facts, decision)?;
    }
    if case.scrutiny == Scrutiny::Waived && decision.status == ConversionStatus::Rejected {
        return Ok(Err(still_refused(decision.reason)));
    }
    // A refused conversion does not use up its order id: the sender may mend what was wrong and send it again.
    let counts = decision.status != ConversionStatus::Rejected && held_until.is_none();
    if counts {
        let order = lead.order(campaign_id, goal);
        batch.taken.orders.extend(order);
        batch.taken.clicks.extend(*once);
        if let Some(rated) = rated {
            let deal = Deal {
                campaign_id,
                occurred_at: case.occurred_at(now),
                sale: rated.sale,
                left_minor: rated::left(&rated, sale, case),
                customer_id: case.input.customer_id.as_deref(),
            };
            batch.book.enter(tx, case.id, &deal, &decision.commissions);
        }
    }
    let row = conversion::Model {
        campaign_id: Some(campaign.id),
        goal_id: goal.map(|goal| goal.id),
        held_until,
        unique_order_id: case.input.order_id.clone().filter(|_| counts),
        unique_click_id: once.filter(|_| counts).map(|(_, click_id)| click_id),
        ..rows::conversion(tx, case, &decision, sale, campaign.currency, now)
    };
    rows::snapshot(rated::written(row, rated)?, trace, &decision, campaign, now).map(Ok)
}

/// A conversion that nothing leads to a campaign: recorded, refused; or it waits for its click.
fn without_campaign(tx: &Tx, lead: &Lead<'_, '_>, tenant: &tenant::Model, now: Instant) -> Result<Snapshot, Problem> {
    let Lead { case, trace, found, .. } = lead;
    let held_until = waiting::until(case, trace, tenant.click_wait_secs, now);
    let reason = found.as_ref().err().copied().unwrap_or(ConversionReason::NoTouch);
    if case.scrutiny == Scrutiny::Waived {
        return Err(still_refused(Some(reason)));
    }
    let decision = if held_until.is_some() { Decision::awaits_click() } else { Decision::refused(reason) };
    let sale = case.input.sale.unwrap_or(Money::zero(tenant.currency));
    let row = conversion::Model { held_until, ..rows::conversion(tx, case, &decision, sale, sale.currency, now) };
    Ok(Snapshot { conversion: row, decision: None, touches: Vec::new(), commissions: Vec::new() })
}

/// Whom the touches of a case lead to.
fn promoters<'p>(
    lead: &Lead<'_, '_>,
    programme: &'p Programme,
    campaign_id: CampaignId,
) -> Result<BTreeMap<AffiliateId, Promoter<'p>>, StoreError> {
    let touches = lead.found.iter().flat_map(|found| &found.touches);
    let ids: BTreeSet<AffiliateId> = touches.map(|touch| touch.affiliate_id).collect();
    ids.into_iter()
        .map(|id| {
            let affiliate = programme.affiliate(id)?;
            Ok((id, Promoter { affiliate, enrollment: programme.enrollment(campaign_id, id) }))
        })
        .collect()
}

/// Why a conversion that is taken up again stays refused.
fn still_refused(reason: Option<ConversionReason>) -> Problem {
    let reason = reason.unwrap_or(ConversionReason::NoTouch);
    Problem::new(ProblemCode::InvalidTransition, &["ids"], format!("the conversion cannot be credited: {reason}"))
}

impl Trace {
    /// Whether the named click is not there.
    fn lacks_click(&self) -> bool {
        matches!(self.view().click, Named::Unknown)
    }
}
