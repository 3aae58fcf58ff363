//! The conversions of a batch: facts looked up, decided in `domain`, written with everything that follows from them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use tributary_entity::{
    Instant, attribution_decision, attribution_touch, click, commission, conversion, conversion_history,
    ids::{AffiliateId, CampaignId, ClickId, CommissionId, ConversionId, GoalId},
    kinds::{CommissionStatus, ConversionStatus, EventKind, TouchSource},
    money::{Currency, Money},
};

use super::programme::{BatchTotals, Programme};
use crate::{
    ambient,
    auth::Actor,
    domain::{
        attribution::{Means, Share},
        click::labels_json,
        conversion::{self as rules, Decision, Facts, NewConversion, Snapshot},
        event::NewEvent,
        ledger,
        problem::{Problem, ProblemCode},
        report::Totals,
    },
    services::{holds, ledger::post},
    store::{
        attributions, balances, clicks, commissions, conversions,
        error::{Constraint, StoreError},
        scope::Tx,
        tenants,
    },
};

/// A conversion to be recorded under an id.
pub(super) struct Fresh<'a> {
    /// In the batch.
    pub index: usize,
    pub id: ConversionId,
    pub input: &'a NewConversion,
    pub actor: &'a Actor,
    /// The call carries an idempotency key.
    pub has_key: bool,
}

