//! What the program computes: pure rules on plain data. No async, no SQL, no clock, no randomness.
//!
//! `domain.md` of the design is the law these modules spell out; its worked vectors are their tests.

pub mod affiliate;
pub mod affiliate_group;
pub mod api_key;
pub mod apportion;
pub mod attribution;
pub mod campaign;
pub mod cap;
pub mod change;
pub mod click;
pub mod click_query;
pub mod commission;
pub mod conversion;
pub mod cookie;
pub mod countries;
pub mod coupon;
pub mod cursor;
pub mod dashboard;
pub mod destination;
pub mod earnings;
pub mod enrollment;
pub mod event;
pub mod goal;
pub mod idempotency;
pub mod instant;
pub mod ledger;
pub mod link;
pub mod log;
pub mod page;
pub mod payout;
pub mod payout_destination;
pub mod postback;
pub mod problem;
pub mod reattribution;
pub mod redirect;
pub mod report;
pub mod rule;
pub mod statement;
pub mod tenancy;
pub mod tenant;
pub mod text;
pub mod touches;
pub mod transition;
pub mod user;
