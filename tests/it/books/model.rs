//! The reference: what each event does to balances, written from the rules alone, kept in a map and, beside it, in the
//! independent ledger `doubleentry`.
//!
//! # Adding an event
//! A variant of [`Step`] with its weight in [`steps`], what it posts in [`Model`] (three to ten lines), and what calls it
//! in `books/mod.rs`.

use std::collections::BTreeMap;

use doubleentry::prelude::{AccountKind, Amount, BalanceQuery, EUR, Entry, Journal, LedgerId, date};
use proptest::{
    prelude::{Strategy, any, prop_oneof},
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Affiliates of a program.
pub const PEOPLE: usize = 3;

/// An event. Amounts are cents; what an [`Index`] chooses from is what there is at that moment.
#[derive(Clone, Debug)]
pub enum Step {
    /// A sale of so many times ten cents, of which a tenth is the commission.
    Sell {
        who: usize,
        commission: i64,
    },
    Approve(Index),
    Reject(Index),
    /// The hold of all that is approved ends.
    Release,
    /// A batch for everybody is drafted, approved and submitted.
    Pay,
    Settle(Index),
    Fail(Index),
    Return(Index),
    Deposit {
        amount: i64,
    },
    /// What was earned is taken back, also when it is paid out already.
    Claw {
        who: usize,
        amount: i64,
    },
    WriteOff {
        who: usize,
        amount: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..PEOPLE;
    prop_oneof![
        8 => (who(), 1..5_000_i64).prop_map(|(who, commission)| Step::Sell { who, commission }),
        7 => any::<Index>().prop_map(Step::Approve),
        1 => any::<Index>().prop_map(Step::Reject),
        3 => proptest::strategy::Just(Step::Release),
        2 => proptest::strategy::Just(Step::Pay),
        3 => any::<Index>().prop_map(Step::Settle),
        2 => any::<Index>().prop_map(Step::Fail),
        2 => any::<Index>().prop_map(Step::Return),
        1 => (1..100_000_i64).prop_map(|amount| Step::Deposit { amount }),
        3 => (who(), 1..8_000_i64).prop_map(|(who, amount)| Step::Claw { who, amount }),
        3 => (who(), 1..4_000_i64).prop_map(|(who, amount)| Step::WriteOff { who, amount }),
    ]
}

/// Steps without end, the same for the same seed.
pub fn steps(seed: u64) -> impl Iterator<Item = Step> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let strategy = step();
    std::iter::from_fn(move || Some(strategy.new_tree(&mut runner).expect("a step").current()))
}

/// An account: its number, and the affiliate whose it is.
pub type Account = (i32, Option<usize>);

/// Balances, debits positive, in a map and in the other ledger.
pub struct Model {
    balances: BTreeMap<Account, i64>,
    books: Journal,
    posted: usize,
}

impl Model {
    pub fn new() -> Self {
        let day = date!("2026-01-01");
        let mut books = Journal::new(LedgerId::new("example.com/home").expect("a name"));
        books.declare_currency(EUR, 2, day).expect("declared");
        books.define_months(2026, 1..=12).expect("months");
        Self { balances: BTreeMap::new(), books, posted: 0 }
    }

    fn path((code, who): Account) -> String {
        let class = match code {
            1000..2000 => "Assets",
            2000..3000 => "Liabilities",
            3000..4000 => "Equity",
            _ => "Expenses",
        };
        who.map_or_else(|| format!("{class}:A{code}"), |who| format!("{class}:A{code}:P{who}"))
    }

    fn post(&mut self, lines: &[(Account, i64)]) {
        let lines: Vec<&(Account, i64)> = lines.iter().filter(|(_, amount)| *amount != 0).collect();
        if lines.is_empty() {
            return;
        }
        self.posted += 1;
        let mut entry = Entry::new(format!("journal-{}", self.posted), date!("2026-03-15"));
        for (account, amount) in lines {
            if !self.balances.contains_key(account) {
                let kind = match account.0 {
                    1000..2000 => AccountKind::Asset,
                    2000..3000 => AccountKind::Liability,
                    3000..4000 => AccountKind::Equity,
                    _ => AccountKind::Expense,
                };
                self.books.open(Self::path(*account), kind, date!("2026-01-01")).expect("an account");
            }
            *self.balances.entry(*account).or_default() += amount;
            let minor = Amount::from_minor(i128::from(amount.abs())).expect("in range");
            let path = Self::path(*account);
            entry = if *amount > 0 {
                entry.debit(path.as_str(), minor, EUR)
            } else {
                entry.credit(path.as_str(), minor, EUR)
            };
        }
        self.books.record(entry).expect("the other ledger takes it");
    }

    fn balance(&self, code: i32, who: usize) -> i64 {
        self.balances.get(&(code, Some(who))).copied().unwrap_or(0)
    }

    pub fn available(&self, who: usize) -> i64 {
        -self.balance(2010, who)
    }

    pub fn debt(&self, who: usize) -> i64 {
        self.balance(1200, who)
    }

    pub fn approve(&mut self, who: usize, commission: i64) {
        self.post(&[((5000, None), commission), ((2000, Some(who)), -commission)]);
    }

    /// Credits an affiliate from an account: what it owes first.
    fn credit(&mut self, from: Account, who: usize, amount: i64) {
        let netted = amount.min(self.debt(who));
        self.post(&[(from, amount), ((1200, Some(who)), -netted), ((2010, Some(who)), netted - amount)]);
    }

    pub fn release(&mut self, who: usize, commission: i64) {
        self.credit((2000, Some(who)), who, commission);
    }

    pub fn claw(&mut self, who: usize, amount: i64) {
        let covered = amount.min(self.available(who));
        self.post(&[((2010, Some(who)), covered), ((1200, Some(who)), amount - covered), ((5000, None), -amount)]);
    }

    pub fn pay(&mut self, who: usize, gross: i64) {
        self.post(&[((2010, Some(who)), gross), ((2020, None), -gross)]);
    }

    pub fn settle(&mut self, gross: i64) {
        self.post(&[((2020, None), gross), ((1000, None), -gross)]);
    }

    pub fn fail(&mut self, who: usize, gross: i64) {
        self.credit((2020, None), who, gross);
    }

    pub fn give_back(&mut self, who: usize, gross: i64) {
        self.credit((1000, None), who, gross);
    }

    pub fn deposit(&mut self, amount: i64) {
        self.post(&[((1000, None), amount), ((3000, None), -amount)]);
    }

    /// False, and nothing, where less is owed.
    pub fn write_off(&mut self, who: usize, amount: i64) -> bool {
        let is_owed = amount <= self.debt(who);
        if is_owed {
            self.post(&[((5300, None), amount), ((1200, Some(who)), -amount)]);
        }
        is_owed
    }

    /// The balances, of which the other ledger says the same.
    pub fn balances(&self) -> BTreeMap<Account, i64> {
        for (account, balance) in &self.balances {
            let other =
                self.books.balance(Self::path(*account).as_str(), EUR, &BalanceQuery::all()).expect("a balance");
            assert_eq!(other.net().to_minor(), i128::from(*balance), "{account:?} in the other ledger");
        }
        self.balances.iter().filter(|(_, balance)| **balance != 0).map(|(account, sum)| (*account, *sum)).collect()
    }

    /// The other ledger audits itself.
    pub fn audit(&self) {
        self.books.audit().expect("the other ledger is sound");
    }
}
