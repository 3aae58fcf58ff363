//! Payouts, their journals, and what the accounts of those who pay hold: one definition for an audit of all time and for
//! the comparison of a day's books.

use sea_orm::{DbBackend, Value};
use tributary_entity::{Instant, kinds::PayoutMethod};

use super::{facts::sides, found_with};
use crate::{
    domain::audit::Difference,
    store::{dialect, error::StoreError, scope::Tx},
};

/// What the processor is to pay: the rest of the gross never comes to the clearing account.
const NET: &str = "(p.gross_minor - p.tax_minor - p.fee_minor)";
const UNDER_WAY: &str = "('SUBMITTED', 'IN_TRANSIT', 'UNKNOWN')";

/// The clearing account against the steps of payouts.
pub const CLEARING: &str = "PAYOUT_CLEARING";
/// The cash account against what was paid, came back and was charged.
pub const CASH: &str = "PAYOUT_CASH";

/// What is looked at: conditions on payouts `p`, their steps `h`, journals `j` and accounts `a`.
struct Span {
    payouts: &'static str,
    /// Steps of these payouts alone.
    of_payouts: &'static str,
    steps: &'static str,
    journals: &'static str,
}

const ALL: Span = Span { payouts: "TRUE", of_payouts: "TRUE", steps: "TRUE", journals: "TRUE" };

/// Of the method `$2`, from `$3` on and before `$4`.
const PERIOD: Span = Span {
    payouts: "p.method = $2 AND p.updated_at >= $3 AND p.updated_at < $4",
    of_payouts: "h.payout_id IN (SELECT p.id FROM payout p WHERE p.tenant_id = $1 AND p.method = $2 \
        AND p.updated_at >= $3 AND p.updated_at < $4)",
    steps: "p.method = $2 AND h.recorded_at >= $3 AND h.recorded_at < $4",
    journals: "a.processor = $2 AND j.posted_at >= $3 AND j.posted_at < $4",
};

/// The checks of an audit.
pub(super) fn checks(backend: DbBackend) -> Vec<(&'static str, String)> {
    let mut checks = rows(backend, &ALL);
    checks.extend(accounts(&ALL));
    checks.extend(histories(backend));
    checks
}

/// What differs of the payouts of a method that were last changed in a period, and of what was posted for them in it.
///
/// # Errors
/// As the database answers.
pub async fn in_period(
    tx: &Tx,
    method: PayoutMethod,
    (from, to): (Instant, Instant),
) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    for (check, sql) in rows(tx.backend(), &PERIOD).into_iter().chain(accounts(&PERIOD)) {
        let values: Vec<Value> = vec![tx.scope().tenant_id().into(), method.into(), from.into(), to.into()];
        differences.extend(found_with(tx, check, &sql, values).await?);
    }
    Ok(differences)
}

/// For each payout, initiated is settled, failed and open; what was settled, came back and was charged is what its row
/// says.
fn rows(backend: DbBackend, span: &Span) -> Vec<(&'static str, String)> {
    let id = dialect::id_text(backend, "p.id");
    let Span { payouts, of_payouts, .. } = span;
    let sum = |kind: &str, code: i32, sign: &str| {
        format!("SUM(CASE WHEN j.kind = '{kind}' AND a.code = {code} THEN {sign}e.amount_minor ELSE 0 END)")
    };
    let posted = format!(
        "(SELECT h.payout_id, {} AS initiated, {} AS settled, {} AS failed, {} AS paid, {} AS returned \
         FROM payout_history h JOIN journal j ON j.tenant_id = h.tenant_id AND j.id = h.journal_id \
         JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
         JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
         WHERE h.tenant_id = $1 AND {of_payouts} AND a.code IN (1000, 2020) GROUP BY h.payout_id)",
        sum("PAYOUT_INITIATED", 2020, "-"),
        sum("PAYOUT_SETTLED", 2020, ""),
        sum("PAYOUT_FAILED", 2020, ""),
        sum("PAYOUT_SETTLED", 1000, "-"),
        sum("PAYOUT_RETURNED", 1000, ""),
    );
    let of = |column: &str| format!("COALESCE(s.{column}, 0)");
    let (initiated, settled, failed) = (of("initiated"), of("settled"), of("failed"));
    let (paid, returned) = (of("paid"), of("returned"));
    let open = format!("CASE WHEN p.status IN {UNDER_WAY} THEN {NET} ELSE 0 END");
    vec![
        (
            "PAYOUT_SUM",
            format!(
                "SELECT 'payout ' || {id} AS subject, CAST({initiated} AS text) || ' initiated' AS expected, \
                 CAST({settled} AS text) || ' settled, ' || CAST({failed} AS text) || ' failed, ' || \
                 CAST({open} AS text) || ' open' AS found FROM payout p LEFT JOIN {posted} s ON s.payout_id = p.id \
                 WHERE p.tenant_id = $1 AND {payouts} AND {initiated} <> {settled} + {failed} + {open}"
            ),
        ),
        (
            "PAYOUT_STATE",
            format!(
                "SELECT 'payout ' || {id} AS subject, p.status || ' ' || CAST({NET} AS text) AS expected, \
                 CAST({initiated} AS text) || ' initiated, ' || CAST({settled} AS text) || ' settled, ' || \
                 CAST({paid} AS text) || ' paid, ' || CAST({returned} AS text) || ' returned' AS found \
                 FROM payout p LEFT JOIN {posted} s ON s.payout_id = p.id WHERE p.tenant_id = $1 AND {payouts} AND \
                 ({initiated} <> CASE WHEN p.submitted_at IS NULL THEN 0 ELSE {NET} END \
                 OR {settled} <> CASE WHEN p.status IN ('PAID', 'RETURNED') THEN {NET} ELSE 0 END \
                 OR {paid} <> {settled} OR {returned} <> CASE WHEN p.status = 'RETURNED' THEN {NET} ELSE 0 END)"
            ),
        ),
        (
            "PAYOUT_FEE",
            format!(
                "SELECT 'payout ' || {id} AS subject, CAST(t.fee_minor AS text) AS expected, \
                 CAST({charged} AS text) AS found FROM payout p \
                 JOIN payout_transfer t ON t.tenant_id = p.tenant_id AND t.payout_id = p.id \
                 WHERE p.tenant_id = $1 AND {payouts} AND t.fee_transaction IS NOT NULL AND {charged} <> t.fee_minor",
                charged = "COALESCE((SELECT SUM(-e.amount_minor) FROM journal j \
                    JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
                    JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
                    WHERE j.tenant_id = t.tenant_id AND j.kind = 'PROCESSOR_FEE' \
                    AND j.business_key = t.method || ':' || t.fee_transaction AND a.code = 1000), 0)"
            ),
        ),
    ]
}

