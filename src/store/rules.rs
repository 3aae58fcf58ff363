//! Commission rules: heads with the terms of their current version.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use tributary_entity::{
    commission_rule as head, commission_rule_version as version,
    ids::{CampaignId, CommissionRuleId},
    kinds::RuleStatus,
};

use super::{
    campaigns, dialect,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::rule::{Rule, VERSIONS_SHOWN};

/// Rules of the campaigns that the scope may see.
fn visible(tx: &Tx) -> Select<head::Entity> {
    campaigns::within_visible(tx, tx.find::<head::Entity>(), head::Column::CampaignId)
}

/// Reads heads and current terms in one statement, so that no change comes between the two.
async fn with_terms(tx: &Tx, select: Select<head::Entity>) -> Result<Vec<Rule>, StoreError> {
    let current = head::Entity::belongs_to(version::Entity)
        .from((head::Column::TenantId, head::Column::Id, head::Column::CurrentVersion))
        .to((version::Column::TenantId, version::Column::RuleId, version::Column::Version))
        .into();
    let rows = select
        .join(JoinType::InnerJoin, current)
        .order_by_asc(head::Column::Id)
        .select_two_required(version::Entity)
        .all(tx.connection())
        .await?;
    rows.into_iter().map(|(head, terms)| read(head, terms)).collect()
}

fn read(head: head::Model, terms: version::Model) -> Result<Rule, StoreError> {
    Rule::read(head, terms).map_err(|error| StoreError::inconsistent("commission_rule_version", error))
}

/// # Errors
/// As the database answers.
pub async fn get(tx: &Tx, id: CommissionRuleId) -> Result<Option<Rule>, StoreError> {
    Ok(get_many(tx, &[id]).await?.pop())
}

/// # Errors
/// As the database answers.
pub async fn get_many(tx: &Tx, ids: &[CommissionRuleId]) -> Result<Vec<Rule>, StoreError> {
    with_terms(tx, visible(tx).filter(any_of(head::Column::Id, ids.iter().copied()))).await
}

/// Reads a rule's head to change it: nobody else can until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(tx: &Tx, id: CommissionRuleId) -> Result<Option<head::Model>, StoreError> {
    Ok(dialect::lock(tx, tx.by_id::<head::Entity>(id)).one(tx.connection()).await?)
}

/// The rules of campaigns, oldest first.
///
/// # Errors
/// As the database answers.
pub async fn of_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Rule>, StoreError> {
    with_terms(tx, visible(tx).filter(any_of(head::Column::CampaignId, ids.iter().copied()))).await
}

/// Every active rule of the campaigns in its current version, for deciding conversions: rings do not apply to the
/// machine.
///
/// # Errors
/// As the database answers.
pub async fn for_campaigns(tx: &Tx, ids: &[CampaignId]) -> Result<Vec<Rule>, StoreError> {
    let select = tx.find::<head::Entity>().filter(any_of(head::Column::CampaignId, ids.iter().copied()));
    with_terms(tx, select.filter(head::Column::Status.eq(RuleStatus::Active))).await
}

/// The newest versions of rules, at most [`VERSIONS_SHOWN`] of each, newest first. Each rule comes with its current
/// version.
///
/// # Errors
/// As the database answers.
pub async fn versions(tx: &Tx, rules: &[(CommissionRuleId, i32)]) -> Result<Vec<version::Model>, StoreError> {
    let mut wanted = Condition::any();
    for (id, current) in rules {
        let newest = Condition::all()
            .add(version::Column::RuleId.eq(*id))
            .add(version::Column::Version.lte(*current))
            .add(version::Column::Version.gt(*current - VERSIONS_SHOWN));
        wanted = wanted.add(newest);
    }
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let select = tx.find::<version::Entity>().filter(wanted).order_by_desc(version::Column::Version);
    Ok(select.all(tx.connection()).await?)
}

/// Rules in exactly these versions, archived ones too: what stored commissions name.
///
/// # Errors
/// As the database answers.
pub async fn in_versions(tx: &Tx, wanted: &[(CommissionRuleId, i32)]) -> Result<Vec<Rule>, StoreError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let heads = tx.find::<head::Entity>().filter(any_of(head::Column::Id, wanted.iter().map(|(id, _)| *id)));
    let heads: HashMap<CommissionRuleId, head::Model> =
        heads.all(tx.connection()).await?.into_iter().map(|head| (head.id, head)).collect();
    let mut versions = Condition::any();
    for (id, number) in wanted {
        let one = Condition::all().add(version::Column::RuleId.eq(*id)).add(version::Column::Version.eq(*number));
        versions = versions.add(one);
    }
    let terms = tx.find::<version::Entity>().filter(versions).all(tx.connection()).await?;
    terms.into_iter().filter_map(|terms| Some(read(heads.get(&terms.rule_id)?.clone(), terms))).collect()
}

/// How many rules a campaign has, archived ones too.
///
/// # Errors
/// As the database answers.
pub async fn count_of_campaign(tx: &Tx, id: CampaignId) -> Result<u64, StoreError> {
    Ok(tx.find::<head::Entity>().filter(head::Column::CampaignId.eq(id)).count(tx.connection()).await?)
}

