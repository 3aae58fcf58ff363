//! The spool: what must not be lost while the database is away, in files of this node's own.
//!
//! Records are appended to the open segment and answered when they are on disk. What arrives while the disk is busy is
//! the next group, with one sync for all of it: there is no timer. A segment that is full, or that somebody wants to
//! read, is sealed; it is removed by its reader, when all of its records are kept elsewhere.
//!
//! # Decisions
//! - One process to a folder, held by a lock on a file: the system lets go of it however the process ends. It is taken
//!   by [`Spool::open`], so that commands that serve nobody leave the folder alone.
//! - Nothing is ever appended to a segment that an earlier process wrote: what a crash tore off stays the last of it.
//! - A segment that is damaged is set aside, never removed: what it held is still there for a person to look at.
//! - The bound counts what waits, in bytes: past it the caller is told, and nothing is written.

mod record;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use tokio::{sync::oneshot, task::spawn_blocking};

pub use record::Record;
use record::Rest;
use writer::{Command, Writer};

/// Why the spool did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{0} is used by another process: give each node a folder of its own (TRIBUTARY_SPOOL_DIR)")]
    Taken(PathBuf),
    #[error("the spool holds as much as it may")]
    Full,
    #[error("the spool is not open")]
    Closed,
    #[error("a record is too long for the spool")]
    TooLong,
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// Room for the longest records that come.
const ROOM: u64 = 16 << 10;

/// The spool of this node; cheap to clone. Closed until [`Spool::open`].
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    max_bytes: u64,
    waiting: Arc<Waiting>,
    open: OnceLock<Open>,
}

/// Bytes of records that wait in files or on their way into one.
#[derive(Default)]
struct Waiting(AtomicU64);

impl Waiting {
    /// Takes room for a record; what waited before, none when there is no room.
    fn reserve(&self, bytes: u64, max_bytes: u64) -> Option<u64> {
        let reserve = |waiting: u64| Some(waiting + bytes).filter(|sum| *sum <= max_bytes);
        let before = self.0.fetch_update(Relaxed, Relaxed, reserve).ok()?;
        self.tell();
        Some(before)
    }

    /// Gives room back; never more than there is, whatever a disk error left in a file.
    fn give_back(&self, bytes: u64) {
        let _ = self.0.fetch_update(Relaxed, Relaxed, |waiting| Some(waiting.saturating_sub(bytes)));
        self.tell();
    }

    fn tell(&self) {
        metrics::gauge!("tributary_spool_bytes").set(self.0.load(Relaxed) as f64);
    }
}

struct Open {
    commands: mpsc::Sender<Command>,
    _lock: fs::File,
}

