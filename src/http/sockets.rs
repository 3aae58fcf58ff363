//! The open WebSockets of a node, and how they end with it.
//!
//! A socket outlives the request that opened it, so that a graceful end of the server neither waits for it nor closes
//! it. Here each is counted, is told when the node ends, and says good-bye.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// All sockets of a node; cheap to clone.
#[derive(Clone)]
pub struct Sockets {
    ending: CancellationToken,
    open: Arc<watch::Sender<usize>>,
}

/// One socket, counted until it is dropped.
pub(super) struct Open(Sockets);

impl Default for Sockets {
    fn default() -> Self {
        Self { ending: CancellationToken::new(), open: Arc::new(watch::Sender::new(0)) }
    }
}

impl Sockets {
    /// Tells all sockets, also those to come, to end.
    pub fn end(&self) {
        self.ending.cancel();
    }

    /// Waits until they are told to end.
    pub async fn ending(&self) {
        self.ending.cancelled().await;
    }

    /// Waits until none is open.
    pub async fn ended(&self) {
        // The sender lives in `self`.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    pub(super) fn enter(&self) -> Open {
        self.open.send_modify(|open| *open += 1);
        Open(self.clone())
    }
}

impl Open {
    /// Ends when the socket has to.
    pub(super) fn ending(&self) -> WaitForCancellationFutureOwned {
        self.0.ending.clone().cancelled_owned()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.0.ending.is_cancelled()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}
