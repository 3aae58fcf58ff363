//! Re-opening: a person takes up a conversion that was refused. It is decided anew as if its checks were waived, and waits
//! for a review.
//!
//! # Decisions
//! - What only a rule forbids is waived: window, minimum time, an invalid click, states of campaign, affiliate and enrollment.
//!   What cannot be computed stays refused (no such goal, click, coupon or touch), and so does a duplicate while the other
//!   one counts.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use tributary_entity::{Instant, conversion, ids::ConversionId, kinds::ConversionStatus};
use uuid::Uuid;

use super::snapshots_by_id;
use crate::{
    auth::Viewer,
    domain::{
        conversion::{Cause, Snapshot, step},
        problem::{Problem, ProblemCode},
        text,
        touches::Scrutiny,
    },
    services::{
        Outcome, ServiceError, Services, idempotency,
        ingest::{
            conversions::{Case, load_clicks, settle},
            programme::{BatchTotals, Programme},
        },
    },
    store::{conversions, error::StoreError, scope::Tx},
};

/// One call's conversions to take up again.
#[derive(Clone, Debug, Serialize)]
pub struct ReopenInput {
    pub ids: Vec<ConversionId>,
    pub note: Option<String>,
}

/// What became of each conversion of a call, in the order of its ids.
type Answers = Vec<Result<Snapshot, Problem>>;

/// How often a call that lost a race for a natural key is done again.
const ATTEMPTS: u32 = 3;

/// Re-opens conversions: each one that may be becomes PENDING (or HELD for a missing rate), each other one is answered with
/// its problem. All that happens, happens in one transaction.
///
/// # Errors
/// `IDEMPOTENCY_CONFLICT`; a note that is too long; as the database answers.
pub async fn reopen(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    mut input: ReopenInput,
) -> Result<Outcome<Answers>, ServiceError> {
    input.note = text::optional(&["note"], input.note.as_deref(), text::NOTE_MAX)?;
    for _ in 1..ATTEMPTS {
        match attempt(services, viewer, key, &input).await {
            Err(ServiceError::Store(error)) if error.was_second() => {}
            result => return result,
        }
    }
    attempt(services, viewer, key, &input).await
}

async fn attempt(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: &ReopenInput,
) -> Result<Outcome<Answers>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let marker = input.ids.first().map_or(Uuid::nil(), |id| id.uuid());
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "reopenConversions", input, marker).await?;
    if claimed.is_some() {
        let by_id = snapshots_by_id(&tx, &input.ids).await?;
        let answers = input.ids.iter().map(|id| {
            let snapshot = by_id.get(id).ok_or_else(|| Problem::not_found(&["ids"]))?;
            // Those that could not be re-opened are told so again.
            if snapshot.conversion.status == ConversionStatus::Rejected {
                Err(not_reopened())
            } else {
                Ok(snapshot.clone())
            }
        });
        return Ok(Outcome::replayed(answers.collect()));
    }
    let note = input.note.as_deref();
    let answers = reopen_all(&mut tx, &viewer.actor.to_string(), &input.ids, note, services.now()).await?;
    services.commit(tx).await?;
    let answer = |id| answers.get(id).cloned().unwrap_or_else(|| Err(Problem::not_found(&["ids"])));
    Ok(Outcome::done(input.ids.iter().map(answer).collect()))
}

/// Re-opens conversions, each that may be. Answers what each is then, or why it stays; nothing of what is not there.
///
/// # Errors
/// As the database answers, also for another conversion that was first with a natural key: the next try sees it.
pub(super) async fn reopen_all(
    tx: &mut Tx,
    actor: &str,
    ids: &[ConversionId],
    note: Option<&str>,
    now: Instant,
) -> Result<HashMap<ConversionId, Result<Snapshot, Problem>>, StoreError> {
    let distinct: BTreeSet<ConversionId> = ids.iter().copied().collect();
    let locked = conversions::lock_many(tx, &distinct.into_iter().collect::<Vec<_>>()).await?;
    let (rejected, others): (Vec<conversion::Model>, Vec<conversion::Model>) =
        locked.into_iter().partition(|row| may_reopen(row).is_ok());
    let mut answers: HashMap<ConversionId, Result<Snapshot, Problem>> =
        others.into_iter().filter_map(|row| Some((row.id, Err(may_reopen(&row).err()?)))).collect();
    let reopened: Vec<ConversionId> = rejected.iter().map(|row| row.id).collect();
    let known = load_clicks(tx, rejected.iter().filter_map(|row| row.sent_click_id).collect()).await?;
    let cases = rejected.into_iter().map(|row| Case::again(row, actor.into(), note, Scrutiny::Waived)).collect();
    let mut totals = BatchTotals::default();
    let settled = settle(tx, cases, &known, &mut Programme::default(), &mut totals, now).await?;
    totals.write(tx).await?;
    answers.extend(reopened.into_iter().zip(settled));
    Ok(answers)
}

fn may_reopen(row: &conversion::Model) -> Result<ConversionStatus, Problem> {
    step(Cause::Reopening, &["ids"], row.status, ConversionStatus::Pending)
}

fn not_reopened() -> Problem {
    Problem::new(ProblemCode::InvalidTransition, &["ids"], "the conversion could not be re-opened")
}
