//! A bounded queue from one who tells to one who is told: it never blocks the one who tells.
//!
//! # Decisions
//! - An own small queue rather than a channel: what overflows must be *known* to the reader at its place in the order
//!   (a channel that drops the newest does not tell), and what is told in conflated form must replace what was not read.
//!   Both need one lock around items, mark and waker. Nobody else ever waits for that lock.
//! - What came before an overflow stays: it is read first, so that the reader goes back to the log by a shorter way.
//! - An idle queue costs no buffer: thousands of subscribers wait most of the time.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Places that a drained queue keeps for the next items.
const KEPT: usize = 32;

/// Items on their way to one reader.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    overflown: bool,
    closed: bool,
    reader: Option<Waker>,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped<T> {
    Item(T),
    /// Items from here on were dropped; none comes until [`Queue::restart`].
    Overflow,
    /// Nothing comes any more.
    Closed,
}

impl<T> Queue<T> {
    pub fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::new(), overflown: false, closed: false, reader: None };
        Self { state: Mutex::new(state), capacity }
    }

    /// Adds an item. A full queue is marked instead. Answers whether the item went in.
    pub fn push(&self, item: T) -> bool {
        let mut state = self.state();
        if state.overflown {
            return false;
        }
        let has_room = state.items.len() < self.capacity;
        if has_room {
            state.items.push_back(item);
        } else {
            state.overflown = true;
        }
        wake(state);
        has_room
    }

    /// Puts an item in the place of all that were not read. Answers whether there were some.
    pub fn replace(&self, item: T) -> bool {
        let mut state = self.state();
        let unread = !state.items.is_empty();
        state.items.clear();
        state.items.push_back(item);
        wake(state);
        unread
    }

    /// Ends the queue behind what is in it.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        wake(state);
    }

    /// Forgets what was not read, and an overflow. Under a lock of the one who tells, this is a clean beginning.
    pub fn restart(&self) {
        let mut state = self.state();
        state.items = VecDeque::new();
        state.overflown = false;
    }

    pub fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Popped<T>> {
        let mut state = self.state();
        if let Some(item) = state.items.pop_front() {
            if state.items.is_empty() && state.items.capacity() > KEPT {
                state.items = VecDeque::new();
            }
            return Poll::Ready(Popped::Item(item));
        }
        if state.overflown {
            return Poll::Ready(Popped::Overflow);
        }
        if state.closed {
            return Poll::Ready(Popped::Closed);
        }
        match &mut state.reader {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub async fn pop(&self) -> Popped<T> {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Whole at every step; a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the reader after the lock is released: it would only wait for it.
fn wake<T>(mut state: MutexGuard<'_, State<T>>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(waker) = reader {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn overflow_is_told_behind_what_came_before_it() {
        let queue = Queue::new(2);
        assert!(queue.push(1) && queue.push(2));
        assert!(!queue.push(3));
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Item(1)));
        // There is room again, but a later item would hide the gap.
        assert!(!queue.push(4));
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Item(2)));
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Overflow));
        queue.restart();
        assert_eq!(queue.pop().now_or_never(), None);
        assert!(queue.push(5));
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Item(5)));
    }

    #[test]
    fn newest_replaces_what_was_not_read() {
        let queue = Queue::new(8);
        assert!(!queue.replace(1));
        assert!(queue.replace(2));
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Item(2)));
        assert_eq!(queue.pop().now_or_never(), None);
    }

    #[test]
    fn closed_queue_is_read_to_its_end() {
        let queue = Queue::new(8);
        queue.push(1);
        queue.close();
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Item(1)));
        assert_eq!(queue.pop().now_or_never(), Some(Popped::Closed));
    }

    #[tokio::test]
    async fn waiting_reader_is_woken() {
        let queue = std::sync::Arc::new(Queue::new(8));
        let reader = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.pop().await }
        });
        tokio::task::yield_now().await;
        queue.push(1);
        assert_eq!(reader.await.expect("reads"), Popped::Item(1));
    }
}
