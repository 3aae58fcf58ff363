//! One way from a request to its answer, for every transport: admitted first, then executed or subscribed.

use std::{sync::Arc, time::Duration};

use async_graphql::{Request, Response, ServerError, parser::types::OperationType};

use super::{
    ApiSchema,
    context::RequestContext,
    live::{Hub, Subscriber},
};
use crate::{auth::Viewer, services::Services};

/// Who sends a request, made by the transport.
#[derive(Clone)]
pub struct Caller {
    /// None without a credential.
    pub viewer: Option<Viewer>,
    /// The address of the client, for limits.
    pub client: String,
}

/// Why a request was not executed.
#[derive(Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// What the client is told; at least one.
    pub errors: Vec<ServerError>,
}

impl Refusal {
    /// Whether the same may be granted a little later: the database is away.
    pub(super) fn is_transient(&self) -> bool {
        let code = |error: &ServerError| error.extensions.as_ref().and_then(|more| more.get("code").cloned());
        self.errors.iter().any(|error| code(error) == Some("UNAVAILABLE".into()))
    }
}

/// The family of a refusal; transports have a status or close code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The document does not parse, is not valid, or asks for too much.
    Document,
    /// The budget is spent.
    RateLimited { retry_after: Duration },
    /// A subscription's source could not be opened: not permitted, a bad cursor, a fault.
    Source,
}

/// A request that may be executed.
pub struct Admitted {
    request: Request,
    operation: OperationType,
    caller: Caller,
}

impl Admitted {
    /// What it would do.
    pub const fn operation(&self) -> OperationType {
        self.operation
    }
}

/// The API behind its transports; cheap to clone.
#[derive(Clone)]
pub struct Api {
    pub schema: ApiSchema,
    pub services: Services,
    hub: Arc<Hub>,
}

impl Api {
    pub fn new(schema: ApiSchema, services: Services) -> Self {
        let hub = Arc::new(Hub::new(schema.clone(), services.clone()));
        Self { schema, services, hub }
    }

    /// Judges a request before anything of it runs.
    ///
    /// # Errors
    /// [`Refusal`], with a stable code in each error.
    pub async fn admit(&self, mut request: Request, caller: Caller) -> Result<Admitted, Refusal> {
        let chosen = request.operation_name.clone();
        let document =
            request.parsed_query().map_err(|error| Refusal { kind: RefusalKind::Document, errors: vec![error] })?;
        let operation = document
            .operations
            .iter()
            .filter(|(name, _)| chosen.is_none() || name.map(ToString::to_string) == chosen)
            .map(|(_, operation)| operation.node.ty)
            .next()
            .unwrap_or(OperationType::Query);
        Ok(Admitted { request, operation, caller })
    }

    /// Runs a query or a mutation.
    pub async fn execute(&self, admitted: Admitted) -> Response {
        let context = self.context(admitted.caller);
        self.schema.execute(admitted.request.data(context)).await
    }

    /// Opens a subscription. `last_cursor` takes the place of the field's `after`: a transport that keeps cursors itself
    /// (server-sent events) resumes by it.
    ///
    /// # Errors
    /// [`RefusalKind::Document`] and [`RefusalKind::Source`].
    pub async fn subscribe(&self, admitted: Admitted, last_cursor: Option<String>) -> Result<Subscriber, Refusal> {
        self.hub.subscribe(admitted.request, admitted.caller, last_cursor).await
    }

    fn context(&self, caller: Caller) -> RequestContext {
        RequestContext::new(self.services.clone(), caller.viewer, caller.client)
    }
}
