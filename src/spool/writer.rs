//! The thread that writes: groups of records, one sync for each group.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Receiver},
};

use tokio::sync::oneshot;

use super::{Waiting, record::MAGIC};

/// The extension of the segment that is written to.
pub(super) const OPEN: &str = "open";
/// The extension of segments that may be read.
pub(super) const SEALED: &str = "sealed";
/// Bytes before the first record.
pub(super) const HEADER: u64 = MAGIC.len() as u64;
/// A segment is read into memory as a whole.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Records of one group.
const GROUP: usize = 4_096;

pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// What the writer is asked to do.
pub(super) enum Command {
    Append {
        frame: Vec<u8>,
        done: Done,
    },
    /// Let the open segment be read, if there is one.
    Seal {
        done: Done,
    },
}

pub(super) struct Writer {
    folder: PathBuf,
    waiting: Arc<Waiting>,
    next: u64,
    segment: Option<Segment>,
}

struct Segment {
    file: fs::File,
    path: PathBuf,
    /// Of what is on disk for certain.
    length: u64,
}

impl Writer {
    pub fn new(folder: PathBuf, waiting: Arc<Waiting>, next: u64) -> Self {
        Self { folder, waiting, next, segment: None }
    }

    /// Works until nobody can ask any more.
    pub fn run(mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut bytes = Vec::new();
            let mut waiting = Vec::new();
            let mut sealing = Vec::new();
            for command in std::iter::once(first).chain(commands.try_iter().take(GROUP)) {
                match command {
                    Command::Append { frame, done } => {
                        bytes.extend(frame);
                        waiting.push(done);
                    }
                    Command::Seal { done } => sealing.push(done),
                }
            }
            if !waiting.is_empty() {
                let written = self.write(&bytes);
                if written.is_err() {
                    self.waiting.give_back(bytes.len() as u64);
                }
                answer(waiting, &written);
            }
            if !sealing.is_empty() {
                answer(sealing, &self.seal());
            }
        }
    }

    /// Appends a group; on disk when it is answered. After an error the segment ends before the group.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.begin()?,
        };
        let segment = self.segment.insert(segment);
        let written = segment.file.write_all(bytes).and_then(|()| segment.file.sync_data());
        match &written {
            Ok(()) => segment.length += bytes.len() as u64,
            // Nobody was told that the group is kept; a reader may find some of it all the same, which does no harm.
            Err(error) => {
                tracing::error!(%error, path = %segment.path.display(), "the spool cannot be written");
                let _ = segment.file.set_len(segment.length);
            }
        }
        if written.is_err() || segment.length >= SEGMENT_BYTES {
            // Unsealed it waits for the next start; its records are kept either way.
            self.seal().unwrap_or_else(|error| tracing::error!(%error, "a spool segment cannot be sealed"));
        }
        written
    }

    fn begin(&mut self) -> io::Result<Segment> {
        let path = self.folder.join(format!("{:016}.{OPEN}", self.next));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        self.next += 1;
        let mut file = options.open(&path)?;
        file.write_all(MAGIC)?;
        sync_folder(&self.folder)?;
        Ok(Segment { file, path, length: HEADER })
    }

    fn seal(&mut self) -> io::Result<()> {
        // A crash may undo the new name; the next start gives it again.
        self.segment.take().map_or(Ok(()), |segment| fs::rename(&segment.path, segment.path.with_extension(SEALED)))
    }
}

/// A new file's name is on disk only when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

fn answer(waiting: Vec<Done>, result: &io::Result<()>) {
    for done in waiting {
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        // Who went away needs no answer.
        let _ = done.send(result);
    }
}
