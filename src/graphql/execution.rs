//! One way from a request to its answer, for every transport: admitted first, then executed or subscribed.

use std::{sync::Arc, time::Duration};

use async_graphql::{
    Name, Request, Response, ServerError, Value,
    parser::types::{ExecutableDocument, OperationType},
    value,
};

use tracing::{Instrument, Span, field};

use super::{
    ApiSchema,
    context::RequestContext,
    error::{self, refused, refused_with},
    guard::{self, Demand},
    live::{Hub, Subscriber},
    persisted, run, variables,
};
use crate::{
    auth::Viewer,
    services::{
        ServiceError, Services,
        budgets::{Charge, Owner},
    },
};

/// Who sends a request, made by the transport.
#[derive(Clone)]
pub struct Caller {
    /// None without a credential.
    pub viewer: Option<Viewer>,
    /// The address of the client, for limits.
    pub client: String,
    /// What a query is answered may be a little older than the newest.
    pub may_lag: bool,
}

/// Why a request was not executed.
#[derive(Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// What the client is told; at least one.
    pub errors: Vec<ServerError>,
}

impl Refusal {
    fn rate_limited(retry_after: Duration) -> Self {
        let error = error::to_graphql(ServiceError::RateLimited { retry_after });
        Self { kind: RefusalKind::RateLimited { retry_after }, errors: vec![error::nowhere(error)] }
    }

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
    /// What its client calls it.
    name: Option<Name>,
    caller: Caller,
    demand: Demand,
    charge: Charge,
}

impl Admitted {
    /// What it would do.
    pub const fn operation(&self) -> OperationType {
        self.operation
    }

    /// What a trace tells of it. Not its document and variables, which are the client's own.
    fn span(&self) -> Span {
        let name = self.name.as_ref().map(Name::as_str);
        tracing::debug_span!(
            "operation",
            otel.name = %format_args!("{} {}", self.operation, name.unwrap_or_default()),
            graphql.operation.type = %self.operation,
            graphql.operation.name = name,
            tenant.id = self.caller.viewer.as_ref().map(|viewer| field::display(viewer.scope.tenant_id())),
        )
    }
}

