//! The integration tests: one binary, real servers, every test on SQLite with the in-process bus and on PostgreSQL with
//! Redis. Run by `make test`, or one by one: `tests/with-servers cargo test --test it NAME`.

mod support;

mod architecture;
mod conversions;
mod isolation;
mod permissions;
mod readme;
mod schema;
