//! What banks write back, taken in: each file once, each line once; what a line says of a payout is done to it, and what
//! is about nothing that we know is kept for somebody to look at.
//!
//! # Decisions
//! - A line does what it can and says what it did; none stops the file. Whoever looks at the list sees every line.
//! - An amount that is not the payout's is no news of that payout; nor is a booking of a whole file news of any, if it is
//!   not their sum. Both are differences of the books, and so is what contradicts a payout's end; each line is one, once.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{PayoutFileId, PayoutId, PayoutNoticeId},
    kinds::{EventKind, PayoutFileFormat, PayoutNoticeOutcome, PayoutNoticeStatus, ReconciliationKind},
    money::Currency,
    payout, payout_file, payout_notice,
};

use super::{files::digest, move_on};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        bank::{
            nacha,
            notice::{self, FILE_MAX, Notice, NoticeStatus, Unreadable},
        },
        event::NewEvent,
        page::{Page, PageRequest},
        payout_deductions::net_minor,
        payout_notice::{Effect, effect, settled, under_way_minor},
        problem::{Problem, ProblemCode},
        text,
    },
    services::{
        Outcome, ServiceError, Services, idempotency,
        processors::differences::{self, Difference},
    },
    store::{
        error::{Constraint, StoreError},
        payout_files as store, payouts,
        scope::Tx,
    },
};

/// Lines of one file.
const LINES_MAX: usize = 5_000;

/// A bank's file.
#[derive(Clone, Debug, Serialize)]
pub struct Import {
    pub format: PayoutFileFormat,
    pub content: String,
}

/// Takes a bank's file in. The same file again changes nothing and answers the first one's row.
///
/// # Errors
/// `INVALID_TEXT` for a file that cannot be read; `OUT_OF_RANGE` for one that is too large, or of a format that banks do
/// not write; `IDEMPOTENCY_CONFLICT`; `ALREADY_EXISTS` when it was taken in at the same time.
pub async fn import(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: Import,
) -> Result<Outcome<payout_file::Model>, ServiceError> {
    let lines = read(&input)?;
    let digest = digest(&input.content);
    let id = PayoutFileId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let earlier = store::by_digest(&tx, &digest).await?;
    let result = earlier.as_ref().map_or(id, |file| file.id);
    let claim = (input.format, &digest);
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "importPayoutFile", &claim, result.uuid()).await?;
    if let Some(id) = claimed {
        let file = store::get(&tx, PayoutFileId::from_uuid(id)).await?;
        return Ok(Outcome::replayed(file.ok_or_else(|| ServiceError::not_found(&["content"]))?));
    }
    if let Some(file) = earlier {
        services.commit(tx).await?;
        return Ok(Outcome::replayed(file));
    }
    let now = services.now();
    let file = payout_file::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        format: input.format,
        batch_id: None,
        part: 1,
        paying_account_id: None,
        digest,
        items: i64::try_from(lines.len()).unwrap_or(i64::MAX),
        author: viewer.actor.to_string(),
        created_at: now,
    };
    store::insert(&mut tx, file.clone()).await.map_err(ServiceError::taken(
        Constraint::PayoutFile,
        &["content"],
        "the file was taken in at the same time",
    ))?;
    take_in(&mut tx, &viewer.actor.to_string(), &file, lines, now).await?;
    tx.record(NewEvent::new(EventKind::PayoutFileChanged, id.uuid(), &file, now));
    services.commit(tx).await?;
    Ok(Outcome::done(file))
}

