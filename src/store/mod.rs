//! What the program remembers: the only place that names `sea_orm`.
//!
//! Every function takes a [`scope::Tx`], which belongs to one tenant (and perhaps to one affiliate inside it); the few
//! reads that happen before the tenant is known are in [`directory`]. The store remembers and finds; it decides nothing.

//BASE pub mod affiliates;
//BASE pub mod api_keys;
//BASE pub mod attributions;
//BASE pub mod balances;
pub mod campaigns;
//BASE pub mod clicks;
//BASE pub mod commissions;
//BASE pub mod conversions;
pub mod database;
pub mod deltas;
pub mod dialect;
pub mod directory;
//BASE pub mod enrollments;
pub mod error;
pub mod events;
//BASE pub mod goals;
pub mod idempotency;
//BASE pub mod ledger;
//BASE pub mod links;
//BASE pub mod outbox;
pub mod page;
//BASE pub mod rollups;
//BASE pub mod rules;
pub mod scope;
//BASE pub mod sessions;
pub mod tenants;
//BASE pub mod users;
