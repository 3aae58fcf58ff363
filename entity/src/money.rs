//! Money: integer minor units and an ISO 4217 currency with a pinned exponent. No floating point, anywhere.

use std::{fmt, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64};

/// The largest amount that one input may carry, in minor units: a thousand times the largest payment ever seen, and
/// still nine thousand of them fit into the `i64` of a balance or rollup.
pub const MAX_INPUT_MINOR: i64 = 1_000_000_000_000_000;

/// Why a text is not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("`{0}` is not a currency of ISO 4217")]
    UnknownCurrency(String),
    #[error("the amount is not a decimal number such as `49.00`")]
    Malformed,
    #[error("{currency} has {exponent} decimal digits, the amount has {found}")]
    TooManyDigits { currency: Currency, exponent: u8, found: usize },
    #[error("the amount must not be negative")]
    Negative,
    #[error("the amount is out of range")]
    OutOfRange,
}

/// An ISO 4217 currency, by its alphabetic code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
#[sea_orm(value_type = "String")]
pub struct Currency([u8; 3]);

/// Codes and exponents of ISO 4217, pinned: a stored amount must mean the same for ever. Funds, metals and test codes
/// are left out; sorted, for binary search.
#[rustfmt::skip]
const CURRENCIES: &[(&[u8; 3], u8)] = &[
    (b"AED", 2), (b"AFN", 2), (b"ALL", 2), (b"AMD", 2), (b"AOA", 2), (b"ARS", 2), (b"AUD", 2), (b"AWG", 2),
    (b"AZN", 2), (b"BAM", 2), (b"BBD", 2), (b"BDT", 2), (b"BGN", 2), (b"BHD", 3), (b"BIF", 0), (b"BMD", 2),
    (b"BND", 2), (b"BOB", 2), (b"BRL", 2), (b"BSD", 2), (b"BTN", 2), (b"BWP", 2), (b"BYN", 2), (b"BZD", 2),
    (b"CAD", 2), (b"CDF", 2), (b"CHF", 2), (b"CLP", 0), (b"CNY", 2), (b"COP", 2), (b"CRC", 2), (b"CUP", 2),
    (b"CVE", 2), (b"CZK", 2), (b"DJF", 0), (b"DKK", 2), (b"DOP", 2), (b"DZD", 2), (b"EGP", 2), (b"ERN", 2),
    (b"ETB", 2), (b"EUR", 2), (b"FJD", 2), (b"FKP", 2), (b"GBP", 2), (b"GEL", 2), (b"GHS", 2), (b"GIP", 2),
    (b"GMD", 2), (b"GNF", 0), (b"GTQ", 2), (b"GYD", 2), (b"HKD", 2), (b"HNL", 2), (b"HTG", 2), (b"HUF", 2),
    (b"IDR", 2), (b"ILS", 2), (b"INR", 2), (b"IQD", 3), (b"IRR", 2), (b"ISK", 0), (b"JMD", 2), (b"JOD", 3),
    (b"JPY", 0), (b"KES", 2), (b"KGS", 2), (b"KHR", 2), (b"KMF", 0), (b"KPW", 2), (b"KRW", 0), (b"KWD", 3),
    (b"KYD", 2), (b"KZT", 2), (b"LAK", 2), (b"LBP", 2), (b"LKR", 2), (b"LRD", 2), (b"LSL", 2), (b"LYD", 3),
    (b"MAD", 2), (b"MDL", 2), (b"MGA", 2), (b"MKD", 2), (b"MMK", 2), (b"MNT", 2), (b"MOP", 2), (b"MRU", 2),
    (b"MUR", 2), (b"MVR", 2), (b"MWK", 2), (b"MXN", 2), (b"MYR", 2), (b"MZN", 2), (b"NAD", 2), (b"NGN", 2),
    (b"NIO", 2), (b"NOK", 2), (b"NPR", 2), (b"NZD", 2), (b"OMR", 3), (b"PAB", 2), (b"PEN", 2), (b"PGK", 2),
    (b"PHP", 2), (b"PKR", 2), (b"PLN", 2), (b"PYG", 0), (b"QAR", 2), (b"RON", 2), (b"RSD", 2), (b"RUB", 2),
    (b"RWF", 0), (b"SAR", 2), (b"SBD", 2), (b"SCR", 2), (b"SDG", 2), (b"SEK", 2), (b"SGD", 2), (b"SHP", 2),
    (b"SLE", 2), (b"SOS", 2), (b"SRD", 2), (b"SSP", 2), (b"STN", 2), (b"SVC", 2), (b"SYP", 2), (b"SZL", 2),
    (b"THB", 2), (b"TJS", 2), (b"TMT", 2), (b"TND", 3), (b"TOP", 2), (b"TRY", 2), (b"TTD", 2), (b"TWD", 2),
    (b"TZS", 2), (b"UAH", 2), (b"UGX", 0), (b"USD", 2), (b"UYU", 2), (b"UZS", 2), (b"VED", 2), (b"VES", 2),
    (b"VND", 0), (b"VUV", 0), (b"WST", 2), (b"XAF", 0), (b"XCD", 2), (b"XCG", 2), (b"XOF", 0), (b"XPF", 0),
    (b"YER", 2), (b"ZAR", 2), (b"ZMW", 2), (b"ZWG", 2),
];