fn read(input: &Import) -> Result<Vec<Notice>, Problem> {
    let field = &["content"];
    if input.content.len() > FILE_MAX {
        return Err(Problem::new(ProblemCode::OutOfRange, field, format!("at most {FILE_MAX} bytes")));
    }
    let lines = match input.format {
        PayoutFileFormat::PaymentStatusReport => notice::read_pain002(&input.content),
        PayoutFileFormat::DebitCreditNotification => notice::read_camt054(&input.content),
        PayoutFileFormat::NachaReturn => nacha::read(&input.content),
        PayoutFileFormat::SepaCreditTransfer | PayoutFileFormat::Nacha | PayoutFileFormat::Csv => {
            return Err(Problem::new(ProblemCode::OutOfRange, &["format"], "banks write no files of this format"));
        }
    };
    let lines = lines.map_err(|Unreadable(why)| Problem::new(ProblemCode::InvalidText, field, why))?;
    if lines.len() > LINES_MAX {
        return Err(Problem::new(ProblemCode::OutOfRange, field, format!("at most {LINES_MAX} lines")));
    }
    Ok(lines)
}

/// Does what each line says, and writes down what that was.
async fn take_in(
    tx: &mut Tx,
    actor: &str,
    file: &payout_file::Model,
    lines: Vec<Notice>,
    now: Instant,
) -> Result<(), ServiceError> {
    let references: BTreeSet<String> = lines.iter().filter_map(|line| line.reference.clone()).collect();
    let known = store::by_references(tx, &references).await?;
    let keys: BTreeSet<String> = lines.iter().map(|line| entry_key(file, line)).collect();
    let mut applied = store::applied(tx, &keys).await?;
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        let key = entry_key(file, &line);
        if applied.contains(&key) {
            let payout_id = line.reference.as_ref().and_then(|reference| known.get(reference)).copied();
            rows.push(row(file, &line, key, payout_id, PayoutNoticeOutcome::Repeated, now));
            continue;
        }
        let about = match about(tx, &line, &known).await? {
            Ok(about) => about,
            Err(Unmoved { outcome, difference }) => {
                if let Some(difference) = difference {
                    differences::tell(tx, &difference, now).await?;
                }
                rows.push(row(file, &line, key, None, outcome, now));
                continue;
            }
        };
        for (payout_id, line) in about {
            let outcome = apply(tx, actor, payout_id, &line, now).await?;
            if outcome == PayoutNoticeOutcome::Applied {
                applied.insert(key.clone());
            }
            rows.push(row(file, &line, key.clone(), Some(payout_id), outcome, now));
        }
    }
    Ok(store::insert_notices(tx, rows).await?)
}

/// What a line is that moves no payout, and in what it differs from our books.
struct Unmoved<'a> {
    outcome: PayoutNoticeOutcome,
    difference: Option<Difference<'a>>,
}

/// The payouts that a line is about, one or those of a whole file, and what it says of each; or what the line is, if it
/// moves none.
async fn about<'a>(
    tx: &Tx,
    line: &'a Notice,
    known: &BTreeMap<String, PayoutId>,
) -> Result<Result<Vec<(PayoutId, Notice)>, Unmoved<'a>>, StoreError> {
    let unknown = Ok(Err(Unmoved { outcome: PayoutNoticeOutcome::Unknown, difference: None }));
    let Some(reference) = &line.reference else { return unknown };
    if let Some(id) = known.get(reference) {
        return Ok(Ok(vec![(*id, line.clone())]));
    }
    let Ok(file) = reference.replacen('-', "_", 1).parse::<PayoutFileId>() else { return unknown };
    let payouts = store::lock_payouts(tx, file).await?;
    let Some(first) = payouts.first() else { return unknown };
    if line.amount_minor.is_none() {
        return Ok(Ok(payouts.iter().map(|row| (row.id, line.clone())).collect()));
    }
    let of = |row: &payout::Model| (row.id, Notice { amount_minor: Some(net_minor(row)), ..line.clone() });
    Ok(match settled(&payouts, line) {
        Ok(settled) => Ok(settled.into_iter().map(of).collect()),
        Err(outcome) => {
            let subject = format!("{file}:{}", name(line));
            let words = format!(
                "the bank says {:?} of a file as one sum, which is not that of what is under way of it",
                line.status
            );
            let new = Difference::new(first.method, ReconciliationKind::Amount, subject, &words);
            let ours_minor = Some(under_way_minor(&payouts));
            let difference = Difference { ours_minor, ..told(line, new, first.currency) };
            Err(Unmoved { outcome, difference: (outcome == PayoutNoticeOutcome::Refused).then_some(difference) })
        }
    })
}

