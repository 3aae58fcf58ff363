//! Links.

use sea_orm::{ColumnTrait, QueryFilter, Select};
use tributary_entity::{ids::LinkId, link};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    link::LinkFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &LinkFilter) -> Select<link::Entity> {
    let mut select = tx.visible::<link::Entity>();
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(link::Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(link::Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(link::Column::Status, statuses.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: LinkId) -> Result<Option<link::Model>, StoreError> {
    Ok(tx.visible::<link::Entity>().filter(link::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[LinkId]) -> Result<Vec<link::Model>, StoreError> {
    let select = tx.visible::<link::Entity>().filter(any_of(link::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads a link to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: LinkId) -> Result<Option<link::Model>, StoreError> {
    let select = tx.visible::<link::Entity>().filter(link::Column::Id.eq(id));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(tx: &Tx, filter: &LinkFilter, request: &PageRequest) -> Result<Page<link::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &LinkFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// As the database answers.
pub async fn insert(tx: &mut Tx, row: link::Model) -> Result<(), StoreError> {
    tx.insert::<link::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: link::Model) -> Result<(), StoreError> {
    tx.save::<link::Entity>(row.id, row).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            page::{List, Order, PageArgs},
            tenancy::TenantScope,
        },
        store::testing::{self, TestDb},
    };

    async fn listed(tx: &Tx) -> Vec<LinkId> {
        let args = PageArgs { first: Some(10), ..PageArgs::default() };
        let request = PageRequest::parse(List::new("Link", Order::CreatedAsc), &args).expect("valid");
        let page = list(tx, &LinkFilter::default(), &request).await.expect("lists");
        page.rows.into_iter().map(|row| row.id).collect()
    }

    #[tokio::test]
    async fn links_are_seen_by_their_tenant_and_their_affiliate_only() {
        let db = TestDb::open().await;
        let (here, there) = (db.tenant("here").await, db.tenant("there").await);
        let mut tx = db.begin(here).await;
        let campaign = testing::campaign(&mut tx).await.id;
        let [ada, bob] = [testing::affiliate(&mut tx, "ada").await.id, testing::affiliate(&mut tx, "bob").await.id];
        let of_ada = testing::link(&mut tx, campaign, ada).await.id;
        let of_bob = testing::link(&mut tx, campaign, bob).await.id;
        tx.commit().await.expect("commits");

        for (scope, expected) in [
            (here, vec![of_ada, of_bob]),
            (TenantScope::affiliate(here.tenant_id(), ada), vec![of_ada]),
            (TenantScope::affiliate(here.tenant_id(), bob), vec![of_bob]),
            (there, vec![]),
            (TenantScope::affiliate(there.tenant_id(), ada), vec![]),
        ] {
            let tx = db.read(scope).await;
            assert_eq!(listed(&tx).await, expected, "{scope:?}");
            assert_eq!(count(&tx, &LinkFilter::default()).await.expect("counts"), expected.len() as i64);
            for id in [of_ada, of_bob] {
                assert_eq!(get(&tx, id).await.expect("reads").is_some(), expected.contains(&id), "{scope:?}");
                assert_eq!(lock(&tx, id).await.expect("reads").is_some(), expected.contains(&id), "{scope:?}");
            }
        }
    }
}
