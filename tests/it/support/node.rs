//! Nodes as processes of their own: for killing them, and for more than one on the same data.

use std::{
    collections::VecDeque,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::app::SECRET;

/// A `tributary serve` process.
pub struct Node {
    child: Child,
    pub url: String,
    log: Log,
}

/// The last lines of a node's log since it serves.
type Log = Arc<Mutex<VecDeque<String>>>;

const LOG_LINES: usize = 1_000;

/// Where nodes keep their data.
#[derive(Clone, Debug)]
pub struct Data {
    pub folder: std::path::PathBuf,
    pub database_url: Option<String>,
    pub redis_url: Option<String>,
}

impl Data {
    /// The command with the environment that points at the data, and nothing of the surroundings.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.env_clear().envs(self.environment()).current_dir(&self.folder).kill_on_drop(true);
        command
    }

    /// The settings that point at the data.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("TRIBUTARY_DATA_DIR", self.folder.display().to_string()),
            ("TRIBUTARY_SECRET", SECRET.to_owned()),
            ("TRIBUTARY_LISTEN", "127.0.0.1:0".to_owned()),
            ("TRIBUTARY_LOG_FORMAT", "json".to_owned()),
        ];
        settings.extend(self.database_url.clone().map(|url| ("DATABASE_URL", url)));
        settings.extend(self.redis_url.clone().map(|url| ("REDIS_URL", url)));
        settings
    }

    /// Runs a command to its end; its standard output.
    pub async fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().await.expect("the command runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Node {
    /// Starts a node and waits until it serves.
    pub async fn start(data: &Data) -> Self {
        Self::start_with(data, &[]).await
    }

    /// As `start`, with more settings.
    pub async fn start_with(data: &Data, settings: &[(&str, &str)]) -> Self {
        let mut command = data.command();
        command.arg("serve").envs(settings.iter().copied());
        Self::launch(command).await
    }

    /// Starts a node whose writing the system can refuse without ending it, as a full disk does: see `limit_files`.
    pub async fn start_limitable(data: &Data) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" serve", env!("CARGO_BIN_EXE_tributary")]);
        command.env_clear().envs(data.environment()).current_dir(&data.folder).kill_on_drop(true);
        Self::launch(command).await
    }

    /// Waits until what a command starts serves.
    async fn launch(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the node starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = timeout(Duration::from_secs(60), async {
            let mut said = Vec::new();
            while let Some(line) = lines.next_line().await.expect("readable") {
                let entry: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(address) = entry["fields"]["listen.address"].as_str() {
                    return format!("http://{address}");
                }
                said.push(line);
            }
            panic!("the node ended before it served: {said:?}");
        })
        .await
        .expect("a node serves within a minute");
        // Its later words are read, wanted or not: a full pipe would stop it.
        let log = Log::default();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = kept.lock().expect("nobody panics with the log");
                kept.push_back(line);
                if kept.len() > LOG_LINES {
                    kept.pop_front();
                }
            }
        });
        Self { child, url, log }
    }

    /// What it has said since it serves, as JSON, if no settings say otherwise.
    pub fn log(&self) -> Vec<serde_json::Value> {
        let log = self.log.lock().expect("nobody panics with the log");
        log.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON, not {line}"))).collect()
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("running")
    }

    /// The most memory that it had; none where the system does not tell.
    pub fn peak_memory_kb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().trim_end_matches(" kB").parse().ok())
    }

    /// Lets no file of the process grow past so many bytes; none: all as they want.
    pub async fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let process = self.id().to_string();
        // The soft limit alone, which may be raised again.
        let limited = Command::new("prlimit").args(["--pid", &process, &format!("--fsize={limit}:")]).status().await;
        assert!(limited.expect("prlimit (util-linux) runs").success());
    }

    /// Waits until the process ends without being asked to.
    pub async fn ended(&mut self) {
        timeout(Duration::from_secs(60), self.child.wait()).await.expect("the node ends").expect("ended");
    }

    /// Kills it without a word (SIGKILL).
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the node is killed");
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn stop(mut self) {
        let id = self.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
        assert!(asked.success());
        let ended = timeout(Duration::from_secs(30), self.child.wait()).await;
        assert!(ended.expect("ends within 30 s").expect("ended").success());
    }
}

/// A folder as data.
pub fn folder(path: &Path) -> Data {
    Data { folder: path.to_owned(), database_url: None, redis_url: None }
}