/// The stored clicks that conversions name.
pub(super) async fn load_clicks(tx: &Tx, fresh: &[Fresh<'_>]) -> Result<HashMap<ClickId, click::Model>, StoreError> {
    let ids: BTreeSet<ClickId> = fresh.iter().map(|fresh| fresh.input.click_id).collect();
    let ids: Vec<ClickId> = ids.into_iter().collect();
    let mut known = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(1_000) {
        known.extend(clicks::get_many(tx, chunk).await?.into_iter().map(|row| (row.id, row)));
    }
    Ok(known)
}

/// A conversion that nothing can tell from its own repetition: no key, no order id, and the goal may count many times
/// per click.
fn is_unrepeatable(item: &Fresh<'_>, known: &HashMap<ClickId, click::Model>, programme: &Programme) -> bool {
    let once = known
        .get(&item.input.click_id)
        .and_then(|click| programme.goal(click.campaign_id, &item.input.goal))
        .is_some_and(|goal| goal.once_per_click);
    !item.has_key && item.input.order_id.is_none() && !once
}

/// Records conversions. Answers by their index in the batch.
pub(super) async fn record(
    tx: &mut Tx,
    fresh: Vec<Fresh<'_>>,
    mut known: HashMap<ClickId, click::Model>,
    new_clicks: &[(usize, click::Model)],
    programme: &Programme,
    totals: &mut BatchTotals,
    now: Instant,
) -> Result<Vec<(usize, Result<Snapshot, Problem>)>, StoreError> {
    known.extend(new_clicks.iter().map(|(_, row)| (row.id, row.clone())));
    let (refused, fresh): (Vec<Fresh<'_>>, Vec<Fresh<'_>>) =
        fresh.into_iter().partition(|item| is_unrepeatable(item, &known, programme));
    let refused = refused.into_iter().map(|item| {
        let message = "this goal may count many times per click: send an orderId or an idempotencyKey";
        (item.index, Err(Problem::new(ProblemCode::Required, &["orderId"], message)))
    });
    if fresh.is_empty() {
        return Ok(refused.collect());
    }
    let mut taken = Taken::load(tx, &fresh, &known, programme).await?;
    let mut recorded = Vec::with_capacity(fresh.len());
    for item in &fresh {
        let snapshot = match known.get(&item.input.click_id) {
            Some(click) => attributed(tx, item, click, programme, &mut taken, now)?,
            None => unattributed(tx, item, now).await?,
        };
        add_totals(totals, &snapshot.conversion)?;
        recorded.push((item.index, snapshot));
    }
    write(tx, &fresh, &recorded, now).await?;
    Ok(recorded.into_iter().map(|(index, snapshot)| (index, Ok(snapshot))).chain(refused).collect())
}

/// The natural keys that are already taken, by rows and by earlier items of the batch.
struct Taken {
    orders: HashSet<(CampaignId, GoalId, String)>,
    clicks: HashSet<(GoalId, ClickId)>,
}

impl Taken {
    async fn load(
        tx: &Tx,
        fresh: &[Fresh<'_>],
        known: &HashMap<ClickId, click::Model>,
        programme: &Programme,
    ) -> Result<Self, StoreError> {
        let orders: BTreeSet<&String> = fresh.iter().filter_map(|fresh| fresh.input.order_id.as_ref()).collect();
        let orders: Vec<String> = orders.into_iter().cloned().collect();
        let once: Vec<(GoalId, ClickId)> = fresh
            .iter()
            .filter_map(|fresh| {
                let click = known.get(&fresh.input.click_id)?;
                let goal = programme.goal(click.campaign_id, &fresh.input.goal)?;
                goal.once_per_click.then_some((goal.id, click.id))
            })
            .collect();
        let goal_ids: BTreeSet<GoalId> = once.iter().map(|(goal_id, _)| *goal_id).collect();
        let click_ids: BTreeSet<ClickId> = once.iter().map(|(_, click_id)| *click_id).collect();
        Ok(Self {
            orders: if orders.is_empty() { HashSet::new() } else { conversions::orders_taken(tx, &orders).await? },
            clicks: if once.is_empty() {
                HashSet::new()
            } else {
                let goal_ids: Vec<_> = goal_ids.into_iter().collect();
                let click_ids: Vec<_> = click_ids.into_iter().collect();
                conversions::clicks_taken(tx, &goal_ids, &click_ids).await?
            },
        })
    }
}

/// A conversion whose click is known: decided by its campaign.
fn attributed(
    tx: &Tx,
    item: &Fresh<'_>,
    click: &click::Model,
    programme: &Programme,
    taken: &mut Taken,
    now: Instant,
) -> Result<Snapshot, StoreError> {
    let input = item.input;
    let campaign = programme.campaign(click.campaign_id)?;
    let goal = programme.goal(campaign.id, &input.goal);
    let once = goal.filter(|goal| goal.once_per_click).map(|goal| (goal.id, click.id));
    let order = goal.zip(input.order_id.clone()).map(|(goal, order_id)| (campaign.id, goal.id, order_id));
    let facts = Facts {
        sale: input.sale.unwrap_or(Money::zero(campaign.currency)),
        occurred_at: input.occurred_at.unwrap_or(now),
        click,
        campaign,
        goal,
        affiliate: programme.affiliate(click.affiliate_id)?,
        enrollment: programme.enrollment(campaign.id, click.affiliate_id),
        rules: programme.rules(campaign.id),
        order_taken: order.as_ref().is_some_and(|order| taken.orders.contains(order)),
        click_taken: once.is_some_and(|once| taken.clicks.contains(&once)),
        needs_review: input.needs_review,
    };
    let decision = rules::decide(&facts).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let counts = decision.status != ConversionStatus::Rejected;
    // A refused conversion does not use up its order id: the sender may mend what was wrong and send it again.
    if counts {
        taken.orders.extend(order);
        taken.clicks.extend(once);
    }
    let approved_at = (decision.status == ConversionStatus::Approved).then_some(now);
    let payable_at = approved_at.map(|at| at + TimeDelta::seconds(campaign.hold_secs));
    let commissions = commission_rows(tx, item.id, &decision, payable_at, now)?;
    let commission_minor = commissions
        .iter()
        .try_fold(0_i64, |sum, row| sum.checked_add(row.amount_minor))
        .ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let row = conversion::Model {
        campaign_id: Some(campaign.id),
        goal_id: goal.map(|goal| goal.id),
        affiliate_id: Some(click.affiliate_id),
        click_id: Some(click.id),
        unique_order_id: input.order_id.clone().filter(|_| counts),
        unique_click_id: once.filter(|_| counts).map(|(_, click_id)| click_id),
        commission_minor,
        approved_at,
        payable_at,
        ..base_row(tx, item, &decision, facts.sale, campaign.currency, now)
    };
    let (decided, touches) = attribution_rows(&row, &decision, campaign, now);
    Ok(Snapshot { conversion: row, decision: decided, touches, commissions })
}

/// A conversion whose click id names no click: recorded, refused.
async fn unattributed(tx: &Tx, item: &Fresh<'_>, now: Instant) -> Result<Snapshot, StoreError> {
    let sale = match item.input.sale {
        Some(sale) => sale,
        None => Money::zero(tenants::get(tx).await?.currency),
    };
    let row = base_row(tx, item, &Decision::unknown_click(), sale, sale.currency, now);
    Ok(Snapshot { conversion: row, decision: None, touches: Vec::new(), commissions: Vec::new() })
}

fn base_row(
    tx: &Tx,
    item: &Fresh<'_>,
    decision: &Decision,
    sale: Money,
    commission_currency: Currency,
    now: Instant,
) -> conversion::Model {
    let input = item.input;
    conversion::Model {
        tenant_id: tx.scope().tenant_id(),
        id: item.id,
        campaign_id: None,
        goal_id: None,
        goal_code: input.goal.clone(),
        affiliate_id: None,
        click_id: None,
        sent_click_id: Some(input.click_id),
        visitor_id: None,
        coupon_code: None,
        held_until: None,
        order_id: input.order_id.clone(),
        unique_order_id: None,
        unique_click_id: None,
        customer_id: input.customer_id.clone(),
        status: decision.status,
        reason: decision.reason,
        sale_minor: sale.amount_minor,
        sale_currency: sale.currency,
        commission_minor: 0,
        commission_currency,
        labels: labels_json(&input.labels),
        occurred_at: input.occurred_at.unwrap_or(now),
        recorded_at: now,
        approved_at: None,
        payable_at: None,
        version: 1,
        updated_at: now,
    }
}

fn commission_rows(
    tx: &Tx,
    conversion_id: ConversionId,
    decision: &Decision,
    payable_at: Option<Instant>,
    now: Instant,
) -> Result<Vec<commission::Model>, StoreError> {
    let status = match decision.status {
        ConversionStatus::Approved => CommissionStatus::Pending,
        _ => CommissionStatus::Unapproved,
    };
    decision
        .commissions
        .iter()
        .map(|(affiliate_id, explanation)| {
            Ok(commission::Model {
                tenant_id: tx.scope().tenant_id(),
                id: CommissionId::from_uuid(ambient::new_uuid()),
                conversion_id,
                affiliate_id: *affiliate_id,
                status,
                amount_minor: explanation.amount.amount_minor,
                currency: explanation.amount.currency,
                adjusted_minor: 0,
                rule_id: explanation.rule_id,
                rule_version: explanation.rule_version,
                explanation: serde_json::to_string(explanation)
                    .map_err(|error| StoreError::inconsistent("commission", error))?,
                payable_at,
                released_at: None,
                created_at: now,
            })
        })
        .collect()
}

fn attribution_rows(
    row: &conversion::Model,
    decision: &Decision,
    campaign: &tributary_entity::campaign::Model,
    now: Instant,
) -> (Option<attribution_decision::Model>, Vec<attribution_touch::Model>) {
    if decision.shares.is_empty() {
        return (None, Vec::new());
    }
    let decided = attribution_decision::Model {
        tenant_id: row.tenant_id,
        conversion_id: row.id,
        version: 1,
        model: campaign.attribution_model,
        window_secs: campaign.attribution_window_secs,
        half_life_secs: campaign.attribution_half_life_secs,
        min_secs: campaign.attribution_min_secs,
        source: TouchSource::ClickId,
        decided_at: now,
    };
    let touches = (0..)
        .zip(&decision.shares)
        .map(|(position, Share { touch, millionths })| {
            let (click_id, coupon_id, occurred_at) = match touch.means {
                Means::Click(id) => (Some(id), None, Some(touch.occurred_at)),
                Means::Coupon(id) => (None, Some(id), None),
            };
            attribution_touch::Model {
                tenant_id: row.tenant_id,
                conversion_id: row.id,
                version: 1,
                position,
                click_id,
                affiliate_id: touch.affiliate_id,
                share_millionths: *millionths,
                coupon_id,
                occurred_at,
            }
        })
        .collect();
    (Some(decided), touches)
}

/// Rejected conversions count nowhere.
fn add_totals(totals: &mut BatchTotals, row: &conversion::Model) -> Result<(), StoreError> {
    let (Some(campaign_id), Some(affiliate_id)) = (row.campaign_id, row.affiliate_id) else { return Ok(()) };
    if row.status == ConversionStatus::Rejected {
        return Ok(());
    }
    let sale = Totals { conversions: 1, sale_minor: row.sale_minor, ..Totals::default() };
    totals.add(row.occurred_at, campaign_id, affiliate_id, row.sale_currency, sale)?;
    let commission = Totals { commission_minor: row.commission_minor, ..Totals::default() };
    totals.add(row.occurred_at, campaign_id, affiliate_id, row.commission_currency, commission)
}

/// Writes everything that follows from the conversions, table by table.
async fn write(
    tx: &mut Tx,
    fresh: &[Fresh<'_>],
    recorded: &[(usize, Snapshot)],
    now: Instant,
) -> Result<(), StoreError> {
    let snapshots = || recorded.iter().map(|(_, snapshot)| snapshot);
    conversions::insert(tx, snapshots().map(|snapshot| snapshot.conversion.clone()).collect()).await?;
    let history = fresh.iter().zip(snapshots()).map(|(item, snapshot)| conversion_history::Model {
        tenant_id: snapshot.conversion.tenant_id,
        conversion_id: item.id,
        version: 1,
        from_status: None,
        to_status: snapshot.conversion.status,
        reason: snapshot.conversion.reason,
        actor: item.actor.to_string(),
        note: None,
        recorded_at: now,
    });
    conversions::insert_history(tx, history.collect()).await?;
    attributions::insert(
        tx,
        snapshots().filter_map(|snapshot| snapshot.decision.clone()).collect(),
        snapshots().flat_map(|snapshot| snapshot.touches.clone()).collect(),
    )
    .await?;
    commissions::insert(tx, snapshots().flat_map(|snapshot| snapshot.commissions.clone()).collect()).await?;

    let mut journals = Vec::new();
    let mut unapproved: BTreeMap<(AffiliateId, Currency), i64> = BTreeMap::new();
    let mut due = BTreeSet::new();
    for Snapshot { conversion, commissions, .. } in snapshots() {
        let earned: Vec<(AffiliateId, Money)> =
            commissions.iter().map(|row| (row.affiliate_id, Money::new(row.amount_minor, row.currency))).collect();
        if conversion.status == ConversionStatus::Approved {
            let journal = ledger::conversion_approved(conversion.id, &earned)
                .map_err(|error| StoreError::inconsistent("journal", error))?;
            journals.extend(journal);
            due.extend(conversion.payable_at.filter(|_| !commissions.is_empty()));
        } else {
            for (affiliate_id, money) in earned {
                let sum = unapproved.entry((affiliate_id, money.currency)).or_default();
                *sum = sum.checked_add(money.amount_minor).ok_or(StoreError::Constraint(Constraint::CounterRange))?;
            }
        }
    }
    // Earnings before balances, as a review does: the other way round the two would wait for each other.
    if !unapproved.is_empty() {
        balances::add_unapproved(tx, &unapproved).await?;
    }
    post(tx, &journals, now).await?;
    holds::schedule(tx, due, now).await?;

    for snapshot in snapshots() {
        let event = NewEvent::new(EventKind::ConversionRecorded, snapshot.conversion.id.uuid(), snapshot, now)
            .of_campaign(snapshot.conversion.campaign_id)
            .of_affiliate(snapshot.conversion.affiliate_id);
        tx.record(event);
    }
    Ok(())
}
