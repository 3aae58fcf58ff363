//! What the program remembers: the only place that names `sea_orm`.
//!
//! Every function takes a [`scope::Tx`], which belongs to one tenant (and perhaps to one affiliate inside it); the few
//! reads that happen before the tenant is known are in [`directory`], the months of the click table, which are nobody's, in
//! [`partitions`]. The store remembers and finds; it decides nothing.

pub mod accounts;
pub mod address_keys;
pub mod affiliate_groups;
pub mod affiliate_parents;
pub mod affiliates;
pub mod api_keys;
mod arrays;
pub mod attribution_runs;
pub mod attributions;
pub mod audit;
pub mod awards;
pub mod balances;
pub mod bonus_rules;
pub mod campaigns;
pub mod caps;
pub mod changes;
pub mod click_accruals;
pub mod click_rates;
pub mod clicks;
pub mod commissions;
pub mod conversion_runs;
pub mod conversions;
pub mod coupons;
pub mod customers;
pub mod database;
mod deferral;
mod deltas;
pub mod dialect;
pub mod directory;
pub mod enrollments;
pub mod error;
pub mod events;
pub mod fx_conversions;
pub mod fx_rates;
pub mod goals;
pub mod idempotency;
pub mod invalid_clicks;
pub mod ledger;
pub mod ledger_blocks;
pub mod links;
mod migrations;
pub mod outbox;
pub mod override_plans;
pub mod page;
pub mod partitions;
pub mod payout_batches;
pub mod payout_candidates;
pub mod payout_destinations;
pub mod payout_files;
pub mod payout_terms;
pub mod payout_transfers;
pub mod payouts;
pub mod postbacks;
pub mod processors;
pub mod reconciliation;
pub mod revenue_deals;
pub mod revenue_records;
pub mod revenue_settlements;
pub mod rollups;
pub mod rules;
pub mod scope;
pub mod sequences;
pub mod sessions;
mod spanned;
pub mod standings;
pub mod statements;
pub mod tenants;
#[cfg(test)]
mod testing;
pub mod tiers;
pub mod touches;
pub mod users;
