//! Exchange rates: what is known of a day, and which rate a conversion is reckoned by.
//!
//! # Decisions
//! - A rate is never guessed: it is the newest of the day of the sale or of [`MAX_AGE_DAYS`] before it, which bridges
//!   weekends and holidays. Where there is none, what needs it waits.
//! - Of one day, a rate of the pair itself goes before one by way of a third currency, and a person's before a table's
//!   before the ECB's. Of the same source, pair and day the newest counts.
//! - By way of a third currency only where both rates stand against it in the same source on the same day, as the ECB's
//!   do: then the rate is a quotient of two whole numbers and is used unrounded.

pub mod file;

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};
use tributary_entity::{
    Instant, fx_rate,
    kinds::FxSource,
    money::{Currency, Money},
};

use super::{
    commission::round_half_even,
    problem::{Problem, ProblemCode},
};

/// How many days a rate is good for.
pub const MAX_AGE_DAYS: i64 = 7;
/// Rates of one import: a year of the ECB's, and more.
pub const RATES_MAX: usize = 20_000;
/// A rate of one, as rates are kept.
const ONE_E12: i64 = 1_000_000_000_000;
/// Digits of a rate behind the point.
const DIGITS: usize = 12;
/// What one unit may be worth at the most; beyond every pair of currencies, and far inside 64 bits.
const RATE_MAX: i64 = 9_000_000;

/// A rate as its sender gives it, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NewRate {
    pub source: FxSource,
    /// One unit of it.
    pub base: Currency,
    /// Is worth `rate_e12 / 10^12` units of this.
    pub quote: Currency,
    pub rate_e12: i64,
    pub valid_on: NaiveDate,
}

impl NewRate {
    /// Checks the pair and the day.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` for a currency against itself; `TIME_IN_FUTURE` for a day that has not begun anywhere.
    pub fn check(self, now: Instant) -> Result<Self, Problem> {
        if self.base == self.quote {
            return Err(Problem::new(ProblemCode::OutOfRange, &["quote"], "a currency is always worth one of itself"));
        }
        // It is tomorrow already, somewhere.
        if self.valid_on > (now + TimeDelta::days(1)).date_naive() {
            return Err(Problem::new(ProblemCode::TimeInFuture, &["validOn"], "the day has not begun"));
        }
        Ok(self)
    }
}

/// Reads a rate such as `1.0842`: digits, at most one point, at most twelve digits after it, more than zero.
///
/// # Errors
/// `INVALID_RATE`.
pub fn parse_rate(field: &[&str], text: &str) -> Result<i64, Problem> {
    rate_e12(text).ok_or_else(|| {
        let message = format!("a number above 0 and below {RATE_MAX} with at most {DIGITS} digits after the point");
        Problem::new(ProblemCode::InvalidRate, field, message)
    })
}

fn rate_e12(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > DIGITS {
        return None;
    }
    let whole: i64 = whole.parse().ok().filter(|whole| *whole < RATE_MAX)?;
    let fraction: i64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
    Some(whole * ONE_E12 + fraction).filter(|rate| *rate > 0)
}

/// A kept rate as a decimal, without zeros at its end.
pub fn format_rate(rate_e12: i64) -> String {
    let text = format!("{}.{:012}", rate_e12 / ONE_E12, rate_e12 % ONE_E12);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Which rates a list holds. All conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct FxRateFilter {
    pub sources: Option<Vec<FxSource>>,
    pub bases: Option<Vec<Currency>>,
    pub quotes: Option<Vec<Currency>>,
    pub from: Option<NaiveDate>,
    pub until: Option<NaiveDate>,
}

/// The rate that something was reckoned by, kept with it for ever: one unit of `from` is `numerator / denominator` units
/// of `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    pub source: FxSource,
    pub valid_on: NaiveDate,
    pub from: Currency,
    pub to: Currency,
    pub numerator: i64,
    pub denominator: i64,
}

