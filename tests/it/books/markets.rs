//! The campaigns of a program and its affiliates: what they pay, and what is taken off payouts, as the API is told it and
//! as the model reckons it.

use serde_json::{Value, json};
use tributary_entity::money::{Currency, Money};

/// Affiliates of a program: each is below the next.
pub const PEOPLE: usize = 4;

/// The currency into which balances of the first market are converted and back. A euro is 1.25 dollars.
pub const DOLLAR: &str = "USD";
pub const EURO: &str = "EUR";

/// What a level above an affiliate earns.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Millionths of the commission below.
    OfCommission(i64),
    /// Millionths of the sale.
    OfSale(i64),
    Flat(i64),
}

/// A campaign in a currency. Rates are millionths, amounts minor units.
#[derive(Debug)]
pub struct Market {
    pub currency: &'static str,
    pub rate: i64,
    pub levels: &'static [Level],
    pub withholding: i64,
    pub fee: i64,
}

impl Market {
    pub fn euro() -> &'static Self {
        &MARKETS[0]
    }

    pub fn money(&self, minor: i64) -> Value {
        money(minor, self.currency)
    }

    /// The input of `setOverridePlan`.
    pub fn plan(&self) -> Value {
        let level = |level: &Level| match *level {
            Level::OfCommission(rate) => json!({ "percentOfCommission": percent(rate) }),
            Level::OfSale(rate) => json!({ "percentOfSale": percent(rate) }),
            Level::Flat(minor) => json!({ "flat": self.money(minor) }),
        };
        self.levels.iter().map(level).collect()
    }
}

/// With two digits behind the point, none, and three.
pub static MARKETS: [Market; 3] = [
    Market {
        currency: EURO,
        rate: 100_000,
        levels: &[Level::OfCommission(100_000), Level::OfCommission(50_000), Level::OfCommission(25_000)],
        withholding: 150_000,
        fee: 50,
    },
    Market {
        currency: "JPY",
        rate: 125_000,
        levels: &[Level::OfSale(30_000), Level::OfSale(7_500)],
        withholding: 102_100,
        fee: 30,
    },
    Market {
        currency: "KWD",
        rate: 75_000,
        levels: &[Level::Flat(25), Level::OfCommission(125_000)],
        withholding: 50_000,
        fee: 125,
    },
];

pub fn percent(millionths: i64) -> String {
    format!("{}.{:04}", millionths / 10_000, millionths % 10_000)
}

pub fn money(minor: i64, currency: &str) -> Value {
    let known: Currency = currency.parse().expect("known");
    json!({ "amount": Money::new(minor, known).decimal(), "currency": currency })
}

/// The minor units of an amount, of whatever many digits.
pub fn minor(amount: &Value) -> i64 {
    amount.as_str().expect("an amount").replace('.', "").parse().expect("minor units")
}
