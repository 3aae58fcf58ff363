//! The audit of a ledger: its lines walked in order, held against the laws of the ledger and against the seal.
//!
//! # Decisions
//! - Rows are taken as the database holds them, texts for enums: what cannot be read is a finding, not the audit's end.
//! - One walk in the order of posting, with the running balance of each account that has a floor: memory grows with the
//!   accounts (some hundred bytes each), not with what was posted.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tributary_entity::{
    Instant,
    ids::{AccountId, AffiliateId, JournalId},
    ledger_block,
};
use uuid::Uuid;

use super::{
    ledger::{Code, Side},
    ledger_chain::{Checkpoint, Hash, block_hash},
};

/// A line of the ledger as the database holds it, with its journal's head and its account; those are none where the rows
/// are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLine {
    pub seq: i64,
    pub journal_id: Uuid,
    pub line: i32,
    pub account_id: Uuid,
    pub amount_minor: i64,
    pub currency: String,
    pub kind: Option<String>,
    pub business_key: Option<String>,
    pub conversion_id: Option<Uuid>,
    pub posted_at: Option<Instant>,
    pub code: Option<i32>,
    pub affiliate_id: Option<Uuid>,
    pub processor: Option<String>,
    pub account_currency: Option<String>,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which law is broken; stable, for programs.
    pub check: &'static str,
    /// What it is about.
    pub subject: String,
    /// What must be.
    pub expected: String,
    /// What is.
    pub found: String,
}

impl Difference {
    pub fn new(check: &'static str, subject: impl ToString, expected: impl ToString, found: impl ToString) -> Self {
        let (subject, expected, found) = (subject.to_string(), expected.to_string(), found.to_string());
        Self { check, subject, expected, found }
    }
}

/// A line of the trial balance as the walk has summed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialLine {
    pub code: i32,
    pub currency: String,
    /// Minor units.
    pub debit: i128,
    /// Minor units.
    pub credit: i128,
}

/// What an affiliate owes and has, in one currency.
#[derive(Clone, Copy, Default)]
struct Standing {
    debt: i128,
    available: i128,
}

/// The walk over a ledger's lines.
#[derive(Default)]
pub struct Walk {
    /// The number of the last journal that was met.
    seq: i64,
    lines: u64,
    /// Balances of accounts with a floor, on their normal side.
    balances: HashMap<Uuid, i128>,
    standings: HashMap<(Uuid, String), Standing>,
    totals: BTreeMap<(i32, String), (i128, i128)>,
    differences: Vec<Difference>,
}

impl Walk {
    /// The next journal: all lines with the next number. Numbers that were passed over are told.
    pub fn journal(&mut self, lines: &[RawLine]) {
        let Some(first) = lines.first() else { return };
        self.missing(first.seq - 1);
        self.seq = first.seq;
        self.lines += lines.len() as u64;
        let name = format!("journal {} {}", first.seq, JournalId::from_uuid(first.journal_id));
        if first.kind.is_none() {
            self.differences.push(Difference::new("JOURNAL_HEAD", &name, "a journal", "entries without one"));
        }
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for (line, number) in lines.iter().zip(0..) {
            if line.journal_id != first.journal_id || line.line != number {
                let found = format!("line {} of {}", line.line, JournalId::from_uuid(line.journal_id));
                self.differences.push(Difference::new("JOURNAL_LINES", &name, format!("line {number}"), found));
            }
            *sums.entry(&line.currency).or_default() += i128::from(line.amount_minor);
            self.line(&name, line);
        }
        for (currency, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
            let found = format!("{sum} {currency}");
            self.differences.push(Difference::new("JOURNAL_BALANCE", &name, format!("0 {currency}"), found));
        }
        self.at_rest(&name, lines);
    }

    /// Numbers up to `last` that were not met.
    pub fn missing(&mut self, last: i64) {
        if last > self.seq {
            let subject = match last - self.seq {
                1 => format!("journal {last}"),
                _ => format!("journals {} to {last}", self.seq + 1),
            };
            self.differences.push(Difference::new("JOURNAL_MISSING", subject, "entries", "none"));
            self.seq = last;
        }
    }

    fn line(&mut self, name: &str, line: &RawLine) {
        let account = AccountId::from_uuid(line.account_id);
        let Some(code) = line.code.and_then(Code::from_number) else {
            let found = line.code.map_or_else(|| "no account".to_owned(), |code| code.to_string());
            self.differences.push(Difference::new(
                "ACCOUNT",
                format!("{name} {account}"),
                "a code of the chart",
                found,
            ));
            return;
        };
        if line.account_currency.as_deref() != Some(&line.currency) {
            let expected = line.account_currency.as_deref().unwrap_or_default();
            self.differences.push(Difference::new(
                "ENTRY_CURRENCY",
                format!("{name} {account}"),
                expected,
                &line.currency,
            ));
        }
        let amount = i128::from(line.amount_minor);
        let (debit, credit) = self.totals.entry((code.number(), line.currency.clone())).or_default();
        if amount > 0 {
            *debit += amount
        } else {
            *credit -= amount
        }
        if !has_floor(code) {
            return;
        }
        let grown = if code.side() == Side::Debit { amount } else { -amount };
        *self.balances.entry(line.account_id).or_default() += grown;
        if let Some(affiliate_id) = line.affiliate_id {
            let standing = self.standings.entry((affiliate_id, line.currency.clone())).or_default();
            match code {
                Code::AffiliateReceivable => standing.debt += grown,
                Code::AffiliateAvailable => standing.available += grown,
                _ => {}
            }
        }
    }

