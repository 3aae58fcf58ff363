//! What crediting a period's conversions anew would come to. Nothing is written.

use tributary_entity::{ids::AffiliateId, money::Currency};

use super::reading::{self, Reader};
use crate::{
    auth::Viewer,
    domain::{
        problem::{Problem, ProblemCode},
        reattribution::{Effect, Outcome, Trial},
    },
    services::{ServiceError, Services},
    store::commissions,
};

/// Conversions that are looked at together.
const PAGE: u64 = 500;
/// The most affiliates that one preview tells of; the totals are of all.
pub const AFFILIATES_MAX: usize = 1_000;

/// A preview: the totals per currency, and the affiliates to whom it makes the most difference.
#[derive(Clone, Debug)]
pub struct Preview {
    pub conversions: i64,
    pub changed: i64,
    pub totals: Vec<(Currency, Effect)>,
    pub affiliates: Vec<(AffiliateId, Currency, Effect)>,
    /// How many there are, those that are not told of, too.
    pub affiliate_count: usize,
}

/// Tries another attribution on the conversions of a period, all of one moment.
///
/// # Errors
/// The input's problems; as the database answers.
pub async fn preview(services: &Services, viewer: &Viewer, trial: Trial) -> Result<Preview, ServiceError> {
    let trial = trial.check()?;
    let tx = services.snapshot(viewer).await?;
    let mut reader = Reader::new(trial.clone());
    let mut outcome = Outcome::default();
    let mut after = None;
    loop {
        let rows = reading::page(&tx, &trial, after, PAGE).await?;
        let Some(last) = rows.last() else { break };
        after = Some(reading::place(last));
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let is_last = (rows.len() as u64) < PAGE;
        let commissions = commissions::of_conversions(&tx, &ids).await?;
        for judged in reader.judge(&tx, rows, commissions).await? {
            if !outcome.add(judged.verdict.as_ref()) {
                return Err(too_large());
            }
        }
        if is_last {
            break;
        }
    }
    told(outcome)
}

fn told(outcome: Outcome) -> Result<Preview, ServiceError> {
    let totals = outcome.totals().ok_or_else(too_large)?.into_iter().collect();
    let mut affiliates: Vec<_> =
        outcome.affiliates.into_iter().map(|((currency, id), effect)| (id, currency, effect)).collect();
    let affiliate_count = affiliates.len();
    // A stable sort: those to whom it makes the same difference stay in the order of their ids.
    affiliates.sort_by_key(|(_, _, effect)| std::cmp::Reverse(effect.difference_minor().unsigned_abs()));
    affiliates.truncate(AFFILIATES_MAX);
    Ok(Preview { conversions: outcome.conversions, changed: outcome.changed, totals, affiliates, affiliate_count })
}

fn too_large() -> ServiceError {
    Problem::new(ProblemCode::OutOfRange, &["until"], "a sum is past what can be held; narrow the period").into()
}
