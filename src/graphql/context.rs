//! What each request carries into the resolvers: services, viewer, loaders.

use std::sync::Arc;

use async_graphql::{Context, Guard, Result};

use super::{error, live::LiveContext, loaders::Loaders};
use crate::{
    auth::{Permission, Viewer},
    services::{ServiceError, Services},
};

/// Data of one request (or of one subscription's whole life). Made by the transport, never shared between viewers.
pub struct RequestContext {
    pub services: Services,
    /// None for a caller without a credential.
    pub viewer: Option<Viewer>,
    /// The address of the caller, for limits on log-in.
    pub client: String,
    loaders: Option<Loaders>,
    /// Where a subscription's resolver and its transport's side meet.
    pub(super) live: Option<Arc<LiveContext>>,
}

impl RequestContext {
    /// The data of a request by `viewer`.
    pub fn new(services: Services, viewer: Option<Viewer>, client: String) -> Self {
        let loaders = viewer.as_ref().map(|viewer| Loaders::new(&services, viewer));
        Self { services, viewer, client, loaders, live: None }
    }

    /// The same for an execution of the live machinery.
    pub(super) fn with_live(self, live: Arc<LiveContext>) -> Self {
        Self { live: Some(live), ..self }
    }
}

/// Shorthands on the resolver's context.
pub(super) trait RequestData {
    fn request(&self) -> &RequestContext;
    /// Services and viewer of a guarded field.
    fn caller(&self) -> Result<(&Services, &Viewer)>;
    fn loaders(&self) -> Result<&Loaders>;
}

impl RequestData for Context<'_> {
    fn request(&self) -> &RequestContext {
        self.data_unchecked()
    }

    fn caller(&self) -> Result<(&Services, &Viewer)> {
        let request = self.request();
        let viewer = request.viewer.as_ref().ok_or_else(|| error::to_graphql(ServiceError::Unauthenticated))?;
        // A socket is opened once and asked for hours: its credential must not outlive itself.
        if viewer.expires_at.is_some_and(|end| end <= request.services.now()) {
            return Err(error::to_graphql(ServiceError::TokenExpired));
        }
        Ok((&request.services, viewer))
    }

    fn loaders(&self) -> Result<&Loaders> {
        self.request().loaders.as_ref().ok_or_else(|| error::to_graphql(ServiceError::Unauthenticated))
    }
}

/// The guard of a field: who lacks the permission is told `FORBIDDEN`, who has no credential `UNAUTHENTICATED`.
pub(super) struct Needs(pub Permission);

impl Guard for Needs {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        let (_, viewer) = ctx.caller()?;
        if viewer.may(self.0) { Ok(()) } else { Err(error::to_graphql(ServiceError::Forbidden)) }
    }
}

/// The guard of a field that is every caller's own: who has no credential is told `UNAUTHENTICATED`.
pub(super) struct Authenticated;

impl Guard for Authenticated {
    async fn check(&self, ctx: &Context<'_>) -> Result<()> {
        ctx.caller().map(drop)
    }
}
