//! The demo: a tenant with real orders, loaded through the public API, then replayed live.
//!
//! It is a client like any other, of a server in the same process: by HTTP on the loopback interface, with a token and
//! idempotency keys. Only the tenant is made directly, as `tributary tenant create` does. Everything can be started
//! again: what is there is not sent twice, and what is sent twice is not recorded twice.

mod client;
mod figures;
mod guide;
mod ingest;
mod orders;
mod plan;
mod programme;
mod progress;

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::TimeDelta;
use clap::Args;
use data_encoding::HEXLOWER;
use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, time::interval};
use tokio_util::sync::CancellationToken;
use tributary_entity::{Instant, ids::TenantId, kinds::Role};

use self::{
    client::{Client, ClientError},
    guide::Guide,
    orders::OrdersError,
    plan::{AFFILIATES, CAMPAIGNS, LIVE_ORDERS, Plan, Sale},
    programme::Programme,
    progress::{Progress, say},
};
use crate::{
    ambient,
    app::{self, App, Leaves, SecretSource, StartError},
    auth::tokens::{Grant, Subject},
    config::{Mode, Settings},
    services::{ServiceError, Services, tenants},
};

const TENANT: &str = "demo";
const OWNER: &str = "owner@demo.test";
const TOKEN_SECS: i64 = 12 * 3_600;
/// Live orders in flight, at most: matters when they come faster than they are answered.
const LIVE_AT_ONCE: usize = 16;

/// How the demo runs.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Live orders per second; 0 is as fast as possible.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    rate: u32,
    /// Stop when everything is replayed, with status 1 if a figure is wrong.
    #[arg(long)]
    exit: bool,
    /// Send again what is there already, to see that nothing doubles.
    #[arg(long)]
    verify: bool,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Orders(#[from] OrdersError),
    #[error("the demo's tenant cannot be made: {0}")]
    Tenant(#[from] ServiceError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error(
        "FIGURES DIFFER.\n{0}\nIf campaigns, rules or enrollments of the demo were changed, that is why: begin anew with \
         an empty database. If not, this is a defect."
    )]
    Figures(String),
    #[error("DOUBLED: {sent} orders were sent again, only {replayed} of them answered as replayed")]
    Doubled { sent: usize, replayed: usize },
    #[error("idempotency keys are kept for {0} days, and the demo's are older: begin anew with an empty database")]
    KeysExpired(i64),
    #[error("the server ended")]
    ServerEnded,
}

