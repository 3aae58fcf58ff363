//! `tributary verify`, `rebuild` and `checkpoint`.
//!
//! Differences are answers, not faults: exit status 1; what keeps the audit from being made is 2.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{CliError, no_tenant};
use crate::{
    app::{App, Leaves, SecretSource},
    config::Settings,
    domain::{ledger_chain::Checkpoint, tenancy::TenantScope},
    services::{
        ServiceError, Services,
        audit::{self, Report, Terms},
        clicks, ledger_blocks, tenants,
    },
};

#[derive(Args)]
pub(super) struct VerifyOptions {
    /// The tenant's slug; all tenants without it.
    #[arg(long)]
    tenant: Option<String>,
    /// A checkpoint that was kept elsewhere (`tributary checkpoint`, or `ledgerCheckpoint`): a file of JSON. Needs --tenant.
    #[arg(long, requires = "tenant")]
    checkpoint: Option<PathBuf>,
    /// Print a line of JSON for each tenant.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RebuildOptions {
    /// The tenant's slug; all tenants without it.
    #[arg(long)]
    tenant: Option<String>,
    /// Only tell what would be written.
    #[arg(long)]
    check: bool,
}

#[derive(Args)]
pub(super) struct CheckpointOptions {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
}

/// A fault, which is told apart from a difference.
fn fault(error: &CliError) -> ExitCode {
    eprintln!("tributary: {error}");
    ExitCode::from(2)
}

/// Audits tenants and prints what was found: status 0 without a difference, 1 with one, 2 when it could not be done.
pub(super) async fn verify(settings: Settings, options: VerifyOptions) -> ExitCode {
    match try_verify(settings, options).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fault(&error),
    }
}

async fn try_verify(settings: Settings, options: VerifyOptions) -> Result<usize, CliError> {
    let checkpoint = options.checkpoint.as_ref().map(|path| read_checkpoint(path)).transpose()?;
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    let services = &app.services;
    let terms = Terms { trusted: services.trusted_seals(), clicks_from: clicks::kept_from(services), checkpoint };
    let mut differences = 0;
    for (slug, scope) in named(services, options.tenant.as_deref()).await? {
        let report = audit::verify(&services.db, &scope, &terms).await.map_err(ServiceError::from)?;
        differences += report.differences.len();
        if options.json {
            println!("{}", serde_json::to_string(&report).expect("reports serialize: string keys, no floats"));
        } else {
            print(slug.as_deref(), &report);
        }
    }
    Ok(differences)
}

fn read_checkpoint(path: &Path) -> Result<Checkpoint, CliError> {
    let refused = |error: &dyn std::fmt::Display| CliError::Refused(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refused(&error))?;
    serde_json::from_str(&text).map_err(|error| refused(&error))
}

fn print(slug: Option<&str>, report: &Report) {
    let Report { tenant, journals, entries, blocks, sealed, differences, .. } = report;
    println!(
        "{tenant} {}: {journals} journals, {entries} entries, {blocks} blocks up to journal {sealed}: {}",
        slug.unwrap_or_default(),
        match differences.len() {
            0 => "no difference".to_owned(),
            1 => "1 difference".to_owned(),
            many => format!("{many} differences"),
        }
    );
    for line in &report.trial_balance {
        println!("  {} {} debit {} credit {}", line.code, line.currency, line.debit, line.credit);
    }
    for one in differences {
        println!("! {} {}: expected {}, found {}", one.check, one.subject, one.expected, one.found);
    }
}

/// Restores projections: status 0, 1 with --check when something would be written, 2 when it could not be done.
pub(super) async fn rebuild(settings: Settings, options: RebuildOptions) -> ExitCode {
    let check = options.check;
    match try_rebuild(settings, options).await {
        Ok(rows) if check && rows > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fault(&error),
    }
}

async fn try_rebuild(settings: Settings, options: RebuildOptions) -> Result<u64, CliError> {
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    let services = &app.services;
    let mut rows = 0;
    for (slug, scope) in named(services, options.tenant.as_deref()).await? {
        let restored = audit::rebuild(&services.db, &scope, clicks::kept_from(services), options.check).await;
        let restored = restored.map_err(ServiceError::from)?;
        let written: Vec<String> =
            restored.iter().filter(|(_, rows)| *rows > 0).map(|(table, rows)| format!("{table} {rows}")).collect();
        rows += restored.iter().map(|(_, rows)| rows).sum::<u64>();
        let what = if written.is_empty() { "nothing differs".to_owned() } else { written.join(", ") };
        println!("{} {}: {what}", scope.tenant_id(), slug.unwrap_or_default());
    }
    Ok(rows)
}

/// Prints a tenant's newest checkpoint, after sealing what is not sealed yet.
pub(super) async fn checkpoint(settings: Settings, options: CheckpointOptions) -> Result<(), CliError> {
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    for (_, scope) in named(&app.services, Some(&options.tenant)).await? {
        ledger_blocks::seal_due(&app.services, &scope).await?;
        let Some(checkpoint) = ledger_blocks::newest_checkpoint(&app.services, &scope).await? else {
            return Err(CliError::Refused("nothing is posted yet".to_owned()));
        };
        println!(
            "{}",
            serde_json::to_string_pretty(&checkpoint).expect("checkpoints serialize: string keys, no floats")
        );
    }
    Ok(())
}

/// The tenant of a slug, or all.
pub(super) async fn named(
    services: &Services,
    slug: Option<&str>,
) -> Result<Vec<(Option<String>, TenantScope)>, CliError> {
    match slug {
        Some(slug) => {
            let found = tenants::get_by_slug(services, slug).await?;
            let (scope, _) = found.ok_or_else(|| no_tenant(slug))?;
            Ok(vec![(Some(slug.to_owned()), scope)])
        }
        None => Ok(tenants::all(services).await?.into_iter().map(|scope| (None, scope)).collect()),
    }
}
