//! Payout files, the accounts that they pay from, and what banks told back.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value, sea_query::Expr};
use tributary_entity::{
    Instant,
    ids::{PayingAccountId, PayoutBatchId, PayoutFileId, PayoutId},
    kinds::{PayoutFileFormat, PayoutMethod, PayoutNoticeOutcome, PayoutStatus},
    paying_account, payout, payout_file, payout_file_content, payout_notice,
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::page::{Page, PageRequest};

/// Rows of one statement.
const CHUNK: usize = 500;

/// The account in use for a method, locked until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_account(tx: &Tx, method: PayoutMethod) -> Result<Option<paying_account::Model>, StoreError> {
    let select = tx
        .find::<paying_account::Entity>()
        .filter(paying_account::Column::Method.eq(method))
        .filter(paying_account::Column::EndedAt.is_null());
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn account(tx: &Tx, id: PayingAccountId) -> Result<Option<paying_account::Model>, StoreError> {
    Ok(tx.by_id::<paying_account::Entity>(id).one(tx.connection()).await?)
}

/// Those in use: at most one for each method.
///
/// # Errors
/// As the database answers.
pub async fn accounts(tx: &Tx) -> Result<Vec<paying_account::Model>, StoreError> {
    let select = tx.find::<paying_account::Entity>().filter(paying_account::Column::EndedAt.is_null());
    Ok(select.order_by_asc(paying_account::Column::Method).all(tx.connection()).await?)
}

/// # Errors
/// `Constraint::PayingAccount` when another one was set at the same time.
pub async fn insert_account(tx: &mut Tx, row: paying_account::Model) -> Result<(), StoreError> {
    tx.insert::<paying_account::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn end_account(tx: &mut Tx, id: PayingAccountId, now: Instant) -> Result<(), StoreError> {
    let update = tx
        .update_many::<paying_account::Entity>()
        .filter(paying_account::Column::Id.eq(id))
        .col_expr(paying_account::Column::EndedAt, Expr::value(now));
    update.exec(tx.connection()).await?;
    Ok(())
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: PayoutFileId) -> Result<Option<payout_file::Model>, StoreError> {
    Ok(tx.by_id::<payout_file::Entity>(id).one(tx.connection()).await?)
}

/// The files of a batch in a format, by part.
///
/// # Errors
/// As the database answers.
pub async fn parts(
    tx: &Tx,
    batch_id: PayoutBatchId,
    format: PayoutFileFormat,
) -> Result<Vec<payout_file::Model>, StoreError> {
    let select = tx
        .find::<payout_file::Entity>()
        .filter(payout_file::Column::BatchId.eq(batch_id))
        .filter(payout_file::Column::Format.eq(format));
    Ok(select.order_by_asc(payout_file::Column::Part).all(tx.connection()).await?)
}

/// The most files that a batch tells.
const OF_BATCH_MAX: u64 = 100;

/// The files of a batch, by format and part.
///
/// # Errors
/// As the database answers.
pub async fn of_batch(tx: &Tx, batch_id: PayoutBatchId) -> Result<Vec<payout_file::Model>, StoreError> {
    let select = tx.find::<payout_file::Entity>().filter(payout_file::Column::BatchId.eq(batch_id));
    let select = select.order_by_asc(payout_file::Column::Format).order_by_asc(payout_file::Column::Part);
    Ok(select.limit(OF_BATCH_MAX).all(tx.connection()).await?)
}

/// The file of a bank with this digest.
///
/// # Errors
/// As the database answers.
pub async fn by_digest(tx: &Tx, digest: &str) -> Result<Option<payout_file::Model>, StoreError> {
    let select = tx
        .find::<payout_file::Entity>()
        .filter(payout_file::Column::Digest.eq(digest))
        .filter(payout_file::Column::BatchId.is_null());
    Ok(select.one(tx.connection()).await?)
}

/// # Errors
/// `Constraint::PayoutFile` when the same file was taken in at the same time.
pub async fn insert(tx: &mut Tx, row: payout_file::Model) -> Result<(), StoreError> {
    tx.insert::<payout_file::Entity>(row).await
}

/// Keeps what was handed out.
///
/// # Errors
/// As the database answers.
pub async fn insert_content(tx: &mut Tx, row: payout_file_content::Model) -> Result<(), StoreError> {
    tx.insert::<payout_file_content::Entity>(row).await
}

/// What was handed out; none of a file that was handed out before contents were kept.
///
/// # Errors
/// As the database answers.
pub async fn content(tx: &Tx, id: PayoutFileId) -> Result<Option<Vec<u8>>, StoreError> {
    let select = tx.find::<payout_file_content::Entity>().filter(payout_file_content::Column::FileId.eq(id));
    Ok(select.one(tx.connection()).await?.map(|row| row.content))
}

fn files(tx: &Tx, formats: Option<&[PayoutFileFormat]>) -> Select<payout_file::Entity> {
    let select = tx.find::<payout_file::Entity>();
    match formats {
        Some(formats) => select.filter(any_of(payout_file::Column::Format, formats.iter().copied())),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    formats: Option<&[PayoutFileFormat]>,
    request: &PageRequest,
) -> Result<Page<payout_file::Model>, StoreError> {
    page::page(tx, files(tx, formats), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, formats: Option<&[PayoutFileFormat]>) -> Result<i64, StoreError> {
    page::count(tx, files(tx, formats)).await
}

/// Payouts of a batch that were handed to nobody yet, locked in id order. None for a method means any.
///
/// # Errors
/// As the database answers.
pub async fn lock_unfiled(
    tx: &Tx,
    batch_id: PayoutBatchId,
    method: Option<PayoutMethod>,
    limit: u64,
) -> Result<Vec<payout::Model>, StoreError> {
    let mut select = tx
        .find::<payout::Entity>()
        .filter(payout::Column::BatchId.eq(batch_id))
        .filter(payout::Column::Status.eq(PayoutStatus::Submitted))
        .filter(payout::Column::FileId.is_null());
    if let Some(method) = method {
        select = select.filter(payout::Column::Method.eq(method));
    }
    let select = select.order_by_asc(payout::Column::Id).limit(limit);
    Ok(dialect::lock(tx, select).all(tx.connection()).await?)
}

fn of_file(tx: &Tx, id: PayoutFileId) -> Select<payout::Entity> {
    let select = tx.find::<payout::Entity>().filter(payout::Column::FileId.eq(id));
    select.order_by_asc(payout::Column::Id)
}

/// The payouts of a file, in its order.
///
/// # Errors
/// As the database answers.
pub async fn payouts(tx: &Tx, id: PayoutFileId) -> Result<Vec<payout::Model>, StoreError> {
    Ok(of_file(tx, id).all(tx.connection()).await?)
}

/// As [`payouts`], locked until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock_payouts(tx: &Tx, id: PayoutFileId) -> Result<Vec<payout::Model>, StoreError> {
    Ok(dialect::lock(tx, of_file(tx, id)).all(tx.connection()).await?)
}

/// Puts locked payouts into a file, under their references.
///
/// # Errors
/// As the database answers; `Inconsistent` when one of them vanished.
pub async fn assign(
    tx: &mut Tx,
    id: PayoutFileId,
    references: &[(PayoutId, Option<String>)],
) -> Result<(), StoreError> {
    for chunk in references.chunks(CHUNK) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), id.into()];
        let rows: Vec<String> = chunk
            .iter()
            .map(|(payout_id, reference)| {
                let id = dialect::bind(&mut values, *payout_id);
                format!("({id}, CAST({} AS text))", dialect::bind(&mut values, reference.clone()))
            })
            .collect();
        let sql = format!(
            "WITH filed (id, reference) AS (VALUES {}) UPDATE payout SET file_id = $2, bank_reference = filed.reference \
             FROM filed WHERE payout.tenant_id = $1 AND payout.id = filed.id",
            rows.join(", ")
        );
        let changed = tx.connection().execute_raw(tx.statement(sql, values)).await?.rows_affected();
        if changed != chunk.len() as u64 {
            return Err(StoreError::inconsistent("payout", format!("{changed} of {} rows changed", chunk.len())));
        }
    }
    Ok(())
}

