//! What can go wrong in the database, told apart once: constraints by name, faults by whether a retry may help.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// A constraint that a caller can run into, whatever the database calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    TenantSlug,
    UserEmail,
    AffiliateEmail,
    GroupName,
    GoalCode,
    RuleDefault,
    /// The campaign has an override plan, or the tenant its default.
    OverridePlan,
    EnrollmentPair,
    /// The campaign has a coupon with the code.
    CouponCode,
    ConversionOrder,
    ConversionClick,
    JournalBusinessKey,
    /// The affiliate has another open payout in the currency.
    PayoutOpen,
    /// The campaign or enrollment has an active cap of this metric and period.
    CapSame,
    /// The schedule's batch for the day is there.
    PayoutDue,
    /// Another account is in use for the method.
    PayingAccount,
    /// The bank's file was taken in before.
    PayoutFile,
    /// The affiliate, or the tenant, has terms in the currency.
    PayoutTerms,
    /// The payout was repeated before.
    PayoutRetry,
    /// The affiliate has another destination in the currency.
    PayoutDestination,
    /// The tenant has another account at the processor.
    ProcessorLive,
    /// A counter would leave its range: a balance below zero, a sum past the end of `bigint`.
    CounterRange,
}

/// PostgreSQL names the index, SQLite the columns.
const CONSTRAINTS: &[(Constraint, &str, &str)] = &[
    (Constraint::TenantSlug, "tenant_slug_key", "tenant.slug"),
    (Constraint::UserEmail, "tenant_user_email_key", "tenant_user.tenant_id, tenant_user.email"),
    (Constraint::AffiliateEmail, "affiliate_email_key", "affiliate.tenant_id, affiliate.email"),
    (Constraint::GoalCode, "goal_code_key", "goal.tenant_id, goal.campaign_id, goal.code"),
    (Constraint::CapSame, "cap_campaign_key", "cap.tenant_id, cap.campaign_id, cap.metric, cap.period"),
    (Constraint::CapSame, "cap_enrollment_key", "cap.tenant_id, cap.enrollment_id, cap.metric, cap.period"),
    (Constraint::GroupName, "affiliate_group_name_key", "affiliate_group.tenant_id, affiliate_group.name"),
    (
        Constraint::RuleDefault,
        "commission_rule_group_goal_key",
        "commission_rule.tenant_id, commission_rule.campaign_id, commission_rule.group_id, commission_rule.goal_id",
    ),
    (
        Constraint::RuleDefault,
        "commission_rule_group_key",
        "commission_rule.tenant_id, commission_rule.campaign_id, commission_rule.group_id",
    ),
    (
        Constraint::RuleDefault,
        "commission_rule_goal_default_key",
        "commission_rule.tenant_id, commission_rule.campaign_id, commission_rule.goal_id",
    ),
    (Constraint::RuleDefault, "commission_rule_default_key", "commission_rule.tenant_id, commission_rule.campaign_id"),
    (Constraint::OverridePlan, "override_plan_campaign_key", "override_plan.tenant_id, override_plan.campaign_id"),
    (Constraint::OverridePlan, "override_plan_default_key", "override_plan.tenant_id"),
    (
        Constraint::EnrollmentPair,
        "enrollment_pair_key",
        "enrollment.tenant_id, enrollment.campaign_id, enrollment.affiliate_id",
    ),
    (Constraint::CouponCode, "coupon_code_key", "coupon.tenant_id, coupon.code, coupon.campaign_id"),
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
    (Constraint::PayoutOpen, "payout_open_key", "payout.tenant_id, payout.affiliate_id, payout.currency"),
    (
        Constraint::PayoutDestination,
        "payout_destination_live_key",
        "payout_destination.tenant_id, payout_destination.affiliate_id, payout_destination.currency",
    ),
    (
        Constraint::PayoutDue,
        "payout_batch_due_key",
        "payout_batch.tenant_id, payout_batch.currency, payout_batch.schedule, payout_batch.due_on",
    ),
    (Constraint::PayingAccount, "paying_account_live_key", "paying_account.tenant_id, paying_account.method"),
    (Constraint::PayoutFile, "payout_file_digest_key", "payout_file.tenant_id, payout_file.digest"),
    (Constraint::PayoutTerms, "payout_terms_default_key", "payout_terms.tenant_id, payout_terms.currency"),
    (
        Constraint::PayoutTerms,
        "payout_terms_affiliate_key",
        "payout_terms.tenant_id, payout_terms.affiliate_id, payout_terms.currency",
    ),
    (Constraint::ProcessorLive, "processor_live_key", "processor.tenant_id, processor.method"),
    (Constraint::PayoutRetry, "payout_retry_key", "payout.tenant_id, payout.retry_of"),
];

