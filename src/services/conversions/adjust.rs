//! Adjusting: a conversion's sale has another amount, up or down. What was sent stays, and the difference is an event.
//!
//! # Decisions
//! - Commissions are reckoned anew by the rule that each names, in its version and at the step of its tiers at which it is
//!   rated, and split by the newest attribution: terms that changed since are not brought in. Tiers count the difference.
//! - What others earn on top is reckoned anew with the commission that it is on, by the terms that it was earned by.
//! - A commission rises by what caps on commission have left for it in the period of its conversion, and one that falls
//!   gives its room back; one that a cap cut when it was earned gets no more. Caps on conversions and sales limit what is
//!   taken in: they measure no sale that has another amount later, which cannot be refused as a new one can.
//! - A commission that others are reckoned from no more (the last attribution gives it no share) stays as it is, and what is
//!   on top of it with it.

use std::collections::HashMap;

use serde::Serialize;
use tributary_entity::{
    Instant, attribution_touch, commission, conversion,
    ids::{AffiliateId, ConversionChangeId, ConversionId},
    kinds::{ConversionChangeKind, ConversionReason},
    money::Money,
};

use super::{
    changes::{Cause, Locked, Step, write},
    newest_attributions,
    refund::{Changed, new_id},
};
use crate::{
    auth::Viewer,
    domain::{
        commission::{self as commission_rules, Explanation, Offer, gross},
        conversion::{Rated, Snapshot, sale_now},
        conversion_run::part_of_sale,
        override_plan::{self, Override},
        problem::{Problem, ProblemCode},
        reversal::{self, Effect, Line},
        text,
    },
    services::{
        Outcome, ServiceError, Services, idempotency,
        ingest::caps::BatchCaps,
        tiers::{earned_of, keep_clamp},
    },
    store::{
        error::{Constraint, StoreError},
        scope::Tx,
    },
};

/// What a conversion's sale is to be.
#[derive(Clone, Debug, Serialize)]
pub struct AdjustInput {
    pub id: ConversionId,
    pub sale: Money,
    pub note: Option<String>,
}

/// Gives a conversion's sale another amount.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_TRANSITION`; the amount's problems; `IDEMPOTENCY_CONFLICT`.
pub async fn adjust(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    mut input: AdjustInput,
) -> Result<Outcome<Changed>, ServiceError> {
    input.note = text::optional(&["note"], input.note.as_deref(), text::NOTE_MAX)?;
    let id = new_id();
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "adjustConversion", &input, id.uuid()).await?;
    if let Some(earlier) = claimed {
        return Ok(Outcome::replayed(Changed::load(&tx, ConversionChangeId::from_uuid(earlier)).await?));
    }
    let locked = Locked::load(&tx, &[input.id]).await?;
    let row = locked.rows.first().ok_or_else(|| ServiceError::not_found(&["id"]))?;
    let sale_minor = reversal::adjust(row, input.sale)?;
    let mut caps = BatchCaps::default();
    caps.hold(&mut tx, std::slice::from_ref(row)).await?;
    let lines = lines(&mut tx, &locked, &mut caps, row, sale_minor).await?;
    caps.write(&mut tx).await?;
    let effect = Effect { status: row.status, sale_minor, lines };
    let step = Step::new(id, cause(input.note.as_deref()), row.clone(), locked.commissions(row.id), effect);
    write(&mut tx, &viewer.actor.to_string(), &[step], services.now()).await?;
    let changed = Changed::load(&tx, id).await?;
    services.commit(tx).await?;
    Ok(Outcome::done(changed))
}