/// Which payouts banks know by these references.
///
/// # Errors
/// As the database answers.
pub async fn by_references(tx: &Tx, references: &BTreeSet<String>) -> Result<BTreeMap<String, PayoutId>, StoreError> {
    let mut found = BTreeMap::new();
    let references: Vec<&String> = references.iter().collect();
    for chunk in references.chunks(CHUNK) {
        let rows: Vec<(String, PayoutId)> = tx
            .find::<payout::Entity>()
            .select_only()
            .columns([payout::Column::BankReference, payout::Column::Id])
            .filter(any_of(payout::Column::BankReference, chunk.iter().map(|reference| (*reference).clone())))
            .into_tuple()
            .all(tx.connection())
            .await?;
        found.extend(rows);
    }
    Ok(found)
}

/// Which of these lines were told and did something before.
///
/// # Errors
/// As the database answers.
pub async fn applied(tx: &Tx, keys: &BTreeSet<String>) -> Result<BTreeSet<String>, StoreError> {
    let mut found = BTreeSet::new();
    let keys: Vec<&String> = keys.iter().collect();
    for chunk in keys.chunks(CHUNK) {
        let rows: Vec<String> = tx
            .find::<payout_notice::Entity>()
            .select_only()
            .column(payout_notice::Column::EntryKey)
            .filter(any_of(payout_notice::Column::EntryKey, chunk.iter().map(|key| (*key).clone())))
            .filter(payout_notice::Column::Outcome.eq(PayoutNoticeOutcome::Applied))
            .into_tuple()
            .all(tx.connection())
            .await?;
        found.extend(rows);
    }
    Ok(found)
}

/// # Errors
/// As the database answers.
pub async fn insert_notices(tx: &mut Tx, rows: Vec<payout_notice::Model>) -> Result<(), StoreError> {
    tx.insert_all::<payout_notice::Entity>(rows).await
}

fn notices(
    tx: &Tx,
    file_ids: Option<&[PayoutFileId]>,
    outcomes: Option<&[PayoutNoticeOutcome]>,
) -> Select<payout_notice::Entity> {
    let mut select = tx.find::<payout_notice::Entity>();
    if let Some(ids) = file_ids {
        select = select.filter(any_of(payout_notice::Column::FileId, ids.iter().copied()));
    }
    if let Some(outcomes) = outcomes {
        select = select.filter(any_of(payout_notice::Column::Outcome, outcomes.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn list_notices(
    tx: &Tx,
    file_ids: Option<&[PayoutFileId]>,
    outcomes: Option<&[PayoutNoticeOutcome]>,
    request: &PageRequest,
) -> Result<Page<payout_notice::Model>, StoreError> {
    page::page(tx, notices(tx, file_ids, outcomes), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count_notices(
    tx: &Tx,
    file_ids: Option<&[PayoutFileId]>,
    outcomes: Option<&[PayoutNoticeOutcome]>,
) -> Result<i64, StoreError> {
    page::count(tx, notices(tx, file_ids, outcomes)).await
}
