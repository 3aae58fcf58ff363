//! The command line.

mod audit;

use std::{io::IsTerminal, process::ExitCode, str::FromStr};

use clap::{Args, Parser, Subcommand};
use tokio::signal;
use tributary_entity::{
    ids::AffiliateId,
    kinds::{Role, TenantStatus},
    money::Currency,
};

use crate::{
    app::{App, Leaves, SecretSource, StartError, choose_tls},
    auth::tokens::{Grant, Subject},
    config::Settings,
    demo,
    domain::problem::{Problem, ProblemCode},
    graphql, services,
    services::ServiceError,
    telemetry, trace,
};

/// Multi-tenant affiliate tracking behind one GraphQL API with live subscriptions.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API and run the jobs.
    Serve,
    /// Make a demo tenant, load 69,659 real orders through the API, replay the last of them live, and serve.
    Demo(demo::Options),
    /// Print the GraphQL schema.
    Schema,
    /// Manage tenants.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Print an access token, and nothing else.
    Token(TokenOptions),
    /// Audit ledgers: balances, totals, chain and counters against journals and facts. Status 0 without a difference, 1
    /// with one, 2 when it could not be done.
    Verify(audit::VerifyOptions),
    /// Restore balances, totals, use of caps and counters from journals and facts, a tenant at a time.
    Rebuild(audit::RebuildOptions),
    /// Seal a tenant's ledger and print its newest checkpoint, to be kept elsewhere.
    Checkpoint(audit::CheckpointOptions),
}

#[derive(Subcommand)]
enum TenantCommand {
    /// Make a tenant with its first owner.
    Create(TenantOptions),
    /// Lock a tenant: every credential of it is refused, open connections end. Nothing is deleted.
    Suspend(TenantName),
    /// Unlock a suspended tenant.
    Resume(TenantName),
    /// Begin another history, after a backup was restored and before any node serves it: cursors from before end with
    /// CURSOR_EXPIRED, where they would miss what is between.
    BeginHistory(HistoryOptions),
}

#[derive(Args)]
struct HistoryOptions {
    /// The tenant's slug; all tenants without it.
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Args)]
struct TenantName {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
}

#[derive(Args)]
struct TenantOptions {
    /// Short name in log-in forms: 2 to 40 lower-case letters, digits and dashes.
    #[arg(long)]
    slug: String,
    /// For people.
    #[arg(long)]
    name: String,
    /// Default currency of new campaigns.
    #[arg(long, default_value = "USD")]
    currency: String,
    #[arg(long)]
    owner_email: String,
    #[arg(long, default_value = "Owner")]
    owner_name: String,
    /// 10 to 128 characters; read from standard input when absent, so that it stays out of the shell's history.
    #[arg(long, env = "TRIBUTARY_TEST_OWNER_PASSWORD", hide_env = true)]
    owner_password: Option<String>,
}

#[derive(Args)]
struct TokenOptions {
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// owner, admin, manager, finance, analyst, integration or affiliate.
    #[arg(long, value_parser = role)]
    role: Role,
    /// The affiliate's id, for the role affiliate.
    #[arg(long, value_parser = AffiliateId::from_str)]
    affiliate: Option<AffiliateId>,
    /// How long it is good.
    #[arg(long, default_value_t = 43_200, value_parser = clap::value_parser!(i64).range(1..=31_622_400))]
    ttl_secs: i64,
}

fn role(text: &str) -> Result<Role, String> {
    text.to_uppercase().parse().map_err(|_| "no such role".to_owned())
}

/// Why a command failed, in words for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Service(ServiceError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
}

impl From<ServiceError> for CliError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Refused(problems) => Self::Refused(
                problems
                    .iter()
                    .map(|Problem { field, message, .. }| format!("{}: {message}", field.join(".")))
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
            other => Self::Service(other),
        }
    }
}

