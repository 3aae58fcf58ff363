//! The only reads before the tenant is known: log-in by slug, API key, postback token, link code, due work. Each answers a scope or the
//! little that leads to one.
//!
//! On PostgreSQL these run with `app.directory` set, which opens a SELECT policy on just these tables.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    Statement,
};
use tributary_entity::{
    Instant, api_key,
    ids::{AffiliateId, CampaignId, TenantId},
    kinds::{LinkStatus, OutboxKind},
    link, outbox, postback_endpoint, processor, tenant,
};

use super::{database::Db, error::StoreError};
use crate::domain::tenancy::TenantScope;

/// A read without a tenant. Never leaves this file.
async fn open(db: &Db) -> Result<DatabaseTransaction, StoreError> {
    let (tx, backend) = db.begin_unscoped().await?;
    if backend == sea_orm::DbBackend::Postgres {
        tx.execute_raw(Statement::from_string(backend, "SELECT set_config('app.directory', 'on', true)")).await?;
    }
    Ok(tx)
}

/// The tenant with a slug.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn tenant_by_slug(db: &Db, slug: &str) -> Result<Option<(TenantScope, tenant::Model)>, StoreError> {
    let tx = open(db).await?;
    let row = tenant::Entity::find().filter(tenant::Column::Slug.eq(slug)).one(&tx).await?;
    tx.commit().await?;
    Ok(row.map(|row| (TenantScope::tenant(row.tenant_id), row)))
}

/// The tenant with an id, which this node has seen before.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn tenant_by_id(db: &Db, id: TenantId) -> Result<Option<TenantScope>, StoreError> {
    let tx = open(db).await?;
    let row = tenant::Entity::find().filter(tenant::Column::TenantId.eq(id)).one(&tx).await?;
    tx.commit().await?;
    Ok(row.map(|row| TenantScope::tenant(row.tenant_id)))
}

/// The API key with a hash, whatever its state.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn api_key_by_hash(db: &Db, hash: &[u8]) -> Result<Option<(TenantScope, api_key::Model)>, StoreError> {
    let tx = open(db).await?;
    let row = api_key::Entity::find().filter(api_key::Column::KeyHash.eq(hash)).one(&tx).await?;
    tx.commit().await?;
    Ok(row.map(|row| (TenantScope::tenant(row.tenant_id), row)))
}

/// The link with a code, whatever its state. Codes are drawn from 62^10; should two tenants ever draw the same one, it
/// is the older link's.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn link_by_code(db: &Db, code: &str) -> Result<Option<(TenantScope, link::Model)>, StoreError> {
    let tx = open(db).await?;
    let select = link::Entity::find().filter(link::Column::Code.eq(code)).order_by_asc(link::Column::Id);
    let row = select.one(&tx).await?;
    tx.commit().await?;
    Ok(row.map(|row| (TenantScope::tenant(row.tenant_id), row)))
}

/// An affiliate's first active link of a campaign.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn first_link(
    db: &Db,
    campaign_id: CampaignId,
    affiliate_id: AffiliateId,
) -> Result<Option<(TenantScope, link::Model)>, StoreError> {
    let tx = open(db).await?;
    let select = link::Entity::find()
        .filter(link::Column::CampaignId.eq(campaign_id))
        .filter(link::Column::AffiliateId.eq(affiliate_id))
        .filter(link::Column::Status.eq(LinkStatus::Active));
    let row = select.order_by_asc(link::Column::Id).one(&tx).await?;
    tx.commit().await?;
    Ok(row.map(|row| (TenantScope::tenant(row.tenant_id), row)))
}

/// The postback endpoint with a token's hash, whatever its state, and its tenant.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn postback_endpoint_by_hash(
    db: &Db,
    hash: &[u8],
) -> Result<Option<(TenantScope, postback_endpoint::Model, tenant::Model)>, StoreError> {
    let tx = open(db).await?;
    let endpoint = postback_endpoint::Entity::find().filter(postback_endpoint::Column::TokenHash.eq(hash));
    let Some(endpoint) = endpoint.one(&tx).await? else {
        return Ok(None);
    };
    let tenant = tenant::Entity::find().filter(tenant::Column::TenantId.eq(endpoint.tenant_id)).one(&tx).await?;
    tx.commit().await?;
    Ok(tenant.map(|tenant| (TenantScope::tenant(endpoint.tenant_id), endpoint, tenant)))
}

/// The account at a processor with a token's hash, unless it has ended.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn processor_by_hash(db: &Db, hash: &[u8]) -> Result<Option<(TenantScope, processor::Model)>, StoreError> {
    let tx = open(db).await?;
    let select = processor::Entity::find().filter(processor::Column::TokenHash.eq(hash));
    let row = select.filter(processor::Column::EndedAt.is_null()).one(&tx).await?;
    tx.commit().await?;
    Ok(row.map(|row| (TenantScope::tenant(row.tenant_id), row)))
}

