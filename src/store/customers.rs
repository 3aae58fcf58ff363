//! Customers: which visitors they were.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{QueryFilter, QueryOrder, QuerySelect};
use tributary_entity::{Instant, customer_visitor};

use super::{
    error::StoreError,
    scope::{Tx, any_of},
};

/// Binds customers to visitors; what is bound stays as it is.
///
/// # Errors
/// As the database answers.
pub async fn bind(tx: &mut Tx, pairs: BTreeSet<(&str, &str)>, now: Instant) -> Result<(), StoreError> {
    use customer_visitor::Column;
    let tenant_id = tx.scope().tenant_id();
    // In one order everywhere: two batches that bind the same must not wait for each other.
    let rows = pairs.into_iter().map(|(customer_id, visitor_id)| customer_visitor::Model {
        tenant_id,
        customer_id: customer_id.to_owned(),
        visitor_id: visitor_id.to_owned(),
        bound_at: now,
    });
    let key = [Column::TenantId, Column::CustomerId, Column::VisitorId];
    tx.insert_ignoring::<customer_visitor::Entity>(rows.collect(), Some(&key)).await.map(drop)
}

/// The visitors that a customer was are looked at up to this many, the newest ones.
const VISITORS_MAX: usize = 100;

/// The visitors that these customers were.
///
/// # Errors
/// As the database answers.
pub async fn visitors(tx: &Tx, customer_ids: &[String]) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    use customer_visitor::Column;
    let mut visitors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for chunk in customer_ids.chunks(1_000) {
        let pairs: Vec<(String, String)> = tx
            .find::<customer_visitor::Entity>()
            .select_only()
            .columns([Column::CustomerId, Column::VisitorId])
            .filter(any_of(Column::CustomerId, chunk.iter().cloned()))
            .order_by_desc(Column::BoundAt)
            .order_by_asc(Column::VisitorId)
            .into_tuple()
            .all(tx.connection())
            .await?;
        for (customer_id, visitor_id) in pairs {
            let own = visitors.entry(customer_id).or_default();
            if own.len() < VISITORS_MAX {
                own.push(visitor_id);
            }
        }
    }
    Ok(visitors)
}
