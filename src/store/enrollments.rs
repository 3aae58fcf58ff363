//! Enrollments.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, Condition, QueryFilter, Select};
use tributary_entity::{
    enrollment,
    ids::{AffiliateId, CampaignId, EnrollmentId},
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    enrollment::EnrollmentFilter,
    page::{Page, PageRequest},
};

fn filtered(tx: &Tx, filter: &EnrollmentFilter) -> Select<enrollment::Entity> {
    let mut select = tx.visible::<enrollment::Entity>();
    if let Some(ids) = &filter.campaign_ids {
        select = select.filter(any_of(enrollment::Column::CampaignId, ids.iter().copied()));
    }
    if let Some(ids) = &filter.affiliate_ids {
        select = select.filter(any_of(enrollment::Column::AffiliateId, ids.iter().copied()));
    }
    if let Some(statuses) = &filter.statuses {
        select = select.filter(any_of(enrollment::Column::Status, statuses.iter().copied()));
    }
    select
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: EnrollmentId) -> Result<Option<enrollment::Model>, StoreError> {
    Ok(tx.visible::<enrollment::Entity>().filter(enrollment::Column::Id.eq(id)).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[EnrollmentId]) -> Result<Vec<enrollment::Model>, StoreError> {
    let select = tx.visible::<enrollment::Entity>().filter(any_of(enrollment::Column::Id, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Reads an enrollment to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: EnrollmentId) -> Result<Option<enrollment::Model>, StoreError> {
    let select = tx.visible::<enrollment::Entity>().filter(enrollment::Column::Id.eq(id));
    Ok(dialect::lock(tx, select).one(tx.connection()).await?)
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    filter: &EnrollmentFilter,
    request: &PageRequest,
) -> Result<Page<enrollment::Model>, StoreError> {
    page::page(tx, filtered(tx, filter), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, filter: &EnrollmentFilter) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, filter)).await
}

/// # Errors
/// `Constraint::EnrollmentPair` when the affiliate is in the campaign already, whatever its status.
pub async fn insert(tx: &mut Tx, row: enrollment::Model) -> Result<(), StoreError> {
    tx.insert::<enrollment::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: enrollment::Model) -> Result<(), StoreError> {
    tx.save::<enrollment::Entity>(row.id, row).await
}

/// The enrollments of exactly these pairs (each named once) that there are, for deciding clicks and conversions: rings do not apply to
/// the machine.
///
/// # Errors
/// As the database answers.
pub async fn for_pairs(tx: &Tx, pairs: &[(CampaignId, AffiliateId)]) -> Result<Vec<enrollment::Model>, StoreError> {
    let mut found = Vec::with_capacity(pairs.len());
    // Both databases can compare rows of values, but write it differently. One condition per campaign, and few enough
    // of them for SQLite's bound on the depth of an expression.
    for pairs in pairs.chunks(500) {
        let mut by_campaign: BTreeMap<CampaignId, Vec<AffiliateId>> = BTreeMap::new();
        for (campaign_id, affiliate_id) in pairs {
            by_campaign.entry(*campaign_id).or_default().push(*affiliate_id);
        }
        let mut wanted = Condition::any();
        for (campaign_id, affiliate_ids) in by_campaign {
            wanted = wanted.add(
                Condition::all()
                    .add(enrollment::Column::CampaignId.eq(campaign_id))
                    .add(enrollment::Column::AffiliateId.is_in(affiliate_ids)),
            );
        }
        found.extend(tx.find::<enrollment::Entity>().filter(wanted).all(tx.connection()).await?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use tributary_entity::kinds::EnrollmentStatus;

    use super::*;
    use crate::{
        domain::tenancy::TenantScope,
        store::{
            affiliates, campaigns,
            error::Constraint,
            goals,
            testing::{self, TestDb},
        },
    };

    #[tokio::test]
    async fn for_pairs_answers_exactly_the_pairs_whatever_the_ring() {
        let db = TestDb::open().await;
        let scope = db.tenant("here").await;
        let mut tx = db.begin(scope).await;
        let [one, two] = [testing::campaign(&mut tx).await.id, testing::campaign(&mut tx).await.id];
        let [ada, bob] = [testing::affiliate(&mut tx, "ada").await.id, testing::affiliate(&mut tx, "bob").await.id];
        let mut pairs = Vec::new();
        for campaign in [one, two] {
            for affiliate in [ada, bob] {
                testing::enrollment(&mut tx, campaign, affiliate).await;
                pairs.push((campaign, affiliate));
            }
        }
        tx.commit().await.expect("commits");

        let tx = db.read(TenantScope::affiliate(scope.tenant_id(), ada)).await;
        let wanted = [(one, ada), (two, bob), (CampaignId::default(), ada)];
        let mut found: Vec<_> = for_pairs(&tx, &wanted).await.expect("reads");
        found.sort_by_key(|row| row.campaign_id);
        let found: Vec<_> = found.iter().map(|row| (row.campaign_id, row.affiliate_id)).collect();
        assert_eq!(found, [(one, ada), (two, bob)]);
        assert!(for_pairs(&tx, &[]).await.expect("reads").is_empty());
        // Far more campaigns than SQLite's expressions are deep.
        let many: Vec<_> = (0..2_000)
            .map(|n| (CampaignId::from_uuid(uuid::Uuid::from_u128(n)), ada))
            .chain(pairs.iter().copied())
            .collect();
        assert_eq!(for_pairs(&tx, &many).await.expect("reads").len(), 4);
    }

    #[tokio::test]
    async fn second_enrollment_of_a_pair_names_the_constraint() {
        let db = TestDb::open().await;
        let mut tx = db.begin(db.tenant("here").await).await;
        let campaign = testing::campaign(&mut tx).await.id;
        let ada = testing::affiliate(&mut tx, "ada").await.id;
        let row = testing::enrollment(&mut tx, campaign, ada).await;
        let again = enrollment::Model { id: EnrollmentId::from_uuid(uuid::Uuid::nil()), ..row };
        let refused = insert(&mut tx, again).await;
        assert!(matches!(refused, Err(StoreError::Constraint(Constraint::EnrollmentPair))), "{refused:?}");
    }

    #[tokio::test]
    async fn affiliate_sees_itself_and_the_campaigns_and_goals_of_its_enrollments() {
        let db = TestDb::open().await;
        let scope = db.tenant("here").await;
        let mut tx = db.begin(scope).await;
        let [one, two] = [testing::campaign(&mut tx).await.id, testing::campaign(&mut tx).await.id];
        let [ada, bob] = [testing::affiliate(&mut tx, "ada").await.id, testing::affiliate(&mut tx, "bob").await.id];
        let of_one = testing::goal(&mut tx, one, "sale").await.id;
        let of_two = testing::goal(&mut tx, two, "sale").await.id;
        let enrolled = testing::enrollment(&mut tx, one, ada).await;
        testing::enrollment(&mut tx, two, bob).await;
        tx.commit().await.expect("commits");

        let ring = TenantScope::affiliate(scope.tenant_id(), ada);
        let tx = db.read(ring).await;
        let affiliates = affiliates::get_many(&tx, &[ada, bob]).await.expect("reads");
        assert_eq!(affiliates.iter().map(|row| row.id).collect::<Vec<_>>(), [ada]);
        let campaigns = campaigns::get_many(&tx, &[one, two]).await.expect("reads");
        assert_eq!(campaigns.iter().map(|row| row.id).collect::<Vec<_>>(), [one]);
        let goals_seen = goals::of_campaigns(&tx, &[one, two]).await.expect("reads");
        assert_eq!(goals_seen.iter().map(|row| row.id).collect::<Vec<_>>(), [of_one]);
        assert_eq!(goals::get(&tx, of_two).await.expect("reads"), None);
        drop(tx);

        let mut tx = db.begin(scope).await;
        update(&mut tx, enrollment::Model { status: EnrollmentStatus::Rejected, ..enrolled }).await.expect("updates");
        tx.commit().await.expect("commits");
        let tx = db.read(ring).await;
        assert!(campaigns::get(&tx, one).await.expect("reads").is_none());
        assert!(goals::get(&tx, of_one).await.expect("reads").is_none());
    }
}
