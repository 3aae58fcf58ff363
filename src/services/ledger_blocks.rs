//! The seal on the ledger: journals are sealed into blocks beside the posting, by a job; checkpoints are handed out.

use tributary_entity::ledger_block;

use super::{ServiceError, Services};
use crate::{
    auth::Viewer,
    domain::{
        audit::RawLine,
        ledger_chain::{self, BLOCK_JOURNALS, Checkpoint, Hash},
        tenancy::TenantScope,
    },
    store::{audit, error::StoreError, ledger_blocks, scope::Tx, sequences},
};

/// Lines that are read at once.
const LINES: u64 = 5_000;

/// Seals what a tenant has posted since its last block. Answers how many blocks were made. Safe to run at any time, on
/// any number of nodes: of two that make the same block, one gets through.
///
/// # Errors
/// As the database answers; `Inconsistent` when journals that are to be sealed are not there, or cannot be read.
pub async fn seal_due(services: &Services, scope: &TenantScope) -> Result<u64, ServiceError> {
    let mut sealed = 0;
    while seal_next(services, scope).await? {
        sealed += 1;
    }
    Ok(sealed)
}

/// Seals the next block. False when there is nothing to seal, or another node was first.
async fn seal_next(services: &Services, scope: &TenantScope) -> Result<bool, ServiceError> {
    let tx = services.db.snapshot(scope).await?;
    let before = ledger_blocks::last(&tx).await?;
    let after = before.as_ref().map_or(0, |block| block.last_seq);
    let tip = sequences::now(&tx).await?.journal_seq.min(after + BLOCK_JOURNALS as i64);
    if tip <= after {
        return Ok(false);
    }
    let (leaves, entries) = leaves(&tx, after, tip).await?;
    drop(tx);
    let block = services.seal.seal(scope.tenant_id(), before.as_ref(), &leaves, entries, services.now());
    let mut tx = services.db.begin(scope).await?;
    let is_first = ledger_blocks::append(&mut tx, block).await?;
    tx.commit().await?;
    Ok(is_first)
}

/// The hashes of the journals behind `after` and up to `tip`, all of them, and how many entries they have.
async fn leaves(tx: &Tx, after: i64, tip: i64) -> Result<(Vec<Hash>, i64), StoreError> {
    let mut journals = Journals::new(after, tip);
    let (mut leaves, mut entries) = (Vec::new(), 0);
    while let Some(page) = journals.next(tx).await? {
        for journal in page.chunk_by(|a, b| a.seq == b.seq) {
            let seq = after + leaves.len() as i64 + 1;
            if journal[0].seq != seq {
                return Err(StoreError::inconsistent("entry", format!("journal {seq} is not there to be sealed")));
            }
            leaves.push(ledger_chain::leaf(journal));
            entries += journal.len() as i64;
        }
    }
    if after + leaves.len() as i64 != tip {
        return Err(StoreError::inconsistent("entry", format!("journals end before {tip}, which is to be sealed")));
    }
    Ok((leaves, entries))
}

/// Reads whole journals in their order, some thousand lines at once.
pub(super) struct Journals {
    after: i64,
    until: i64,
}

impl Journals {
    /// Those behind `after` and up to `until`.
    pub const fn new(after: i64, until: i64) -> Self {
        Self { after, until }
    }

    /// The lines of the next journals, each journal whole; none at the end.
    pub async fn next(&mut self, tx: &Tx) -> Result<Option<Vec<RawLine>>, StoreError> {
        let mut limit = LINES;
        loop {
            let mut lines = audit::lines(tx, self.after, self.until, limit).await?;
            let Some(last) = lines.last().map(|line| line.seq) else { return Ok(None) };
            let is_all = (lines.len() as u64) < limit;
            if !is_all && lines[0].seq == last {
                // One journal that is larger than a page.
                limit *= 4;
                continue;
            }
            if is_all {
                self.after = last;
            } else {
                lines.retain(|line| line.seq < last);
                self.after = last - 1;
            }
            return Ok(Some(lines));
        }
    }
}

/// The checkpoint of a block, the newest by default; none where there is none.
///
/// # Errors
/// As the database answers.
pub async fn checkpoint(
    services: &Services,
    viewer: &Viewer,
    number: Option<i64>,
) -> Result<Option<Checkpoint>, ServiceError> {
    let tx = services.snapshot(viewer).await?;
    Ok(block(&tx, number).await?.as_ref().map(Checkpoint::of))
}

/// As [`checkpoint`], for the command line.
///
/// # Errors
/// As the database answers.
pub async fn newest_checkpoint(services: &Services, scope: &TenantScope) -> Result<Option<Checkpoint>, ServiceError> {
    let tx = services.db.snapshot(scope).await?;
    Ok(block(&tx, None).await?.as_ref().map(Checkpoint::of))
}

async fn block(tx: &Tx, number: Option<i64>) -> Result<Option<ledger_block::Model>, StoreError> {
    match number {
        Some(number) => ledger_blocks::get(tx, number).await,
        None => ledger_blocks::last(tx).await,
    }
}
