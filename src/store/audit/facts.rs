//! Facts that must agree, each a select of the rows of the tenant `$1` where they do not: `subject`, `expected`, `found`.
//!
//! # Adding one
//! A line in [`checks`], with a stable name. What a table of sums must be belongs into [`super::projections`] instead,
//! which also restores it.

use sea_orm::DbBackend;

use crate::store::dialect;

/// All checks by their names.
pub(super) fn checks(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = |column: &str| dialect::id_text(backend, column);
    let mut checks = vec![
        (
            "EVENT_MISSING",
            "SELECT 'events' AS subject, CAST(c.event_seq AS text) AS expected, \
             CAST((SELECT COUNT(*) FROM event e WHERE e.tenant_id = $1 AND e.seq BETWEEN 1 AND c.event_seq) AS text) AS found \
             FROM tenant_counter c WHERE c.tenant_id = $1 AND c.event_seq <> \
             (SELECT COUNT(*) FROM event e WHERE e.tenant_id = $1 AND e.seq BETWEEN 1 AND c.event_seq)"
                .to_owned(),
        ),
        (
            "JOURNAL_EMPTY",
            format!(
                "SELECT 'journal ' || {} AS subject, 'entries' AS expected, 'none' AS found FROM journal j \
                 WHERE j.tenant_id = $1 AND NOT EXISTS \
                 (SELECT 1 FROM entry e WHERE e.tenant_id = j.tenant_id AND e.journal_id = j.id)",
                id("j.id")
            ),
        ),
        (
            "CONVERSION_COMMISSION",
            format!(
                "SELECT 'conversion ' || {} AS subject, CAST(s.amount AS text) AS expected, \
                 CAST(v.commission_minor AS text) AS found FROM conversion v JOIN (SELECT w.id, {} AS amount \
                 FROM conversion w LEFT JOIN commission c ON c.tenant_id = w.tenant_id AND c.conversion_id = w.id \
                 WHERE w.tenant_id = $1 GROUP BY w.id) s ON s.id = v.id \
                 WHERE v.tenant_id = $1 AND v.commission_minor <> s.amount",
                id("v.id"),
                dialect::sum("c.amount_minor + c.adjusted_minor")
            ),
        ),
        (
            "CONVERSION_HISTORY",
            format!(
                "SELECT 'conversion ' || {} AS subject, v.status AS expected, 'another end of its history' AS found \
                 FROM conversion v WHERE v.tenant_id = $1 AND NOT EXISTS (SELECT 1 FROM conversion_history h \
                 WHERE h.tenant_id = v.tenant_id AND h.conversion_id = v.id AND h.version = v.version \
                 AND h.to_status = v.status)",
                id("v.id")
            ),
        ),
        (
            "ATTRIBUTION_SHARES",
            format!(
                "SELECT 'conversion ' || {} AS subject, '1000000' AS expected, \
                 CAST(SUM(share_millionths) AS text) AS found FROM attribution_touch WHERE tenant_id = $1 \
                 GROUP BY conversion_id, version HAVING SUM(share_millionths) <> 1000000",
                id("conversion_id")
            ),
        ),
        (
            "CAP_SHARE",
            format!(
                "SELECT 'conversion ' || {} AS subject, 'no share of a cap' AS expected, v.status AS found \
                 FROM cap_share s JOIN conversion v ON v.tenant_id = s.tenant_id AND v.id = s.conversion_id \
                 WHERE s.tenant_id = $1 AND v.status = 'REJECTED'",
                id("v.id")
            ),
        ),
        (
            "ADJUSTMENTS",
            format!(
                "SELECT 'journal ' || {} AS subject, CAST(x.amount AS text) AS expected, \
                 CAST(p.amount AS text) AS found FROM \
                 (SELECT journal_id, SUM(amount_minor) AS amount FROM attribution_adjustment \
                 WHERE tenant_id = $1 AND journal_id IS NOT NULL GROUP BY journal_id) x \
                 LEFT JOIN (SELECT e.journal_id, SUM(e.amount_minor) AS amount FROM entry e \
                 JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
                 WHERE e.tenant_id = $1 AND a.code = 5030 GROUP BY e.journal_id) p ON p.journal_id = x.journal_id \
                 WHERE p.amount IS NULL OR p.amount <> x.amount",
                id("x.journal_id")
            )
            .replace("CAST(p.amount AS text)", "COALESCE(CAST(p.amount AS text), 'nothing')"),
        ),
    ];
    checks.extend(conversions(backend));
    checks.extend(commissions(backend));
    checks.extend(payouts(backend));
    checks
}

