//! Tenants, and affiliates inside a tenant, never see, touch or even notice each other: proved by enumeration.
//!
//! `ids` calls every argument of type ID that the schema has, `walk` reads everything that can be reached, `feeds`
//! watches the subscriptions, `catalogue` and `row_security` ask the database itself. A new field, argument or table is
//! covered as it comes, or fails here until somebody has thought about it.

pub(crate) mod catalogue;
mod feeds;
mod ids;
mod row_security;
pub mod walk;

use crate::support::app::Tuning;

/// Everything at once costs more than one request may, and one after the other takes longer than a log-in lasts: what is
/// walked here is who sees what.
pub fn without_limits(tuning: &mut Tuning) {
    tuning.settings.largest_cost = 1_000_000_000;
    tuning.settings.access_token_secs = 86_400;
}