impl Quote {
    /// An amount of `from` in `to`, rounded half to even, once:
    /// `amount x numerator x 10^exponent(to) / (denominator x 10^exponent(from))`. None past what can be held.
    pub fn convert(&self, amount: Money) -> Option<Money> {
        let (sold, bought) = self.scaled(amount)?;
        Some(Money::new(i64::try_from(round_half_even(sold, bought)).ok()?, self.to))
    }

    /// As [`Quote::convert`], rounded down: what can be paid out for it without adding to it.
    pub fn convert_down(&self, amount: Money) -> Option<Money> {
        let (sold, bought) = self.scaled(amount)?;
        Some(Money::new(i64::try_from(sold.div_euclid(bought)).ok()?, self.to))
    }

    fn scaled(&self, amount: Money) -> Option<(i128, i128)> {
        if amount.currency != self.from {
            return None;
        }
        let ten = |currency: Currency| 10_i128.pow(currency.exponent().into());
        let numerator = i128::from(amount.amount_minor).checked_mul(i128::from(self.numerator))?;
        Some((numerator.checked_mul(ten(self.to))?, i128::from(self.denominator) * ten(self.from)))
    }

    /// The rate as a decimal of twelve digits, rounded half to even: for people; amounts are reckoned by the fraction.
    pub fn decimal(&self) -> String {
        let scaled = i128::from(self.numerator) * i128::from(ONE_E12);
        i64::try_from(round_half_even(scaled, i128::from(self.denominator)))
            .map_or_else(|_| (i128::from(self.numerator) / i128::from(self.denominator)).to_string(), format_rate)
    }
}

impl std::fmt::Display for Quote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, valid_on, from, to, .. } = self;
        write!(f, "1 {from} = {} {to} ({source}, {valid_on})", self.decimal())
    }
}

/// What a source says of a day.
type Sheet = BTreeMap<(Currency, Currency), i64>;

/// The rates of some days, to find quotes in.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// By day; of a day the source that goes before the others first.
    sheets: BTreeMap<NaiveDate, BTreeMap<u8, (FxSource, Sheet)>>,
}

/// Sources in the order of their weight.
const fn rank(source: FxSource) -> u8 {
    match source {
        FxSource::Manual => 0,
        FxSource::File => 1,
        FxSource::Ecb => 2,
    }
}

impl Rates {
    /// From rows, older ones before newer ones.
    pub fn of(rows: &[fx_rate::Model]) -> Self {
        let mut rates = Self::default();
        for row in rows {
            let day = rates.sheets.entry(row.valid_on).or_default();
            let (_, sheet) = day.entry(rank(row.source)).or_insert_with(|| (row.source, Sheet::new()));
            sheet.insert((row.base, row.quote), row.rate_e12);
        }
        rates
    }

    /// The days whose rates may be asked for, for a sale of a day.
    pub fn days(on: NaiveDate) -> (NaiveDate, NaiveDate) {
        (on - TimeDelta::days(MAX_AGE_DAYS), on)
    }

    /// The rate from one currency to another for a day; none where none is known.
    pub fn find(&self, from: Currency, to: Currency, on: NaiveDate) -> Option<Quote> {
        let (first, last) = Self::days(on);
        self.sheets.range(first..=last).rev().find_map(|(day, sheets)| {
            let quote =
                |source, (numerator, denominator)| Quote { source, valid_on: *day, from, to, numerator, denominator };
            let by = |way: fn(&Sheet, Currency, Currency) -> Option<(i64, i64)>| {
                sheets.values().find_map(|(source, sheet)| Some(quote(*source, way(sheet, from, to)?)))
            };
            by(directly).or_else(|| by(across))
        })
    }

    /// Whether a rate says the same as what is known of its source, pair and day.
    pub fn has(&self, rate: &NewRate) -> bool {
        let sheet = self.sheets.get(&rate.valid_on).and_then(|day| day.get(&rank(rate.source)));
        sheet.is_some_and(|(_, sheet)| sheet.get(&(rate.base, rate.quote)) == Some(&rate.rate_e12))
    }
}

