//! Instants from callers: in a range that both databases hold, to the microsecond that both keep.
//!
//! RFC 3339 as our clients' libraries write it knows years far outside of what PostgreSQL takes, and whose text SQLite
//! would sort wrongly; nanoseconds would read back otherwise than they were answered.

use chrono::{Datelike, SubsecRound};
use tributary_entity::Instant;

use super::problem::{Problem, ProblemCode};

/// The first year that is taken: nothing that is tracked here is older.
const YEAR_MIN: i32 = 1970;
/// The last year whose text has four digits.
const YEAR_MAX: i32 = 9999;

/// An instant as it can be kept and compared.
///
/// # Errors
/// `OUT_OF_RANGE` outside the years 1970 to 9999.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instant_is_bounded_and_kept_to_the_microsecond() {
        let read = |text: &str| checked(&[], text.parse().expect("RFC 3339")).map(|at| at.to_rfc3339());
        assert_eq!(read("2026-01-01T00:00:00.123456789Z").as_deref(), Ok("2026-01-01T00:00:00.123456+00:00"));
        for text in ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in ["1969-12-31T23:59:59Z", "+10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"]
        {
            assert_eq!(read(text).map_err(|problem| problem.code), Err(ProblemCode::OutOfRange), "{text}");
        }
    }
}
