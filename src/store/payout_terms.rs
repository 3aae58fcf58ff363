//! Payout terms: of the tenant and of affiliates.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, Condition, ConnectionTrait, QueryFilter, QuerySelect, Select, Value};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, PayoutTermsId},
    money::Currency,
    payout_terms::{self, Column},
};

use super::{
    dialect,
    error::StoreError,
    page,
    scope::{Tx, any_of},
};
use crate::domain::{
    ledger::Code,
    page::{Page, PageRequest},
};

fn of(tx: &Tx, affiliate_id: Option<AffiliateId>, currency: Currency) -> Select<payout_terms::Entity> {
    let select = tx.find::<payout_terms::Entity>().filter(Column::Currency.eq(currency));
    match affiliate_id {
        Some(id) => select.filter(Column::AffiliateId.eq(id)),
        None => select.filter(Column::AffiliateId.is_null()),
    }
}

/// The terms of an affiliate, or the tenant's own.
///
/// # Errors
/// As the database answers.
pub async fn get(
    tx: &Tx,
    affiliate_id: Option<AffiliateId>,
    currency: Currency,
) -> Result<Option<payout_terms::Model>, StoreError> {
    Ok(of(tx, affiliate_id, currency).one(tx.connection()).await?)
}

/// As [`get`], locked until the transaction ends.
///
/// # Errors
/// As the database answers.
pub async fn lock(
    tx: &Tx,
    affiliate_id: Option<AffiliateId>,
    currency: Currency,
) -> Result<Option<payout_terms::Model>, StoreError> {
    Ok(dialect::lock(tx, of(tx, affiliate_id, currency)).one(tx.connection()).await?)
}

/// The terms with an id.
///
/// # Errors
/// As the database answers.
pub async fn by_id(tx: &Tx, id: PayoutTermsId) -> Result<Option<payout_terms::Model>, StoreError> {
    Ok(tx.by_id::<payout_terms::Entity>(id).one(tx.connection()).await?)
}

/// The tenant's terms in a currency, and those of these affiliates.
///
/// # Errors
/// As the database answers.
pub async fn of_affiliates(
    tx: &Tx,
    currency: Currency,
    affiliate_ids: &[AffiliateId],
) -> Result<Vec<payout_terms::Model>, StoreError> {
    let theirs = any_of(Column::AffiliateId, affiliate_ids.iter().copied());
    let whose = Condition::any().add(Column::AffiliateId.is_null()).add(theirs);
    let select = tx.find::<payout_terms::Entity>().filter(Column::Currency.eq(currency)).filter(whose);
    Ok(select.all(tx.connection()).await?)
}

fn filtered(tx: &Tx, affiliate_ids: Option<&[AffiliateId]>) -> Select<payout_terms::Entity> {
    let select = tx.visible::<payout_terms::Entity>();
    match affiliate_ids {
        Some(ids) => select.filter(any_of(Column::AffiliateId, ids.iter().copied())),
        None => select,
    }
}

/// # Errors
/// As the database answers.
pub async fn list(
    tx: &Tx,
    affiliate_ids: Option<&[AffiliateId]>,
    request: &PageRequest,
) -> Result<Page<payout_terms::Model>, StoreError> {
    page::page(tx, filtered(tx, affiliate_ids), request, None).await
}

/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, affiliate_ids: Option<&[AffiliateId]>) -> Result<i64, StoreError> {
    page::count(tx, filtered(tx, affiliate_ids)).await
}

/// Every schedule that somebody is paid by, in each currency, with the first of those who are.
///
/// # Errors
/// As the database answers.
pub async fn schedules(tx: &Tx) -> Result<Vec<(Currency, String, Instant)>, StoreError> {
    Ok(tx
        .find::<payout_terms::Entity>()
        .filter(Column::Schedule.is_not_null())
        .select_only()
        .column(Column::Currency)
        .column(Column::Schedule)
        .expr_as(Column::ScheduledAt.min(), "since")
        .group_by(Column::Currency)
        .group_by(Column::Schedule)
        .into_tuple()
        .all(tx.connection())
        .await?)
}

/// # Errors
/// `Constraint::PayoutTerms` when others were set at the same time.
pub async fn insert(tx: &mut Tx, row: payout_terms::Model) -> Result<(), StoreError> {
    tx.insert::<payout_terms::Entity>(row).await
}

/// # Errors
/// `Inconsistent` when there is no such row.
pub async fn update(tx: &mut Tx, row: payout_terms::Model) -> Result<(), StoreError> {
    tx.save::<payout_terms::Entity>(row.id, row).await
}

/// What became available to affiliates in a currency at `since` or later, by affiliate. What came back of payouts was
/// available before.
///
/// # Errors
/// As the database answers.
pub async fn available_since(
    tx: &Tx,
    currency: Currency,
    affiliate_ids: &[AffiliateId],
    since: Instant,
) -> Result<BTreeMap<AffiliateId, i64>, StoreError> {
    if affiliate_ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut values: Vec<Value> =
        vec![tx.scope().tenant_id().into(), Code::AffiliateAvailable.number().into(), currency.into(), since.into()];
    let named: Vec<String> = affiliate_ids.iter().map(|id| dialect::bind(&mut values, *id)).collect();
    let sql = format!(
        "SELECT account.affiliate_id AS affiliate_id, {} AS amount FROM account \
         JOIN entry ON entry.tenant_id = account.tenant_id AND entry.account_id = account.id \
         JOIN journal ON journal.tenant_id = entry.tenant_id AND journal.id = entry.journal_id \
         WHERE account.tenant_id = $1 AND account.code = $2 AND account.currency = $3 AND journal.posted_at >= $4 \
         AND entry.amount_minor < 0 AND journal.kind NOT IN ('PAYOUT_FAILED', 'PAYOUT_RETURNED') \
         AND account.affiliate_id IN ({}) GROUP BY account.affiliate_id",
        dialect::sum("-entry.amount_minor"),
        named.join(", ")
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    rows.iter().map(|row| Ok((row.try_get("", "affiliate_id")?, row.try_get("", "amount")?))).collect()
}
