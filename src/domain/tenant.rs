//! Tenants: what their names may be, and which settings may change.

use chrono_tz::Tz;
use serde::Serialize;

use super::problem::{Problem, ProblemCode};

/// Changes to a tenant's settings; none leaves one as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TenantChange {
    pub payout_four_eyes: Option<bool>,
    /// IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// How long conversions wait for clicks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub click_wait_secs: Option<i64>,
}

impl TenantChange {
    /// Checks every field.
    ///
    /// # Errors
    /// `INVALID_TEXT` for a time zone that is not known; `OUT_OF_RANGE` for a wait that is too long.
    pub fn check(self) -> Result<Self, Problem> {
        self.click_wait_secs.map(|secs| click_wait(&["clickWaitSeconds"], secs)).transpose()?;
        let Some(name) = &self.time_zone else { return Ok(self) };
        match name.trim().parse::<Tz>() {
            Ok(zone) => Ok(Self { time_zone: Some(zone.name().to_owned()), ..self }),
            Err(_) => {
                let message = "not the name of a time zone, such as `Europe/Berlin`";
                Err(Problem::new(ProblemCode::InvalidText, &["timeZone"], message))
            }
        }
    }
}

/// A tenant's short name: lower-case letters, digits and hyphens, 2 to 40 of them. It is typed into log-in forms, so
/// case and spaces around it do not matter.
///
/// # Errors
/// `REQUIRED` or `INVALID_TEXT`.
pub fn slug(field: &[&str], text: &str) -> Result<String, Problem> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return Err(Problem::required(field));
    }
    let valid =
        (2..=40).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if valid {
        Ok(text)
    } else {
        let message = "from 2 to 40 lower-case letters, digits and hyphens";
        Err(Problem::new(ProblemCode::InvalidText, field, message))
    }
}

/// The longest that a conversion waits for its click.
const CLICK_WAIT_MAX_SECS: i64 = 30 * 86_400;

/// How long a conversion waits for a click that is not there yet: up to 30 days, or not at all.
///
/// # Errors
/// `OUT_OF_RANGE`.
fn click_wait(field: &[&str], secs: i64) -> Result<i64, Problem> {
    if (0..=CLICK_WAIT_MAX_SECS).contains(&secs) {
        Ok(secs)
    } else {
        Err(Problem::new(ProblemCode::OutOfRange, field, format!("from 0 to {CLICK_WAIT_MAX_SECS}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn click_is_waited_for_up_to_thirty_days() {
        assert!([0, CLICK_WAIT_MAX_SECS].map(|secs| click_wait(&["s"], secs)).iter().all(Result::is_ok));
        assert!([-1, CLICK_WAIT_MAX_SECS + 1].map(|secs| click_wait(&["s"], secs)).iter().all(Result::is_err));
    }

    #[test]
    fn slug_is_short_and_plain() {
        assert_eq!(slug(&["slug"], " Acme-2 "), Ok("acme-2".to_owned()));
        for text in ["", "a", "ä-b", "a b", "a_b", &"a".repeat(41)] {
            assert!(slug(&["slug"], text).is_err(), "{text}");
        }
    }
}
