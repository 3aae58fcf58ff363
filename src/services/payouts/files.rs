//! Files of payments for banks: written from a submitted batch, and handed out again as they were.
//!
//! # Decisions
//! - Whoever gets a file may hand it to the bank: its payouts are IN_TRANSIT from then on, and in no other file. That goes
//!   for tables (CSV), too.
//! - The bytes are kept: another version of this program, or of a library, may write the same payments otherwise.
//! - A batch that is too large for one file has parts; each part is fixed when it is first written.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tributary_entity::{
    Instant,
    ids::{PayingAccountId, PayoutBatchId, PayoutFileId, PayoutId},
    kinds::{EventKind, PayoutBatchStatus, PayoutFileFormat, PayoutStatus},
    paying_account, payout, payout_batch, payout_file, payout_file_content,
};

use super::{pages::taken, write};
use crate::{
    ambient,
    auth::Viewer,
    domain::{
        bank::{FileHead, PayingAccount, PaymentFile, Transfer, Unwritable, payment_file},
        event::NewEvent,
        page::{Page, PageRequest},
        payout::Step,
        payout_deductions::net_minor,
        payout_destination::{self, Account},
        problem::{Problem, ProblemCode},
        transition,
    },
    services::{Outcome, ServiceError, Services, idempotency},
    store::{
        error::{Constraint, StoreError},
        payout_batches, payout_destinations, payout_files as store,
        scope::Tx,
    },
};

/// Payouts of one file.
pub const FILE_MAX: u64 = 2_000;
/// Rows of one statement.
const CHUNK: usize = 1_000;

/// Which file is wanted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Export {
    pub batch_id: PayoutBatchId,
    pub format: PayoutFileFormat,
    /// From 1.
    pub part: i32,
}

/// A file that was written.
#[derive(Clone, Debug)]
pub struct Exported {
    pub file: payout_file::Model,
    pub content: String,
}

/// Sets the account that payouts of its method are paid from, in place of what was set before. Files that were written
/// keep theirs.
///
/// # Errors
/// The account's problems; `IDEMPOTENCY_CONFLICT`; `ALREADY_EXISTS` when another one was set at the same time.
pub async fn set_account(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: PayingAccount,
) -> Result<Outcome<paying_account::Model>, ServiceError> {
    let input = input.check().map_err(|problem| problem.within("account"))?;
    let id = PayingAccountId::from_uuid(ambient::new_uuid());
    let mut tx = services.begin(viewer).await?;
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "setPayingAccount", &input, id.uuid()).await?;
    if let Some(id) = claimed {
        let earlier = store::account(&tx, PayingAccountId::from_uuid(id)).await?;
        return Ok(Outcome::replayed(earlier.ok_or_else(|| ServiceError::not_found(&["id"]))?));
    }
    let now = services.now();
    if let Some(before) = store::lock_account(&tx, input.method()).await? {
        store::end_account(&mut tx, before.id, now).await?;
    }
    let row = paying_account::Model {
        tenant_id: viewer.scope.tenant_id(),
        id,
        method: input.method(),
        account: serde_json::to_string(&input).map_err(|_| ServiceError::Internal("an account cannot be written"))?,
        mask: input.mask(),
        author: viewer.actor.to_string(),
        created_at: now,
        ended_at: None,
    };
    store::insert_account(&mut tx, row.clone()).await.map_err(ServiceError::taken(
        Constraint::PayingAccount,
        &["account"],
        "another account was set at the same time",
    ))?;
    // The account itself stays out of the log.
    let seen = paying_account::Model { account: String::new(), ..row.clone() };
    tx.record(NewEvent::new(EventKind::PayingAccountChanged, id.uuid(), &seen, now));
    services.commit(tx).await?;
    Ok(Outcome::done(row))
}

/// The accounts in use, at most one for each method.
///
/// # Errors
/// As the database answers.
pub async fn accounts(services: &Services, viewer: &Viewer) -> Result<Vec<paying_account::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::accounts(&tx).await?)
}

