//! Errors of the API: expected outcomes become `userErrors`, the rest top-level errors with a stable `code`.

use async_graphql::{
    Enum, Error, ErrorExtensionValues, ErrorExtensions, Pos, ServerError, SimpleObject, resolver_utils::EnumType,
};

use crate::{
    domain::problem::{Problem, ProblemCode},
    services::ServiceError,
};

/// Why an input was refused. Clients may switch on it; new values can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "ProblemCode")]
pub(super) enum UserErrorCode {
    /// A needed value is missing or empty.
    Required,
    /// The id is malformed or names another kind of object.
    InvalidId,
    /// Nothing with this id or name exists, or it is not yours to see.
    NotFound,
    /// The amount is no plain decimal, is negative, or has too many digits for its currency.
    InvalidAmount,
    /// The amount is larger than any the system takes.
    AmountOutOfRange,
    /// The code is not in ISO 4217.
    UnknownCurrency,
    /// Another currency is needed here.
    CurrencyMismatch,
    /// The rate is no number of the kind that is needed here, such as a percentage from 0 to 100 with at most four digits after the
    /// point.
    InvalidRate,
    /// No exchange rate is known.
    FxRateMissing,
    /// Not an absolute http or https address.
    InvalidUrl,
    /// Not an e-mail address.
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
    /// The author of a payout batch cannot approve it: another person has to.
    SecondPersonNeeded,
    /// The tenant has not set up the processor that the account is at.
    MethodNotAvailable,
    /// The idempotency key was used before with another input.
    IdempotencyConflict,
    /// Tenant, address or password is wrong.
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

/// An expected refusal: what to mend, and where.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct UserError {
    /// Stable; switch on it.
    code: UserErrorCode,
    /// Path from the mutation's input to the value at fault, such as `["saleAmount", "amount"]`.
    field: Vec<String>,
    /// For people; the wording may change.
    message: String,
}

impl From<Problem> for UserError {
    fn from(problem: Problem) -> Self {
        let code = UserErrorCode::from(problem.code);
        let name =
            <UserErrorCode as EnumType>::items().iter().find(|item| item.value == code).map_or("", |item| item.name);
        metrics::counter!("tributary_user_errors_total", "code" => name).increment(1);
        Self { code, field: problem.field, message: problem.message }
    }
}

/// A top-level error: stable code, no internal text. Faults are logged here, once.
pub(crate) fn to_graphql(error: ServiceError) -> Error {
    match error {
        ServiceError::Refused(problems) => {
            let Some(problem) = problems.into_iter().next() else { return coded("INTERNAL", "internal error") };
            let code = async_graphql::resolver_utils::enum_value(UserErrorCode::from(problem.code));
            Error::new(problem.message).extend_with(|_, extensions| {
                extensions.set("code", code);
                extensions.set("field", problem.field.clone());
            })
        }
        ServiceError::Unauthenticated => coded("UNAUTHENTICATED", "a valid credential is needed"),
        ServiceError::TokenExpired => coded("TOKEN_EXPIRED", "the token has expired"),
        ServiceError::Forbidden => coded("FORBIDDEN", "the credential does not permit this"),
        ServiceError::CursorInvalid => coded("CURSOR_INVALID", "not a cursor of this list or subscription"),
        ServiceError::CursorExpired => {
            coded("CURSOR_EXPIRED", "the log no longer continues from this cursor; start anew without one")
        }
        ServiceError::RateLimited { retry_after } => retryable("RATE_LIMITED", "too many requests", retry_after),
        ServiceError::Overloaded { retry_after } => {
            retryable("OVERLOADED", "too much work at the moment; nothing was stored", retry_after)
        }
        ServiceError::Unavailable => unavailable(),
        fault @ ServiceError::Store(_) if fault.is_transient() => {
            tracing::warn!(error = %chain(&fault), "the database did not do a request");
            unavailable()
        }
        fault @ ServiceError::Store(_) => {
            tracing::error!(error = %chain(&fault), "a request failed in the store");
            coded("INTERNAL", "internal error")
        }
        ServiceError::Internal(what) => {
            tracing::error!(what, "a request failed");
            coded("INTERNAL", "internal error")
        }
    }
}

/// A fault that met one item of a batch, in the item's own words.
pub(super) fn item_problem(error: ServiceError) -> Problem {
    match error {
        ServiceError::Unavailable => Problem::new(
            ProblemCode::Unavailable,
            &[],
            "the database is away and the outcome unknown; send the item again with the same key",
        ),
        fault => {
            tracing::error!(%fault, "a batch item failed");
            Problem::new(ProblemCode::Internal, &[], "not stored: internal error")
        }
    }
}

/// A refusal of a request as a whole, before anything of it ran.
pub(super) fn refused(code: &str, message: impl Into<String>) -> ServerError {
    refused_with(code, message, |_| {})
}

/// As [`refused`], with more to say than the code.
pub(super) fn refused_with(
    code: &str,
    message: impl Into<String>,
    more: impl FnOnce(&mut ErrorExtensionValues),
) -> ServerError {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code);
    more(&mut extensions);
    ServerError { extensions: Some(extensions), ..ServerError::new(message, None) }
}

/// A top-level error that stands at no place in the document.
pub(super) fn nowhere(error: Error) -> ServerError {
    ServerError { locations: Vec::new(), ..error.into_server_error(Pos::default()) }
}

/// As [`to_graphql`], for what belongs to no place in a document.
pub(crate) fn to_server_error(error: ServiceError) -> ServerError {
    nowhere(to_graphql(error))
}

fn coded(code: &'static str, message: &str) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}

/// A request that was given up because it took too long.
pub(super) fn timed_out() -> Error {
    retryable(
        "TIMEOUT",
        "not done in time; whether a mutation took effect is not known: retry with the same idempotency key",
        std::time::Duration::from_secs(1),
    )
}

/// A request that met a defect of ours.
pub(super) fn internal() -> Error {
    coded("INTERNAL", "internal error")
}

fn unavailable() -> Error {
    retryable(
        "UNAVAILABLE",
        "the database is not available at the moment; retry with the same idempotency key",
        std::time::Duration::from_secs(1),
    )
}

fn retryable(code: &'static str, message: &str, retry_after: std::time::Duration) -> Error {
    let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    Error::new(message).extend_with(|_, extensions| {
        extensions.set("code", code);
        extensions.set("retryAfterMs", millis);
    })
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// `?` on use cases in resolvers.
pub(super) trait IntoGraphql<T> {
    fn or_graphql(self) -> async_graphql::Result<T>;
}

impl<T, E: Into<ServiceError>> IntoGraphql<T> for Result<T, E> {
    fn or_graphql(self) -> async_graphql::Result<T> {
        self.map_err(|error| to_graphql(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_alike_where_no_graphql_is() {
        for item in UserErrorCode::items() {
            assert_eq!(ProblemCode::from(item.value).to_string(), item.name);
        }
    }

    #[test]
    fn readme_lists_every_code() {
        let readme = include_str!("../../README.md");
        for item in UserErrorCode::items() {
            assert!(readme.contains(&format!("| `{}` |", item.name)), "README.md lacks {}", item.name);
        }
    }
}
