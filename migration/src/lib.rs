//! The schema, step by step: one file per step, the same statements on SQLite and PostgreSQL.
//!
//! # Decisions
//! - Plain SQL that both databases take as it stands. SQLite accepts PostgreSQL's type names (a column's declared type
//!   is only a hint there), composite foreign keys, CHECKs and partial indexes are spelled alike, and a reader sees
//!   exactly what runs. What differs (row-level security, grants, triggers) is in [`protect`], once.
//! - Every primary, unique and foreign key begins with `tenant_id`: no row can point across tenants, a unique violation
//!   never tells of another tenant, and the schema shards by tenant as it stands.
//! - Money and counts are `bigint`; enums and ids' public forms are text and UUID; instants are `timestamptz` (text in
//!   SQLite, always UTC, so text order is time order).
//!
//! # Adding one
//! A new file `mYYYYMMDD_n_what.rs`, a line in [`Migrator::migrations`], [`protect::table`] for each new table. Additive
//! first, remove in a later release: old and new binaries run side by side during a rollout.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m20261120_10_visitors;
mod m20261120_11_attribution_runs;
mod m20261120_12_click_partitions;
mod m20261120_13_link_directory;
mod m20261120_14_payout_destinations;
mod m20261120_1_tenancy;
mod m20261120_2_programme;
mod m20261120_3_tracking;
mod m20261120_4_ledger;
mod m20261120_5_rollups;
mod m20261120_6_payouts;
mod m20261120_7_touchpoints;
mod m20261120_8_identity;
mod m20261120_9_postbacks;
mod m20261126_1_click_writes;
mod m20261126_2_postback_details;
mod m20261126_3_rules;
mod m20261126_41_awards;
mod m20261126_42_click_rates;
mod m20261126_43_overrides;
mod m20261126_44_bonus_rules;
mod m20261126_45_revenue;
mod m20261126_51_conversion_runs;
mod m20261126_5_changes;
mod m20261126_6_ledger_order;
mod m20261126_7_processors;
mod m20261126_81_payout_files;
mod m20261126_82_payout_deductions;
mod m20261126_83_payout_file_contents;
mod m20261126_8_payout_schedules;
mod m20261126_9_fx_rates;
mod m20261127_31_clamps;
mod m20261127_32_revenue_refusals;
mod m20261127_33_click_rate_accruals;
mod m20261127_51_policies;
mod m20261128_1_programme_version;
mod m20261128_2_run_parts;
mod m20261128_3_statistics;
pub mod protect;

/// All steps in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261120_1_tenancy::Migration),
            Box::new(m20261120_2_programme::Migration),
            Box::new(m20261120_3_tracking::Migration),
            Box::new(m20261120_4_ledger::Migration),
            Box::new(m20261120_5_rollups::Migration),
            Box::new(m20261120_6_payouts::Migration),
            Box::new(m20261120_7_touchpoints::Migration),
            Box::new(m20261120_8_identity::Migration),
            Box::new(m20261120_10_visitors::Migration),
            Box::new(m20261120_9_postbacks::Migration),
            Box::new(m20261120_11_attribution_runs::Migration),
            Box::new(m20261120_12_click_partitions::Migration),
            Box::new(m20261120_13_link_directory::Migration),
            Box::new(m20261120_14_payout_destinations::Migration),
            Box::new(m20261126_9_fx_rates::Migration),
            Box::new(m20261126_2_postback_details::Migration),
            Box::new(m20261126_1_click_writes::Migration),
            Box::new(m20261126_5_changes::Migration),
            Box::new(m20261126_51_conversion_runs::Migration),
            Box::new(m20261126_3_rules::Migration),
            Box::new(m20261126_8_payout_schedules::Migration),
            Box::new(m20261126_81_payout_files::Migration),
            Box::new(m20261126_7_processors::Migration),
            Box::new(m20261126_82_payout_deductions::Migration),
            Box::new(m20261126_41_awards::Migration),
            Box::new(m20261126_42_click_rates::Migration),
            Box::new(m20261126_43_overrides::Migration),
            Box::new(m20261126_45_revenue::Migration),
            Box::new(m20261126_44_bonus_rules::Migration),
            Box::new(m20261126_6_ledger_order::Migration),
            Box::new(m20261126_83_payout_file_contents::Migration),
            Box::new(m20261127_31_clamps::Migration),
            Box::new(m20261127_32_revenue_refusals::Migration),
            Box::new(m20261127_33_click_rate_accruals::Migration),
            Box::new(m20261127_51_policies::Migration),
            Box::new(m20261128_1_programme_version::Migration),
            Box::new(m20261128_2_run_parts::Migration),
            Box::new(m20261128_3_statistics::Migration),
        ]
    }
}
