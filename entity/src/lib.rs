//! Rows of the database, typed ids, money and column enums: data without behaviour.
//!
//! Every crate layer may name these types; this crate names none of theirs. A row is what the database holds and no
//! more: rules live in `tributary::domain`, queries in `tributary::store`.
//!
//! # Decisions
//! - Every table is tenant-first: the primary key of each row begins with `tenant_id`, and [`scope::Scoped`] says which
//!   column that is, so that the store can filter and stamp it without knowing the table.
//! - Relations are not declared: joins across nouns are explicit queries of the store, each scoped.

pub mod ids;
pub mod kinds;
pub mod money;
pub mod scope;

#[macro_use]
mod table;

pub mod account;
pub mod address_key;
pub mod affiliate;
pub mod affiliate_group;
pub mod affiliate_group_member;
pub mod affiliate_parent;
pub mod api_key;
pub mod attribution_adjustment;
pub mod attribution_decision;
pub mod attribution_run;
pub mod attribution_touch;
pub mod award;
pub mod balance;
pub mod bonus_grant;
pub mod bonus_rule;
pub mod campaign;
pub mod cap;
pub mod cap_share;
pub mod cap_usage;
pub mod click;
pub mod click_accrual;
pub mod click_invalid_hourly;
pub mod click_rate;
pub mod click_rate_accrual;
pub mod click_rate_version;
pub mod commission;
pub mod commission_rule;
pub mod commission_rule_version;
pub mod conversion;
pub mod conversion_affiliate;
pub mod conversion_change;
pub mod conversion_change_line;
pub mod conversion_history;
pub mod conversion_run;
pub mod conversion_run_refusal;
pub mod coupon;
pub mod customer_commission;
pub mod customer_visitor;
pub mod earning;
pub mod enrollment;
pub mod entry;
pub mod event;
pub mod fx_conversion;
pub mod fx_rate;
pub mod goal;
pub mod idempotency;
pub mod journal;
pub mod ledger_block;
pub mod link;
pub mod outbox;
pub mod override_plan;
pub mod override_plan_version;
pub mod paying_account;
pub mod payout;
pub mod payout_batch;
pub mod payout_destination;
pub mod payout_file;
pub mod payout_file_content;
pub mod payout_history;
pub mod payout_notice;
pub mod payout_skip;
pub mod payout_terms;
pub mod payout_transfer;
pub mod postback_call;
pub mod postback_endpoint;
pub mod processor;
pub mod processor_call;
pub mod reconciliation_item;
pub mod reconciliation_run;
pub mod revenue_carried;
pub mod revenue_deal;
pub mod revenue_deal_version;
pub mod revenue_qualification;
pub mod revenue_record;
pub mod revenue_settlement;
pub mod rollup_hourly;
pub mod session;
pub mod tenant;
pub mod tenant_counter;
pub mod tier_adjustment;
pub mod tier_share;
pub mod tier_state;
pub mod user;
pub mod user_role;

/// An instant in UTC. The clock truncates to microseconds, which both databases keep exactly.
pub type Instant = chrono::DateTime<chrono::Utc>;