    /// What must hold whenever a journal is complete.
    fn at_rest(&mut self, name: &str, lines: &[RawLine]) {
        for line in lines {
            if let Some(balance) = self.balances.get(&line.account_id).filter(|balance| **balance < 0) {
                let subject =
                    format!("{name} {} {}", line.code.unwrap_or_default(), AccountId::from_uuid(line.account_id));
                self.differences.push(Difference::new("NEGATIVE_BALANCE", subject, "0 or more", balance));
            }
            let Some(affiliate_id) = line.affiliate_id else { continue };
            if let Some(Standing { debt, available }) = self.standings.get(&(affiliate_id, line.currency.clone()))
                && *debt > 0
                && *available > 0
            {
                let subject = format!("{name} {} {}", AffiliateId::from_uuid(affiliate_id), line.currency);
                let found = format!("{available} available and {debt} owed");
                self.differences.push(Difference::new("DEBT_BESIDE_AVAILABLE", subject, "one of both", found));
            }
        }
    }

    /// The end: `tip` is the counter's number.
    pub fn finish(mut self, tip: i64) -> Walked {
        let last = self.seq;
        self.missing(tip);
        if last > tip {
            let found = format!("journals up to {last}");
            self.differences.push(Difference::new("COUNTER", "journals", format!("journals up to {tip}"), found));
        }
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        for ((_, currency), (debit, credit)) in &self.totals {
            *sums.entry(currency).or_default() += debit - credit;
        }
        for (currency, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
            self.differences.push(Difference::new("TRIAL_BALANCE", currency, 0, sum));
        }
        let trial_balance = self
            .totals
            .into_iter()
            .map(|((code, currency), (debit, credit))| TrialLine { code, currency, debit, credit })
            .collect();
        Walked { journals: last, lines: self.lines, trial_balance, differences: self.differences }
    }
}

/// What a walk has found.
pub struct Walked {
    /// The number of the last journal.
    pub journals: i64,
    pub lines: u64,
    pub trial_balance: Vec<TrialLine>,
    pub differences: Vec<Difference>,
}

/// Accounts that are never below zero.
const fn has_floor(code: Code) -> bool {
    code.is_guarded() || matches!(code, Code::PayoutClearing)
}

/// The chain of blocks, held against the journals beside it.
pub struct Chain {
    /// Whose signatures count.
    trusted: Vec<Hash>,
    before: Option<ledger_block::Model>,
    differences: Vec<Difference>,
}

impl Chain {
    pub const fn new(trusted: Vec<Hash>) -> Self {
        Self { trusted, before: None, differences: Vec::new() }
    }

    /// The number of the last block that was looked at.
    pub fn number(&self) -> i64 {
        self.before.as_ref().map_or(0, |block| block.number)
    }

    /// The next block, with the hashes of the journals of its numbers; none where a journal is not there.
    pub fn block(&mut self, block: ledger_block::Model, leaves: &[Option<Hash>]) {
        let name = format!("block {}", block.number);
        let (number, first_seq, hash) = match &self.before {
            None => (1, 1, vec![0; 32]),
            Some(before) => (before.number + 1, before.last_seq + 1, before.hash.clone()),
        };
        if block.number != number || block.first_seq != first_seq {
            let found = format!("block {} from journal {}", block.number, block.first_seq);
            let expected = format!("block {number} from journal {first_seq}");
            self.differences.push(Difference::new("BLOCK_MISSING", &name, expected, found));
        }
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        if block.previous_hash != hash {
            let (expected, found) = (hex(&hash), hex(&block.previous_hash));
            self.differences.push(Difference::new("CHAIN_BROKEN", &name, expected, found));
        }
        let computed = block_hash(&block);
        if block.hash != computed {
            self.differences.push(Difference::new("BLOCK_ALTERED", &name, hex(&computed), hex(&block.hash)));
        }
        let is_ours = self.trusted.iter().any(|key| *key == block.public_key[..]);
        if !is_ours || !Checkpoint::of(&block).is_signed() {
            let expected = "a signature by a key of this installation";
            let found = if is_ours { "a wrong signature" } else { "another key" };
            self.differences.push(Difference::new("SEAL", &name, expected, found));
        }
        self.leaves(&block, leaves);
        self.before = Some(block);
    }

    /// Which journals of a block are not those that were sealed.
    fn leaves(&mut self, block: &ledger_block::Model, found: &[Option<Hash>]) {
        let sealed: Vec<&[u8]> = block.leaves.chunks(32).collect();
        let is_as_sealed =
            |index: usize| found.get(index).copied().flatten().as_ref().map(|leaf| &leaf[..]) == Some(sealed[index]);
        let wrong: Vec<usize> = (0..sealed.len()).filter(|index| !is_as_sealed(*index)).collect();
        if wrong.is_empty() {
            return;
        }
        let places: HashMap<&[u8], i64> = sealed.iter().copied().zip(block.first_seq..).collect();
        for index in wrong {
            let name = format!("journal {}", block.first_seq + index as i64);
            let found = match found.get(index).copied().flatten() {
                None => "nothing".to_owned(),
                Some(leaf) => match places.get(&leaf[..]) {
                    Some(place) => format!("what was sealed as journal {place}"),
                    None => "something else".to_owned(),
                },
            };
            let expected = format!("what block {} sealed", block.number);
            self.differences.push(Difference::new("JOURNAL_ALTERED", name, expected, found));
        }
    }

    /// The end; the last block, and what was found.
    pub fn finish(self) -> (Option<ledger_block::Model>, Vec<Difference>) {
        (self.before, self.differences)
    }
}
