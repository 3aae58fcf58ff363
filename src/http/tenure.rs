//! What happens to a connection over time, whatever it speaks: its credential ends, is revoked, renewed or changed; the
//! node ends; it has stood long enough.

use std::{future::pending, net::IpAddr};

use futures_util::future::{BoxFuture, OptionFuture};
use tributary_entity::Instant;

use super::{
    Edge,
    sockets::{Departure, Full, Open},
};
use crate::{
    auth::{AuthError, Viewer},
    services::{
        ServiceError,
        access::{Standing, Verdict},
    },
};

/// Something that a connection has to act upon.
pub(super) enum Turn {
    /// The credential has reached its end.
    Expired,
    /// It is worth nothing any more.
    Revoked,
    /// It is worth something else: what runs has to go on as this viewer.
    Changed(Viewer),
    /// The connection has to close; its client may come back.
    Leave(Departure),
}

/// The time of one connection.
pub(super) struct Tenure {
    edge: Edge,
    client: IpAddr,
    open: Open,
    viewer: Option<Viewer>,
    standing: Option<Standing>,
    expiry: OptionFuture<BoxFuture<'static, ()>>,
    departure: BoxFuture<'static, Departure>,
}

impl Tenure {
    /// Begins without a viewer.
    pub fn begin(edge: Edge, client: IpAddr) -> Self {
        let open = edge.sockets.enter();
        let departure = Box::pin(open.departure());
        Self { edge, client, open, viewer: None, standing: None, expiry: None.into(), departure }
    }

    /// Whose connection it is from now on, if there is room for one more of theirs.
    pub fn settle(&mut self, viewer: Option<Viewer>) -> Result<(), Full> {
        self.open.claim(viewer.as_ref(), self.client)?;
        if let Some(viewer) = viewer {
            self.stand_on(viewer);
        }
        Ok(())
    }

    pub const fn viewer(&self) -> Option<&Viewer> {
        self.viewer.as_ref()
    }

    pub const fn client(&self) -> IpAddr {
        self.client
    }

    /// The next turn. Safe to cancel.
    pub async fn turn(&mut self) -> Turn {
        let verdict = async {
            match &mut self.standing {
                Some(standing) => standing.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            departure = &mut self.departure => Turn::Leave(departure),
            Some(()) = &mut self.expiry => Turn::Expired,
            verdict = verdict => match verdict {
                Verdict::Revoked => Turn::Revoked,
                Verdict::Changed(viewer) => {
                    self.judge(viewer.clone());
                    Turn::Changed(viewer)
                }
            },
        }
    }

    /// Goes on with another credential of the same subject for the same rows. Answers its viewer, as whom all that runs
    /// has to go on: it may end later, and be permitted something else.
    ///
    /// # Errors
    /// As the credential is judged; [`ServiceError::Forbidden`] for somebody else's. What was before still stands.
    pub async fn renew(&mut self, authorization: &str) -> Result<Viewer, ServiceError> {
        let viewer = self.edge.api.services.access.authenticate(Some(authorization)).await?;
        let (Some(old), Some(new)) = (&self.viewer, viewer) else { return Err(AuthError::Invalid.into()) };
        if (new.scope, &new.actor) != (old.scope, &old.actor) {
            return Err(ServiceError::Forbidden);
        }
        self.stand_on(new.clone());
        Ok(new)
    }

    fn stand_on(&mut self, viewer: Viewer) {
        self.standing = Some(self.edge.api.services.access.watch(&viewer));
        self.judge(viewer);
    }

    fn judge(&mut self, viewer: Viewer) {
        self.expiry = viewer.expires_at.map(|at| self.expiry_at(at)).into();
        self.viewer = Some(viewer);
    }

    fn expiry_at(&self, at: Instant) -> BoxFuture<'static, ()> {
        let clock = std::sync::Arc::clone(&self.edge.api.services.clock);
        Box::pin(async move { clock.until(at).await })
    }
}