/// A conversion's journals are those of its state, and never take back more than was posted.
fn conversions(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = dialect::id_text(backend, "v.id");
    let posted = |kind: &str| {
        format!(
            "EXISTS (SELECT 1 FROM journal j WHERE j.tenant_id = v.tenant_id AND j.conversion_id = v.id AND j.kind = '{kind}')"
        )
    };
    vec![
        (
            "CONVERSION_NOT_POSTED",
            format!(
                "SELECT 'conversion ' || {id} AS subject, 'a journal' AS expected, v.status || ', none' AS found \
                 FROM conversion v WHERE v.tenant_id = $1 AND v.status IN ('APPROVED', 'REVERSED') \
                 AND EXISTS (SELECT 1 FROM commission c WHERE c.tenant_id = v.tenant_id AND c.conversion_id = v.id \
                 AND c.status IN ('PENDING', 'AVAILABLE') AND c.amount_minor > 0) \
                 AND NOT {} AND NOT {}",
                posted("CONVERSION_APPROVED"),
                posted("ADJUSTMENT")
            ),
        ),
        (
            "CONVERSION_POSTED",
            format!(
                "SELECT 'conversion ' || {id} AS subject, v.status || ', no journal' AS expected, j.kind AS found \
                 FROM conversion v JOIN journal j ON j.tenant_id = v.tenant_id AND j.conversion_id = v.id \
                 WHERE v.tenant_id = $1 AND v.status IN ('PENDING', 'HELD', 'REJECTED') \
                 AND j.kind IN ('CONVERSION_APPROVED', 'HOLD_RELEASED')"
            ),
        ),
        (
            "CONVERSION_OVERREVERSED",
            format!(
                "SELECT 'conversion ' || {id} AS subject, '0 or more left' AS expected, \
                 CAST(s.amount AS text) AS found FROM conversion v JOIN (SELECT j.conversion_id, \
                 SUM(e.amount_minor) AS amount FROM journal j \
                 JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
                 JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
                 WHERE j.tenant_id = $1 AND j.conversion_id IS NOT NULL AND a.code IN (5000, 5020, 5030) \
                 GROUP BY j.conversion_id, e.currency HAVING SUM(e.amount_minor) < 0) s ON s.conversion_id = v.id \
                 WHERE v.tenant_id = $1"
            ),
        ),
    ]
}

/// What affiliates have in their hold period is what their commissions are.
fn commissions(backend: DbBackend) -> Vec<(&'static str, String)> {
    vec![(
        "PENDING_COMMISSIONS",
        format!(
            "SELECT 'account ' || {} AS subject, CAST(COALESCE(c.amount, 0) AS text) AS expected, \
             CAST(b.amount_minor AS text) AS found FROM account a \
             JOIN balance b ON b.tenant_id = a.tenant_id AND b.account_id = a.id \
             LEFT JOIN (SELECT affiliate_id, currency, SUM(amount_minor + adjusted_minor) AS amount FROM commission \
             WHERE tenant_id = $1 AND status = 'PENDING' GROUP BY affiliate_id, currency) c \
             ON c.affiliate_id = a.affiliate_id AND c.currency = a.currency \
             WHERE a.tenant_id = $1 AND a.code = 2000 AND b.amount_minor <> COALESCE(c.amount, 0)",
            dialect::id_text(backend, "a.id")
        ),
    )]
}

/// Initiated is settled, failed and open, for each payout; its journals are those that its history names.
fn payouts(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = dialect::id_text(backend, "p.id");
    let posted = "(SELECT h.payout_id, \
         SUM(CASE WHEN j.kind = 'PAYOUT_INITIATED' THEN -e.amount_minor ELSE 0 END) AS initiated, \
         SUM(CASE WHEN j.kind = 'PAYOUT_SETTLED' THEN e.amount_minor ELSE 0 END) AS settled, \
         SUM(CASE WHEN j.kind = 'PAYOUT_FAILED' THEN e.amount_minor ELSE 0 END) AS failed FROM payout_history h \
         JOIN journal j ON j.tenant_id = h.tenant_id AND j.id = h.journal_id \
         JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
         JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
         WHERE h.tenant_id = $1 AND a.code = 2020 GROUP BY h.payout_id)";
    let of = |column: &str| format!("COALESCE(s.{column}, 0)");
    let (initiated, settled, failed) = (of("initiated"), of("settled"), of("failed"));
    let open = "CASE WHEN p.status IN ('SUBMITTED', 'IN_TRANSIT', 'UNKNOWN') THEN p.gross_minor ELSE 0 END";
    vec![
        (
            "PAYOUT_SUM",
            format!(
                "SELECT 'payout ' || {id} AS subject, CAST({initiated} AS text) || ' initiated' AS expected, \
                 CAST({settled} AS text) || ' settled, ' || CAST({failed} AS text) || ' failed, ' || \
                 CAST({open} AS text) || ' open' AS found FROM payout p LEFT JOIN {posted} s ON s.payout_id = p.id \
                 WHERE p.tenant_id = $1 AND {initiated} <> {settled} + {failed} + {open}"
            ),
        ),
        (
            "PAYOUT_STATE",
            format!(
                "SELECT 'payout ' || {id} AS subject, p.status || ' ' || CAST(p.gross_minor AS text) AS expected, \
                 CAST({initiated} AS text) || ' initiated, ' || CAST({settled} AS text) || ' settled' AS found \
                 FROM payout p LEFT JOIN {posted} s ON s.payout_id = p.id WHERE p.tenant_id = $1 AND \
                 ({initiated} <> CASE WHEN p.submitted_at IS NULL THEN 0 ELSE p.gross_minor END \
                 OR {settled} <> CASE WHEN p.status IN ('PAID', 'RETURNED') THEN p.gross_minor ELSE 0 END)"
            ),
        ),
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
