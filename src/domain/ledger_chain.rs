//! The seal on the ledger: journals hashed one by one, blocks of them chained, each block signed.
//!
//! A journal's hash (a leaf) is over everything that it says: its head, its lines, and whose accounts they are on. A
//! block's hash is over its leaves in order, its place and the hash of the block before it; the signature (Ed25519) is over
//! the checkpoint that the block is. The signing key follows from the installation's secret, which the database does not
//! hold.
//!
//! # What this shows, and what it does not
//! Somebody who can write to the database as its owner, and does not know the secret:
//! - cannot change, remove, insert or reorder anything in a sealed block unseen: a leaf differs, or the chain, or, where
//!   hashes were computed anew, the signatures;
//! - can cut the chain off: remove the newest blocks with their journals. The counters and balances tell, unless they are
//!   set back, too; then the database is a valid older one. Only a checkpoint that is kept elsewhere shows that;
//! - can append a journal that looks like one of the program's. It is sealed with the next block, and found only where it
//!   contradicts the facts (conversions, payouts), which `verify` holds the ledger against;
//! - can change what is not sealed yet, of the last seconds.
//!
//! Somebody who knows the secret can sign anything. Against that, too, there are checkpoints kept elsewhere.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tributary_entity::{Instant, ids::TenantId, ledger_block};
use uuid::Uuid;

use super::audit::RawLine;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Journals of one block, at most: a block is read and hashed at once.
pub const BLOCK_JOURNALS: usize = 10_000;

/// The hash of a journal: over its lines in order, each with the journal's head and the account that it is on. Each field
/// is preceded by its length, so that no two journals have the same bytes.
pub fn leaf(lines: &[RawLine]) -> Hash {
    let mut hasher = Fields::new(b"tributary journal 1");
    for line in lines {
        hasher.add(line.journal_id.as_bytes());
        hasher.text(line.kind.as_deref());
        hasher.text(line.business_key.as_deref());
        hasher.uuid(line.conversion_id);
        hasher.instant(line.posted_at);
        hasher.add(&line.line.to_be_bytes());
        hasher.add(line.account_id.as_bytes());
        hasher.add(&line.amount_minor.to_be_bytes());
        hasher.add(line.currency.as_bytes());
        hasher.add(&line.code.unwrap_or_default().to_be_bytes());
        hasher.uuid(line.affiliate_id);
        hasher.text(line.processor.as_deref());
        hasher.text(line.account_currency.as_deref());
    }
    hasher.finish()
}

/// Hashes fields so that they cannot run into each other.
struct Fields(Sha256);

impl Fields {
    fn new(what: &[u8]) -> Self {
        let mut fields = Self(Sha256::new());
        fields.add(what);
        fields
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.0.update([u8::from(bytes.is_some())]);
        self.add(bytes.unwrap_or_default());
    }

    fn text(&mut self, text: Option<&str>) {
        self.optional(text.map(str::as_bytes));
    }

    fn uuid(&mut self, id: Option<Uuid>) {
        self.optional(id.as_ref().map(|id| &id.as_bytes()[..]));
    }

    fn instant(&mut self, at: Option<Instant>) {
        let micros = at.map(|at| at.timestamp_micros().to_be_bytes());
        self.optional(micros.as_ref().map(|bytes| &bytes[..]));
    }

    fn finish(self) -> Hash {
        self.0.finalize().into()
    }
}

/// The hash that a block must have.
pub fn block_hash(block: &ledger_block::Model) -> Hash {
    let mut hasher = Fields::new(b"tributary block 1");
    hasher.add(block.tenant_id.uuid().as_bytes());
    for number in [block.number, block.first_seq, block.last_seq, block.entries] {
        hasher.add(&number.to_be_bytes());
    }
    hasher.instant(Some(block.sealed_at));
    hasher.add(&block.previous_hash);
    hasher.add(&block.leaves);
    hasher.finish()
}

/// Signs blocks.
pub struct SealKey(SigningKey);

impl SealKey {
    /// The key for an installation's secret; another one than those of tokens and cursors.
    pub fn new(secret: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(b"ledger seal");
        Self(SigningKey::from_bytes(&mac.finalize().into_bytes().into()))
    }

    /// With which signatures are checked; no secret.
    pub fn public(&self) -> Hash {
        self.0.verifying_key().to_bytes()
    }

