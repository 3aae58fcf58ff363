//! A Redis of the benchmark's own, which keeps nothing.

use std::{process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::BenchError;

/// A server; killed when it is dropped.
pub struct Redis {
    url: String,
    _process: Child,
    _folder: TempDir,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When there is no program, or it does not answer.
    pub async fn start() -> Result<Self, BenchError> {
        let program = std::env::var_os("TRIBUTARY_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port().to_string();
        let folder = tempfile::tempdir()?;
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let url = format!("redis://127.0.0.1:{port}");
        let client = redis::Client::open(url.as_str())?;
        let answers = async {
            while client.get_multiplexed_async_connection().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), answers).await.map_err(|_| BenchError::Failed("no Redis".to_owned()))?;
        Ok(Self { url, _process: process, _folder: folder })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}
