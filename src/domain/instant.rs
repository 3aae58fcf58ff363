//! Instants from callers: in a range that both databases hold, to the microsecond that both keep.
//!
//! RFC 3339 as our clients' libraries write it knows years far outside of what PostgreSQL takes, and whose text SQLite
//! would sort wrongly; nanoseconds would read back otherwise than they were answered.

use chrono::{Datelike, SubsecRound, TimeDelta};
use tributary_entity::Instant;

use super::problem::{Problem, ProblemCode};

/// The first year that is taken: nothing that is tracked here is older.
const YEAR_MIN: i32 = 1970;
/// The last year that is taken: sums with windows and holds stay in the range that nanoseconds since 1970 can count, by
/// which instants are truncated to hours.
const YEAR_MAX: i32 = 2199;
/// How far ahead of our clock a sender's may be.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// An instant as it can be kept and compared.
///
/// # Errors
/// `OUT_OF_RANGE` outside the years 1970 to 2199.
pub fn checked(field: &[&str], at: Instant) -> Result<Instant, Problem> {
    if (YEAR_MIN..=YEAR_MAX).contains(&at.year()) {
        Ok(at.trunc_subsecs(6))
    } else {
        Err(Problem::new(ProblemCode::OutOfRange, field, format!("from the year {YEAR_MIN} to {YEAR_MAX}")))
    }
}

/// As [`checked`], for one that may be missing.
///
/// # Errors
/// As [`checked`].
pub fn optional(field: &[&str], at: Option<Instant>) -> Result<Option<Instant>, Problem> {
    at.map(|at| checked(field, at)).transpose()
}

/// When something happened, as its sender says; none means now.
///
/// # Errors
/// As [`checked`], and `TIME_IN_FUTURE` further ahead than clocks differ.
pub fn past(field: &[&str], at: Option<Instant>, now: Instant) -> Result<Option<Instant>, Problem> {
    let at = optional(field, at)?;
    if at.is_some_and(|at| at > now + CLOCK_SKEW) {
        return Err(Problem::new(ProblemCode::TimeInFuture, field, "this instant lies in the future"));
    }
    Ok(at)
}

/// As [`past`], for when a customer acted.
///
/// # Errors
/// As [`past`].
pub fn occurred_at(at: Option<Instant>, now: Instant) -> Result<Option<Instant>, Problem> {
    past(&["occurredAt"], at, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_is_bounded_and_kept_to_the_microsecond() {
        let read = |text: &str| checked(&[], text.parse().expect("RFC 3339")).map(|at| at.to_rfc3339());
        assert_eq!(read("2026-01-01T00:00:00.123456789Z").as_deref(), Ok("2026-01-01T00:00:00.123456+00:00"));
        for text in ["1970-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z"] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in [
            "1969-12-31T23:59:59Z",
            "2200-01-01T00:00:00Z",
            "+10000-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(read(text).map_err(|problem| problem.code), Err(ProblemCode::OutOfRange), "{text}");
        }
    }
    #[test]
    fn future_begins_where_clocks_no_longer_differ() {
        let now: Instant = "2026-01-01T00:00:00Z".parse().expect("RFC 3339");
        assert!(occurred_at(Some(now + CLOCK_SKEW), now).is_ok());
        let late = Some(now + CLOCK_SKEW + TimeDelta::seconds(1));
        assert_eq!(occurred_at(late, now).map_err(|problem| problem.code), Err(ProblemCode::TimeInFuture));
    }
}
