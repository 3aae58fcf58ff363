//! Instants from callers: to the microsecond, and of an era that both databases can hold and reckon with.

use chrono::{SubsecRound, TimeDelta};
use tributary_entity::Instant;

use super::problem::{Problem, ProblemCode};

/// How far ahead of our clock a sender's may be.
pub const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);
/// 2200-01-01, in seconds since 1970.
const END_SECS: i64 = 7_258_118_400;

/// An instant of a filter or period, truncated to the microsecond as stored instants are.
///
/// # Errors
/// `OUT_OF_RANGE` before 1970 or from 2200 on.
pub fn instant(field: &[&str], at: Instant) -> Result<Instant, Problem> {
    if (0..END_SECS).contains(&at.timestamp()) {
        Ok(at.trunc_subsecs(6))
    } else {
        Err(Problem::new(ProblemCode::OutOfRange, field, "from 1970 to 2199"))
    }
}

/// As [`instant`], for one that may be missing.
///
/// # Errors
/// As [`instant`].
pub fn optional(field: &[&str], at: Option<Instant>) -> Result<Option<Instant>, Problem> {
    at.map(|at| instant(field, at)).transpose()
}

/// When something happened: none means now.
///
/// # Errors
/// As [`instant`], and `TIME_IN_FUTURE` further ahead than clocks differ.
pub fn occurred_at(at: Option<Instant>, now: Instant) -> Result<Option<Instant>, Problem> {
    let at = optional(&["occurredAt"], at)?;
    if at.is_some_and(|at| at > now + CLOCK_SKEW) {
        return Err(Problem::new(ProblemCode::TimeInFuture, &["occurredAt"], "this instant lies in the future"));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    #[test]
    fn instants_are_truncated_to_what_is_stored() {
        assert_eq!(instant(&["at"], at("2026-01-01T00:00:00.123456789Z")), Ok(at("2026-01-01T00:00:00.123456Z")));
    }

    #[test]
    fn eras_that_cannot_be_reckoned_with_are_refused() {
        for text in ["1600-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
            assert_eq!(instant(&["at"], at(text)).map_err(|p| p.code), Err(ProblemCode::OutOfRange), "{text}");
        }
    }

    #[test]
    fn the_future_begins_where_clocks_no_longer_differ() {
        let now = at("2026-01-01T00:00:00Z");
        assert!(occurred_at(Some(now + CLOCK_SKEW), now).is_ok());
        let late = Some(now + CLOCK_SKEW + TimeDelta::seconds(1));
        assert_eq!(occurred_at(late, now).map_err(|p| p.code), Err(ProblemCode::TimeInFuture));
    }
}