/// Gives each conversion's sale another amount, of each that may be: so many millionths of the one that it has. Answers what
/// each is then, or why it stays.
pub(super) async fn adjust_all(
    tx: &mut Tx,
    actor: &str,
    ids: &[ConversionId],
    part_ppm: i64,
    note: Option<&str>,
    now: Instant,
) -> Result<HashMap<ConversionId, Result<Snapshot, Problem>>, StoreError> {
    let locked = Locked::load(tx, ids).await?;
    let mut answers = HashMap::new();
    let mut steps = Vec::new();
    let mut caps = BatchCaps::default();
    caps.hold(tx, &locked.rows).await?;
    for row in &locked.rows {
        let difference = part_of_sale(row, part_ppm).and_then(|sale| {
            // What cannot be reckoned in the currency of its commissions is refused before anything is.
            let rated = locked.commissions(row.id).is_empty() || Rated::at(row, sale.amount_minor).is_some();
            let too_large = || Problem::new(ProblemCode::OutOfRange, &["percent"], "past what can be held");
            rated.then_some(sale).ok_or_else(too_large)
        });
        match difference.and_then(|sale| reversal::adjust(row, sale)) {
            Ok(sale_minor) => {
                let lines = lines(tx, &locked, &mut caps, row, sale_minor).await?;
                let effect = Effect { status: row.status, sale_minor, lines };
                steps.push(Step::new(new_id(), cause(note), row.clone(), locked.commissions(row.id), effect));
            }
            Err(problem) => _ = answers.insert(row.id, Err(problem)),
        }
    }
    caps.write(tx).await?;
    if !steps.is_empty() {
        let changed = write(tx, actor, &steps, now).await?;
        answers.extend(changed.into_iter().map(|(id, snapshot)| (id, Ok(snapshot))));
    }
    Ok(answers)
}

const fn cause(note: Option<&str>) -> Cause<'_> {
    Cause {
        kind: ConversionChangeKind::Adjustment,
        reason: ConversionReason::Manual,
        undoes_id: None,
        reference: None,
        note,
    }
}

/// What the difference does to each commission. `caps` hold the conversion.
async fn lines(
    tx: &mut Tx,
    locked: &Locked,
    caps: &mut BatchCaps,
    row: &conversion::Model,
    sale_minor: i64,
) -> Result<Vec<Line>, StoreError> {
    let commissions = locked.commissions(row.id);
    if commissions.is_empty() {
        return Ok(Vec::new());
    }
    let touches = newest_attributions(&*tx, &[row.id]).await?.pop().map(|(_, touches)| touches).unwrap_or_default();
    let sale = Rated::at(row, sale_now(row) + sale_minor).map(|rated| rated.sale);
    let sale = sale.ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let mut offers: HashMap<AffiliateId, Offer<'_>> = HashMap::new();
    let (own, on_top): (Vec<&commission::Model>, Vec<_>) = commissions.iter().partition(|row| row.level == 0);
    for row in &own {
        offers.insert(row.affiliate_id, locked.offer(row, sale.amount_minor)?);
    }
    let earned = commission_rules::split(sale, &credits(touches), |id| offers.get(&id).cloned())
        .ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    let mut earned: HashMap<AffiliateId, Explanation> = earned.into_iter().collect();
    let mut lines: Vec<Line> = Vec::with_capacity(commissions.len());
    for own in own {
        let Some(earned) = earned.get_mut(&own.affiliate_id) else { continue };
        // What was taken back of it is never more than it is.
        let proposed = earned.amount.amount_minor.max(own.reversed_minor);
        let (difference, clamp) = caps.measure(row, own, proposed)?;
        earned.amount.amount_minor = gross(own).amount_minor + difference;
        lines.extend(reversal::adjusted(own, earned.amount.amount_minor));
        keep_clamp(tx, own, clamp).await?;
    }
    let overrides = overrides(on_top)?;
    let proposed = override_plan::anew(&overrides, |id| earned.get(&id).cloned())
        .ok_or(StoreError::Constraint(Constraint::CounterRange))?;
    lines.extend(overrides.iter().filter_map(|(row, _)| reversal::adjusted(row, *proposed.get(&row.id)?)));
    Ok(lines)
}

/// Commissions that are on top of others, with what they are on.
fn overrides(rows: Vec<&commission::Model>) -> Result<Vec<(&commission::Model, Override)>, StoreError> {
    let over = |row| Ok(earned_of(row)?.over.map(|over| (row, over)));
    rows.into_iter().filter_map(|row| over(row).transpose()).collect()
}

/// What of a conversion each affiliate is credited with, in the order of their first touch.
fn credits(mut touches: Vec<attribution_touch::Model>) -> Vec<(AffiliateId, i32)> {
    touches.sort_unstable_by_key(|touch| touch.position);
    let mut credits: Vec<(AffiliateId, i32)> = Vec::new();
    for touch in touches {
        match credits.iter_mut().find(|(id, _)| *id == touch.affiliate_id) {
            Some((_, share)) => *share += touch.share_millionths,
            None => credits.push((touch.affiliate_id, touch.share_millionths)),
        }
    }
    credits
}
