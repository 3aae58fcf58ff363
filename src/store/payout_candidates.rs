//! Who could be paid: balances with all that decides about them, in one statement for a page of affiliates.

use sea_orm::{ConnectionTrait, QueryResult, Value};
use tributary_entity::{
    Instant,
    ids::{AffiliateId, PayoutDestinationId},
    kinds::PayoutMethod,
    money::Currency,
};

use super::{dialect, error::StoreError, payout_terms, scope::Tx};
use crate::domain::{ledger::Code, payout::OPEN, payout_terms::Candidate};

/// Which affiliates with something available are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    pub currency: Currency,
    /// None means everybody.
    pub only: Option<&'a [AffiliateId]>,
    /// What became available since is late.
    pub earned_before: Option<Instant>,
    pub after: Option<AffiliateId>,
    pub before: Option<AffiliateId>,
    /// From the end.
    pub backward: bool,
    pub limit: u64,
}

/// The next affiliates by id that have something available.
///
/// # Errors
/// As the database answers; `Inconsistent` for a schedule that this version does not know.
pub async fn list(tx: &Tx, span: Span<'_>) -> Result<Vec<Candidate>, StoreError> {
    let (mut values, condition) = conditions(tx, span);
    let debt = dialect::bind(&mut values, Code::AffiliateReceivable.number());
    let open: Vec<String> = OPEN.iter().map(|status| format!("'{status}'")).collect();
    let sql = format!(
        "SELECT account.affiliate_id AS affiliate_id, balance.amount_minor AS available, \
         COALESCE(owed.amount_minor, 0) AS debt, terms.threshold_minor AS threshold, terms.schedule AS schedule, \
         payout.id AS open_payout, destination.id AS destination_id, destination.method AS method \
         FROM account JOIN balance ON balance.tenant_id = account.tenant_id AND balance.account_id = account.id \
         LEFT JOIN account debtor ON debtor.tenant_id = account.tenant_id AND debtor.code = {debt} \
         AND debtor.currency = account.currency AND debtor.affiliate_id = account.affiliate_id \
         LEFT JOIN balance owed ON owed.tenant_id = debtor.tenant_id AND owed.account_id = debtor.id \
         LEFT JOIN payout_terms terms ON terms.tenant_id = account.tenant_id \
         AND terms.affiliate_id = account.affiliate_id AND terms.currency = account.currency \
         LEFT JOIN payout ON payout.tenant_id = account.tenant_id AND payout.affiliate_id = account.affiliate_id \
         AND payout.currency = account.currency AND payout.status IN ({}) \
         LEFT JOIN payout_destination destination ON destination.tenant_id = account.tenant_id \
         AND destination.affiliate_id = account.affiliate_id AND destination.currency = account.currency \
         AND destination.ended_at IS NULL \
         WHERE {condition} ORDER BY account.affiliate_id {} LIMIT {}",
        open.join(", "),
        if span.backward { "DESC" } else { "ASC" },
        span.limit
    );
    let rows = tx.connection().query_all_raw(tx.statement(sql, values)).await?;
    let mut candidates: Vec<Candidate> = rows.iter().map(candidate).collect::<Result<_, _>>()?;
    if let Some(since) = span.earned_before {
        let ids: Vec<AffiliateId> = candidates.iter().map(|candidate| candidate.affiliate_id).collect();
        let late = payout_terms::available_since(tx, span.currency, &ids, since).await?;
        for candidate in &mut candidates {
            candidate.late_minor = late.get(&candidate.affiliate_id).copied().unwrap_or(0);
        }
    }
    Ok(candidates)
}

/// How many affiliates have something available, wherever the span begins and ends.
///
/// # Errors
/// As the database answers.
pub async fn count(tx: &Tx, currency: Currency, only: Option<&[AffiliateId]>) -> Result<i64, StoreError> {
    let span = Span { currency, only, earned_before: None, after: None, before: None, backward: false, limit: 0 };
    let (values, condition) = conditions(tx, span);
    let sql = format!(
        "SELECT COUNT(*) AS n FROM account \
         JOIN balance ON balance.tenant_id = account.tenant_id AND balance.account_id = account.id WHERE {condition}"
    );
    let row = tx.connection().query_one_raw(tx.statement(sql, values)).await?;
    let row = row.ok_or_else(|| StoreError::inconsistent("balance", "no count"))?;
    Ok(row.try_get("", "n")?)
}

fn conditions(tx: &Tx, span: Span<'_>) -> (Vec<Value>, String) {
    let mut values: Vec<Value> =
        vec![tx.scope().tenant_id().into(), Code::AffiliateAvailable.number().into(), span.currency.into()];
    let mut condition = "account.tenant_id = $1 AND account.code = $2 AND account.currency = $3 \
                         AND account.affiliate_id IS NOT NULL AND balance.amount_minor > 0"
        .to_owned();
    if let Some(only) = span.only {
        let named: Vec<String> = only.iter().map(|id| dialect::bind(&mut values, *id)).collect();
        condition += &format!(" AND account.affiliate_id IN ({})", named.join(", "));
    }
    if let Some(after) = span.after {
        condition += &format!(" AND account.affiliate_id > {}", dialect::bind(&mut values, after));
    }
    if let Some(before) = span.before {
        condition += &format!(" AND account.affiliate_id < {}", dialect::bind(&mut values, before));
    }
    (values, condition)
}

fn candidate(row: &QueryResult) -> Result<Candidate, StoreError> {
    let destination_id: Option<PayoutDestinationId> = row.try_get("", "destination_id")?;
    let method: Option<PayoutMethod> = row.try_get("", "method")?;
    let schedule: Option<String> = row.try_get("", "schedule")?;
    let schedule = schedule.map(|text| text.parse()).transpose();
    Ok(Candidate {
        affiliate_id: row.try_get("", "affiliate_id")?,
        available_minor: row.try_get("", "available")?,
        late_minor: 0,
        debt_minor: row.try_get("", "debt")?,
        threshold_minor: row.try_get("", "threshold")?,
        schedule: schedule.map_err(|error| StoreError::inconsistent("payout_terms", error))?,
        open_payout: row.try_get("", "open_payout")?,
        destination: destination_id.zip(method),
    })
}
