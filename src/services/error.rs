//! How a use case can end other than well.

use std::time::Duration;

use crate::{
    auth::{AuthError, passwords::HashError},
    domain::problem::{Problem, ProblemCode},
    store::error::{Constraint, StoreError},
};

/// Why a use case did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Expected: the caller can mend it. Nothing was stored.
    #[error("refused: {0:?}")]
    Refused(Vec<Problem>),
    /// No, or no valid, credential.
    #[error("not authenticated")]
    Unauthenticated,
    #[error("the token has expired")]
    TokenExpired,
    #[error("not permitted")]
    Forbidden,
    /// Too often.
    #[error("rate limited")]
    RateLimited { retry_after: Duration },
    /// The system has more work than it takes; nothing was stored.
    #[error("overloaded")]
    Overloaded { retry_after: Duration },
    /// The database is away; the same call with the same key may succeed later.
    #[error("unavailable")]
    Unavailable,
    /// A cursor of another tenant, filter or subscription, or no cursor at all.
    #[error("invalid cursor")]
    CursorInvalid,
    /// The log no longer continues from the cursor.
    #[error("expired cursor")]
    CursorExpired,
    /// A fault of ours or of the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl ServiceError {
    /// The one answer for absent and for foreign ids.
    pub fn not_found(field: &[&str]) -> Self {
        Problem::not_found(field).into()
    }

    /// For `map_err` on a write: a refusal by this constraint is `ALREADY_EXISTS`, anything else a fault.
    pub(crate) fn taken(
        constraint: Constraint,
        field: &'static [&'static str],
        message: &'static str,
    ) -> impl FnOnce(StoreError) -> Self {
        move |error| match error {
            StoreError::Constraint(found) if found == constraint => {
                Problem::new(ProblemCode::AlreadyExists, field, message).into()
            }
            error => error.into(),
        }
    }

    /// Whether the same call may succeed a little later: the database is away, or could not serialise this with others.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable | Self::Store(StoreError::Unavailable(_) | StoreError::Conflict(_)))
    }

    /// The first problem's code, for callers with one answer.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problems) => problems.first().map(|problem| problem.code),
            _ => None,
        }
    }
}

impl From<Problem> for ServiceError {
    fn from(problem: Problem) -> Self {
        Self::Refused(vec![problem])
    }
}

impl From<Vec<Problem>> for ServiceError {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Refused(problems)
    }
}

impl From<AuthError> for ServiceError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Invalid => Self::Unauthenticated,
            AuthError::Expired => Self::TokenExpired,
            AuthError::Unavailable => Self::Unavailable,
            AuthError::Store(error) => Self::Store(error),
        }
    }
}

impl From<HashError> for ServiceError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Weak(problem) => problem.into(),
            HashError::Failed => Self::Internal("a password could not be hashed"),
        }
    }
}
