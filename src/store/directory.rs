//! The only reads before the tenant is known: log-in by slug, API key, postback token, link code, due work. Each answers a scope or the
//! little that leads to one.
//!
//! On PostgreSQL these run with `app.directory` set, which opens a SELECT policy on just these tables.

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
        .filter(free);
    let rows = select.order_by_asc(outbox::Column::DueAt).limit(limit).all(&tx).await?;
    tx.commit().await?;
    Ok(rows.into_iter().map(|row| (TenantScope::tenant(row.tenant_id), row)).collect())
}

/// The scope of a tenant that is about to be made.
pub fn new_tenant() -> TenantScope {
    TenantScope::tenant(TenantId::from_uuid(crate::ambient::new_uuid()))
}