/// Writes a part of a submitted batch, of at most so many payouts, or hands it out again: the same bytes.
///
/// # Errors
/// `NOT_FOUND` for the batch, or a part that is not there; `INVALID_TRANSITION` for a batch that is not submitted, has no
/// payouts left for a new part, or no account to pay from; `INVALID_ACCOUNT` for a payout that the format cannot hold;
/// `IDEMPOTENCY_CONFLICT`.
pub async fn export(
    services: &Services,
    viewer: &Viewer,
    key: Option<&str>,
    input: Export,
    at_most: u64,
) -> Result<Outcome<Exported>, ServiceError> {
    let mut tx = services.begin(viewer).await?;
    let result = input.batch_id.uuid();
    let claimed = idempotency::claim(services, &mut tx, viewer, key, "exportPayoutFile", &input, result).await?;
    let batch = payout_batches::lock(&tx, input.batch_id).await?;
    let batch = batch.ok_or_else(|| ServiceError::not_found(&["batchId"]))?;
    if batch.status != PayoutBatchStatus::Submitted {
        let message = format!("a payout batch that is {} is in no file", batch.status);
        return Err(transition::refused(&["batchId"], message).into());
    }
    let now = services.now();
    let parts = store::parts(&tx, batch.id, input.format).await?;
    let exported = if let Some(file) = parts.iter().find(|file| file.part == input.part) {
        again(&tx, &batch, file.clone()).await?
    } else if parts.len() + 1 == usize::try_from(input.part).unwrap_or_default() {
        anew(&mut tx, viewer, &batch, (input, at_most), now).await?
    } else {
        return Err(ServiceError::not_found(&["part"]));
    };
    let told = payout_file::Model { author: viewer.actor.to_string(), ..exported.file.clone() };
    tx.record(NewEvent::new(EventKind::PayoutFileChanged, told.id.uuid(), &told, now));
    services.commit(tx).await?;
    Ok(if claimed.is_some() { Outcome::replayed(exported) } else { Outcome::done(exported) })
}

async fn again(tx: &Tx, batch: &payout_batch::Model, file: payout_file::Model) -> Result<Exported, ServiceError> {
    let content = match store::content(tx, file.id).await? {
        Some(bytes) => {
            String::from_utf8(bytes).map_err(|error| StoreError::inconsistent("payout_file_content", error))?
        }
        None => written_again(tx, batch, &file).await?,
    };
    if digest(&content) != file.digest {
        return Err(ServiceError::Internal("the file is not what it was"));
    }
    Ok(Exported { file, content })
}

/// A file that was handed out before contents were kept, from its row and its payouts.
async fn written_again(
    tx: &Tx,
    batch: &payout_batch::Model,
    file: &payout_file::Model,
) -> Result<String, ServiceError> {
    let account = match file.paying_account_id {
        Some(id) => store::account(tx, id).await?,
        None => None,
    };
    let rows = store::payouts(tx, file.id).await?;
    let head = FileHead { id: file.id, created_at: file.created_at };
    written(batch, file.format, &head, account.as_ref(), &transfers(tx, &rows).await?)
}

async fn anew(
    tx: &mut Tx,
    viewer: &Viewer,
    batch: &payout_batch::Model,
    (input, at_most): (Export, u64),
    now: Instant,
) -> Result<Exported, ServiceError> {
    let kind = file_of(input.format)?;
    let method = kind.method();
    let account =
        match method {
            Some(method) => Some(store::lock_account(tx, method).await?.ok_or_else(|| {
                transition::refused(&["format"], "no account is set that such payouts are paid from")
            })?),
            None => None,
        };
    let mut rows = store::lock_unfiled(tx, batch.id, method, at_most).await?;
    if rows.is_empty() {
        let message = "none of the batch's payouts of this kind waits to be handed over";
        return Err(transition::refused(&["batchId"], message).into());
    }
    let id = PayoutFileId::from_uuid(ambient::new_uuid());
    let head = FileHead { id, created_at: now };
    let content = written(batch, input.format, &head, account.as_ref(), &transfers(tx, &rows).await?)?;
    let file = payout_file::Model {
        tenant_id: batch.tenant_id,
        id,
        format: input.format,
        batch_id: Some(batch.id),
        part: input.part,
        paying_account_id: account.map(|account| account.id),
        digest: digest(&content),
        items: i64::try_from(rows.len()).unwrap_or(i64::MAX),
        author: viewer.actor.to_string(),
        created_at: now,
    };
    store::insert(tx, file.clone()).await?;
    let kept = content.clone().into_bytes();
    let kept = payout_file_content::Model { tenant_id: batch.tenant_id, file_id: id, content: kept };
    store::insert_content(tx, kept).await?;
    for row in &mut rows {
        row.file_id = Some(id);
        row.bank_reference = kind.reference(row.id);
    }
    let references: Vec<(PayoutId, Option<String>)> =
        rows.iter().map(|row| (row.id, row.bank_reference.clone())).collect();
    store::assign(tx, id, &references).await?;
    let step = Step::to(PayoutStatus::InTransit);
    let actor = viewer.actor.to_string();
    write(tx, &actor, &step, taken(&step, rows, now)?, &BTreeMap::new()).await?;
    Ok(Exported { file, content })
}

