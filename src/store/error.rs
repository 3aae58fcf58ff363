//! What can go wrong in the database, told apart once: constraints by name, faults by whether a retry may help.

use std::fmt;

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// A constraint that a caller can run into, whatever the database calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    TenantSlug,
    UserEmail,
    AffiliateEmail,
    GoalCode,
    RuleDefault,
    EnrollmentPair,
    ConversionOrder,
    ConversionClick,
    JournalBusinessKey,
    /// A counter would leave its range: a balance below zero, a sum past the end of `bigint`.
    CounterRange,
}

/// PostgreSQL names the index, SQLite the columns.
const CONSTRAINTS: &[(Constraint, &str, &str)] = &[
    (Constraint::TenantSlug, "tenant_slug_key", "tenant.slug"),
    (Constraint::UserEmail, "tenant_user_email_key", "tenant_user.tenant_id, tenant_user.email"),
    (Constraint::AffiliateEmail, "affiliate_email_key", "affiliate.tenant_id, affiliate.email"),
    (Constraint::GoalCode, "goal_code_key", "goal.tenant_id, goal.campaign_id, goal.code"),
    (
        Constraint::RuleDefault,
        "commission_rule_goal_default_key",
        "commission_rule.tenant_id, commission_rule.campaign_id, commission_rule.goal_id",
    ),
    (Constraint::RuleDefault, "commission_rule_default_key", "commission_rule.tenant_id, commission_rule.campaign_id"),
    (
        Constraint::EnrollmentPair,
        "enrollment_pair_key",
        "enrollment.tenant_id, enrollment.campaign_id, enrollment.affiliate_id",
    ),
    (
        Constraint::ConversionOrder,
        "conversion_order_key",
        "conversion.tenant_id, conversion.campaign_id, conversion.goal_id, conversion.unique_order_id",
    ),
    (
        Constraint::ConversionClick,
        "conversion_click_key",
        "conversion.tenant_id, conversion.goal_id, conversion.unique_click_id",
    ),
    (Constraint::JournalBusinessKey, "journal_business_key", "journal.tenant_id, journal.kind, journal.business_key"),
];

/// Columns whose CHECK is a range that running totals may leave.
const COUNTERS: &[&str] =
    &["amount_minor", "unapproved_minor", "sale_minor", "commission_minor", "clicks_", "conversions"];

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A constraint refused it; the caller knows what that means to the user.
    #[error("constraint {0:?}")]
    Constraint(Constraint),
    /// Lost a race (deadlock, serialization, busy): the same again may succeed.
    #[error("transient conflict")]
    Conflict(#[source] DbErr),
    /// The database is away, or has no connection to give.
    #[error("database unavailable")]
    Unavailable(#[source] DbErr),
    /// A row contradicts another, or holds what this version cannot read.
    #[error("inconsistent row in {table}: {what}")]
    Inconsistent { table: &'static str, what: String },
    /// Anything else: a defect.
    #[error("database error")]
    Other(#[source] DbErr),
}

impl StoreError {
    /// A row that breaks an assumption of the code.
    pub fn inconsistent(table: &'static str, what: impl fmt::Display) -> Self {
        Self::Inconsistent { table, what: what.to_string() }
    }

    /// Whether this very unit of work may succeed when it is done again.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match classify(&error) {
            Class::Constraint(constraint) => Self::Constraint(constraint),
            Class::Conflict => Self::Conflict(error),
            Class::Unavailable => Self::Unavailable(error),
            Class::Other => Self::Other(error),
        }
    }
}

enum Class {
    Constraint(Constraint),
    Conflict,
    Unavailable,
    Other,
}

fn classify(error: &DbErr) -> Class {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))
    | DbErr::Conn(RuntimeErr::SqlxError(inner))) = error
    else {
        return match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Class::Unavailable,
            _ => Class::Other,
        };
    };
    match inner.as_ref() {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            match code.as_ref() {
                // PostgreSQL: unique, check; serialization, deadlock; shutdown, starting up, connection trouble.
                "23505" | "23514" | "22003" => constraint(database.message()),
                "40001" | "40P01" => Class::Conflict,
                "53300" | "57P01" | "57P02" | "57P03" | "08000" | "08003" | "08006" => Class::Unavailable,
                // SQLite: unique, primary key, check; busy and its variants.
                "2067" | "1555" | "275" => constraint(database.message()),
                "5" | "261" | "517" | "6" => Class::Conflict,
                _ => Class::Other,
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_) => Class::Unavailable,
        _ => Class::Other,
    }
}

fn constraint(message: &str) -> Class {
    let known = CONSTRAINTS.iter().find(|(_, postgres, sqlite)| {
        message.contains(&format!("\"{postgres}\"")) || message.ends_with(&format!("failed: {sqlite}"))
    });
    if let Some((constraint, ..)) = known {
        return Class::Constraint(*constraint);
    }
    let is_range = message.contains("out of range")
        || ((message.contains("check constraint") || message.contains("CHECK constraint"))
            && COUNTERS.iter().any(|column| message.contains(column)));
    if is_range { Class::Constraint(Constraint::CounterRange) } else { Class::Other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_spellings_name_the_same_constraint() {
        for message in [
            "duplicate key value violates unique constraint \"affiliate_email_key\"",
            "UNIQUE constraint failed: affiliate.tenant_id, affiliate.email",
        ] {
            assert!(matches!(constraint(message), Class::Constraint(Constraint::AffiliateEmail)), "{message}");
        }
        for message in [
            "new row for relation \"balance\" violates check constraint \"balance_amount_minor_check\"",
            "CHECK constraint failed: amount_minor BETWEEN 0 AND 9000000000000000000",
            "bigint out of range",
        ] {
            assert!(matches!(constraint(message), Class::Constraint(Constraint::CounterRange)), "{message}");
        }
        assert!(matches!(constraint("UNIQUE constraint failed: other.id"), Class::Other));
    }
}
