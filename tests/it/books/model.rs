//! The reference: what each event does to balances, written from the rules alone, kept in a map and, beside it, in the
//! independent ledger `doubleentry`.
//!
//! # Adding an event
//! A variant of [`Step`] with its weight in [`steps`], what it does in [`Model`] (three to ten lines), and what calls it
//! in `books/mod.rs`.

use std::collections::BTreeMap;

use doubleentry::prelude::{AccountKind, Amount, BalanceQuery, EUR, Entry, Journal, LedgerId, USD, date};
use proptest::{
    prelude::{Strategy, any, prop_oneof},
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Affiliates of a program.
pub const PEOPLE: usize = 3;

/// The currency of sales and payouts, and the one into which balances are converted and back. A euro is 1.25 dollars.
pub const EURO: &str = "EUR";
pub const DOLLAR: &str = "USD";

/// An event. Amounts are cents; what an [`Index`] chooses from is what there is at that moment.
#[derive(Clone, Debug)]
pub enum Step {
    /// A tenth of a sale is the commission.
    Sell {
        who: usize,
        sale: i64,
    },
    Approve(Index),
    Reject(Index),
    /// The hold of all that is approved ends.
    Release,
    /// So many millionths of what is left of a sale, or all.
    Refund(Index, i64),
    Undo(Index),
    /// Another sale amount.
    Adjust(Index, i64),
    /// A batch for everybody is drafted, approved and submitted.
    Pay,
    Settle(Index),
    Fail(Index),
    Return(Index),
    Deposit {
        amount: i64,
    },
    /// So many millionths of what is available, or more than that, become dollars, or dollars euro.
    Convert {
        who: usize,
        part: i64,
        is_back: bool,
    },
    WriteOff {
        who: usize,
        amount: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, index) = (|| 0..PEOPLE, any::<Index>);
    prop_oneof![
        8 => (who(), 1..60_000_i64).prop_map(|(who, sale)| Step::Sell { who, sale }),
        7 => index().prop_map(Step::Approve),
        1 => index().prop_map(Step::Reject),
        3 => proptest::strategy::Just(Step::Release),
        5 => (index(), prop_oneof![2 => 1..=1_000_000_i64, 1 => 1_000_000..=1_000_000_i64])
            .prop_map(|(deal, part)| Step::Refund(deal, part)),
        3 => index().prop_map(Step::Undo),
        3 => (index(), 1..60_000_i64).prop_map(|(deal, sale)| Step::Adjust(deal, sale)),
        2 => proptest::strategy::Just(Step::Pay),
        3 => index().prop_map(Step::Settle),
        2 => index().prop_map(Step::Fail),
        2 => index().prop_map(Step::Return),
        1 => (1..100_000_i64).prop_map(|amount| Step::Deposit { amount }),
        3 => (who(), 1..1_200_000_i64, any::<bool>())
            .prop_map(|(who, part, is_back)| Step::Convert { who, part, is_back }),
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

/// The quotient, halves to the even neighbour. Neither is negative.
fn rounded(over: i64, under: i64) -> i64 {
    let (whole, rest) = (over / under, over % under);
    whole + i64::from(2 * rest > under || (2 * rest == under && whole % 2 == 1))
}

/// Where the money of a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it waits for a review.
    Waiting,
    Rejected,
    Held,
    Released,
}

/// A conversion.
#[derive(Debug)]
pub struct Deal {
    pub who: usize,
    pub place: Place,
    pub sale: i64,
    pub refunded: i64,
    commission: i64,
    taken: i64,
    /// Its hold has ended, whether there was anything to release then or not.
    is_due: bool,
    /// Of the sale and of the commission, by each refund; none of one that was undone.
    pub refunds: Vec<Option<(i64, i64)>>,
}

impl Deal {
    /// What an approval posts, and what a release moves.
    fn net(&self) -> i64 {
        self.commission - self.taken
    }

    pub fn is_over(&self) -> bool {
        self.refunded == self.sale
    }

    pub fn is_live(&self) -> bool {
        self.place != Place::Rejected && !self.is_over()
    }
}

/// An account: its number, the affiliate whose it is, its currency.
pub type Account = (i32, Option<usize>, &'static str);

/// Conversions and balances, debits positive, in a map and in the other ledger.
pub struct Model {
    pub deals: Vec<Deal>,
    balances: BTreeMap<Account, i64>,
    books: Journal,
    posted: usize,
}

impl Model {
    pub fn new() -> Self {
        let day = date!("2026-01-01");
        let mut books = Journal::new(LedgerId::new("example.com/home").expect("a name"));
        books.declare_currency(EUR, 2, day).expect("declared");
        books.declare_currency(USD, 2, day).expect("declared");
        books.define_months(2026, 1..=12).expect("months");
        Self { deals: Vec::new(), balances: BTreeMap::new(), books, posted: 0 }
    }

    fn path((code, who, currency): Account) -> String {
        let class = match code {
            1000..2000 => "Assets",
            2000..3000 => "Liabilities",
            3000..4000 => "Equity",
            _ => "Expenses",
        };
        let owner = who.map_or_else(|| "Tenant".to_owned(), |who| format!("P{who}"));
        format!("{class}:A{code}:{owner}:{currency}")
    }

    fn currency(code: &str) -> doubleentry::Currency {
        if code == EURO { EUR } else { USD }
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
            let (path, currency) = (Self::path(*account), Self::currency(account.2));
            entry = if *amount > 0 {
                entry.debit(path.as_str(), minor, currency)
            } else {
                entry.credit(path.as_str(), minor, currency)
            };
        }
        self.books.record(entry).expect("the other ledger takes it");
    }

    fn balance(&self, code: i32, who: usize, currency: &'static str) -> i64 {
        self.balances.get(&(code, Some(who), currency)).copied().unwrap_or(0)
    }

    pub fn available(&self, who: usize, currency: &'static str) -> i64 {
        -self.balance(2010, who, currency)
    }

    pub fn debt(&self, who: usize) -> i64 {
        self.balance(1200, who, EURO)
    }

    /// The lines of a credit to an affiliate: what it owes first.
    fn credit(&self, who: usize, amount: i64, currency: &'static str) -> [(Account, i64); 2] {
        let netted = amount.min(self.balance(1200, who, currency));
        [((1200, Some(who), currency), -netted), ((2010, Some(who), currency), netted - amount)]
    }

    /// Posts what a change gives for a conversion, or takes where it is negative.
    fn change(&mut self, deal: usize, expense: i32, amount: i64) {
        let Deal { who, place, .. } = self.deals[deal];
        let mut lines = vec![((expense, None, EURO), amount)];
        match place {
            Place::Waiting | Place::Rejected => return,
            Place::Held => lines.push(((2000, Some(who), EURO), -amount)),
            Place::Released if amount > 0 => lines.extend(self.credit(who, amount, EURO)),
            Place::Released => {
                let covered = (-amount).min(self.available(who, EURO));
                lines.push(((2010, Some(who), EURO), covered));
                lines.push(((1200, Some(who), EURO), -amount - covered));
            }
        }
        self.post(&lines);
    }

    pub fn sell(&mut self, who: usize, sale: i64) {
        let commission = rounded(sale, 10);
        let (refunded, taken) = (0, 0);
        let place = Place::Waiting;
        let deal = Deal { who, place, sale, refunded, commission, taken, is_due: false, refunds: Vec::new() };
        self.deals.push(deal);
    }

    pub fn approve(&mut self, deal: usize) {
        self.deals[deal].place = Place::Held;
        let Deal { who, .. } = self.deals[deal];
        let net = self.deals[deal].net();
        self.post(&[((5000, None, EURO), net), ((2000, Some(who), EURO), -net)]);
    }

    pub fn reject(&mut self, deal: usize) {
        self.deals[deal].place = Place::Rejected;
    }

    /// All holds end.
    pub fn release(&mut self) {
        for deal in 0..self.deals.len() {
            self.deals[deal].is_due |= self.deals[deal].place == Place::Held;
        }
        self.release_due();
    }

    /// What is in a hold that has ended is released, unless it is taken back in full.
    pub fn release_due(&mut self) {
        for deal in 0..self.deals.len() {
            let Deal { who, place, is_due, .. } = self.deals[deal];
            if place != Place::Held || !is_due || self.deals[deal].is_over() {
                continue;
            }
            let net = self.deals[deal].net();
            let [debt, available] = self.credit(who, net, EURO);
            self.post(&[((2000, Some(who), EURO), net), debt, available]);
            self.deals[deal].place = Place::Released;
        }
    }

    /// What is taken in all is the refunded part of the commission; what was taken before is not given back.
    pub fn refund(&mut self, deal: usize, amount: i64) {
        let one = &mut self.deals[deal];
        one.refunded += amount;
        let target = if one.is_over() { one.commission } else { rounded(one.commission * one.refunded, one.sale) };
        let taken = (target - one.taken).max(0);
        one.taken += taken;
        one.refunds.push(Some((amount, taken)));
        self.change(deal, 5000, -taken);
    }

    /// Gives exactly what a refund took.
    pub fn undo(&mut self, deal: usize, refund: usize) {
        let one = &mut self.deals[deal];
        let (amount, taken) = one.refunds[refund].take().expect("was not undone");
        one.refunded -= amount;
        one.taken -= taken;
        self.change(deal, 5000, taken);
    }

    /// Whether the sale may have another amount: not what it has, and more than was refunded. Never less than was taken.
    pub fn adjust(&mut self, deal: usize, sale: i64) -> bool {
        let one = &mut self.deals[deal];
        if sale == one.sale || (one.refunded > 0 && sale <= one.refunded) {
            return false;
        }
        let commission = rounded(sale, 10).max(one.taken);
        let difference = commission - one.commission;
        (one.sale, one.commission) = (sale, commission);
        self.change(deal, 5030, difference);
        true
    }

    pub fn pay(&mut self, who: usize, gross: i64) {
        self.post(&[((2010, Some(who), EURO), gross), ((2020, None, EURO), -gross)]);
    }

    pub fn settle(&mut self, gross: i64) {
        self.post(&[((2020, None, EURO), gross), ((1000, None, EURO), -gross)]);
    }

    pub fn fail(&mut self, who: usize, gross: i64) {
        let [debt, available] = self.credit(who, gross, EURO);
        self.post(&[((2020, None, EURO), gross), debt, available]);
    }

    pub fn give_back(&mut self, who: usize, gross: i64) {
        let [debt, available] = self.credit(who, gross, EURO);
        self.post(&[((1000, None, EURO), gross), debt, available]);
    }

    pub fn deposit(&mut self, amount: i64) {
        self.post(&[((1000, None, EURO), amount), ((3000, None, EURO), -amount)]);
    }

    /// Into dollars, or back; rounded down. False, and nothing, where less is available, and for what buys nothing.
    pub fn convert(&mut self, who: usize, amount: i64, is_back: bool) -> bool {
        let (from, to, bought) = if is_back { (DOLLAR, EURO, amount * 4 / 5) } else { (EURO, DOLLAR, amount * 5 / 4) };
        if amount > self.available(who, from) || bought == 0 {
            return false;
        }
        let [debt, available] = self.credit(who, bought, to);
        let position = |currency| (1900, None, currency);
        let sold = ((2010, Some(who), from), amount);
        self.post(&[sold, (position(from), -amount), (position(to), bought), debt, available]);
        true
    }

    /// False, and nothing, where less is owed.
    pub fn write_off(&mut self, who: usize, amount: i64) -> bool {
        let is_owed = amount <= self.debt(who);
        if is_owed {
            self.post(&[((5300, None, EURO), amount), ((1200, Some(who), EURO), -amount)]);
        }
        is_owed
    }

    /// The balances, of which the other ledger says the same.
    pub fn balances(&self) -> BTreeMap<Account, i64> {
        for (account, balance) in &self.balances {
            let (path, currency) = (Self::path(*account), Self::currency(account.2));
            let other = self.books.balance(path.as_str(), currency, &BalanceQuery::all()).expect("a balance");
            assert_eq!(other.net().to_minor(), i128::from(*balance), "{account:?} in the other ledger");
        }
        self.balances.iter().filter(|(_, balance)| **balance != 0).map(|(account, sum)| (*account, *sum)).collect()
    }

    /// The other ledger audits itself.
    pub fn audit(&self) {
        self.books.audit().expect("the other ledger is sound");
    }
}
