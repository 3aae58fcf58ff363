//! Keyset pages: the one way lists are read.

use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, Order as SqlOrder, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, sea_query::Expr,
};
use tributary_entity::scope::Identified;

use super::{error::StoreError, scope::Tx};
use crate::domain::page::{Page, PageRequest, Position};

/// Reads one page of a select. `occurred_at` is the column of orders by occurrence, for tables that have one.
///
/// # Errors
/// As the database answers.
pub(super) async fn page<E>(
    tx: &Tx,
    select: Select<E>,
    request: &PageRequest,
    occurred_at: Option<E::Column>,
) -> Result<Page<E::Model>, StoreError>
where
    E: Identified,
{
    let column = occurred_at.filter(|_| request.list.order.by_occurrence());
    let descending = request.list.order.is_descending();
    let mut select = select;
    // In the list's order, `after` bounds from above when it descends; reading backward turns only the sort around.
    if let Some(position) = &request.after {
        select = select.filter(beyond::<E>(column, position, descending));
    }
    if let Some(position) = &request.before {
        select = select.filter(beyond::<E>(column, position, !descending));
    }
    let direction = if descending == request.backward { SqlOrder::Asc } else { SqlOrder::Desc };
    if let Some(column) = column {
        select = select.order_by(column, direction.clone());
    }
    let rows = select.order_by(E::id_column(), direction).limit(request.size + 1).all(tx.connection()).await?;
    Ok(Page::from_fetched(request, rows))
}

fn beyond<E: Identified>(
    column: Option<E::Column>,
    position: &Position,
    lower: bool,
) -> sea_orm::sea_query::SimpleExpr {
    let id = E::id_column();
    let entity = E::default();
    let qualified = |column: E::Column| Expr::col((entity, column));
    match (column, position.occurred_at) {
        (Some(column), Some(at)) => {
            let key = Expr::tuple([qualified(column), qualified(id)]);
            let bound = Expr::tuple([Expr::value(at), Expr::value(position.id)]);
            if lower { key.lt(bound) } else { key.gt(bound) }
        }
        _ if lower => id.lt(position.id),
        _ => id.gt(position.id),
    }
}

/// How many rows a select has.
///
/// # Errors
/// As the database answers.
pub(super) async fn count<E>(tx: &Tx, select: Select<E>) -> Result<i64, StoreError>
where
    E: EntityTrait,
    E::Model: Send + Sync,
{
    let count = select.count(tx.connection()).await?;
    i64::try_from(count).map_err(|_| StoreError::inconsistent("(count)", count))
}

/// Whether a text column contains a part, in any case. The part's own wildcards are taken literally.
pub(super) fn contains<C: ColumnTrait>(column: C, part: &str) -> sea_orm::sea_query::SimpleExpr {
    let pattern: String = part
        .to_lowercase()
        .chars()
        .flat_map(|c| {
            let escape = matches!(c, '%' | '_' | '\\').then_some('\\');
            escape.into_iter().chain(std::iter::once(c))
        })
        .collect();
    Expr::expr(sea_orm::sea_query::Func::lower(Expr::col(column.as_column_ref())))
        .like(sea_orm::sea_query::LikeExpr::new(format!("%{pattern}%")).escape('\\'))
}
