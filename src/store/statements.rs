//! Statements: an affiliate's entries, summed.

use sea_orm::{ConnectionTrait, Value};
use tributary_entity::{
    ids::{AccountId, AffiliateId},
    money::Currency,
};

use super::{dialect, error::StoreError, scope::Tx};
use crate::domain::{
    ledger::{AccountKey, Code},
    statement::{KindSum, Period},
};

/// An affiliate's balance before a period, and what each kind of journal did to it inside; credits count in its favour.
///
/// # Errors
/// As the database answers.
pub async fn sums(
    tx: &Tx,
    affiliate_id: AffiliateId,
    currency: Currency,
    period: Period,
) -> Result<(i64, Vec<KindSum>), StoreError> {
    let tenant_id = tx.scope().tenant_id();
    let account = |code| -> AccountId { AccountKey::of_affiliate(code, affiliate_id, currency).id(tenant_id) };
    let mut values: Vec<Value> = vec![
        tenant_id.into(),
        account(Code::AffiliateReceivable).into(),
        account(Code::AffiliatePending).into(),
        account(Code::AffiliateAvailable).into(),
    ];
    let own = "FROM entry JOIN journal ON journal.tenant_id = entry.tenant_id AND journal.id = entry.journal_id \
               WHERE entry.tenant_id = $1 AND entry.account_id IN ($2, $3, $4)";
    let favour = dialect::sum("-entry.amount_minor");

    values.push(period.from.into());
    let sql = format!("SELECT COALESCE({favour}, 0) AS amount {own} AND journal.posted_at < $5");
    let opening = tx.connection().query_one_raw(tx.statement(sql, values.clone())).await?;
    let opening = opening.map(|row| row.try_get("", "amount")).transpose()?.unwrap_or(0);

    values.push(period.until.into());
    let sql = format!(
        "SELECT journal.kind AS kind, {favour} AS amount {own} \
         AND journal.posted_at >= $5 AND journal.posted_at < $6 GROUP BY journal.kind ORDER BY journal.kind"
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    let sums: Result<_, StoreError> = rows
        .iter()
        .map(|row| Ok(KindSum { kind: row.try_get("", "kind")?, amount_minor: row.try_get("", "amount")? }))
        .collect();
    Ok((opening, sums?))
}
