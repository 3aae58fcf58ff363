//! The tree of affiliates: who is above whom.

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QuerySelect, Value};
use tributary_entity::{Instant, affiliate_parent, ids::AffiliateId, kinds::AffiliateStatus};

use super::{
    arrays,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::override_plan::{Ancestor, Chains, DEPTH_MAX, Placement};

/// Affiliates of one statement.
const CHUNK: usize = 1_000;

/// The parents of those of the affiliates that the scope's ring may see and that have one.
///
/// # Errors
/// As the database answers.
pub async fn of(tx: &Tx, ids: &[AffiliateId]) -> Result<Vec<affiliate_parent::Model>, StoreError> {
    let select = tx.visible::<affiliate_parent::Entity>();
    let select = select.filter(any_of(affiliate_parent::Column::AffiliateId, ids.iter().copied()));
    Ok(select.all(tx.connection()).await?)
}

/// Those above affiliates, up to a level, for deciding conversions: rings do not apply to the machine.
///
/// # Errors
/// As the database answers.
pub async fn chains(tx: &Tx, ids: &[AffiliateId], levels: i32) -> Result<Chains, StoreError> {
    let mut chains = Chains::new();
    for ids in ids.chunks(CHUNK) {
        let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), levels.into()];
        let wanted = arrays::relation(tx.backend(), ids.iter().map(|id| vec![(*id).into()]), &mut values)?;
        let sql = format!(
            "WITH RECURSIVE wanted (id) AS ({wanted}), up (base_id, parent_id, level) AS ( \
             SELECT p.affiliate_id, p.parent_id, 1 FROM wanted \
             JOIN affiliate_parent p ON p.tenant_id = $1 AND p.affiliate_id = wanted.id \
             UNION ALL SELECT up.base_id, p.parent_id, up.level + 1 FROM up \
             JOIN affiliate_parent p ON p.tenant_id = $1 AND p.affiliate_id = up.parent_id WHERE up.level < $2) \
             SELECT up.base_id AS base_id, up.parent_id AS parent_id, up.level AS level, affiliate.status AS status \
             FROM up JOIN affiliate ON affiliate.tenant_id = $1 AND affiliate.id = up.parent_id \
             ORDER BY up.base_id, up.level"
        );
        for row in tx.connection().query_all_raw(tx.statement(sql, values)).await? {
            let status: AffiliateStatus = row.try_get("", "status")?;
            let ancestor = Ancestor {
                affiliate_id: row.try_get("", "parent_id")?,
                level: row.try_get("", "level")?,
                may_earn: status == AffiliateStatus::Active,
            };
            chains.entry(row.try_get("", "base_id")?).or_default().push(ancestor);
        }
    }
    Ok(chains)
}

/// What becomes of the tree when an affiliate is put under a parent. Nobody else may change the tree meanwhile.
///
/// # Errors
/// As the database answers.
pub async fn placement(tx: &Tx, id: AffiliateId, parent_id: AffiliateId) -> Result<Placement, StoreError> {
    let above = chains(tx, &[parent_id], DEPTH_MAX).await?.remove(&parent_id).unwrap_or_default();
    let values: Vec<Value> = vec![tx.scope().tenant_id().into(), id.into(), DEPTH_MAX.into()];
    let sql = "WITH RECURSIVE down (id, depth) AS ( \
               SELECT affiliate_id, 1 FROM affiliate_parent WHERE tenant_id = $1 AND parent_id = $2 \
               UNION ALL SELECT p.affiliate_id, down.depth + 1 FROM down \
               JOIN affiliate_parent p ON p.tenant_id = $1 AND p.parent_id = down.id WHERE down.depth < $3) \
               SELECT COALESCE(MAX(depth), 0) AS below FROM down";
    let row = tx.connection().query_one_raw(tx.statement(sql, values)).await?;
    let below = row.map(|row| row.try_get("", "below")).transpose()?.unwrap_or(0);
    let is_cycle = parent_id == id || above.iter().any(|ancestor| ancestor.affiliate_id == id);
    Ok(Placement { is_cycle, above_parent: i32::try_from(above.len()).unwrap_or(i32::MAX), below })
}

/// Puts an affiliate under another one, or under none.
///
/// # Errors
/// As the database answers.
pub async fn set(
    tx: &mut Tx,
    affiliate_id: AffiliateId,
    parent_id: Option<AffiliateId>,
    created_at: Instant,
) -> Result<(), StoreError> {
    use affiliate_parent::Column;
    tx.delete_many::<affiliate_parent::Entity>()
        .filter(Column::AffiliateId.eq(affiliate_id))
        .exec(tx.connection())
        .await?;
    let Some(parent_id) = parent_id else { return Ok(()) };
    let tenant_id = tx.scope().tenant_id();
    tx.insert::<affiliate_parent::Entity>(affiliate_parent::Model { tenant_id, affiliate_id, parent_id, created_at })
        .await
}

/// A condition on affiliates: one of these is their parent.
pub(super) fn children_of(tx: &Tx, parent_ids: &[AffiliateId]) -> sea_orm::sea_query::SelectStatement {
    use affiliate_parent::Column;
    let select = tx.find::<affiliate_parent::Entity>().filter(any_of(Column::ParentId, parent_ids.iter().copied()));
    sea_orm::QueryTrait::into_query(select.select_only().column(Column::AffiliateId))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{self, TestDb};

    #[tokio::test]
    async fn chains_go_up_to_their_level_and_cycles_and_depths_are_seen() {
        let db = TestDb::open().await;
        let (here, there) = (db.tenant("here").await, db.tenant("there").await);
        let mut tx = db.begin(here).await;
        let at = Instant::default();
        let mut ids = Vec::new();
        for name in ["a", "b", "c", "d"] {
            ids.push(testing::affiliate(&mut tx, name).await.id);
        }
        for pair in ids.windows(2) {
            set(&mut tx, pair[0], Some(pair[1]), at).await.expect("sets");
        }
        let found = chains(&tx, &ids, 2).await.expect("reads");
        let levels = |id| found.get(&id).map(|chain| chain.iter().map(|one| one.affiliate_id).collect::<Vec<_>>());
        assert_eq!(levels(ids[0]), Some(vec![ids[1], ids[2]]));
        assert_eq!(levels(ids[2]), Some(vec![ids[3]]));
        assert_eq!(levels(ids[3]), None);
        let placed = placement(&tx, ids[3], ids[0]).await.expect("reads");
        assert_eq!(placed, Placement { is_cycle: true, above_parent: 3, below: 3 });
        assert!(placement(&tx, ids[1], ids[1]).await.expect("reads").is_cycle);
        let other = testing::affiliate(&mut tx, "e").await.id;
        let placed = placement(&tx, ids[1], other).await.expect("reads");
        assert_eq!(placed, Placement { is_cycle: false, above_parent: 0, below: 1 });
        set(&mut tx, ids[1], None, at).await.expect("sets");
        assert_eq!(chains(&tx, &ids[..1], 5).await.expect("reads")[&ids[0]].len(), 1);
        tx.commit().await.expect("commits");
        let tx = db.begin(there).await;
        assert!(chains(&tx, &ids, 5).await.expect("reads").is_empty(), "another tenant's");
    }
}
