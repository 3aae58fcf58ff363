//! The integration tests: one binary, real servers, every test on SQLite with the in-process bus and on PostgreSQL with
//! Redis. Run by `make test`, or one by one: `tests/with-servers cargo test --test it NAME`.

mod support;

mod access;
mod accounts;
mod architecture;
mod budget;
mod campaigns;
mod cli;
mod clicks;
mod clients;
mod conversions;
mod dashboard;
mod earnings_feed;
mod events;
mod faults;
mod hostile;
mod http;
mod hub;
mod identity;
mod ingest;
mod input;
mod isolation;
mod kills;
mod ledger;
mod lists;
mod metrics;
mod multipart;
mod nodes;
mod payout_feed;
mod payouts;
mod permissions;
mod persisted;
mod pixel;
mod postbacks;
mod readme;
mod resume;
mod review;
mod rules;
mod schema;
mod sockets;
mod sse;
mod subscriptions;
mod timeouts;
mod ws;
