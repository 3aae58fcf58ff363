//! The integration tests: one binary, real servers, every test on SQLite with the in-process bus and on PostgreSQL with
//! Redis. Run by `make test`, or one by one: `tests/with-servers cargo test --test it NAME`.

mod support;

mod accounts;
mod campaigns;
mod clicks;
mod conversions;
mod faults;
mod http;
mod ingest;
mod input;
mod ledger;
mod lists;
mod review;
mod rules;