/// Columns whose CHECK is a range that running totals may leave.
const COUNTERS: &[&str] = &[
    "amount_minor",
    "unapproved_minor",
    "sale_minor",
    "commission_minor",
    "clicks_",
    "conversions",
    "used",
    "accrued_micros",
];

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A constraint refused it; the caller knows what that means to the user.
    #[error("constraint {0:?}")]
    Constraint(Constraint),
    /// Lost a race (deadlock, serialization, busy, a migration): the same again may succeed.
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

    /// A unit of work that was given up because it took too long; its outcome may be unknown.
    pub fn timed_out() -> Self {
        Self::Unavailable(DbErr::Custom("no answer in time".to_owned()))
    }

    /// A unit of work that met what another one did meanwhile.
    pub fn raced(what: &str) -> Self {
        Self::Conflict(DbErr::Custom(what.to_owned()))
    }

    /// Whether this very unit of work may succeed when it is done again.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }

    /// Whether another conversion was first with a natural key: the next try sees it, and decides anew.
    pub const fn was_second(&self) -> bool {
        matches!(self, Self::Constraint(Constraint::ConversionOrder | Constraint::ConversionClick))
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

/// Whether the connection itself is gone: what has not begun yet may begin on another one.
pub(super) fn is_broken(error: &DbErr) -> bool {
    let Some(inner) = driver_error(error) else { return false };
    match inner {
        sqlx::Error::Io(_) => true,
        // An administrator, or the server as it went down, ended it.
        sqlx::Error::Database(database) => database.code().is_some_and(|code| code == "57P01" || code == "57P02"),
        _ => false,
    }
}

/// Whether a row was refused because one of its key is there.
pub(super) fn is_duplicate(error: &DbErr) -> bool {
    let inner = driver_error(error).and_then(sqlx::Error::as_database_error);
    inner.is_some_and(|database| database.is_unique_violation())
}

fn driver_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner)) => Some(inner.as_ref()),
        _ => None,
    }
}

fn classify(error: &DbErr) -> Class {
    let Some(inner) = driver_error(error) else {
        return match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Class::Unavailable,
            _ => Class::Other,
        };
    };
    match inner {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if database.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                classify_sqlite(&code, database.message())
            } else if is_outdated(database.as_ref()) {
                OUTDATED_AT.store(uptime(), Relaxed);
                Class::Conflict
            } else {
                classify_postgres(&code, database.constraint(), database.message())
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_) => Class::Unavailable,
        // A server that ends while it is greeted breaks the protocol; nothing was asked of it yet. Later, it is we who do.
        sqlx::Error::Protocol(_) if matches!(error, DbErr::Conn(_)) => Class::Unavailable,
        _ => Class::Other,
    }
}

/// When a statement was last found that had been prepared before a migration changed what it answers, in milliseconds
/// since [`uptime`] began; 0: never.
static OUTDATED_AT: AtomicU64 = AtomicU64::new(0);