impl Spool {
    /// A spool in a folder, of which nothing is touched yet.
    pub fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self(Arc::new(Shared { folder, max_bytes, waiting: Arc::default(), open: OnceLock::new() }))
    }

    /// Takes the folder, made when missing, with what an earlier process left in it.
    ///
    /// # Errors
    /// [`SpoolError::Taken`] when another process has it.
    pub fn open(&self) -> Result<(), SpoolError> {
        let folder = &self.0.folder;
        let failed = |error| self.failed(error);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed)?;
        let lock = fs::File::create(folder.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => SpoolError::Taken(folder.clone()),
            fs::TryLockError::Error(error) => failed(error),
        })?;
        let next = self.take_over().map_err(failed)?;
        let (commands, received) = mpsc::channel();
        let writer = Writer::new(folder.clone(), Arc::clone(&self.0.waiting), next);
        thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(&received)).map_err(failed)?;
        self.0.open.set(Open { commands, _lock: lock }).map_err(|_| SpoolError::Taken(folder.clone()))
    }

    /// Seals what an earlier process left, and counts it. Answers the number of the first segment of this one.
    fn take_over(&self) -> io::Result<u64> {
        let mut next = 1;
        let mut bytes = 0;
        for (number, path) in segments(&self.0.folder)? {
            next = number + 1;
            let left = length(&path);
            match path.extension().and_then(|state| state.to_str()) {
                Some(writer::OPEN | writer::SEALED) if left == 0 => fs::remove_file(&path)?,
                Some(writer::OPEN) => fs::rename(&path, path.with_extension(writer::SEALED))?,
                Some(writer::SEALED) => {}
                _ => continue,
            }
            bytes += left;
        }
        self.0.waiting.0.store(bytes, Relaxed);
        self.0.waiting.tell();
        if bytes > 0 {
            tracing::info!(spool.bytes = bytes, "the spool holds clicks of an earlier run");
        }
        Ok(next)
    }

    /// Keeps a record; answers when it is on disk.
    ///
    /// # Errors
    /// [`SpoolError::Full`] past the bound, [`SpoolError::Io`] when the disk refuses; nothing is promised then.
    pub async fn append(&self, record: &Record) -> Result<(), SpoolError> {
        let open = self.0.open.get().ok_or(SpoolError::Closed)?;
        let frame = record::encode(record).ok_or(SpoolError::TooLong)?;
        let before = self.0.waiting.reserve(frame.len() as u64, self.0.max_bytes).ok_or(SpoolError::Full)?;
        if before == 0 {
            tracing::warn!("the database does not answer in time: clicks go to the spool");
        }
        let (done, answer) = oneshot::channel();
        open.commands.send(Command::Append { frame, done }).map_err(|_| SpoolError::Closed)?;
        answer.await.map_err(|_| SpoolError::Closed)?.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> SpoolError {
        SpoolError::Io { path: self.0.folder.clone(), error }
    }

    /// Whether there is hardly room for another record.
    pub fn is_full(&self) -> bool {
        self.0.waiting.0.load(Relaxed) + ROOM > self.0.max_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.waiting.0.load(Relaxed) == 0
    }

    /// The oldest segment, sealed now if it was open; none when nothing waits.
    ///
    /// # Errors
    /// As the disk answers.
    pub async fn oldest(&self) -> Result<Option<Segment>, SpoolError> {
        let open = self.0.open.get().ok_or(SpoolError::Closed)?;
        if let Some(segment) = self.first_sealed().await? {
            return Ok(Some(segment));
        }
        let (done, answer) = oneshot::channel();
        open.commands.send(Command::Seal { done }).map_err(|_| SpoolError::Closed)?;
        answer.await.map_err(|_| SpoolError::Closed)?.map_err(|error| self.failed(error))?;
        self.first_sealed().await
    }

    async fn first_sealed(&self) -> Result<Option<Segment>, SpoolError> {
        let spool = self.clone();
        let read = spawn_blocking(move || {
            let is_sealed = |path: &Path| path.extension().is_some_and(|state| state == writer::SEALED);
            let first = segments(&spool.0.folder)?.into_iter().find(|(_, path)| is_sealed(path));
            let Some((_, path)) = first else { return Ok(None) };
            let bytes = fs::read(&path)?;
            let (records, rest) = record::decode(&bytes);
            if rest == Rest::Damaged {
                tracing::error!(path = %path.display(), records = records.len(), "a spool segment is damaged");
            }
            Ok(Some(Segment { records, is_damaged: rest == Rest::Damaged, length: length(&path), path, spool }))
        });
        read.await.map_err(|_| SpoolError::Closed)?.map_err(|error| self.failed(error))
    }
}

/// A sealed segment: its records in their order.
pub struct Segment {
    pub records: Vec<Record>,
    is_damaged: bool,
    length: u64,
    path: PathBuf,
    spool: Spool,
}

impl Segment {
    /// Removes it: its records are kept elsewhere. A damaged one is set aside instead.
    ///
    /// # Errors
    /// As the disk answers.
    pub fn remove(self) -> Result<(), SpoolError> {
        if self.is_damaged {
            return self.set_aside();
        }
        self.leave(|path| fs::remove_file(path))
    }

    /// Takes it out of the spool and leaves its file for a person to look at.
    ///
    /// # Errors
    /// As the disk answers.
    pub fn set_aside(self) -> Result<(), SpoolError> {
        self.leave(|path| fs::rename(path, path.with_extension("aside")))
    }

    fn leave(self, by: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), SpoolError> {
        by(&self.path).map_err(|error| SpoolError::Io { path: self.path.clone(), error })?;
        self.spool.0.waiting.give_back(self.length);
        if self.spool.is_empty() {
            tracing::info!("the spool is empty");
        }
        Ok(())
    }
}

/// The bytes of a segment's records; what cannot be looked at has none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len().saturating_sub(writer::HEADER))
}

