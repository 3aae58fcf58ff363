//! A PostgreSQL of one's own, to be killed and started again on the same data and port, or frozen. Durable: `fsync` and
//! `synchronous_commit` are on, unless a test says otherwise. The benchmark uses this file, too.

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

/// How long the server may take until it answers; it may have a log to read first.
const START: Duration = Duration::from_secs(60);
/// For the connections of this machine, which is open to all of its users.
const PASSWORD: &str = "of a server that lives for minutes";

/// A server; killed when it is dropped.
pub struct Postgres {
    programs: PathBuf,
    account: Option<Account>,
    port: u16,
    process: Option<Child>,
    /// More settings, `name=value`; the last of a name counts.
    settings: Vec<String>,
    folder: TempDir,
}

/// Who the server runs as where we are root, which PostgreSQL refuses to be.
#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Makes an empty cluster and starts its server.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(&[]).await
    }

    /// As `start`, with more settings: `name=value`.
    pub async fn start_with(settings: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let account = account(folder.path()).await?;
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD)?;
        if let Some(Account { user, group }) = account {
            for path in [folder.path(), &password] {
                std::os::unix::fs::chown(path, Some(user), Some(group))?;
            }
        }
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { programs: programs()?, account, port: free_port(), process: None, settings, folder };
        let made = server
            .command("initdb")
            .args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arg(format!("--pwfile={}", password.display()))
            .output()
            .await?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        server.start_again().await?;
        Ok(server)
    }

    /// Makes a standby of this server and starts it.
    pub async fn standby(&self) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        if let Some(Account { user, group }) = self.account {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let (programs, account, settings) = (self.programs.clone(), self.account, self.settings.clone());
        let mut server = Self { programs, account, port: free_port(), process: None, settings, folder };
        let copied = server
            .command("pg_basebackup")
            .args([
                "--host=127.0.0.1",
                "--username=postgres",
                "--checkpoint=fast",
                "--no-sync",
                "--write-recovery-conf",
            ])
            .arg(format!("--port={}", self.port))
            .env("PGPASSWORD", PASSWORD)
            .output()
            .await?;
        if !copied.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&copied.stderr).into_owned()));
        }
        server.start_again().await?;
        Ok(server)
    }

    /// Its database `postgres`, as superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", PASSWORD.replace(' ', "%20"), self.port)
    }

    /// The id of the first of its processes, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// Kills the server (SIGKILL), whose processes end without a word.
    pub async fn kill(&mut self) -> io::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Stops all of its processes where they are (SIGSTOP): connections stand, and nobody answers.
    pub async fn freeze(&self) -> io::Result<()> {
        let first = self.id().ok_or_else(|| io::Error::other("PostgreSQL does not run"))?;
        // The first one before the others, so that it makes no more of them.
        signal("-STOP", &[first]).await?;
        signal("-STOP", &children(first)?).await
    }

    /// Lets them go on.
    pub async fn thaw(&self) -> io::Result<()> {
        let first = self.id().ok_or_else(|| io::Error::other("PostgreSQL does not run"))?;
        signal("-CONT", &children(first)?).await?;
        signal("-CONT", &[first]).await
    }

    /// Starts the server and waits until it answers.
    pub async fn start_again(&mut self) -> io::Result<()> {
        let end = Instant::now() + START;
        let log = self.folder.path().join("log");
        while Instant::now() < end {
            let output = fs::File::create(&log)?;
            let socket = format!("unix_socket_directories={}", self.folder.path().display());
            let mut process = self
                .command("postgres")
                .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port), "-c", &socket])
                .args(["-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "max_connections=400"])
                .args(["-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB"])
                .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
                .stderr(output)
                .spawn()?;
            // One that ends at once met what its killed predecessor left: processes on their way out.
            while process.try_wait()?.is_none() && Instant::now() < end {
                if self.is_ready(&process) {
                    self.process = Some(process);
                    return Ok(());
                }
                sleep(Duration::from_millis(20)).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(io::Error::other(format!("PostgreSQL does not start: {}", fs::read_to_string(log)?)))
    }

    /// By the server's own note; what answers on the port could be another's.
    fn is_ready(&self, process: &Child) -> bool {
        let note = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
        let mut lines = note.lines();
        let is_its_own = lines.next().and_then(|id| id.parse().ok()) == process.id();
        is_its_own && lines.any(|line| line.trim_end() == "ready")
    }

    /// One of the server's programs, on its data.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("-D").arg(self.folder.path().join("data")).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Sends a signal to processes, of which one may have ended meanwhile.
async fn signal(name: &str, processes: &[u32]) -> io::Result<()> {
    for process in processes {
        Command::new("kill").args([name, &process.to_string()]).stderr(Stdio::null()).status().await?;
    }
    Ok(())
}

/// The processes that a process has made, as Linux tells.
fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let of = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok());
        if of == Some(parent) {
            found.push(id);
        }
    }
    Ok(found)
}

/// A port that nothing listens on, below those that Linux hands out: it has to be free again after a kill.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + (RandomState::new().build_hasher().finish() % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The folder of PostgreSQL's programs: the one that `tests/with-servers` found, or the newest of Debian's places.
pub fn programs() -> io::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("TRIBUTARY_TEST_POSTGRES_BIN") {
        return Ok(folder.into());
    }
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let places = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = places.filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| version(path));
    newest.map(|path| path.join("bin")).ok_or_else(|| {
        io::Error::other("no PostgreSQL is found: name the folder of its programs by TRIBUTARY_TEST_POSTGRES_BIN")
    })
}

/// Whom to be instead of root; nobody, where we are not.
async fn account(folder: &Path) -> io::Result<Option<Account>> {
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(folder)?.uid() != 0 {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        let (user, group) = (number(name, "-u").await?, number(name, "-g").await?);
        if let (Some(user), Some(group)) = (user, group) {
            return Ok(Some(Account { user, group }));
        }
    }
    Err(io::Error::other("running as root takes a user named postgres or nobody to run PostgreSQL"))
}

async fn number(name: &str, of: &str) -> io::Result<Option<u32>> {
    let output = Command::new("id").args([of, name]).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}