impl Currency {
    /// The alphabetic code, upper case.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("codes come from the table, which is ASCII")
    }

    /// Decimal digits of one unit: 0 for JPY, 2 for EUR, 3 for KWD.
    pub fn exponent(&self) -> u8 {
        let index = CURRENCIES
            .binary_search_by_key(&&self.0, |(code, _)| code)
            .expect("a Currency is only made from the table");
        CURRENCIES[index].1
    }

    /// Every known currency.
    pub fn all() -> impl Iterator<Item = Self> {
        CURRENCIES.iter().map(|(code, _)| Self(**code))
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        <&[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .and_then(|code| CURRENCIES.binary_search_by_key(&code, |(known, _)| known).ok())
            .map(|index| Self(*CURRENCIES[index].0))
            .ok_or_else(|| MoneyError::UnknownCurrency(text.chars().take(16).collect()))
    }
}

// Asked for by composite primary keys; no key of ours is numeric.
impl TryFromU64 for Currency {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Currency"))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl serde::Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

impl Money {
    pub const fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The other way round.
    pub const fn negated(self) -> Self {
        Self::new(self.amount_minor.saturating_neg(), self.currency)
    }

    /// Reads a plain decimal such as `49`, `49.0` or `49.00`: digits, at most one point, no sign, no exponent.
    ///
    /// # Errors
    /// [`MoneyError`] for anything else, for more digits than the currency has (even zeros: a client that sends them
    /// thinks in another unit), and for amounts past [`MAX_INPUT_MINOR`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        if let Some(rest) = text.strip_prefix('-') {
            // "-0" is as malformed as "-x": a sign is never right here, but a negative number deserves its own answer.
            return Err(if is_decimal(rest) { MoneyError::Negative } else { MoneyError::Malformed });
        }
        if !is_decimal(text) {
            return Err(MoneyError::Malformed);
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let exponent = currency.exponent();
        if fraction.len() > usize::from(exponent) {
            return Err(MoneyError::TooManyDigits { currency, exponent, found: fraction.len() });
        }
        let padding = usize::from(exponent) - fraction.len();
        let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', padding));
        let mut amount_minor: i64 = 0;
        for digit in digits {
            amount_minor = amount_minor
                .checked_mul(10)
                .and_then(|shifted| shifted.checked_add(i64::from(digit - b'0')))
                .filter(|amount| *amount <= MAX_INPUT_MINOR)
                .ok_or(MoneyError::OutOfRange)?;
        }
        Ok(Self { amount_minor, currency })
    }

