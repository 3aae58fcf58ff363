//! What is measured, as processes of their own: a node of `tributary`, or the floor.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::BenchError;

/// A running process that listens.
pub struct Server {
    pub url: String,
    pub pid: u32,
    /// Good for the tenant of the load; empty for the floor.
    pub token: String,
    _child: Child,
    _folder: Option<TempDir>,
}

/// A program of this build.
fn program(name: &str) -> Result<PathBuf, BenchError> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(BenchError::Failed(format!("{} is not built: `make bench` builds it", path.display())))
}

/// Starts `tributary serve` on an embedded database, or on the servers that `DATABASE_URL` and `REDIS_URL` name, with a
/// tenant of its own.
///
/// # Errors
/// When it does not start.
pub async fn tributary() -> Result<Server, BenchError> {
    let folder = tempfile::tempdir()?;
    let slug = format!("load-{}", std::process::id());
    let command = || -> Result<Command, BenchError> {
        let mut command = Command::new(program("tributary")?);
        command
            .current_dir(folder.path())
            .env("TRIBUTARY_DATA_DIR", folder.path())
            .env("TRIBUTARY_SECRET", "the secret of the benchmark, long enough")
            .env("TRIBUTARY_LISTEN", "127.0.0.1:0")
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
    };
    let tenant = ["tenant", "create", "--slug", &slug, "--name", "Load", "--owner-email", "load@example.test"];
    output(command()?.args(tenant).env("TRIBUTARY_TEST_OWNER_PASSWORD", "a password for the load")).await?;
    let token = output(command()?.args(["token", "--tenant", &slug, "--role", "OWNER"])).await?;
    let mut child = command()?.arg("serve").stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let lines = child.stderr.take();
    let address = first_line(lines, |line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        entry["fields"]["listen.address"].as_str().map(str::to_owned)
    });
    let url = format!("http://{}", address.await?);
    let pid = child.id().unwrap_or_default();
    Ok(Server { url, pid, token: token.trim().to_owned(), _child: child, _folder: Some(folder) })
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
    let pid = child.id().unwrap_or_default();
    Ok(Server { url, pid, token: String::new(), _child: child, _folder: None })
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
