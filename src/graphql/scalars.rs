//! Scalars and the money types.

use async_graphql::{
    Description, InputObject, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value,
};
use chrono::{Datelike, NaiveDate};
use tributary_entity::money;

use crate::domain::{commission::round_half_even, problem::Problem};

/// A decimal number as a string, such as `"49.00"`: digits, at most one point, no exponent. Never a float.
#[derive(Description, Clone, Debug)]
pub(super) struct Decimal(pub String);

#[Scalar(name = "Decimal", use_type_description)]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        // Whether it is a number is checked with its currency, where the answer can name the field.
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl Decimal {
    /// A number of millionths, with six digits.
    pub fn millionths(value: i32) -> Self {
        Self(format!("{}.{:06}", value / 1_000_000, value % 1_000_000))
    }

    /// `numerator / 10^exponent / denominator`, with six digits, rounded half to even; none for a zero denominator.
    pub fn ratio(numerator: i64, denominator: i64, exponent: u8) -> Option<Self> {
        if denominator <= 0 {
            return None;
        }
        let scale = i128::from(denominator) * 10_i128.pow(exponent.into());
        let millionths = round_half_even(i128::from(numerator) * 1_000_000, scale);
        let sign = if millionths < 0 { "-" } else { "" };
        let digits = millionths.unsigned_abs();
        Some(Self(format!("{sign}{}.{:06}", digits / 1_000_000, digits % 1_000_000)))
    }
}

/// An ISO 4217 currency code, such as `EUR`; written as a string or, in a document, as a bare name.
#[derive(Description, Clone, Debug)]
pub(super) struct CurrencyCode(pub String);

#[Scalar(
    name = "CurrencyCode",
    specified_by_url = "https://www.iso.org/iso-4217-currency-codes.html",
    use_type_description
)]
impl ScalarType for CurrencyCode {
    fn parse(value: Value) -> InputValueResult<Self> {
        // Whether it is known is checked where the answer can name the field.
        match value {
            Value::String(text) => Ok(Self(text)),
            Value::Enum(name) => Ok(Self(name.to_string())),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl CurrencyCode {
    /// # Errors
    /// `UNKNOWN_CURRENCY`, at `field` + `currency`.
    pub fn currency(&self, field: &[&str]) -> Result<money::Currency, Problem> {
        self.0.parse().map_err(|error| Problem::money(field, &error))
    }
}

impl From<money::Currency> for CurrencyCode {
    fn from(currency: money::Currency) -> Self {
        Self(currency.code().to_owned())
    }
}

/// A position in a subscription's stream; opaque. Hand it back as `after` to go on behind it.
#[derive(Description, Clone, Debug)]
pub(super) struct Cursor(pub String);

#[Scalar(name = "Cursor", use_type_description)]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A day of the calendar in RFC 3339, such as `2026-11-20`; which zone's is said where it stands.
#[derive(Description, Clone, Copy, Debug)]
pub(super) struct Date(pub NaiveDate);

#[Scalar(
    name = "Date",
    specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339#section-5.6",
    use_type_description
)]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        match text.parse::<NaiveDate>() {
            // What chrono takes besides, such as a sign or one digit, is no date in RFC 3339.
            Ok(day) if day.to_string() == *text && day.year() >= 0 => Ok(Self(day)),
            _ => Err(InputValueError::custom("not a day such as 2026-11-20")),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// An absolute http or https address.
#[derive(Description, Clone, Debug)]
pub(super) struct Url(pub String);

#[Scalar(name = "URL", specified_by_url = "https://url.spec.whatwg.org/", use_type_description)]
impl ScalarType for Url {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An amount in one currency.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Money {
    /// With exactly the currency's digits: `"49.00"` EUR, `"1200"` JPY.
    amount: Decimal,
    /// The currency.
    currency: CurrencyCode,
}

impl From<money::Money> for Money {
    fn from(money: money::Money) -> Self {
        Self { amount: Decimal(money.decimal()), currency: money.currency.into() }
    }
}

/// An amount in one currency. More digits than the currency has are refused, never rounded.
#[derive(Clone, Debug, InputObject)]
pub(super) struct MoneyInput {
    /// Not negative, at most as many digits after the point as the currency has.
    pub amount: Decimal,
    /// The currency.
    pub currency: CurrencyCode,
}

impl MoneyInput {
    /// # Errors
    /// `UNKNOWN_CURRENCY`, `INVALID_AMOUNT` or `AMOUNT_OUT_OF_RANGE`, at `field` and the part at fault.
    pub fn money(&self, field: &[&str]) -> Result<money::Money, Problem> {
        let currency = self.currency.currency(field)?;
        money::Money::parse(&self.amount.0, currency).map_err(|error| Problem::money(field, &error))
    }
}

/// An amount in one currency that may be negative. More digits than the currency has are refused, never rounded.
#[derive(Clone, Debug, InputObject)]
pub(super) struct SignedMoneyInput {
    /// At most as many digits after the point as the currency has, such as `"-2.50"`.
    pub amount: Decimal,
    /// The currency.
    pub currency: CurrencyCode,
}

impl SignedMoneyInput {
    /// # Errors
    /// As [`MoneyInput::money`].
    pub fn money(&self, field: &[&str]) -> Result<money::Money, Problem> {
        let currency = self.currency.currency(field)?;
        money::Money::parse_signed(&self.amount.0, currency).map_err(|error| Problem::money(field, &error))
    }
}
