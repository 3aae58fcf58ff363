//! The audit: a tenant's ledger, seal, projections and counters held against each other, in one state of the database; and
//! the restoring of projections.

use serde::Serialize;
use tributary_entity::ids::TenantId;

use super::ledger_blocks::Journals;
use crate::{
    domain::{
        audit::{Chain, Difference, TrialLine, Walk},
        ledger_chain::{Checkpoint, Hash, leaf},
        tenancy::TenantScope,
    },
    store::{audit, database::Db, error::StoreError, ledger_blocks, scope::Tx, sequences},
};
use tributary_entity::{Instant, ledger_block};

/// With what a ledger is held against.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Whose signatures count.
    pub trusted: Vec<Hash>,
    /// From which instant clicks are kept; earlier totals of clicks cannot be counted again.
    pub clicks_from: Instant,
    /// A checkpoint that was kept elsewhere.
    pub checkpoint: Option<Checkpoint>,
}

/// What an audit of a tenant has found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub tenant: String,
    pub journals: i64,
    pub entries: u64,
    pub blocks: i64,
    /// The last journal that is sealed.
    pub sealed: i64,
    pub trial_balance: Vec<TrialLine>,
    pub differences: Vec<Difference>,
}

/// Audits a tenant in one state of the database.
///
/// # Errors
/// As the database answers; `Inconsistent` for a row that cannot be read.
pub async fn verify(db: &Db, scope: &TenantScope, terms: &Terms) -> Result<Report, StoreError> {
    let tx = db.audit(scope).await?;
    let tip = sequences::now(&tx).await?.journal_seq;
    let mut walk = Walk::default();
    let mut sealed = Sealed { chain: Chain::new(terms.trusted.clone()), block: None, leaves: Vec::new() };
    sealed.next(&tx).await?;
    let mut journals = Journals::new(0, i64::MAX);
    while let Some(page) = journals.next(&tx).await? {
        for journal in page.chunk_by(|a, b| a.seq == b.seq) {
            sealed.journal(&tx, journal[0].seq, leaf(journal)).await?;
            walk.journal(journal);
        }
    }
    let walked = walk.finish(tip);
    let mut differences = walked.differences;
    let last = sealed.finish(&tx, &mut differences).await?;
    if let Some(checkpoint) = &terms.checkpoint {
        differences.extend(held_against(&tx, scope.tenant_id(), checkpoint, &terms.trusted).await?);
    }
    for projection in audit::PROJECTIONS {
        differences.extend(projection.differences(&tx, terms.clicks_from).await?);
    }
    differences.extend(audit::facts(&tx, terms.clicks_from).await?);
    Ok(Report {
        tenant: scope.tenant_id().to_string(),
        journals: walked.journals,
        entries: walked.lines,
        blocks: last.as_ref().map_or(0, |block| block.number),
        sealed: last.as_ref().map_or(0, |block| block.last_seq),
        trial_balance: walked.trial_balance,
        differences,
    })
}

/// The chain beside the walk: the hashes of the block that the walk is in.
struct Sealed {
    chain: Chain,
    block: Option<ledger_block::Model>,
    leaves: Vec<Option<Hash>>,
}

impl Sealed {
    /// Takes up the next block.
    async fn next(&mut self, tx: &Tx) -> Result<(), StoreError> {
        self.block = ledger_blocks::after(tx, self.chain.number()).await?;
        let journals = self.block.as_ref().map_or(0, |block| block.last_seq - block.first_seq + 1);
        // Not by what the row says alone: it may be what is wrong.
        let held = self.block.as_ref().map_or(0, |block| block.leaves.len() / 32);
        self.leaves = vec![None; usize::try_from(journals).unwrap_or(0).min(held)];
        Ok(())
    }

    /// A journal of the walk, which goes upwards.
    async fn journal(&mut self, tx: &Tx, seq: i64, leaf: Hash) -> Result<(), StoreError> {
        while self.block.as_ref().is_some_and(|block| seq > block.last_seq) {
            self.close(tx).await?;
        }
        if let Some(block) = &self.block
            && let Some(place) =
                usize::try_from(seq - block.first_seq).ok().and_then(|index| self.leaves.get_mut(index))
        {
            *place = Some(leaf);
        }
        Ok(())
    }

    async fn close(&mut self, tx: &Tx) -> Result<(), StoreError> {
        if let Some(block) = self.block.take() {
            self.chain.block(block, &self.leaves);
        }
        self.next(tx).await
    }

    /// The last block, and what was found.
    async fn finish(
        mut self,
        tx: &Tx,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<ledger_block::Model>, StoreError> {
        while self.block.is_some() {
            self.close(tx).await?;
        }
        let (last, found) = self.chain.finish();
        differences.extend(found);
        Ok(last)
    }
}

/// Whether the ledger is still the one of a checkpoint.
async fn held_against(
    tx: &Tx,
    tenant_id: TenantId,
    kept: &Checkpoint,
    trusted: &[Hash],
) -> Result<Option<Difference>, StoreError> {
    let subject = format!("checkpoint of block {}", kept.block);
    let is_ours = trusted.iter().any(|key| data_encoding::HEXLOWER.encode(key) == kept.public_key);
    if !is_ours || !kept.is_signed() || kept.tenant != tenant_id.to_string() {
        let expected = "one that this installation signed for this tenant";
        return Ok(Some(Difference::new("CHECKPOINT", subject, expected, "another")));
    }
    let block = ledger_blocks::get(tx, kept.block).await?;
    let found = block.map_or_else(|| "no such block".to_owned(), |block| data_encoding::HEXLOWER.encode(&block.hash));
    Ok((found != kept.hash).then(|| Difference::new("CHECKPOINT", subject, &kept.hash, found)))
}

/// Restores a tenant's projections from its journals and facts, in one transaction. Answers how many rows of each table
/// differed; none is written where none does. With `check`, nothing is written at all.
///
/// # Errors
/// As the database answers; `Conflict` when the tenant's rows changed meanwhile, and nothing is written.
pub async fn rebuild(
    db: &Db,
    scope: &TenantScope,
    clicks_from: Instant,
    check: bool,
) -> Result<Vec<(&'static str, u64)>, StoreError> {
    let mut tx = db.begin_rebuild(scope).await?;
    let mut restored = Vec::with_capacity(audit::PROJECTIONS.len());
    for projection in audit::PROJECTIONS {
        restored.push((projection.table(), projection.restore(&mut tx, clicks_from).await?));
    }
    // Dropped, it rolls back.
    if !check && restored.iter().any(|(_, rows)| *rows > 0) {
        tx.commit().await?;
    }
    Ok(restored)
}