/// Writes a new rule with its first version.
///
/// # Errors
/// `Constraint::RuleDefault` when it would be a second active default for the campaign and goal.
pub async fn insert(tx: &mut Tx, rule: Rule) -> Result<(), StoreError> {
    tx.insert::<head::Entity>(rule.head).await?;
    insert_version(tx, rule.terms).await
}

/// # Errors
/// As the database answers.
pub async fn insert_version(tx: &mut Tx, row: version::Model) -> Result<(), StoreError> {
    tx.insert::<version::Entity>(row).await
}

/// # Errors
/// As the database answers.
pub async fn update(tx: &mut Tx, row: head::Model) -> Result<(), StoreError> {
    tx.save::<head::Entity>(row.id, row).await
}

#[cfg(test)]
mod tests {
    use tributary_entity::{Instant, ids::GoalId, kinds::RuleKind};

    use super::*;
    use crate::{
        ambient,
        domain::commission::Plan,
        store::{
            error::Constraint,
            testing::{self, TestDb},
        },
    };

    fn rule(tx: &Tx, campaign_id: CampaignId, goal_id: Option<GoalId>) -> Rule {
        let (tenant_id, id) = (tx.scope().tenant_id(), CommissionRuleId::from_uuid(ambient::new_uuid()));
        let created_at = Instant::default();
        Rule {
            head: head::Model {
                tenant_id,
                id,
                campaign_id,
                goal_id,
                name: "Standard".to_owned(),
                is_default: true,
                group_id: None,
                position: None,
                current_version: 1,
                status: RuleStatus::Active,
                created_at,
                updated_at: created_at,
            },
            terms: version::Model {
                tenant_id,
                rule_id: id,
                version: 1,
                kind: RuleKind::Percent,
                flat_minor: 0,
                rate_ppm: 100_000,
                is_flat_refunded_in_part: false,
                plan: None,
                created_at,
            },
            plan: Plan::default(),
        }
    }

    #[tokio::test]
    async fn rules_come_with_the_terms_of_their_current_version() {
        let db = TestDb::open().await;
        let (here, there) = (db.tenant("here").await, db.tenant("there").await);
        let mut tx = db.begin(here).await;
        let campaign = testing::campaign(&mut tx).await.id;
        let first = rule(&tx, campaign, None);
        insert(&mut tx, first.clone()).await.expect("inserts");
        let second = version::Model { version: 2, rate_ppm: 200_000, ..first.terms.clone() };
        insert_version(&mut tx, second.clone()).await.expect("inserts");
        let head = head::Model { current_version: 2, ..first.head.clone() };
        update(&mut tx, head.clone()).await.expect("updates");
        let now = Rule { head, terms: second.clone(), plan: Plan::default() };
        assert_eq!(get(&tx, first.head.id).await.expect("reads"), Some(now.clone()));
        assert_eq!(of_campaigns(&tx, &[campaign]).await.expect("reads"), std::slice::from_ref(&now));
        assert_eq!(for_campaigns(&tx, &[campaign]).await.expect("reads"), std::slice::from_ref(&now));
        assert!(for_campaigns(&tx, &[]).await.expect("reads").is_empty());
        assert_eq!(versions(&tx, &[(first.head.id, 2)]).await.expect("reads"), [second, first.terms.clone()]);
        assert_eq!(versions(&tx, &[(first.head.id, 1)]).await.expect("reads"), [first.terms]);
        assert!(versions(&tx, &[]).await.expect("reads").is_empty());

        let archived = head::Model { status: RuleStatus::Archived, ..now.head };
        update(&mut tx, archived).await.expect("updates");
        assert!(for_campaigns(&tx, &[campaign]).await.expect("reads").is_empty());
        assert_eq!(of_campaigns(&tx, &[campaign]).await.expect("reads").len(), 1);
        tx.commit().await.expect("commits");

        let tx = db.read(there).await;
        assert!(get(&tx, first.head.id).await.expect("reads").is_none());
        assert!(of_campaigns(&tx, &[campaign]).await.expect("reads").is_empty());
        assert!(versions(&tx, &[(first.head.id, 2)]).await.expect("reads").is_empty());
    }

    #[tokio::test]
    async fn one_active_default_for_all_goals_and_one_for_each() {
        let db = TestDb::open().await;
        let mut tx = db.begin(db.tenant("here").await).await;
        let campaign = testing::campaign(&mut tx).await.id;
        let goal = testing::goal(&mut tx, campaign, "sale").await.id;
        for goal_id in [None, Some(goal)] {
            let first = rule(&tx, campaign, goal_id);
            insert(&mut tx, first.clone()).await.expect("inserts");
            let again = rule(&tx, campaign, goal_id);
            let refused = insert(&mut tx, again.clone()).await;
            assert!(matches!(refused, Err(StoreError::Constraint(Constraint::RuleDefault))), "{refused:?}");
            let archived = head::Model { status: RuleStatus::Archived, ..first.head };
            update(&mut tx, archived).await.expect("updates");
            insert(&mut tx, again).await.expect("the first is archived");
        }
    }
}