/// Runs the demo until it is stopped, or with `--exit` until everything is replayed.
///
/// # Errors
/// [`DemoError`].
pub async fn run(
    settings: Settings,
    options: Options,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DemoError> {
    let plan = Plan::new(orders::all()?, LIVE_ORDERS);
    run_plan(settings, options, plan, stop).await
}

async fn run_plan(
    settings: Settings,
    options: Options,
    plan: Plan,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), DemoError> {
    // With a database server too: who starts the demo wants to look at it.
    let settings = Settings { mode: settings.mode.or(Some(Mode::Development)), ..settings };
    let app = App::open(settings, SecretSource::OwnIfMissing, Leaves::default()).await?;
    let listener = app.listen().await?;
    let demo = Demo::new(&app.services, &listener, options.clone(), plan)?;
    let shutdown = CancellationToken::new();
    let mut server = tokio::spawn(app.serve(listener, shutdown.clone().cancelled_owned()));
    let stopped = CancellationToken::new();
    let stopping = stopped.clone();
    tokio::spawn(async move {
        stop.await;
        stopping.cancel();
    });
    let played = async {
        demo.play().await?;
        if !options.exit {
            say("Everything is replayed. Serving until Ctrl-C.");
            stopped.cancelled().await;
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = played => outcome,
        () = stopped.cancelled() => Ok(()),
        served = &mut server => return Err(ended(served)),
    };
    shutdown.cancel();
    match server.await {
        Ok(Ok(())) => outcome,
        // The first failure is the one to tell.
        served => outcome.and(Err(ended(served))),
    }
}

fn ended(served: Result<Result<(), StartError>, tokio::task::JoinError>) -> DemoError {
    match served {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) | Err(_) => DemoError::ServerEnded,
    }
}

/// Everything that a run of the demo works with.
struct Demo {
    services: Services,
    options: Options,
    plan: Plan,
    /// The server, as this process reaches it.
    local_url: String,
    /// The server, as it is printed.
    base_url: String,
}

impl Demo {
    fn new(services: &Services, listener: &TcpListener, options: Options, plan: Plan) -> Result<Self, DemoError> {
        let local = reachable(listener.local_addr().map_err(StartError::from)?);
        let local_url = format!("http://{local}");
        let base_url =
            services.settings.public_url.as_ref().map_or(local_url.clone(), |_| services.settings.base_url());
        Ok(Self { services: services.clone(), options, plan, local_url, base_url })
    }

    async fn play(&self) -> Result<(), DemoError> {
        let tenant = self.tenant().await?;
        let token = self.token(tenant.id);
        let client = Client::new(format!("{}/graphql", self.local_url), token.clone());
        let programme = Programme::establish(&client).await?;
        let sent = self.load(&client, &programme, &tenant).await?;
        figures::check(&client, &programme, &self.plan, &sent).await?;
        self.guide(&client, &programme, &tenant, &token).await?;
        let open: Vec<&Sale> = self.plan.live().iter().filter(|sale| !sent.contains(&sale.order_id())).collect();
        if open.is_empty() {
            return Ok(());
        }
        self.replay(&client, &programme, &open).await?;
        let all = self.plan.live().iter().map(Sale::order_id).collect();
        figures::check(&client, &programme, &self.plan, &all).await
    }

    /// Loads what is missing of the history and approves it. Answers which live orders are there from earlier starts.
    async fn load(
        &self,
        client: &Client,
        programme: &Programme,
        tenant: &Tenant,
    ) -> Result<HashSet<String>, DemoError> {
        let plan = &self.plan;
        let sent = ingest::known(client, plan.live()).await?;
        let there = ingest::count(client, plan).await?.saturating_sub(sent.len());
        let history = plan.history();
        if there < history.len() {
            let progress = Progress::new("orders loaded", history.len());
            ingest::load(client, programme, history, there > 0, &progress).await?;
            progress.finish();
        } else if self.options.verify {
            self.verify(client, programme, tenant, &sent).await?;
        } else {
            say(format_args!("{} orders are there from an earlier start.", there + sent.len()));
        }
        let approved = ingest::approve(client, programme, plan).await?;
        if approved > 0 {
            say(format_args!("{approved} conversions approved, the last {} left for a reviewer.", plan::LEFT_PENDING));
        }
        Ok(sent)
    }

    /// Sends everything again that is there, and demands that each is answered as an earlier call's.
    async fn verify(
        &self,
        client: &Client,
        programme: &Programme,
        tenant: &Tenant,
        sent: &HashSet<String>,
    ) -> Result<(), DemoError> {
        let kept_days = self.services.settings.idempotency_days;
        if tenant.created_at + TimeDelta::days(kept_days) <= self.services.now() {
            return Err(DemoError::KeysExpired(kept_days));
        }
        let live = self.plan.live().iter().filter(|sale| sent.contains(&sale.order_id()));
        let sales: Vec<Sale> = self.plan.history().iter().chain(live).cloned().collect();
        let progress = Progress::new("orders sent again", sales.len());
        let (sent, replayed) = ingest::load(client, programme, &sales, false, &progress).await?;
        progress.finish();
        if replayed < sent {
            return Err(DemoError::Doubled { sent, replayed });
        }
        say(format_args!("{sent} orders sent again, {replayed} answered as replayed."));
        Ok(())
    }

    async fn guide(
        &self,
        client: &Client,
        programme: &Programme,
        tenant: &Tenant,
        token: &str,
    ) -> Result<(), DemoError> {
        let today = self.services.now().date_naive().to_string();
        let click_id = ingest::example_click(client, programme, &format!("demo-example-click-{today}")).await?;
        let guide = Guide {
            base_url: &self.base_url,
            graphiql: !self.services.settings.is_production(),
            tenant: TENANT,
            email: OWNER,
            password: tenant.password.as_deref(),
            token,
            click_id: &click_id,
            example: &today,
        };
        say(guide.text());
        Ok(())
    }

    /// Sends orders one by one, at the pace that was asked for.
    async fn replay(&self, client: &Client, programme: &Programme, sales: &[&Sale]) -> Result<(), DemoError> {
        let rate = self.options.rate;
        let ticks = (rate > 0).then(|| interval(Duration::from_secs(1) / rate));
        let pace = if rate > 0 { format!("{rate} per second") } else { "as fast as possible".to_owned() };
        say(format_args!("The last {} orders, live, {pace}:", sales.len()));
        let paced = stream::unfold((sales.iter(), ticks), async |(mut sales, mut ticks)| {
            let sale = *sales.next()?;
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            Some((sale, (sales, ticks)))
        });
        let recorded = paced
            .map(|sale| async move { (sale, ingest::record(client, programme, sale).await) })
            .buffered(LIVE_AT_ONCE);
        let mut recorded = std::pin::pin!(recorded);
        while let Some((sale, answer)) = recorded.next().await {
            let answer = answer?;
            say(format_args!(
                "{}  {}  {:<14}  {:<26}  {:>8} USD  commission {:>6}  {}",
                sale.converted_at.format("%Y-%m-%d %H:%M"),
                sale.order_id(),
                CAMPAIGNS[sale.campaign].name,
                AFFILIATES[sale.affiliate],
                figures::usd(sale.order.cents),
                answer.commission_total.amount,
                answer.status,
            ));
        }
        say("");
        Ok(())
    }

    fn token(&self, tenant_id: TenantId) -> String {
        let grant = Grant {
            subject: Subject::Operator,
            tenant_id,
            session_id: None,
            roles: vec![Role::Owner],
            affiliate_id: None,
        };
        self.services.tokens.issue(&grant, self.services.now(), TOKEN_SECS).0
    }

    /// The tenant of an earlier start, or a new one.
    async fn tenant(&self) -> Result<Tenant, DemoError> {
        let path = self.services.settings.data_dir.join("demo-password");
        if let Some((scope, row)) = tenants::get_by_slug(&self.services, TENANT).await? {
            let password = std::fs::read_to_string(&path).ok();
            let password = password.map(|text| text.trim().to_owned());
            return Ok(Tenant { id: scope.tenant_id(), created_at: row.created_at, password });
        }
        // Kept before it is needed, so that no start leaves an owner whose password nobody knows.
        let password = kept_password(&path)?;
        let new = tenants::NewTenant {
            slug: TENANT.to_owned(),
            name: "Demo CD shop".to_owned(),
            currency: "USD".parse().map_err(|_| ServiceError::Internal("USD is not known"))?,
            owner_email: OWNER.to_owned(),
            owner_name: "Demo owner".to_owned(),
            owner_password: password.clone(),
        };
        let (row, _) = tenants::create(&self.services, new).await?;
        Ok(Tenant { id: row.tenant_id, created_at: row.created_at, password: Some(password) })
    }
}

/// The demo's tenant.
struct Tenant {
    id: TenantId,
    created_at: Instant,
    /// The owner's; none when it was made with another data folder.
    password: Option<String>,
}

/// The password in a file, made when missing.
fn kept_password(path: &Path) -> Result<String, DemoError> {
    let in_file = |error| DemoError::File { path: path.to_owned(), error };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(in_file)?;
    }
    match app::write_new(path, &HEXLOWER.encode(&ambient::random_bytes::<8>())) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(in_file(error)),
    }
    Ok(std::fs::read_to_string(path).map_err(in_file)?.trim().to_owned())
}

