//! Relay connections: the one way lists are answered.

use async_graphql::{
    Context, Enum, Object, OutputType, Result,
    connection::{Connection, Edge},
};
use futures_util::future::BoxFuture;

use super::{context::RequestData, error::IntoGraphql};
use crate::{
    auth::Viewer,
    domain::page::{List, Order, Page, PageArgs, PageRequest, Position},
    services::{ServiceError, Services},
};

/// A page of nodes with `totalCount`.
pub(super) type Paged<N> = Connection<String, N, TotalCount>;

type Counter = Box<dyn Fn(Services, Viewer) -> BoxFuture<'static, Result<i64, ServiceError>> + Send + Sync>;

/// Counts a list only when asked to.
pub(super) struct TotalCount(Counter);

#[Object]
impl TotalCount {
    /// How many rows the whole list has. Counted only when selected.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i64> {
        let (services, viewer) = ctx.caller()?;
        (self.0)(services.clone(), viewer.clone()).await.or_graphql()
    }
}

impl TotalCount {
    pub fn by<F>(count: impl Fn(Services, Viewer) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<i64, ServiceError>> + Send + 'static,
    {
        Self(Box::new(move |services, viewer| Box::pin(count(services, viewer))))
    }
}

/// How a list is sorted that has no order but that of creation.
#[derive(Clone, Copy, Default, PartialEq, Eq, Enum)]
pub(super) enum CreationOrder {
    /// Newest first.
    #[default]
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
}

impl From<CreationOrder> for Order {
    fn from(order: CreationOrder) -> Self {
        match order {
            CreationOrder::CreatedDesc => Self::CreatedDesc,
            CreationOrder::CreatedAsc => Self::CreatedAsc,
        }
    }
}

/// The four arguments of every connection, checked against its list.
///
/// # Errors
/// As [`PageRequest::parse`].
pub(super) fn request(
    name: &'static str,
    order: Order,
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<PageRequest> {
    PageRequest::parse(List::new(name, order), &PageArgs { first, after, last, before }).or_graphql()
}

/// A page of rows as a connection of nodes.
pub(super) fn connect<R, N: OutputType>(
    request: &PageRequest,
    page: Page<R>,
    count: TotalCount,
    position: impl Fn(&R) -> Position,
    node: impl Fn(R) -> N,
) -> Paged<N> {
    let mut connection = Connection::with_additional_fields(page.has_previous, page.has_next, count);
    connection.edges.extend(page.rows.into_iter().map(|row| {
        let cursor = request.list.encode(&position(&row));
        Edge::new(cursor, node(row))
    }));
    connection
}

/// The position of a row in lists by creation.
pub(super) const fn created(id: uuid::Uuid) -> Position {
    Position { occurred_at: None, id }
}
