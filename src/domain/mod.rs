//! What the program computes: pure rules on plain data. No async, no SQL, no clock, no randomness.
//!
//! `domain.md` of the design is the law these modules spell out; its worked vectors are their tests.

//BASE pub mod affiliate;
//BASE pub mod attribution;
pub mod campaign;
//BASE pub mod click;
//BASE pub mod commission;
//BASE pub mod conversion;
//BASE pub mod cursor;
//BASE pub mod earnings;
//BASE pub mod enrollment;
pub mod event;
pub mod idempotency;
//BASE pub mod ledger;
//BASE pub mod link;
pub mod page;
pub mod problem;
//BASE pub mod report;
pub mod rule;
pub mod tenancy;
pub mod text;
