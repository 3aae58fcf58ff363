//! Expected refusals: what a caller can mend. They are data in the API (`userErrors`), never internal text.

use std::fmt;

use tributary_entity::{ids::IdError, money::MoneyError};

/// Why an input was refused. Stable: clients switch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemCode {
    /// A needed value is missing or empty.
    Required,
    /// The id is malformed or of another kind of object.
    InvalidId,
    /// Nothing with this id or name exists, or it is not the caller's to see.
    NotFound,
    /// The amount is no plain decimal, negative, or has too many digits.
    InvalidAmount,
    /// The amount is larger than any the system takes.
    AmountOutOfRange,
    /// The code is not in ISO 4217.
    UnknownCurrency,
    /// The currency is not the one that is needed here.
    CurrencyMismatch,
    /// The rate is no number of the kind that is needed here, such as a percentage from 0 to 100 with at most four digits after the
    /// point.
    InvalidRate,
    /// No exchange rate is known.
    FxRateMissing,
    /// Not an absolute http or https address.
    InvalidUrl,
    InvalidEmail,
    /// No such bank account, or account at a processor, can exist.
    InvalidAccount,
    /// The text is too long or holds control characters.
    InvalidText,
    /// The value is outside its range.
    OutOfRange,
    /// The instant lies in the future.
    TimeInFuture,
    /// The instant lies further back than is taken.
    TimeTooOld,
    /// Something with this name, address or pair exists.
    AlreadyExists,
    /// The object's state does not allow it.
    InvalidTransition,
    /// Another person than the one who asks has to do it.
    SecondPersonNeeded,
    /// The tenant does not pay by this method.
    MethodNotAvailable,
    /// The idempotency key was used before with another input.
    IdempotencyConflict,
    /// Tenant, address or password is wrong; deliberately not told which.
    InvalidCredentials,
    /// The password is too short or too long.
    WeakPassword,
    /// No item, or too many, in one call.
    BatchSize,
    /// The database is away, and whether the item was stored is not known: send it again with the same key.
    Unavailable,
    /// The item could not be stored for a fault of ours.
    Internal,
}

/// As the API spells it.
impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in format!("{self:?}").char_indices() {
            if index > 0 && letter.is_ascii_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", letter.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

/// One refusal, with the input field it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: ProblemCode,
    /// Path from the mutation's input: `["saleAmount", "amount"]`.
    pub field: Vec<String>,
    pub message: String,
}

impl Problem {
    pub fn new(code: ProblemCode, field: &[&str], message: impl Into<String>) -> Self {
        Self { code, field: field.iter().map(|part| (*part).to_owned()).collect(), message: message.into() }
    }

    /// The one answer for absent and for foreign ids.
    pub fn not_found(field: &[&str]) -> Self {
        Self::new(ProblemCode::NotFound, field, "nothing with this id exists")
    }

    pub fn required(field: &[&str]) -> Self {
        Self::new(ProblemCode::Required, field, "a value is needed")
    }

    pub fn id(field: &[&str], error: &IdError) -> Self {
        Self::new(ProblemCode::InvalidId, field, error.to_string())
    }

    /// `field` is the money input; the part at fault is appended.
    pub fn money(field: &[&str], error: &MoneyError) -> Self {
        let (code, part) = match error {
            MoneyError::UnknownCurrency(_) => (ProblemCode::UnknownCurrency, "currency"),
            MoneyError::OutOfRange => (ProblemCode::AmountOutOfRange, "amount"),
            MoneyError::Malformed | MoneyError::Negative | MoneyError::TooManyDigits { .. } => {
                (ProblemCode::InvalidAmount, "amount")
            }
        };
        let mut problem = Self::new(code, field, error.to_string());
        problem.field.push(part.to_owned());
        problem
    }

    /// The same, seen from an input that this one's is `part` of.
    pub fn within(mut self, part: &str) -> Self {
        self.field.insert(0, part.to_owned());
        self
    }

    /// What a batch of a wrong size is answered; `field` is the input's list.
    pub fn batch_size(field: &[&str], size: usize, max: usize) -> Option<Self> {
        (size == 0 || size > max)
            .then(|| Self::new(ProblemCode::BatchSize, field, format!("from 1 to {max}, not {size}")))
    }
}