    /// As [`Money::parse`], of an amount that may have a minus before it.
    ///
    /// # Errors
    /// As [`Money::parse`].
    pub fn parse_signed(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        match text.strip_prefix('-') {
            // Two are none.
            Some(rest) if rest.starts_with('-') => Err(MoneyError::Malformed),
            Some(rest) => Self::parse(rest, currency).map(Self::negated),
            None => Self::parse(text, currency),
        }
    }

    /// The amount as a decimal with exactly the currency's digits, such as `-3.50`.
    pub fn decimal(&self) -> String {
        let exponent = usize::from(self.currency.exponent());
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.amount_minor.unsigned_abs(), width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

/// Digits, with digits on both sides of the point if there is one.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().expect("known")
    }

    #[test]
    fn table_is_sorted_so_that_binary_search_finds_every_code() {
        assert!(CURRENCIES.is_sorted_by_key(|(code, _)| code));
        for known in Currency::all() {
            assert_eq!(known.code().parse(), Ok(known));
        }
    }

    #[test]
    fn exponents_are_pinned() {
        for (code, exponent) in [("JPY", 0), ("EUR", 2), ("KWD", 3), ("USD", 2), ("CLP", 0), ("TND", 3)] {
            assert_eq!(currency(code).exponent(), exponent, "{code}");
        }
    }

    #[test]
    fn amount_parses_and_prints_with_the_currency_s_digits() {
        for (text, code, minor, printed) in [
            ("49.00", "EUR", 4900, "49.00"),
            ("49", "EUR", 4900, "49.00"),
            ("0.1", "EUR", 10, "0.10"),
            ("0", "JPY", 0, "0"),
            ("1200", "JPY", 1200, "1200"),
            ("1.005", "KWD", 1005, "1.005"),
            ("007", "USD", 700, "7.00"),
        ] {
            let money = Money::parse(text, currency(code)).expect(text);
            assert_eq!(money.amount_minor, minor, "{text}");
            assert_eq!(money.decimal(), printed, "{text}");
        }
        assert_eq!(Money::new(-5, currency("EUR")).decimal(), "-0.05");
        assert_eq!(Money::new(i64::MIN, currency("EUR")).decimal(), "-92233720368547758.08");
    }

    #[test]
    fn signed_amount_has_one_minus_at_most() {
        let eur = currency("EUR");
        let signed = |text| Money::parse_signed(text, eur).map(|money| money.amount_minor);
        assert_eq!([signed("-2.50"), signed("2.50"), signed("-0")], [Ok(-250), Ok(250), Ok(0)]);
        assert_eq!([signed("--1"), signed("-"), signed("+1")], [const { Err(MoneyError::Malformed) }; 3]);
    }

    #[test]
    fn malformed_amounts_are_refused_with_their_reason() {
        let eur = currency("EUR");
        for text in ["", ".", "1.", ".5", "1.2.3", "1e3", "+1", " 1", "1 ", "1,00", "٣", "NaN", "0x10", "--1", "-"] {
            assert_eq!(Money::parse(text, eur), Err(MoneyError::Malformed), "{text}");
        }
        assert_eq!(Money::parse("-1.00", eur), Err(MoneyError::Negative));
        assert_eq!(Money::parse("1.000", eur), Err(MoneyError::TooManyDigits { currency: eur, exponent: 2, found: 3 }));
        for text in ["10000000000000.01", "99999999999999999999999999"] {
            assert_eq!(Money::parse(text, eur), Err(MoneyError::OutOfRange), "{text}");
        }
        assert_eq!(Money::parse("10000000000000.00", eur).map(|m| m.amount_minor), Ok(MAX_INPUT_MINOR));
    }

    #[test]
    fn unknown_currencies_are_refused() {
        for text in ["", "eur", "EURO", "XXX", "XTS", "ZZZ", "€"] {
            assert!(matches!(text.parse::<Currency>(), Err(MoneyError::UnknownCurrency(_))), "{text}");
        }
    }
}