/// An address that this machine can connect to: "any" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(data_dir: &Path) -> Settings {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Settings { listen, data_dir: data_dir.to_owned(), ..Settings::default() }
    }

    /// A small part of the orders, of every day.
    fn plan(live: usize) -> Plan {
        Plan::new(orders::all().expect("undamaged").into_iter().step_by(31).collect(), live)
    }

    async fn run_to_the_end(data_dir: &Path, verify: bool, plan: Plan) -> Result<(), DemoError> {
        let options = Options { rate: 0, exit: true, verify };
        run_plan(settings(data_dir), options, plan, std::future::pending()).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn demo_that_is_started_again_doubles_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let play = |verify| run_to_the_end(folder.path(), verify, plan(40));
        play(false).await.expect("the figures are right");
        play(false).await.expect("the figures are still right");
        play(true).await.expect("everything is replayed");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn demo_with_orders_that_are_not_in_the_file_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        run_to_the_end(folder.path(), false, plan(0)).await.expect("the figures are right");
        let fewer = Plan::new(plan(0).all().iter().skip(500).map(|sale| sale.order.clone()).collect(), 0);
        let outcome = run_to_the_end(folder.path(), false, fewer).await;
        assert!(matches!(outcome, Err(DemoError::Figures(_))), "{outcome:?}");
    }

    #[test]
    fn address_that_means_any_is_reached_by_loopback() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("10.0.0.1:80"), "10.0.0.1:80");
    }
}
