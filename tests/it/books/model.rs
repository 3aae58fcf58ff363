//! The reference: what each event does to balances, written from the rules alone, kept in a map and, beside it, in the
//! independent ledger `doubleentry`.

use std::collections::BTreeMap;

use doubleentry::prelude::{AccountKind, Amount, BalanceQuery, Entry, Journal, LedgerId, date};

use tributary_entity::money::Currency;

use super::markets::{DOLLAR, EURO, Level, MARKETS, Market, PEOPLE};

/// The quotient, halves to the even neighbour. Neither is negative.
fn rounded(over: i64, under: i64) -> i64 {
    let (whole, rest) = (over / under, over % under);
    whole + i64::from(2 * rest > under || (2 * rest == under && whole % 2 == 1))
}

/// A part of an amount, in millionths.
fn part(amount: i64, rate: i64) -> i64 {
    rounded(amount * rate, 1_000_000)
}

/// Digits behind the point of all amounts in the other ledger.
const DIGITS: u8 = 3;

fn digits(currency: &str) -> u8 {
    currency.parse::<Currency>().expect("known").exponent()
}

/// Minor units of a currency as the other ledger has them.
fn scaled(minor: i64, currency: &str) -> i128 {
    i128::from(minor) * 10_i128.pow(u32::from(DIGITS - digits(currency)))
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

/// What one affiliate has of a conversion: the first is its own, the others are those above it.
#[derive(Clone, Debug, Default)]
struct Share {
    amount: i64,
    taken: i64,
}

/// A refund: of the sale, and of each share.
type Refund = (i64, Vec<i64>);

/// A conversion.
#[derive(Debug)]
pub struct Deal {
    pub market: &'static Market,
    pub who: usize,
    pub place: Place,
    pub sale: i64,
    pub refunded: i64,
    shares: Vec<Share>,
    /// Its hold has ended, whether there was anything to release then or not.
    is_due: bool,
    /// None of one that was undone.
    pub refunds: Vec<Option<Refund>>,
}

impl Deal {
    /// What each share is by the sale: never less than was taken of it.
    fn reckoned(&self) -> Vec<i64> {
        let taken = |level: usize| self.shares.get(level).map_or(0, |share| share.taken);
        let own = part(self.sale, self.market.rate).max(taken(0));
        let above = (1..PEOPLE - self.who).zip(self.market.levels);
        let above = above.map(|(level, terms)| {
            let amount = match *terms {
                Level::OfCommission(rate) => part(own, rate),
                Level::OfSale(rate) => part(self.sale, rate),
                Level::Flat(amount) => amount,
            };
            amount.max(taken(level))
        });
        std::iter::once(own).chain(above).collect()
    }

    /// What an approval posts, and what a release moves, of each.
    fn nets(&self) -> Vec<i64> {
        self.shares.iter().map(|share| share.amount - share.taken).collect()
    }

    pub fn is_over(&self) -> bool {
        self.refunded == self.sale
    }

    pub fn is_live(&self) -> bool {
        self.place != Place::Rejected && !self.is_over()
    }

    pub fn is_waiting(&self) -> bool {
        self.place == Place::Waiting && self.is_live()
    }

    pub fn may_be_undone(&self) -> bool {
        self.place != Place::Rejected && self.refunds.iter().any(Option::is_some)
    }

    /// The refunds that were not undone.
    pub fn standing_refunds(&self) -> Vec<usize> {
        (0..self.refunds.len()).filter(|refund| self.refunds[*refund].is_some()).collect()
    }
}

/// A bonus in its hold.
struct Bonus {
    market: &'static Market,
    who: usize,
    amount: i64,
}

/// What a payout pays of a gross amount, and what is taken off.
#[derive(Clone, Copy, Debug)]
pub struct Payout {
    pub market: &'static Market,
    pub who: usize,
    pub gross: i64,
    tax: i64,
    fee: i64,
}

impl Payout {
    fn of(market: &'static Market, who: usize, gross: i64) -> Self {
        let tax = part(gross, market.withholding);
        Self { market, who, gross, tax, fee: market.fee.min(gross - tax) }
    }

    pub fn net(&self) -> i64 {
        self.gross - self.tax - self.fee
    }
}

/// An account: its number, the affiliate whose it is, its currency.
pub type Account = (i32, Option<usize>, &'static str);

/// Conversions and balances, debits positive, in a map and in the other ledger.
pub struct Model {
    pub deals: Vec<Deal>,
    bonuses: Vec<Bonus>,
    balances: BTreeMap<Account, i64>,
    books: Journal<DIGITS>,
    posted: usize,
}

impl Model {
    pub fn new() -> Self {
        let day = date!("2026-01-01");
        let mut books = Journal::with_precision(LedgerId::new("example.com/home").expect("a name"));
        for currency in MARKETS.iter().map(|market| market.currency).chain([DOLLAR]) {
            books.declare_currency(Self::currency(currency), digits(currency), day).expect("declared");
        }
        books.define_months(2026, 1..=12).expect("months");
        Self { deals: Vec::new(), bonuses: Vec::new(), balances: BTreeMap::new(), books, posted: 0 }
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
        doubleentry::Currency::new(code).expect("known")
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
            let minor = Amount::from_minor(scaled(amount.abs(), account.2)).expect("in range");
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

    fn debt(&self, who: usize, currency: &'static str) -> i64 {
        self.balance(1200, who, currency)
    }

    /// The lines of a credit to an affiliate: what it owes first.
    fn credit(&self, who: usize, amount: i64, currency: &'static str) -> [(Account, i64); 2] {
        let netted = amount.min(self.debt(who, currency));
        [((1200, Some(who), currency), -netted), ((2010, Some(who), currency), netted - amount)]
    }

    /// The lines of a debit: what is available first.
    fn debit(&self, who: usize, amount: i64, currency: &'static str) -> [(Account, i64); 2] {
        let covered = amount.min(self.available(who, currency));
        [((2010, Some(who), currency), covered), ((1200, Some(who), currency), amount - covered)]
    }

    /// Posts what a change gives for each share of a conversion, or takes where it is negative.
    fn change(&mut self, deal: usize, expense: impl Fn(usize) -> i32, amounts: &[i64]) {
        let Deal { who, place, market: Market { currency, .. }, .. } = self.deals[deal];
        let mut lines = Vec::new();
        for (level, amount) in amounts.iter().copied().enumerate().filter(|(_, amount)| *amount != 0) {
            let who = who + level;
            lines.push(((expense(level), None, *currency), amount));
            match place {
                Place::Waiting | Place::Rejected => return,
                Place::Held => lines.push(((2000, Some(who), *currency), -amount)),
                Place::Released if amount > 0 => lines.extend(self.credit(who, amount, currency)),
                Place::Released => lines.extend(self.debit(who, -amount, currency)),
            }
        }
        self.post(&lines);
    }

    /// What is spent for each level.
    fn expense(level: usize) -> i32 {
        if level == 0 { 5000 } else { 5020 }
    }

    pub fn sell(&mut self, market: &'static Market, who: usize, sale: i64) {
        let (place, shares, refunds) = (Place::Waiting, Vec::new(), Vec::new());
        let mut deal = Deal { market, who, place, sale, refunded: 0, shares, is_due: false, refunds };
        deal.shares = deal.reckoned().into_iter().map(|amount| Share { amount, taken: 0 }).collect();
        self.deals.push(deal);
    }

    pub fn approve(&mut self, deal: usize) {
        self.deals[deal].place = Place::Held;
        let nets = self.deals[deal].nets();
        self.change(deal, Self::expense, &nets);
    }

    pub fn reject(&mut self, deal: usize) {
        self.deals[deal].place = Place::Rejected;
    }

    /// One of which nothing was refunded is decided anew.
    pub fn reopen(&mut self, deal: usize) {
        let one = &mut self.deals[deal];
        one.place = Place::Waiting;
        one.shares = one.reckoned().into_iter().map(|amount| Share { amount, taken: 0 }).collect();
    }

    /// All holds end.
    pub fn release(&mut self) {
        for deal in 0..self.deals.len() {
            self.deals[deal].is_due |= self.deals[deal].place == Place::Held;
        }
        self.release_due();
        for Bonus { market: Market { currency, .. }, who, amount } in std::mem::take(&mut self.bonuses) {
            let [debt, available] = self.credit(who, amount, currency);
            self.post(&[((2000, Some(who), *currency), amount), debt, available]);
        }
    }

    /// What is in a hold that has ended is released, unless it is taken back in full.
    pub fn release_due(&mut self) {
        for deal in 0..self.deals.len() {
            let one = &self.deals[deal];
            if one.place != Place::Held || !one.is_due || one.is_over() {
                continue;
            }
            let (first, currency) = (one.who, one.market.currency);
            for (level, net) in one.nets().into_iter().enumerate() {
                let who = first + level;
                let [debt, available] = self.credit(who, net, currency);
                self.post(&[((2000, Some(who), currency), net), debt, available]);
            }
            self.deals[deal].place = Place::Released;
        }
    }

    /// What is taken in all is the refunded part of each share; what was taken before is not given back.
    pub fn refund(&mut self, deal: usize, amount: i64) {
        let one = &mut self.deals[deal];
        one.refunded += amount;
        let (refunded, sale) = (one.refunded, one.sale);
        let take = |share: &mut Share| {
            let target = if refunded == sale { share.amount } else { rounded(share.amount * refunded, sale) };
            let taken = (target - share.taken).max(0);
            share.taken += taken;
            taken
        };
        let taken: Vec<i64> = one.shares.iter_mut().map(take).collect();
        one.refunds.push(Some((amount, taken.clone())));
        self.change(deal, Self::expense, &taken.into_iter().map(|taken| -taken).collect::<Vec<_>>());
    }

    /// Gives exactly what a refund took.
    pub fn undo(&mut self, deal: usize, refund: usize) {
        let one = &mut self.deals[deal];
        let (amount, taken) = one.refunds[refund].take().expect("was not undone");
        one.refunded -= amount;
        for (share, taken) in one.shares.iter_mut().zip(&taken) {
            share.taken -= taken;
        }
        self.change(deal, Self::expense, &taken);
    }

    /// Whether the sale may have another amount: not what it has, and more than was refunded.
    pub fn adjust(&mut self, deal: usize, sale: i64) -> bool {
        let one = &mut self.deals[deal];
        if sale == one.sale || (one.refunded > 0 && sale <= one.refunded) {
            return false;
        }
        one.sale = sale;
        let reckoned = one.reckoned();
        let set = |(share, amount): (&mut Share, i64)| amount - std::mem::replace(&mut share.amount, amount);
        let differences: Vec<i64> = one.shares.iter_mut().zip(reckoned).map(set).collect();
        self.change(deal, |_| 5030, &differences);
        true
    }

    /// What is paid in a currency to whom, but for those who are being paid: everything that is available, if something is
    /// left of it.
    pub fn payable(&self, market: &'static Market, is_being_paid: impl Fn(usize) -> bool) -> Vec<Payout> {
        let all = (0..PEOPLE).filter(|who| !is_being_paid(*who));
        let payouts = all.map(|who| Payout::of(market, who, self.available(who, market.currency)));
        payouts.filter(|payout| payout.net() > 0).collect()
    }

    pub fn pay(&mut self, Payout { market: Market { currency, .. }, who, gross, tax, fee }: Payout) {
        let of_tenant = |code| (code, None, *currency);
        self.post(&[
            ((2010, Some(who), *currency), gross),
            (of_tenant(2020), tax + fee - gross),
            (of_tenant(2100), -tax),
            (of_tenant(5100), -fee),
        ]);
    }

    pub fn settle(&mut self, payout: &Payout) {
        let of_tenant = |code| (code, None, payout.market.currency);
        self.post(&[(of_tenant(2020), payout.net()), (of_tenant(1000), -payout.net())]);
    }

    /// Everything comes back.
    pub fn fail(&mut self, payout: &Payout) {
        self.come_back(2020, payout, payout.fee);
    }

    /// What was paid comes back, and the tax; what it cost was spent.
    pub fn give_back(&mut self, payout: &Payout) {
        self.come_back(1000, payout, 0);
    }

    fn come_back(&mut self, from: i32, payout: &Payout, fee: i64) {
        let currency = payout.market.currency;
        let of_tenant = |code| (code, None, currency);
        let [debt, available] = self.credit(payout.who, payout.net() + payout.tax + fee, currency);
        self.post(&[
            (of_tenant(from), payout.net()),
            (of_tenant(2100), payout.tax),
            (of_tenant(5100), fee),
            debt,
            available,
        ]);
    }

    pub fn deposit(&mut self, amount: i64) {
        self.post(&[((1000, None, EURO), amount), ((3000, None, EURO), -amount)]);
    }

    /// A bonus, in its hold or not.
    pub fn bonus(&mut self, market: &'static Market, who: usize, amount: i64, is_held: bool) {
        let currency = market.currency;
        let expense = ((5010, None, currency), amount);
        if is_held {
            self.bonuses.push(Bonus { market, who, amount });
            self.post(&[expense, ((2000, Some(who), currency), -amount)]);
        } else {
            let [debt, available] = self.credit(who, amount, currency);
            self.post(&[expense, debt, available]);
        }
    }

    /// An adjustment, which takes where it is negative.
    pub fn award(&mut self, market: &'static Market, who: usize, amount: i64) {
        let currency = market.currency;
        let [one, other] =
            if amount > 0 { self.credit(who, amount, currency) } else { self.debit(who, -amount, currency) };
        self.post(&[((5030, None, currency), amount), one, other]);
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
    pub fn write_off(&mut self, market: &'static Market, who: usize, amount: i64) -> bool {
        let currency = market.currency;
        let is_owed = amount <= self.debt(who, currency);
        if is_owed {
            self.post(&[((5300, None, currency), amount), ((1200, Some(who), currency), -amount)]);
        }
        is_owed
    }

    /// The balances, of which the other ledger says the same.
    pub fn balances(&self) -> BTreeMap<Account, i64> {
        for (account, balance) in &self.balances {
            let (path, currency) = (Self::path(*account), Self::currency(account.2));
            let other = self.books.balance(path.as_str(), currency, &BalanceQuery::all()).expect("a balance");
            assert_eq!(other.net().to_minor(), scaled(*balance, account.2), "{account:?} in the other ledger");
        }
        self.balances.iter().filter(|(_, balance)| **balance != 0).map(|(account, sum)| (*account, *sum)).collect()
    }

    /// The currency of an account that the database has.
    pub fn known(currency: &str) -> &'static str {
        let all = MARKETS.iter().map(|market| market.currency).chain([DOLLAR]);
        all.into_iter().find(|known| *known == currency).expect("one of the program's")
    }

    /// The other ledger audits itself.
    pub fn audit(&self) {
        self.books.audit().expect("the other ledger is sound");
    }
}
