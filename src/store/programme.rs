//! What batches remember of a tenant between transactions, and how they know that it is still so.
//!
//! # Decisions
//! - Whoever writes one of these tables through [`Tx`] counts it as the transaction commits, in the row that gives events
//!   their numbers: there is no list of use cases to be kept, and no lock that they did not take before.
//! - A transaction that [relies](Tx::rely) on what was remembered compares the version as it takes its numbers, and is given
//!   up when it is another: it is as if it had read everything at its commit. It costs no statement.

use tributary_entity::scope::Scoped;

use super::{error::StoreError, scope::Tx, sequences};

/// The tables.
const TABLES: [&str; 15] = [
    "affiliate",
    "affiliate_group",
    "affiliate_group_member",
    "affiliate_parent",
    "campaign",
    "cap",
    "click_rate",
    "click_rate_version",
    "commission_rule",
    "commission_rule_version",
    "enrollment",
    "goal",
    "override_plan",
    "override_plan_version",
    "tenant",
];

/// Whether a table is one of them.
pub(super) fn has<E: Scoped>() -> bool {
    TABLES.contains(&E::default().as_str())
}

/// How often they were changed until now. What is read after this is of that version or a later one.
///
/// # Errors
/// As the database answers.
pub async fn version(tx: &Tx) -> Result<i64, StoreError> {
    Ok(sequences::now(tx).await?.programme_version)
}

#[cfg(test)]
mod tests {
    use tributary_entity::{affiliate, click, commission_rule_version, conversion, tenant_counter};

    use super::*;
    use crate::store::testing::{self, TestDb};

    #[test]
    fn what_every_batch_writes_is_not_remembered() {
        assert!(has::<affiliate::Entity>() && has::<commission_rule_version::Entity>());
        assert!(!has::<conversion::Entity>() && !has::<click::Entity>() && !has::<tenant_counter::Entity>());
    }

    #[tokio::test]
    async fn who_relies_on_an_earlier_version_is_given_up() {
        let db = TestDb::open().await;
        let (here, there) = (db.tenant("here").await, db.tenant("there").await);
        let mut tx = db.begin(here).await;
        let before = version(&tx).await.expect("a version");
        testing::affiliate(&mut tx, "ada").await;
        tx.commit().await.expect("committed");

        let mut tx = db.begin(here).await;
        tx.rely(before);
        assert!(tx.commit().await.is_err_and(|error| error.is_conflict()), "nothing to count");
        let mut tx = db.begin(here).await;
        tx.rely(before);
        testing::affiliate(&mut tx, "bob").await;
        assert!(tx.commit().await.is_err_and(|error| error.is_conflict()), "something to count");

        let mut tx = db.begin(here).await;
        let now = version(&tx).await.expect("a version");
        assert_eq!(now, before + 1, "of what was given up nothing is counted");
        tx.rely(now);
        testing::affiliate(&mut tx, "bob").await;
        tx.commit().await.expect("its own change is none of others'");

        // Another tenant's changes are its own.
        let tx = db.begin(there).await;
        let theirs = version(&tx).await.expect("a version");
        drop(tx);
        let mut tx = db.begin(here).await;
        testing::affiliate(&mut tx, "cy").await;
        tx.commit().await.expect("committed");
        let mut tx = db.begin(there).await;
        tx.rely(theirs);
        tx.commit().await.expect("nothing of theirs changed");
    }
}
