//! What is measured, as processes of their own: a node of `tributary`, or the floor.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use sea_orm::ConnectionTrait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{BenchError, postgres::Postgres, sql};

/// Tenants that this run has made.
static TENANTS: AtomicUsize = AtomicUsize::new(0);

/// A running process that listens.
pub struct Server {
    pub url: String,
    /// Good for the tenant of the load; empty for the floor, and where there is no tenant.
    pub token: String,
    child: Child,
    /// Of a node, to start it again; none for the floor.
    node: Option<Node>,
}

/// Where a node keeps its data.
pub struct Database {
    pub url: Option<String>,
    redis_url: Option<String>,
    /// None where the server is somebody else's.
    pub postgres: Option<Postgres>,
}

impl Database {
    /// The embedded one.
    pub const fn embedded() -> Self {
        Self { url: None, redis_url: None, postgres: None }
    }

    /// The servers that `DATABASE_URL` and `REDIS_URL` name, the embedded database without them.
    pub fn of_environment() -> Self {
        Self { url: std::env::var("DATABASE_URL").ok(), redis_url: redis_url(), postgres: None }
    }

    /// As [`Database::of_environment`]; without a `DATABASE_URL`, a PostgreSQL of the benchmark's own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn postgres() -> Result<Self, BenchError> {
        let named = Self::of_environment();
        if named.url.is_some() {
            return Ok(named);
        }
        let postgres = Postgres::start().await?;
        Ok(Self { url: Some(postgres.url()), postgres: Some(postgres), ..named })
    }

    /// The same with a Redis.
    pub fn with_redis(self, url: String) -> Self {
        Self { redis_url: Some(url), ..self }
    }

    /// An empty database beside it on the same server.
    ///
    /// # Errors
    /// When it is an embedded one, or the server refuses.
    pub async fn another(&self) -> Result<Self, BenchError> {
        let (connection, url) = sql::connect(self).await?;
        let name = format!("another_{}", Uuid::new_v4().simple());
        connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        connection.close().await?;
        Ok(Self { url: Some(beside(&url, &name)?), redis_url: self.redis_url.clone(), postgres: None })
    }

    /// The process whose family is the database, where it is the benchmark's own.
    pub fn process(&self) -> Option<u32> {
        self.postgres.as_ref().and_then(Postgres::id)
    }
}

/// The address of another database of the same server.
fn beside(url: &str, name: &str) -> Result<String, BenchError> {
    let (address, settings) = url.split_once('?').map_or((url, None), |(address, settings)| (address, Some(settings)));
    let (server, _) = address.rsplit_once('/').ok_or_else(|| BenchError::Failed("no name of a database".to_owned()))?;
    Ok(settings.map_or_else(|| format!("{server}/{name}"), |settings| format!("{server}/{name}?{settings}")))
}

fn redis_url() -> Option<String> {
    ["REDIS_URL", "TRIBUTARY_TEST_REDIS_URL"].iter().find_map(|name| std::env::var(name).ok())
}

/// What starts a node.
struct Node {
    folder: TempDir,
    database_url: Option<String>,
    redis_url: Option<String>,
    listen: String,
}

impl Node {
    fn new(database: &Database) -> Result<Self, BenchError> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            database_url: database.url.clone(),
            redis_url: database.redis_url.clone(),
            listen: "127.0.0.1:0".to_owned(),
        })
    }

    /// Makes a tenant; a token that is good for all of it.
    async fn tenant(&self) -> Result<String, BenchError> {
        // Servers of one run may share a database.
        let slug = format!("load-{}-{}", std::process::id(), TENANTS.fetch_add(1, Relaxed));
        let tenant = ["tenant", "create", "--slug", &slug, "--name", "Load", "--owner-email", "load@example.test"];
        output(self.command()?.args(tenant).env("TRIBUTARY_TEST_OWNER_PASSWORD", "a password for the load")).await?;
        let token = output(self.command()?.args(["token", "--tenant", &slug, "--role", "OWNER"])).await?;
        Ok(token.trim().to_owned())
    }

    fn command(&self) -> Result<Command, BenchError> {
        let mut command = Command::new(program("tributary")?);
        command
            .current_dir(self.folder.path())
            .env_remove("DATABASE_URL")
            .env_remove("REDIS_URL")
            .envs(self.database_url.iter().map(|url| ("DATABASE_URL", url)))
            .envs(self.redis_url.iter().map(|url| ("REDIS_URL", url)))
            .env("TRIBUTARY_DATA_DIR", self.folder.path())
            .env("TRIBUTARY_SECRET", "the secret of the benchmark, long enough")
            .env("TRIBUTARY_LISTEN", &self.listen)
            .env("TRIBUTARY_LOG_FORMAT", "json")
            .env("TRIBUTARY_MODE", "development")
            // All of the load is one user's.
            .env("TRIBUTARY_SOCKETS_PER_USER", "100000")
            .env("TRIBUTARY_SOCKETS_PER_TENANT", "100000")
            .env("TRIBUTARY_TENANT_POINTS_PER_SECOND", "0")
            .env("TRIBUTARY_USER_POINTS_PER_SECOND", "0")
            .env("TRIBUTARY_REQUEST_TIMEOUT_SECS", "600")
            .env("RUST_LOG", "info")
            .kill_on_drop(true);
        Ok(command)
    }

    /// Starts it; its address.
    async fn serve(&self) -> Result<(Child, String), BenchError> {
        let mut child = self.command()?.arg("serve").stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let lines = child.stderr.take();
        let address = first_line(lines, |line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            entry["fields"]["listen.address"].as_str().map(str::to_owned)
        });
        Ok((child, address.await?))
    }
}