/// Milliseconds since this was first asked, and one.
fn uptime() -> u64 {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Whether a connection of this age may hold statements from before a migration. The driver keeps them for as long as
/// the connection lives, so the connection has to go.
pub(super) fn plans_are_older_than(age: Duration) -> bool {
    let found = OUTDATED_AT.load(Relaxed);
    found > 0 && u64::try_from(age.as_millis()).unwrap_or(u64::MAX) >= uptime().saturating_sub(found)
}

/// Whether PostgreSQL says that "cached plan must not change result type"; by where it says so, as messages come in the
/// server's language.
fn is_outdated(database: &dyn sqlx::error::DatabaseError) -> bool {
    let postgres = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    postgres.is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

/// By SQLSTATE; the constraint by its name, as messages come in the server's language.
fn classify_postgres(code: &str, constraint: Option<&str>, message: &str) -> Class {
    match code {
        "40001" | "40P01" | "55P03" => Class::Conflict,
        // A bigint that overflowed.
        "22003" => Class::Constraint(Constraint::CounterRange),
        "23505" | "23514" => {
            let name = constraint.unwrap_or(message);
            let known = CONSTRAINTS.iter().find(|(_, index, _)| *index == name);
            match known {
                Some((constraint, ..)) => Class::Constraint(*constraint),
                None if code == "23514" && is_counter(name) => Class::Constraint(Constraint::CounterRange),
                None => Class::Other,
            }
        }
        // Failed over to a standby; cancelled by a time limit; connection, resources, shutdown.
        "25006" | "57014" => Class::Unavailable,
        _ if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Class::Unavailable,
        _ => Class::Other,
    }
}

/// By the primary part of the extended result code; the constraint by the columns in the message.
fn classify_sqlite(code: &str, message: &str) -> Class {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const READ_ONLY: i32 = 8;
    const IO_ERROR: i32 = 10;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    const CONSTRAINT: i32 = 19;
    match code.parse::<i32>().unwrap_or_default() & 0xff {
        BUSY | LOCKED => Class::Conflict,
        READ_ONLY | IO_ERROR | FULL | CANNOT_OPEN => Class::Unavailable,
        CONSTRAINT => {
            let known = CONSTRAINTS.iter().find(|(_, _, columns)| message.ends_with(&format!("failed: {columns}")));
            match known {
                Some((constraint, ..)) => Class::Constraint(*constraint),
                None if message.contains("CHECK") && is_counter(message) => Class::Constraint(Constraint::CounterRange),
                None => Class::Other,
            }
        }
        _ => Class::Other,
    }
}

fn is_counter(text: &str) -> bool {
    COUNTERS.iter().any(|column| text.contains(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_spellings_name_the_same_constraint() {
        let is = |class, wanted| matches!(class, Class::Constraint(constraint) if constraint == wanted);
        // The message is German: only the name counts.
        let german = "doppelter Schlüsselwert verletzt Unique-Constraint »affiliate_email_key«";
        assert!(is(classify_postgres("23505", Some("affiliate_email_key"), german), Constraint::AffiliateEmail));
        let sqlite = "UNIQUE constraint failed: affiliate.tenant_id, affiliate.email";
        assert!(is(classify_sqlite("2067", sqlite), Constraint::AffiliateEmail));
        let balance = Some("balance_amount_minor_check");
        assert!(is(classify_postgres("23514", balance, ""), Constraint::CounterRange));
        assert!(is(classify_postgres("22003", None, "bigint out of range"), Constraint::CounterRange));
        let sqlite = "CHECK constraint failed: amount_minor BETWEEN 0 AND 9000000000000000000";
        assert!(is(classify_sqlite("275", sqlite), Constraint::CounterRange));
        assert!(matches!(classify_sqlite("2067", "UNIQUE constraint failed: other.id"), Class::Other));
    }

    #[test]
    fn faults_of_the_database_are_told_from_defects_of_ours() {
        for code in ["08006", "53100", "57P01", "25006", "57014"] {
            assert!(matches!(classify_postgres(code, None, ""), Class::Unavailable), "{code}");
        }
        // Disk full, I/O error on fsync, read-only file.
        for code in ["13", "1034", "8", "14"] {
            assert!(matches!(classify_sqlite(code, ""), Class::Unavailable), "{code}");
        }
        for code in ["5", "517", "261", "6"] {
            assert!(matches!(classify_sqlite(code, ""), Class::Conflict), "{code}");
        }
        assert!(matches!(classify_postgres("22021", None, ""), Class::Other));
        let protocol = || RuntimeErr::SqlxError(sqlx::Error::Protocol("unexpected response".to_owned()).into());
        assert!(matches!(classify(&DbErr::Conn(protocol())), Class::Unavailable));
        assert!(matches!(classify(&DbErr::Query(protocol())), Class::Other));
    }
}