    /// The block behind `before`, sealed. `leaves` are not none.
    pub fn seal(
        &self,
        tenant_id: TenantId,
        before: Option<&ledger_block::Model>,
        leaves: &[Hash],
        entries: i64,
        sealed_at: Instant,
    ) -> ledger_block::Model {
        let first_seq = before.map_or(1, |block| block.last_seq + 1);
        let mut block = ledger_block::Model {
            tenant_id,
            number: before.map_or(1, |block| block.number + 1),
            first_seq,
            last_seq: first_seq + leaves.len() as i64 - 1,
            entries,
            leaves: leaves.concat(),
            previous_hash: before.map_or_else(|| vec![0; 32], |block| block.hash.clone()),
            hash: Vec::new(),
            public_key: self.public().to_vec(),
            signature: Vec::new(),
            sealed_at,
        };
        block.hash = block_hash(&block).to_vec();
        block.signature = self.0.sign(Checkpoint::of(&block).statement().as_bytes()).to_bytes().to_vec();
        block
    }
}

/// A block as it is handed out: small, signed, and good to be kept elsewhere. Whoever holds one can later show that the
/// ledger up to it is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Whose ledger: `ten_..`.
    pub tenant: String,
    /// The block's number.
    pub block: i64,
    /// How many journals the ledger had with this block.
    pub journals: i64,
    pub sealed_at: Instant,
    /// The block's hash, hexadecimal.
    pub hash: String,
    /// Ed25519, hexadecimal.
    pub public_key: String,
    /// Of [`Checkpoint::statement`], Ed25519, hexadecimal.
    pub signature: String,
}

impl Checkpoint {
    pub fn of(block: &ledger_block::Model) -> Self {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        Self {
            tenant: block.tenant_id.to_string(),
            block: block.number,
            journals: block.last_seq,
            sealed_at: block.sealed_at,
            hash: hex(&block.hash),
            public_key: hex(&block.public_key),
            signature: hex(&block.signature),
        }
    }

    /// What is signed: five lines of text.
    pub fn statement(&self) -> String {
        let Self { tenant, block, journals, sealed_at, hash, .. } = self;
        let sealed_at = sealed_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        format!("tributary ledger checkpoint 1\n{tenant}\n{block} {journals}\n{sealed_at}\n{hash}\n")
    }

    /// Whether the signature is that of the key that the checkpoint names; whose key that is, is another question.
    pub fn is_signed(&self) -> bool {
        let bytes = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap_or_default();
        let key = Hash::try_from(bytes(&self.public_key)).ok().and_then(|key| VerifyingKey::from_bytes(&key).ok());
        let signature = Signature::from_slice(&bytes(&self.signature)).ok();
        key.zip(signature)
            .is_some_and(|(key, signature)| key.verify_strict(self.statement().as_bytes(), &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(key: &SealKey, before: Option<&ledger_block::Model>, leaves: &[Hash]) -> ledger_block::Model {
        key.seal(TenantId::from_uuid(Uuid::nil()), before, leaves, 4, Instant::default())
    }

    #[test]
    fn blocks_follow_each_other_and_are_signed() {
        let key = SealKey::new("a secret of at least 32 characters");
        let first = block(&key, None, &[[1; 32], [2; 32]]);
        let second = block(&key, Some(&first), &[[3; 32]]);
        assert_eq!((first.number, first.first_seq, first.last_seq), (1, 1, 2));
        assert_eq!((second.number, second.first_seq, second.last_seq), (2, 3, 3));
        assert_eq!(second.previous_hash, first.hash);
        for block in [&first, &second] {
            assert_eq!(block.hash, block_hash(block));
            assert!(Checkpoint::of(block).is_signed());
        }
    }

    #[test]
    fn any_change_of_a_checkpoint_breaks_its_signature() {
        let key = SealKey::new("a secret of at least 32 characters");
        let good = Checkpoint::of(&block(&key, None, &[[1; 32]]));
        let another = Checkpoint::of(&block(&SealKey::new("another secret of 32 characters!"), None, &[[1; 32]]));
        let changes: [fn(&mut Checkpoint); 6] = [
            |one| one.tenant.push('x'),
            |one| one.block += 1,
            |one| one.journals += 1,
            |one| one.hash = one.hash.replace('0', "1"),
            |one| one.signature = one.signature.replace('0', "1"),
            |one| one.public_key.clear(),
        ];
        for change in changes {
            let mut changed = good.clone();
            change(&mut changed);
            assert!(changed == good || !changed.is_signed(), "{changed:?}");
        }
        assert!(!Checkpoint { signature: another.signature, ..good }.is_signed());
    }
}