impl From<ServerError> for Refusal {
    fn from(error: ServerError) -> Self {
        Self { kind: RefusalKind::Document, errors: vec![error] }
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

    /// Judges a request before anything of it runs: finds its document, holds it to the limits, and charges what it may
    /// cost. The document is parsed here, once.
    ///
    /// # Errors
    /// [`Refusal`], with a stable code in each error.
    pub async fn admit(&self, mut request: Request, caller: Caller) -> Result<Admitted, Refusal> {
        let documents = &self.services.documents;
        let to_keep = persisted::resolve(documents, &caller, &mut request).await?;
        let document = guard::parse(&request.query)?;
        variables::check(&document, request.operation_name.as_deref(), &request.variables)?;
        let demand = guard::weigh(&document, request.operation_name.as_deref(), &request.variables)?;
        self.permit(&caller, demand)?;
        persisted::keep(documents, &caller, to_keep, &request.query).await;
        let charge = self
            .services
            .spending
            .charge(caller.viewer.as_ref(), &caller.client, demand.requested)
            .await
            .map_err(Refusal::rate_limited)?;
        let (name, operation) = chosen(&document, request.operation_name.as_deref());
        request.set_parsed_query(document);
        Ok(Admitted { request, operation, name, caller, demand, charge })
    }

    /// Refuses what the document may ask for, but not here or not this caller.
    fn permit(&self, caller: &Caller, demand: Demand) -> Result<(), ServerError> {
        let settings = &self.services.settings;
        if demand.introspects && settings.is_production() && !persisted::is_operator(caller) {
            return Err(refused("INTROSPECTION_DISABLED", "introspection is off in production; see schema.graphql"));
        }
        let (largest, requested) = (settings.largest_cost, demand.requested);
        if requested > largest {
            let message = format!("the request may cost {requested} points, and one may cost {largest}");
            return Err(refused_with("COST_EXCEEDED", message, |extensions| {
                extensions.set("allowed", largest);
                extensions.set("requested", requested);
            }));
        }
        Ok(())
    }

    /// Runs a query or a mutation, within the time that the settings give it.
    pub async fn execute(&self, admitted: Admitted) -> Response {
        let span = admitted.span();
        let Admitted { request, operation, caller, demand, mut charge, .. } = admitted;
        let tells_cost = request.extensions.get("cost") == Some(&Value::Boolean(true));
        let limit = Duration::from_secs(self.services.settings.request_timeout_secs);
        let may_lag = operation == OperationType::Query && caller.may_lag;
        let running = async {
            if may_lag && let Some(response) = self.answer_of_replica(&request, &caller).await {
                return response;
            }
            self.answer(request, self.services.clone(), caller).await
        };
        let mut response = run::within(limit, running).instrument(span).await;
        let actual = demand.actual(&response.data);
        charge.settle(actual);
        if tells_cost {
            response.extensions.insert("cost".to_owned(), cost(demand, actual, &charge));
        }
        response
    }

    async fn answer(&self, request: Request, services: Services, caller: Caller) -> Response {
        self.schema.execute(request.data(RequestContext::new(services, caller.viewer, caller.client))).await
    }

    /// What the replica of the database answers to a query; none where it is not to be asked, is lost meanwhile, or fails in
    /// a way that the primary need not.
    async fn answer_of_replica(&self, request: &Request, caller: &Caller) -> Option<Response> {
        let services = self.services.of_replica(caller.viewer.as_ref()?)?;
        let answered = tokio::select! {
            response = self.answer(copy(request)?, services, caller.clone()) => Some(response),
            () = self.services.db.replica_lost() => None,
        };
        let answered = answered.filter(|response| !response.errors.iter().any(is_of_replica));
        let outcome = if answered.is_some() { "answered" } else { "again" };
        metrics::counter!("tributary_replica_queries_total", "outcome" => outcome).increment(1);
        answered
    }

    /// Opens a subscription. `last_cursor` takes the place of the field's `after`: a transport that keeps cursors itself
    /// (server-sent events) resumes by it.
    ///
    /// # Errors
    /// [`RefusalKind::Document`] and [`RefusalKind::Source`].
    pub async fn subscribe(&self, admitted: Admitted, last_cursor: Option<String>) -> Result<Subscriber, Refusal> {
        let span = admitted.span();
        self.hub.subscribe(admitted.request, admitted.caller, last_cursor).instrument(span).await
    }
}

/// The same request, of which nothing was executed yet.
fn copy(request: &Request) -> Option<Request> {
    let mut copy = Request::new(request.query.clone()).variables(request.variables.clone());
    copy.operation_name.clone_from(&request.operation_name);
    copy.extensions = request.extensions.clone();
    copy.set_parsed_query(guard::parse(&request.query).ok()?);
    Some(copy)
}

/// Whether an error may be the replica's own: it is away, is cleaned up under a query, or has not heard of something yet.
fn is_of_replica(error: &ServerError) -> bool {
    let code = error.extensions.as_ref().and_then(|more| more.get("code"));
    ["UNAVAILABLE", "INTERNAL", "CURSOR_EXPIRED"].iter().any(|own| code == Some(&Value::from(*own)))
}

/// The name of the operation that is asked for, and what it would do. One that is not there is refused when it is executed.
fn chosen(document: &ExecutableDocument, chosen: Option<&str>) -> (Option<Name>, OperationType) {
    let mut operations = document.operations.iter();
    let operation = operations.find(|(name, _)| chosen.is_none() || name.map(Name::as_str) == chosen);
    operation.map_or((None, OperationType::Query), |(name, operation)| (name.cloned(), operation.node.ty))
}

/// `extensions.cost` of an answer.
fn cost(demand: Demand, actual: u64, charge: &Charge) -> Value {
    let mut cost = value!({ "requested": demand.requested, "actual": actual });
    if let Value::Object(cost) = &mut cost {
        for balance in charge.balances() {
            let owner = match balance.owner {
                Owner::Caller => "caller",
                Owner::Tenant => "tenant",
            };
            let balance = value!({
                "remaining": balance.remaining, "limit": balance.limit, "perSecond": balance.per_second,
            });
            cost.insert(Name::new(owner), balance);
        }
    }
    cost
}