/// A difference with what a line says. Where it says no currency that there is, its amount is in ours.
fn told<'a>(line: &'a Notice, difference: Difference<'a>, ours: Currency) -> Difference<'a> {
    Difference {
        external_id: Some(&line.key),
        currency: Some(currency(line).unwrap_or(ours)),
        theirs_minor: line.amount_minor,
        ..difference
    }
}

fn currency(line: &Notice) -> Option<Currency> {
    line.currency.as_deref()?.parse().ok()
}

/// A line's name at its bank, as far as an item needs it.
fn name(line: &Notice) -> String {
    line.key.chars().take(text::REFERENCE_MAX).collect()
}

/// Moves a payout as a line says.
async fn apply(
    tx: &mut Tx,
    actor: &str,
    id: PayoutId,
    line: &Notice,
    now: Instant,
) -> Result<PayoutNoticeOutcome, ServiceError> {
    let Some(mut payout) = payouts::lock(tx, id).await? else { return Ok(PayoutNoticeOutcome::Unknown) };
    let steps = match effect(&payout, line, now) {
        Effect::Steps(steps) => steps,
        Effect::Nothing(outcome) => return Ok(outcome),
        Effect::Contradiction(kind, words) => {
            let subject = format!("{}:{}", payout.id, name(line));
            let difference = Difference { subject, ..Difference::of(kind, &payout, &words) };
            differences::tell(tx, &told(line, difference, payout.currency), now).await?;
            return Ok(PayoutNoticeOutcome::Refused);
        }
    };
    for step in steps {
        payout = move_on(tx, actor, payout, &step, now).await?;
    }
    Ok(PayoutNoticeOutcome::Applied)
}

/// By which name a line is known in any file.
fn entry_key(file: &payout_file::Model, line: &Notice) -> String {
    format!("{}/{}/{}", file.format, line.key, line.reference.as_deref().unwrap_or_default())
}

fn row(
    file: &payout_file::Model,
    line: &Notice,
    entry_key: String,
    payout_id: Option<PayoutId>,
    outcome: PayoutNoticeOutcome,
    now: Instant,
) -> payout_notice::Model {
    let currency = currency(line);
    payout_notice::Model {
        tenant_id: file.tenant_id,
        id: PayoutNoticeId::from_uuid(ambient::new_uuid()),
        file_id: file.id,
        entry_key,
        reference: line.reference.clone(),
        payout_id,
        outcome,
        status: match line.status {
            NoticeStatus::Accepted => PayoutNoticeStatus::Accepted,
            NoticeStatus::Paid => PayoutNoticeStatus::Paid,
            NoticeStatus::Rejected => PayoutNoticeStatus::Rejected,
            NoticeStatus::Returned => PayoutNoticeStatus::Returned,
            NoticeStatus::Corrected => PayoutNoticeStatus::Corrected,
            NoticeStatus::Other => PayoutNoticeStatus::Other,
        },
        reason: line.reason.clone(),
        detail: line.detail.clone(),
        amount_minor: line.amount_minor.filter(|_| currency.is_some()),
        currency,
        recorded_at: now,
    }
}

/// A page of what banks told.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    file_ids: Option<&[PayoutFileId]>,
    outcomes: Option<&[PayoutNoticeOutcome]>,
    request: &PageRequest,
) -> Result<Page<payout_notice::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::list_notices(&tx, file_ids, outcomes, request).await?)
}

/// How many lines a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    file_ids: Option<&[PayoutFileId]>,
    outcomes: Option<&[PayoutNoticeOutcome]>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::count_notices(&tx, file_ids, outcomes).await?)
}