/// By the pair itself, or the other way round.
fn directly(sheet: &Sheet, from: Currency, to: Currency) -> Option<(i64, i64)> {
    let straight = sheet.get(&(from, to)).map(|rate| (*rate, ONE_E12));
    straight.or_else(|| sheet.get(&(to, from)).map(|rate| (ONE_E12, *rate)))
}

/// By a third currency against which both stand, on the same side; of several, the first by its code.
fn across(sheet: &Sheet, from: Currency, to: Currency) -> Option<(i64, i64)> {
    sheet.iter().find_map(|((base, quote), rate)| {
        if *quote == from {
            return Some((*sheet.get(&(*base, to))?, *rate));
        }
        if *base == from {
            return Some((*rate, *sheet.get(&(to, *quote))?));
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_entity::ids::{FxRateId, TenantId};
    use uuid::Uuid;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("known")
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn row(source: FxSource, base: &str, quote: &str, rate: &str, on: &str) -> fx_rate::Model {
        fx_rate::Model {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            id: FxRateId::from_uuid(Uuid::nil()),
            source,
            base: currency(base),
            quote: currency(quote),
            rate_e12: rate_e12(rate).expect("a rate"),
            valid_on: day(on),
            author: String::new(),
            created_at: Instant::default(),
        }
    }

    fn ecb(quote: &str, rate: &str, on: &str) -> fx_rate::Model {
        row(FxSource::Ecb, "EUR", quote, rate, on)
    }

    fn found(rates: &Rates, from: &str, to: &str, on: &str) -> Option<String> {
        rates.find(currency(from), currency(to), day(on)).map(|quote| quote.to_string())
    }

    #[test]
    fn newest_rate_of_the_last_days_counts_and_an_older_one_does_not() {
        let rates = Rates::of(&[ecb("USD", "1.10", "2026-11-13"), ecb("USD", "1.08", "2026-11-20")]);
        let usd = |on| found(&rates, "EUR", "USD", on);
        assert_eq!(usd("2026-11-19").as_deref(), Some("1 EUR = 1.1 USD (ECB, 2026-11-13)"));
        assert_eq!(usd("2026-11-20").as_deref(), Some("1 EUR = 1.08 USD (ECB, 2026-11-20)"));
        assert_eq!(usd("2026-11-27").as_deref(), Some("1 EUR = 1.08 USD (ECB, 2026-11-20)"));
        assert_eq!(usd("2026-11-28"), None);
        assert_eq!(usd("2026-11-12"), None);
        assert_eq!(found(&rates, "EUR", "JPY", "2026-11-20"), None);
    }

    #[test]
    fn pair_goes_before_its_inverse_before_the_way_round_and_people_before_tables() {
        let on = "2026-11-20";
        let mut rows = vec![ecb("USD", "1.25", on), ecb("GBP", "0.80", on)];
        let rates = Rates::of(&rows);
        assert_eq!(found(&rates, "USD", "EUR", on).as_deref(), Some("1 USD = 0.8 EUR (ECB, 2026-11-20)"));
        assert_eq!(found(&rates, "USD", "GBP", on).as_deref(), Some("1 USD = 0.64 GBP (ECB, 2026-11-20)"));
        rows.push(row(FxSource::File, "USD", "EUR", "0.9", on));
        rows.push(row(FxSource::Manual, "USD", "EUR", "0.7", on));
        rows.push(row(FxSource::Manual, "USD", "EUR", "0.75", on));
        let rates = Rates::of(&rows);
        assert_eq!(found(&rates, "USD", "EUR", on).as_deref(), Some("1 USD = 0.75 EUR (MANUAL, 2026-11-20)"));
        // Not by way of two sources.
        assert_eq!(found(&rates, "USD", "GBP", on).as_deref(), Some("1 USD = 0.64 GBP (ECB, 2026-11-20)"));
        // Both against the same currency, the other way round.
        let against = [row(FxSource::File, "SEK", "DKK", "0.5", on), row(FxSource::File, "NOK", "DKK", "0.25", on)];
        let rates = Rates::of(&against);
        assert_eq!(found(&rates, "SEK", "NOK", on).as_deref(), Some("1 SEK = 2 NOK (FILE, 2026-11-20)"));
    }

    #[test]
    fn amounts_are_rounded_once_in_the_digits_of_their_currency() {
        let on = "2026-11-20";
        let rates = Rates::of(&[ecb("JPY", "163.5", on), ecb("KWD", "0.3251", on), ecb("USD", "1.0842", on)]);
        let convert = |amount: i64, from: &str, to: &str| {
            let quote = rates.find(currency(from), currency(to), day(on)).expect("known");
            quote.convert(Money::new(amount, currency(from))).expect("in range").decimal()
        };
        assert_eq!(convert(4_900, "EUR", "JPY"), "8012"); // 8011.5: to the even one
        assert_eq!(convert(4_900, "EUR", "KWD"), "15.930"); // 15.9299
        assert_eq!(convert(4_900, "USD", "EUR"), "45.19"); // 45.1946..
        assert_eq!(convert(8_012, "JPY", "KWD"), "15.931"); // 15.93095..
        assert_eq!(convert(1_000, "KWD", "JPY"), "503"); // 502.92..
    }

    #[test]
    fn rates_read_and_print_as_decimals() {
        for (text, printed) in
            [("1.0842", "1.0842"), ("163.50", "163.5"), ("0.000000000001", "0.000000000001"), ("17543", "17543")]
        {
            assert_eq!(rate_e12(text).map(format_rate).as_deref(), Some(printed), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "1.", ".5", "1,5", "1e3", "9000000", "0.0000000000001", "NaN", "٣"] {
            assert_eq!(rate_e12(text), None, "{text}");
            assert_eq!(parse_rate(&["rate"], text).map_err(|problem| problem.code), Err(ProblemCode::InvalidRate));
        }
    }

    #[test]
    fn day_ahead_and_a_currency_against_itself_are_refused() {
        let now: Instant = "2026-11-20T12:00:00Z".parse().expect("an instant");
        let rate = |base: &str, on: &str| NewRate {
            source: FxSource::Manual,
            base: currency(base),
            quote: currency("EUR"),
            rate_e12: ONE_E12,
            valid_on: day(on),
        };
        let code = |rate: NewRate| rate.check(now).map(drop).map_err(|problem| problem.code);
        assert_eq!(code(rate("USD", "2026-11-21")), Ok(()));
        assert_eq!(code(rate("USD", "2026-11-22")), Err(ProblemCode::TimeInFuture));
        assert_eq!(code(rate("EUR", "2026-11-20")), Err(ProblemCode::OutOfRange));
    }

    proptest! {
        #[test]
        fn conversion_is_within_half_a_unit_and_never_fails_on_what_may_be_sent(
            amount in 0i64..=tributary_entity::money::MAX_INPUT_MINOR, numerator in 1i64..=RATE_MAX, denominator in 1i64..=RATE_MAX,
        ) {
            let quote = Quote {
                source: FxSource::Manual, valid_on: day("2026-11-20"), from: currency("USD"), to: currency("EUR"),
                numerator: numerator * 1_000_000, denominator: denominator * 1_000_000,
            };
            let (exact, whole) = (i128::from(amount) * i128::from(numerator), i128::from(denominator));
            let sold = Money::new(amount, currency("USD"));
            if let Some(bought) = quote.convert(sold) {
                let error = (i128::from(bought.amount_minor) * whole - exact).abs();
                prop_assert!(error * 2 <= whole);
                let down = quote.convert_down(sold).expect("in range as well").amount_minor;
                prop_assert!(i128::from(down) * whole <= exact && down <= bought.amount_minor);
            } else {
                prop_assert!(exact / whole > i128::from(i64::MAX) - 1);
            }
        }
    }
}
