//! Idempotency keys, claimed in the transaction of the effect.

use std::collections::{HashMap, HashSet};

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, Value};
use tributary_entity::{Instant, idempotency};
use uuid::Uuid;

use super::{
    arrays,
    error::StoreError,
    scope::{Tx, any_of},
};
use crate::domain::idempotency::Claim;

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The key is new and now belongs to this transaction.
    Fresh,
    /// The key was used before.
    Used(Earlier),
}

/// The call that used a key first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    input_hash: Vec<u8>,
    result_id: Option<Uuid>,
}

impl Earlier {
    /// The earlier call's result where `claim` is that same call; none where it is another one.
    pub fn result_of(&self, claim: &Claim) -> Option<Uuid> {
        self.result_id.filter(|_| self.input_hash == claim.input_hash)
    }
}

/// Claims keys, each with the id that its call will make or change. Answers in the order of `claims`, whose keys are
/// distinct. Waits for another transaction that is claiming the same key.
///
/// # Errors
/// As the database answers.
pub async fn claim(tx: &mut Tx, claims: &[(&Claim, Uuid)], now: Instant) -> Result<Vec<Claimed>, StoreError> {
    // Two batches with the same keys in opposite order would deadlock.
    let mut sorted = claims.to_vec();
    sorted.sort_by(|a, b| a.0.key.cmp(&b.0.key));
    let mut fresh: HashSet<String> = HashSet::with_capacity(claims.len());
    for chunk in sorted.chunks(500) {
        fresh.extend(insert_new(tx, chunk, now).await?);
    }
    let mut stored: HashMap<String, idempotency::Model> = HashMap::new();
    let used: Vec<&str> =
        claims.iter().map(|(claim, _)| claim.key.as_str()).filter(|key| !fresh.contains(*key)).collect();
    for chunk in used.chunks(1_000) {
        let found = tx.find::<idempotency::Entity>().filter(any_of(idempotency::Column::Key, chunk.iter().copied()));
        stored.extend(found.all(tx.connection()).await?.into_iter().map(|row| (row.key.clone(), row)));
    }
    claims
        .iter()
        .map(|(claim, _)| {
            if fresh.contains(&claim.key) {
                return Ok(Claimed::Fresh);
            }
            let row = stored
                .get(&claim.key)
                .ok_or_else(|| StoreError::inconsistent("idempotency", "a claimed key is not there"))?;
            Ok(Claimed::Used(Earlier { input_hash: row.input_hash.clone(), result_id: row.result_id }))
        })
        .collect()
}

/// Inserts keys that are not there and answers which they were.
async fn insert_new(tx: &mut Tx, claims: &[(&Claim, Uuid)], now: Instant) -> Result<Vec<String>, StoreError> {
    let mut values: Vec<Value> = vec![tx.scope().tenant_id().into(), now.into()];
    let rows = claims.iter().map(|(claim, result_id)| {
        vec![claim.key.clone().into(), claim.input_hash.to_vec().into(), (*result_id).into()]
    });
    let rows = arrays::relation(tx.backend(), rows, &mut values)?;
    let sql = format!(
        "INSERT INTO idempotency (tenant_id, created_at, key, input_hash, result_id) \
         SELECT $1, $2, claim.* FROM ({rows}) AS claim WHERE TRUE \
         ON CONFLICT (tenant_id, key) DO NOTHING RETURNING key"
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    Ok(rows.iter().map(|row| row.try_get("", "key")).collect::<Result<_, _>>()?)
}

/// Gives back keys that this transaction claimed for calls that turned out to be refused.
///
/// # Errors
/// As the database answers.
pub async fn release(tx: &mut Tx, keys: &[&str]) -> Result<(), StoreError> {
    for chunk in keys.chunks(1_000) {
        let of_keys = any_of(idempotency::Column::Key, chunk.iter().copied());
        tx.delete_many::<idempotency::Entity>().filter(of_keys).exec(tx.connection()).await?;
    }
    Ok(())
}

/// Deletes keys older than `before`. Answers how many.
///
/// # Errors
/// As the database answers.
pub async fn delete_before(tx: &mut Tx, before: Instant) -> Result<u64, StoreError> {
    let delete = tx.delete_many::<idempotency::Entity>().filter(idempotency::Column::CreatedAt.lt(before));
    Ok(delete.exec(tx.connection()).await?.rows_affected)
}