/// All segments, whatever their state, in the order of their writing.
fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()) {
            segments.push((number, path));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tributary_entity::ids::TenantId;
    use uuid::Uuid;

    use super::*;

    fn record(number: u128) -> Record {
        Record { tenant_id: TenantId::from_uuid(Uuid::from_u128(7)), body: number.to_string().into_bytes() }
    }

    fn opened(folder: &Path) -> Spool {
        let spool = Spool::new(folder.to_owned(), 1 << 20);
        spool.open().expect("opens");
        spool
    }

    /// Takes everything out; in order.
    async fn drained(spool: &Spool) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(segment) = spool.oldest().await.expect("readable") {
            records.extend(segment.records.clone());
            segment.remove().expect("removed");
        }
        records
    }

    #[tokio::test]
    async fn records_come_back_in_order_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = opened(folder.path());
        for number in 0..5 {
            spool.append(&record(number)).await.expect("kept");
        }
        assert!(!spool.is_empty());
        let first = spool.oldest().await.expect("readable").expect("a segment");
        spool.append(&record(5)).await.expect("kept while the first is read");
        assert_eq!(first.records, (0..5).map(record).collect::<Vec<_>>());
        first.remove().expect("removed");
        assert_eq!(drained(&spool).await, [record(5)]);
        assert!(spool.is_empty());
    }

    #[tokio::test]
    async fn many_at_once_are_all_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = opened(folder.path());
        let records: Vec<Record> = (0..500).map(record).collect();
        let kept = futures_util::future::join_all(records.iter().map(|record| spool.append(record))).await;
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(drained(&spool).await, records);
    }

    #[tokio::test]
    async fn next_process_finds_what_was_kept_without_what_was_torn() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = opened(folder.path());
        spool.append(&record(1)).await.expect("kept");
        drop(spool);
        let left = folder.path().join("0000000000000001.open");
        let torn = &record::encode(&record(2)).expect("short")[..10];
        fs::OpenOptions::new().append(true).open(&left).expect("there").write_all(torn).expect("written");
        let spool = opened(folder.path());
        assert!(!spool.is_empty());
        spool.append(&record(3)).await.expect("kept");
        assert_eq!(drained(&spool).await, [record(1), record(3)]);
        assert!(spool.is_empty());
    }

    #[tokio::test]
    async fn damaged_segment_is_read_as_far_as_it_goes_and_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = opened(folder.path());
        for number in 1..=3 {
            spool.append(&record(number)).await.expect("kept");
        }
        drop(spool);
        let path = folder.path().join("0000000000000001.open");
        let mut bytes = fs::read(&path).expect("there");
        let second = record::MAGIC.len() + record::encode(&record(1)).expect("short").len() + 10;
        bytes[second] ^= 1;
        fs::write(&path, &bytes).expect("written");
        let spool = opened(folder.path());
        assert_eq!(drained(&spool).await, [record(1)]);
        assert_eq!(fs::read(path.with_extension("aside")).expect("still there"), bytes);
        drop(spool);
        let spool = opened(folder.path());
        assert!(spool.is_empty(), "what is aside does not come back");
        spool.append(&record(4)).await.expect("kept");
        spool.oldest().await.expect("readable").expect("a segment").set_aside().expect("aside");
        assert_eq!(fs::read(path.with_extension("aside")).expect("still there"), bytes, "and is not written over");
    }

    #[tokio::test]
    async fn bound_is_kept_and_room_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = record::encode(&record(1)).expect("short").len() as u64;
        let spool = Spool::new(folder.path().to_owned(), 2 * size);
        assert!(matches!(spool.append(&record(1)).await, Err(SpoolError::Closed)));
        spool.open().expect("opens");
        for number in 1..=2 {
            spool.append(&record(number)).await.expect("kept");
        }
        assert!(matches!(spool.append(&record(3)).await, Err(SpoolError::Full)));
        assert_eq!(drained(&spool).await.len(), 2);
        spool.append(&record(4)).await.expect("room again");
    }

    #[tokio::test]
    async fn folder_belongs_to_one_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = opened(folder.path());
        let second = Spool::new(folder.path().to_owned(), 1);
        let refusal = second.open().expect_err("taken").to_string();
        assert!(refusal.contains("TRIBUTARY_SPOOL_DIR"), "{refusal}");
        drop(spool);
        second.open().expect("free again");
    }
}
