//! Recurring commissions: for how long a customer pays an affiliate.
//!
//! # Decisions
//! - Months are whole months of the calendar in the tenant's time zone, from the customer's first commission of the
//!   affiliate in the campaign; a first one on the 31st ends a month on a shorter month's last day.
//! - A first commission is one that pays something and was not taken back: a free trial does not begin the time.
//! - Without a customer id a conversion is a new customer's: nothing tells it from one, and the sender who wants customers
//!   told apart names them. The explanation says so.

use chrono::Months;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tributary_entity::Instant;

/// How long a rule pays, and where a conversion stood in that; stored with its commission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurrence {
    /// 0 is the first commission alone.
    pub max_months: i32,
    /// The customer was named.
    pub is_known: bool,
    /// When the customer's first commission was earned; none where this is it.
    pub first_at: Option<Instant>,
    /// The time is over: nothing is earned.
    pub is_over: bool,
}

/// Where a conversion stands.
pub fn recurrence(max_months: i32, is_known: bool, first_at: Option<Instant>, at: Instant, zone: Tz) -> Recurrence {
    let is_over = first_at.is_some_and(|first| has_passed(first, at, max_months, zone));
    Recurrence { max_months, is_known, first_at, is_over }
}

/// Whether so many whole months have passed.
fn has_passed(first: Instant, at: Instant, months: i32, zone: Tz) -> bool {
    let local = |instant: Instant| instant.with_timezone(&zone).naive_local();
    let end = local(first).checked_add_months(Months::new(months.unsigned_abs()));
    end.is_some_and(|end| local(at) >= end)
}
