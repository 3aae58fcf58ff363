//! Tributary: multi-tenant affiliate tracking behind one GraphQL API with live subscriptions.
//!
//! The map, from the inside out; each layer may name those before it, none after it (`tests/it/architecture.rs`):
//!
//! | module | what it is |
//! |---|---|
//! | `tributary_entity` | rows, typed ids, money, column enums |
//! | [`ambient`], [`config`], [`fault`] | clock, ids and randomness; settings; where tests end the process |
//! | [`domain`] | the rules: pure, no I/O |
//! | [`trace`], [`telemetry`] | which request a line of the log belongs to, and spans for collectors; log and metrics |
//! | [`redis_client`] | commands to Redis |
//! | [`store`], [`bus`], [`limits`], [`spool`] | the database, the event bus, counters and budgets, clicks on disk |
//! | [`processors`] | who makes payouts, over HTTP |
//! | [`auth`] | credentials in, a viewer out |
//! | [`services`] | use cases, each a transaction; ingest lanes, feeds |
//! | [`graphql`], [`http`], [`jobs`] | the API, its transports, work in the background |
//! | [`app`] | puts it together |
//! | [`demo`], [`cli`] | what a person runs |
//!
//! The same noun names the file in each layer: `domain/conversion.rs`, `store/conversions.rs`,
//! `services/conversions.rs`, `graphql/conversions.rs`.

pub mod ambient;
pub mod app;
pub mod auth;
pub mod bus;
pub mod cli;
pub mod config;
pub mod demo;
pub mod domain;
pub mod fault;
pub mod graphql;
pub mod http;
pub mod jobs;
pub mod limits;
pub mod processors;
pub mod redis_client;
pub mod services;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod trace;