/// How files of a format are written.
fn file_of(format: PayoutFileFormat) -> Result<&'static dyn PaymentFile, Problem> {
    payment_file(format)
        .ok_or_else(|| Problem::new(ProblemCode::OutOfRange, &["format"], "files of this format come from banks"))
}

fn written(
    batch: &payout_batch::Model,
    format: PayoutFileFormat,
    head: &FileHead,
    account: Option<&paying_account::Model>,
    transfers: &[Transfer],
) -> Result<String, ServiceError> {
    let file = file_of(format)?;
    let account: Option<PayingAccount> = match account {
        Some(row) => Some(
            serde_json::from_str(&row.account).map_err(|error| StoreError::inconsistent("paying_account", error))?,
        ),
        None => None,
    };
    file.write(batch.currency, head, account.as_ref(), transfers).map_err(|error| {
        let code = match error {
            Unwritable::Payout(..) => ProblemCode::InvalidAccount,
            Unwritable::File(_) => ProblemCode::OutOfRange,
        };
        Problem::new(code, &["batchId"], error.to_string()).into()
    })
}

/// What a file says of payouts.
async fn transfers(tx: &Tx, rows: &[payout::Model]) -> Result<Vec<Transfer>, StoreError> {
    let mut transfers = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().filter_map(|row| row.destination_id).collect();
        let found = payout_destinations::get_many(tx, &ids).await?;
        let found: BTreeMap<_, _> = found.into_iter().map(|destination| (destination.id, destination)).collect();
        for row in chunk {
            let destination = row.destination_id.and_then(|id| found.get(&id));
            let account = destination.and_then(payout_destination::account);
            transfers.push(Transfer {
                payout_id: row.id,
                amount_minor: net_minor(row),
                holder: destination.map(|destination| destination.holder.clone()).unwrap_or_default(),
                account: account.unwrap_or_else(|| Account::Manual { instructions: String::new() }),
            });
        }
    }
    Ok(transfers)
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(content: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(content.as_bytes()))
}

/// One file.
///
/// # Errors
/// As the database answers.
pub async fn get(
    services: &Services,
    viewer: &Viewer,
    id: PayoutFileId,
) -> Result<Option<payout_file::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::get(&tx, id).await?)
}

/// The files of a batch, by format and part; at most 100.
///
/// # Errors
/// As the database answers.
pub async fn of_batch(
    services: &Services,
    viewer: &Viewer,
    id: PayoutBatchId,
) -> Result<Vec<payout_file::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::of_batch(&tx, id).await?)
}

/// A page of files, handed out and taken in.
///
/// # Errors
/// As the database answers.
pub async fn list(
    services: &Services,
    viewer: &Viewer,
    formats: Option<&[PayoutFileFormat]>,
    request: &PageRequest,
) -> Result<Page<payout_file::Model>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::list(&tx, formats, request).await?)
}

/// How many files a list has.
///
/// # Errors
/// As the database answers.
pub async fn count(
    services: &Services,
    viewer: &Viewer,
    formats: Option<&[PayoutFileFormat]>,
) -> Result<i64, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(store::count(&tx, formats).await?)
}