/// A program of this build.
///
/// # Errors
/// When it is not built.
pub fn program(name: &str) -> Result<PathBuf, BenchError> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(BenchError::Failed(format!("{} is not built: `make bench` builds it", path.display())))
}

impl Server {
    /// Starts `tributary serve` with a tenant of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn tributary(database: &Database) -> Result<Self, BenchError> {
        let node = Node::new(database)?;
        let token = node.tenant().await?;
        Self::of(node, token).await
    }

    /// Starts `tributary serve` on what is there.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn without_tenant(database: &Database) -> Result<Self, BenchError> {
        Self::of(Node::new(database)?, String::new()).await
    }

    async fn of(mut node: Node, token: String) -> Result<Self, BenchError> {
        let (child, address) = node.serve().await?;
        let url = format!("http://{address}");
        node.listen = address;
        Ok(Self { url, token, child, node: Some(node) })
    }

    fn node(&self) -> Result<&Node, BenchError> {
        self.node.as_ref().ok_or_else(|| BenchError::Failed("the floor keeps nothing".to_owned()))
    }

    /// Makes one more tenant; a token that is good for all of it.
    ///
    /// # Errors
    /// When the program refuses, or it is the floor.
    pub async fn tenant(&self) -> Result<String, BenchError> {
        self.node()?.tenant().await
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Kills it (SIGKILL) and starts it again at the same address.
    ///
    /// # Errors
    /// When it does not start, or is the floor.
    pub async fn kill_and_start(&mut self) -> Result<(), BenchError> {
        self.child.kill().await?;
        self.start().await
    }

    /// Ends it in order (SIGTERM).
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<(), BenchError> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().await?;
        let ended = timeout(Duration::from_secs(60), self.child.wait()).await;
        ended.map_err(|_| BenchError::Failed("the server does not end".to_owned()))??;
        Ok(())
    }

    /// Starts it again at the same address, once it has ended.
    ///
    /// # Errors
    /// When it does not start, or is the floor.
    pub async fn start(&mut self) -> Result<(), BenchError> {
        self.child = self.node()?.serve().await?.0;
        Ok(())
    }

    /// Waits until it says that it takes work.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn ready(&self) -> Result<(), BenchError> {
        let asked = format!("GET /readyz HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address());
        let asking = async {
            loop {
                if matches!(self.ask(&asked).await, Ok(answer) if answer.starts_with("HTTP/1.1 200")) {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let ready = timeout(Duration::from_secs(60), asking).await;
        ready.map_err(|_| BenchError::Failed("the server does not get ready".to_owned()))
    }

    /// One request over a connection of its own; all that comes back.
    async fn ask(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address()).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

/// Starts the floor: this program as a bare broadcaster.
///
/// # Errors
/// When it does not start.
pub async fn floor() -> Result<Server, BenchError> {
    let mut child =
        Command::new(std::env::current_exe()?).arg("floor").stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let lines = child.stdout.take();
    let url = first_line(lines, |line| line.strip_prefix("listening on ").map(str::to_owned)).await?;
    Ok(Server { url, token: String::new(), child, node: None })
}

async fn output(command: &mut Command) -> Result<String, BenchError> {
    let output = command.output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BenchError::Failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// What `find` makes of the first line that it knows; the rest is read and dropped, so that the pipe never fills.
async fn first_line<R: AsyncRead + Unpin + Send + 'static>(
    lines: Option<R>,
    find: impl Fn(&str) -> Option<String>,
) -> Result<String, BenchError> {
    let ended = || BenchError::Failed("the server ended before it listened".to_owned());
    let mut lines = BufReader::new(lines.ok_or_else(ended)?).lines();
    let found = timeout(Duration::from_secs(30), async {
        while let Some(line) = lines.next_line().await? {
            if let Some(found) = find(&line) {
                return Ok(found);
            }
        }
        Err(ended())
    });
    let found = found.await.map_err(|_| ended())??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_is_beside_the_first() {
        let address = |url| beside(url, "new").expect("an address");
        assert_eq!(address("postgres://a:b@127.0.0.1:5432/postgres"), "postgres://a:b@127.0.0.1:5432/new");
        assert_eq!(address("postgres://host/one?sslmode=require"), "postgres://host/new?sslmode=require");
    }
}