/// All tenants, for jobs that visit each.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn tenants(db: &Db) -> Result<Vec<TenantScope>, StoreError> {
    let tx = open(db).await?;
    let ids: Vec<TenantId> =
        tenant::Entity::find().select_only().column(tenant::Column::TenantId).into_tuple().all(&tx).await?;
    tx.commit().await?;
    Ok(ids.into_iter().map(TenantScope::tenant).collect())
}

/// Work of these kinds that is due and not leased, with the scope it belongs to. The claim itself is made in that scope.
///
/// The tenants take turns, each in the order in which its work is due: however much one has asked for, another's next piece
/// stands behind no more than one of each tenant's.
///
/// # Errors
/// As the database answers.
#[expect(clippy::disallowed_methods, reason = "the one home of unscoped finds")]
pub async fn due_work(
    db: &Db,
    kinds: &[OutboxKind],
    now: Instant,
    limit: u64,
) -> Result<Vec<(TenantScope, outbox::Model)>, StoreError> {
    let tx = open(db).await?;
    let free = outbox::Column::LeasedUntil.is_null().or(outbox::Column::LeasedUntil.lt(now));
    let select = outbox::Entity::find()
        .filter(outbox::Column::Kind.is_in(kinds.iter().copied()))
        .filter(outbox::Column::DueAt.lte(now))
        .filter(free)
        .order_by_asc(outbox::Column::DueAt);
    let mut rows = select.clone().limit(limit).all(&tx).await?;
    let mut further = rows.len() as u64 == limit;
    // Behind who fills a page alone others may wait: theirs is read beside it.
    let mut read: BTreeSet<TenantId> = BTreeSet::new();
    for _ in 0..FURTHER {
        read.extend(rows.iter().map(|row| row.tenant_id));
        if !further || read.len() as u64 >= limit {
            break;
        }
        let others = select.clone().filter(outbox::Column::TenantId.is_not_in(read.iter().copied()));
        let others = others.limit(limit).all(&tx).await?;
        further = others.len() as u64 == limit;
        rows.extend(others);
    }
    tx.commit().await?;
    Ok(in_turns(rows).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
}

/// How often due work is read once more, of tenants that had none in what was read before.
const FURTHER: usize = 8;

/// A piece of each tenant's, then another of each, and so on; of each in the order given.
fn in_turns(rows: Vec<outbox::Model>) -> impl Iterator<Item = (TenantScope, outbox::Model)> {
    let mut counts: HashMap<TenantId, usize> = HashMap::new();
    let mut turns: Vec<(usize, outbox::Model)> = rows
        .into_iter()
        .map(|row| {
            let count = counts.entry(row.tenant_id).or_default();
            *count += 1;
            (*count, row)
        })
        .collect();
    // Stable: who was due first goes first in each turn.
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, row)| (TenantScope::tenant(row.tenant_id), row))
}

/// The scope of a tenant that is about to be made.
pub fn new_tenant() -> TenantScope {
    TenantScope::tenant(TenantId::from_uuid(crate::ambient::new_uuid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ambient,
        store::{outbox as work, testing::TestDb},
    };

    fn now() -> Instant {
        Instant::default() + chrono::TimeDelta::days(1)
    }

    /// Whose work is due, one letter each.
    async fn due(db: &TestDb, scopes: [TenantScope; 3], limit: u64) -> String {
        let due = due_work(db.db(), &[OutboxKind::ReleaseHolds], now(), limit).await.expect("due");
        let is = |this: TenantScope, that: TenantScope| this.tenant_id() == that.tenant_id();
        let letter = |scope| "abc".chars().zip(scopes).find(|(_, one)| is(*one, scope)).expect("known").0;
        due.into_iter().map(|(scope, _)| letter(scope)).collect()
    }

    #[tokio::test]
    async fn tenants_take_turns_however_much_one_has_asked_for() {
        let db = TestDb::open().await;
        let scopes = [db.tenant("a").await, db.tenant("b").await, db.tenant("c").await];
        for (scope, count, at) in [(scopes[0], 20, 0), (scopes[1], 2, 100), (scopes[2], 1, 200)] {
            let mut tx = db.begin(scope).await;
            for number in 0..count {
                let id = tributary_entity::ids::OutboxId::from_uuid(ambient::new_uuid());
                let due_at = now() - chrono::TimeDelta::seconds(1_000 - at - number);
                let key = number.to_string();
                work::ask(&mut tx, id, OutboxKind::ReleaseHolds, key, due_at, due_at).await.expect("asked");
            }
            tx.commit().await.expect("committed");
        }
        assert_eq!(due(&db, scopes, 5).await, "abcab");
        assert_eq!(due(&db, scopes, 100).await.len(), 23);
        assert_eq!(due(&db, scopes, 1).await, "a", "who was due first");
    }
}