/// What the clearing and the cash accounts hold is what the steps of payouts put there and took from there.
fn accounts(span: &Span) -> Vec<(&'static str, String)> {
    let Span { steps, journals, .. } = span;
    let payout = "JOIN payout p ON p.tenant_id = h.tenant_id AND p.id = h.payout_id";
    let entries = |amount: &str, which: &str| {
        format!(
            "SELECT a.processor, e.currency, {amount} AS amount_minor FROM account a \
             JOIN entry e ON e.tenant_id = a.tenant_id AND e.account_id = a.id \
             JOIN journal j ON j.tenant_id = e.tenant_id AND j.id = e.journal_id \
             WHERE a.tenant_id = $1 AND {which} AND {journals}"
        )
    };
    let differing = |facts: &str, entries: &str| {
        format!(
            "SELECT processor || ' ' || currency AS subject, CAST(COALESCE(x, 0) AS text) AS expected, \
             CAST(COALESCE(p, 0) AS text) AS found FROM ({}) sides WHERE COALESCE(x, 0) <> COALESCE(p, 0)",
            sides("processor, currency", facts, entries)
        )
    };
    let put = format!(
        "SELECT p.method AS processor, p.currency, CASE WHEN h.to_status = 'SUBMITTED' THEN {NET} ELSE -{NET} END \
         AS amount_minor FROM payout_history h {payout} WHERE h.tenant_id = $1 AND {steps} \
         AND (h.from_status = 'APPROVED' AND h.to_status = 'SUBMITTED' \
         OR h.from_status IN {UNDER_WAY} AND h.to_status IN ('PAID', 'FAILED', 'CANCELLED'))"
    );
    let moved = format!(
        "SELECT p.method AS processor, p.currency, CASE WHEN h.to_status = 'PAID' THEN -{NET} ELSE {NET} END \
         AS amount_minor FROM payout_history h {payout} WHERE h.tenant_id = $1 AND {steps} \
         AND h.to_status IN ('PAID', 'RETURNED') \
         UNION ALL SELECT a.processor, p.currency, -t.fee_minor FROM payout_transfer t \
         JOIN payout p ON p.tenant_id = t.tenant_id AND p.id = t.payout_id \
         JOIN journal j ON j.tenant_id = t.tenant_id AND j.kind = 'PROCESSOR_FEE' \
         AND j.business_key = t.method || ':' || t.fee_transaction \
         JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
         JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id AND a.code = 1000 \
         WHERE t.tenant_id = $1 AND {journals}"
    );
    vec![
        (CLEARING, differing(&put, &entries("-e.amount_minor", "a.code = 2020"))),
        // What the tenant pays in is no payout's.
        (CASH, differing(&moved, &entries("e.amount_minor", "a.code = 1000 AND j.kind <> 'DEPOSIT'"))),
    ]
}

/// A payout's journals are those that its history names, which ends where it stands; an affiliate has one open payout.
fn histories(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = dialect::id_text(backend, "p.id");
    vec![
        (
            "PAYOUT_JOURNAL",
            format!(
                "SELECT 'journal ' || {} AS subject, 'a step of a payout' AS expected, 'none' AS found FROM journal j \
                 WHERE j.tenant_id = $1 AND j.kind LIKE 'PAYOUT%' AND NOT EXISTS (SELECT 1 FROM payout_history h \
                 WHERE h.tenant_id = j.tenant_id AND h.journal_id = j.id)",
                dialect::id_text(backend, "j.id")
            ),
        ),
        (
            "PAYOUT_HISTORY",
            format!(
                "SELECT 'payout ' || {id} AS subject, p.status AS expected, 'another end of its history' AS found \
                 FROM payout p WHERE p.tenant_id = $1 AND NOT EXISTS (SELECT 1 FROM payout_history h \
                 WHERE h.tenant_id = p.tenant_id AND h.payout_id = p.id AND h.version = p.version \
                 AND h.to_status = p.status)"
            ),
        ),
        (
            "PAYOUTS_OPEN",
            format!(
                "SELECT 'affiliate ' || {} || ' ' || p.currency AS subject, 'one open payout' AS expected, \
                 CAST(COUNT(*) AS text) AS found FROM payout p WHERE p.tenant_id = $1 \
                 AND p.status NOT IN ('PAID', 'FAILED', 'CANCELLED', 'RETURNED') \
                 GROUP BY p.affiliate_id, p.currency HAVING COUNT(*) > 1",
                dialect::id_text(backend, "p.affiliate_id")
            ),
        ),
    ]
}