/// Runs a command to its end; its exit status.
///
/// # Errors
/// [`CliError`].
pub async fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let load = || Settings::load().map_err(StartError::from);
    match cli.command {
        Command::Schema => print!("{}", graphql::sdl()),
        Command::Serve => {
            let settings = load()?;
            start_telemetry(&settings)?;
            let app = App::open(settings, SecretSource::Settings, Leaves::default()).await?;
            let listener = app.listen().await?;
            // The port is the system's choice when the settings say 0.
            tracing::info!(listen.address = %listener.local_addr().map_err(StartError::from)?, "serving");
            let served = app.serve(listener, stop_signal()).await;
            trace::finish().await;
            served?;
        }
        Command::Demo(options) => {
            let settings = load()?;
            start_telemetry(&settings)?;
            let shown = demo::run(settings, options, stop_signal()).await;
            trace::finish().await;
            shown?;
        }
        Command::Tenant(TenantCommand::Create(options)) => create_tenant(load()?, options).await?,
        Command::Tenant(TenantCommand::Suspend(options)) => {
            set_tenant_status(load()?, options, TenantStatus::Suspended).await?;
        }
        Command::Tenant(TenantCommand::Resume(options)) => {
            set_tenant_status(load()?, options, TenantStatus::Active).await?;
        }
        Command::Tenant(TenantCommand::BeginHistory(options)) => begin_history(load()?, options).await?,
        Command::Token(options) => print_token(load()?, options).await?,
        Command::Verify(options) => return Ok(audit::verify(load()?, options).await),
        Command::Rebuild(options) => return Ok(audit::rebuild(load()?, options).await),
        Command::Checkpoint(options) => audit::checkpoint(load()?, options).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start_telemetry(settings: &Settings) -> Result<(), StartError> {
    choose_tls();
    telemetry::start(settings).map_err(StartError::Otlp)
}

async fn create_tenant(settings: Settings, options: TenantOptions) -> Result<(), CliError> {
    let currency: Currency = options.currency.parse().map_err(|error| CliError::Refused(format!("{error}")))?;
    let password = match options.owner_password {
        Some(password) => password,
        None => read_password()?,
    };
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    let input = services::tenants::NewTenant {
        slug: options.slug,
        name: options.name,
        currency,
        owner_email: options.owner_email,
        owner_name: options.owner_name,
        owner_password: password,
    };
    let (tenant, owner) = services::tenants::create(&app.services, input).await?;
    println!("tenant {} {}\nowner {} {}", tenant.tenant_id, tenant.slug, owner.row.id, owner.row.email);
    Ok(())
}

async fn set_tenant_status(settings: Settings, options: TenantName, status: TenantStatus) -> Result<(), CliError> {
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    let result = services::tenants::set_status(&app.services, &options.tenant, status).await;
    let tenant = result.map_err(|error| match error.code() {
        Some(ProblemCode::NotFound) => no_tenant(&options.tenant),
        _ => error.into(),
    })?;
    println!("tenant {} {} {}", tenant.tenant_id, tenant.slug, tenant.status);
    Ok(())
}

async fn begin_history(settings: Settings, options: HistoryOptions) -> Result<(), CliError> {
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    for (_, scope) in audit::named(&app.services, options.tenant.as_deref()).await? {
        services::tenants::begin_history(&app.services, &scope).await?;
        println!("tenant {} begins another history", scope.tenant_id());
    }
    Ok(())
}

fn no_tenant(slug: &str) -> CliError {
    CliError::Refused(format!("there is no tenant `{slug}`"))
}

fn read_password() -> Result<String, CliError> {
    if std::io::stdin().is_terminal() {
        eprint!("Password of the owner (it is shown as you type): ");
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(StartError::from)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn print_token(settings: Settings, options: TokenOptions) -> Result<(), CliError> {
    if (options.role == Role::Affiliate) != options.affiliate.is_some() {
        return Err(CliError::Refused("--affiliate goes with --role affiliate".to_owned()));
    }
    let app = App::open(settings, SecretSource::Kept, Leaves::default()).await?;
    let services = &app.services;
    let Some((scope, _)) = services::tenants::get_by_slug(services, &options.tenant).await? else {
        return Err(no_tenant(&options.tenant));
    };
    let grant = Grant {
        subject: Subject::Operator,
        tenant_id: scope.tenant_id(),
        session_id: None,
        roles: vec![options.role],
        affiliate_id: options.affiliate,
    };
    let (token, _) = services.tokens.issue(&grant, services.now(), options.ttl_secs);
    println!("{token}");
    Ok(())
}

/// Ends on Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupt = async {
        // Without a handler there is nothing to wait for but the other signal.
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminated) => {
                terminated.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
