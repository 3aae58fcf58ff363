//! Where the live machinery and the resolver of a subscription field meet: from where to where the field is asked to
//! tell, and what it tells about itself.
//!
//! # Decisions
//! - A cell beside the answers rather than a field in them: a client selects what it likes, and the machinery must know
//!   the place of an answer whose cursor was not selected. The schema resolves one item at a time and asks for the next
//!   only when its answer was taken, so the cell holds the place of the answer that is in hand.

use std::sync::{
    OnceLock,
    atomic::{AtomicI64, Ordering},
};

use tributary_entity::Instant;
use uuid::Uuid;

use crate::{
    domain::cursor::{Binding, Position},
    graphql::scalars::Cursor,
};

/// Where a subscription begins, whatever its `after` says.
#[derive(Clone, Debug)]
pub(in crate::graphql) enum Start {
    /// Now.
    Tip,
    /// Behind what a cursor names.
    Cursor(String),
    /// Behind a place that was given out before.
    At(Position),
}

/// How a field's answers follow each other; decides what becomes of a client that is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::graphql) enum Class {
    /// Each answer counts: none is ever left out.
    Stream,
    /// Each answer is the whole state: the newest is enough.
    State,
}

/// What an opened field says of itself.
pub(in crate::graphql) struct Source {
    pub class: Class,
    pub places: Places,
    /// It tells of what is behind this event.
    pub begin: i64,
}

/// Makes cursors of one field under one filter.
#[derive(Clone)]
pub(in crate::graphql) struct Places {
    pub binding: Binding,
    pub epoch: Uuid,
}

impl Places {
    pub fn cursor(&self, seq: i64) -> Cursor {
        Cursor(self.binding.encode(&Position { epoch: self.epoch, seq }))
    }
}

/// The place of an answer that is an error of the source itself: its last.
const BROKEN: i64 = i64::MAX;

/// One execution's meeting point.
pub(in crate::graphql) struct LiveContext {
    pub start: Start,
    /// Ends a stream behind this event, and a state behind its snapshot.
    pub until: Option<i64>,
    source: OnceLock<Source>,
    seq: AtomicI64,
    /// Microseconds since 1970; 0 for an answer that tells of no single event.
    happened_at: AtomicI64,
}

impl LiveContext {
    pub const fn new(start: Start, until: Option<i64>) -> Self {
        let (seq, happened_at) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { start, until, source: OnceLock::new(), seq, happened_at }
    }

    /// The resolver opened its source.
    pub fn opened(&self, source: Source) {
        // Once: a second root field is refused with its document.
        let _ = self.source.set(source);
    }

    /// The next answer is of this event.
    pub fn reached(&self, seq: i64, happened_at: Option<Instant>) {
        self.happened_at.store(happened_at.map_or(0, |at| at.timestamp_micros()), Ordering::Relaxed);
        self.seq.store(seq, Ordering::Relaxed);
    }

    /// The next answer is the source's own error, and its last.
    pub fn broke(&self) {
        self.seq.store(BROKEN, Ordering::Relaxed);
    }

    pub fn source(&self) -> Option<&Source> {
        self.source.get()
    }

    /// The place of the answer in hand; none for the source's own error.
    pub fn seq(&self) -> Option<i64> {
        Some(self.seq.load(Ordering::Relaxed)).filter(|seq| *seq != BROKEN)
    }

    /// When the event of the answer in hand happened.
    pub fn happened_at(&self) -> Option<Instant> {
        let micros = Some(self.happened_at.load(Ordering::Relaxed)).filter(|micros| *micros != 0)?;
        Instant::from_timestamp_micros(micros)
    }
}
