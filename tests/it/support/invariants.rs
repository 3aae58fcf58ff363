//! What must hold in the database after every test: what `tributary verify` demands, and what is checked past the store.

use tributary::{
    domain::ledger_chain::SealKey,
    services::audit::{self, Terms},
    store::{
        database::{Db, Location},
        directory,
    },
};

use super::{app::SECRET, database::Auditor};

/// Audits every tenant as `tributary verify` does; what differs.
pub async fn audit(location: &Location<'_>) -> Vec<tributary::domain::audit::Difference> {
    let db = Db::open(location).await.expect("opens");
    let terms = Terms { trusted: vec![SealKey::new(SECRET).public()], ..Terms::default() };
    let mut differences = Vec::new();
    for scope in directory::tenants(&db).await.expect("tenants") {
        differences.extend(audit::verify(&db, &scope, &terms).await.expect("is audited").differences);
    }
    db.close().await.expect("closes");
    differences
}

/// Checks the ledger, the projections and the event log.
pub async fn check(auditor: &Auditor, location: &Location<'_>) {
    let differences = audit(location).await;
    assert!(differences.is_empty(), "verify finds {differences:#?}");
    let empty = async |what: &str, sql: &str| {
        let rows = auditor.rows(sql).await;
        assert!(rows.is_empty(), "{what}: {} rows of: {sql}", rows.len());
    };
    empty(
        "journals that do not balance",
        "SELECT journal_id FROM entry GROUP BY tenant_id, journal_id, currency HAVING SUM(amount_minor) <> 0",
    )
    .await;
    empty(
        "balances that are not the sum of their entries",
        "SELECT b.account_id FROM balance b JOIN account a ON a.tenant_id = b.tenant_id AND a.id = b.account_id \
         WHERE b.amount_minor <> (SELECT COALESCE(SUM(CASE WHEN a.code IN (2000, 2010) THEN -e.amount_minor \
         ELSE e.amount_minor END), 0) FROM entry e WHERE e.tenant_id = b.tenant_id AND e.account_id = b.account_id)",
    )
    .await;
    empty(
        "guarded accounts with entries and no balance",
        "SELECT a.id FROM account a JOIN entry e ON e.tenant_id = a.tenant_id AND e.account_id = a.id \
         WHERE a.code IN (1200, 2000, 2010) AND NOT EXISTS (SELECT 1 FROM balance b \
         WHERE b.tenant_id = a.tenant_id AND b.account_id = a.id)",
    )
    .await;
    empty(
        "gaps in an event log",
        "SELECT c.tenant_id FROM tenant_counter c WHERE c.event_seq <> \
         (SELECT COUNT(*) FROM event e WHERE e.tenant_id = c.tenant_id AND e.seq BETWEEN 1 AND c.event_seq)",
    )
    .await;
    empty(
        "unapproved earnings that are not the sum of unapproved commissions",
        "SELECT g.affiliate_id FROM earning g WHERE g.unapproved_minor <> (SELECT COALESCE(SUM(c.amount_minor + c.adjusted_minor - c.reversed_minor), 0) \
         FROM commission c WHERE c.tenant_id = g.tenant_id AND c.affiliate_id = g.affiliate_id \
         AND c.currency = g.currency AND c.status = 'UNAPPROVED')",
    )
    .await;
    empty(
        "approved commissions that are not in the ledger",
        // Of a small one rounding may have taken all back before it was approved: there was nothing to post then, only what
        // was given back later.
        "SELECT c.id FROM commission c WHERE c.status IN ('PENDING', 'AVAILABLE') \
         AND c.amount_minor + c.adjusted_minor > c.reversed_minor AND NOT EXISTS \
         (SELECT 1 FROM journal j WHERE j.tenant_id = c.tenant_id AND j.conversion_id = c.conversion_id \
         AND j.kind IN ('CONVERSION_APPROVED', 'ADJUSTMENT', 'REVERSAL'))",
    )
    .await;
    empty(
        "commissions of a conversion that do not add up",
        "SELECT v.id FROM conversion v WHERE v.commission_minor <> (SELECT COALESCE(SUM(c.amount_minor + c.adjusted_minor - c.reversed_minor), 0) \
         FROM commission c WHERE c.tenant_id = v.tenant_id AND c.conversion_id = v.id)",
    )
    .await;
    empty(
        "conversions whose history does not end where they stand",
        "SELECT v.id FROM conversion v WHERE NOT EXISTS (SELECT 1 FROM conversion_history h \
         WHERE h.tenant_id = v.tenant_id AND h.conversion_id = v.id AND h.version = v.version \
         AND h.to_status = v.status)",
    )
    .await;
    empty(
        "totals that are not what they count",
        "SELECT t.tenant_id FROM (SELECT tenant_id, currency, SUM(conversions) AS n, SUM(sale_minor) AS sale \
         FROM rollup_hourly GROUP BY tenant_id, currency) t \
         LEFT JOIN (SELECT tenant_id, sale_currency, SUM(CASE WHEN status = 'REVERSED' THEN 0 ELSE 1 END) AS n, \
         SUM(sale_minor + sale_adjusted_minor - refunded_minor) AS sale FROM conversion \
         WHERE status <> 'REJECTED' AND held_until IS NULL GROUP BY tenant_id, sale_currency) v \
         ON v.tenant_id = t.tenant_id AND v.sale_currency = t.currency \
         WHERE t.n <> COALESCE(v.n, 0) OR t.sale <> COALESCE(v.sale, 0)",
    )
    .await;
    empty(
        "commission totals that are not what they count",
        "SELECT t.tenant_id FROM (SELECT tenant_id, currency, SUM(commission_minor) AS commission \
         FROM rollup_hourly GROUP BY tenant_id, currency) t \
         LEFT JOIN (SELECT tenant_id, commission_currency, SUM(commission_minor) AS commission FROM conversion \
         WHERE status <> 'REJECTED' GROUP BY tenant_id, commission_currency) v \
         ON v.tenant_id = t.tenant_id AND v.commission_currency = t.currency \
         WHERE t.commission <> COALESCE(v.commission, 0)",
    )
    .await;
    empty(
        "click totals that are not what they count",
        "SELECT t.tenant_id FROM (SELECT tenant_id, SUM(clicks_gross) AS n FROM rollup_hourly GROUP BY tenant_id) t \
         WHERE t.n <> (SELECT COUNT(*) FROM click c WHERE c.tenant_id = t.tenant_id)",
    )
    .await;
    empty(
        "invalid clicks by reason that are not what they count",
        "SELECT t.tenant_id FROM (SELECT tenant_id, SUM(clicks_invalid) AS n FROM rollup_hourly GROUP BY tenant_id) t \
         WHERE t.n <> (SELECT COALESCE(SUM(h.clicks), 0) FROM click_invalid_hourly h WHERE h.tenant_id = t.tenant_id) \
         OR t.n <> (SELECT COUNT(*) FROM click c WHERE c.tenant_id = t.tenant_id AND c.invalid_reason IS NOT NULL)",
    )
    .await;
    empty(
        "use of caps that is not what conversions took",
        "SELECT u.cap_id FROM cap_usage u JOIN cap c ON c.tenant_id = u.tenant_id AND c.id = u.cap_id \
         WHERE c.metric <> 'CLICKS' AND u.used <> (SELECT COALESCE(SUM(s.amount), 0) FROM cap_share s \
         WHERE s.tenant_id = u.tenant_id AND s.cap_id = u.cap_id AND s.period_start = u.period_start)",
    )
    .await;
    empty(
        "shares of caps of conversions that do not count",
        "SELECT s.cap_id FROM cap_share s JOIN conversion v ON v.tenant_id = s.tenant_id AND v.id = s.conversion_id \
         WHERE v.status IN ('REJECTED', 'REVERSED')",
    )
    .await;
    empty(
        "attribution shares that do not sum to one",
        "SELECT conversion_id FROM attribution_touch GROUP BY tenant_id, conversion_id, version \
         HAVING SUM(share_millionths) <> 1000000",
    )
    .await;
    empty(
        "affiliates with something available and a debt",
        "SELECT a.affiliate_id FROM account a JOIN balance b ON b.tenant_id = a.tenant_id AND b.account_id = a.id \
         WHERE a.code IN (1200, 2010) AND b.amount_minor > 0 GROUP BY a.tenant_id, a.affiliate_id, a.currency \
         HAVING COUNT(*) > 1",
    )
    .await;
    overrides(&empty).await;
    adjustments(&empty).await;
    reversals(&empty).await;
    payouts(&empty).await;
}

/// Overrides stand on a commission of their conversion and share its state.
async fn overrides(empty: &impl AsyncFn(&str, &str)) {
    empty(
        "overrides that stand on no commission in the same state",
        "SELECT c.id FROM commission c WHERE c.level > 0 AND NOT EXISTS (SELECT 1 FROM commission b \
         WHERE b.tenant_id = c.tenant_id AND b.conversion_id = c.conversion_id AND b.level = 0 \
         AND b.affiliate_id = c.base_affiliate_id AND b.status = c.status)",
    )
    .await;
    empty(
        "commissions of an affiliate on one and the same, twice",
        "SELECT conversion_id FROM commission \
         GROUP BY tenant_id, conversion_id, affiliate_id, COALESCE(base_affiliate_id, affiliate_id) HAVING COUNT(*) > 1",
    )
    .await;
}

/// An adjustment `x` is of the commission `c`, where both are of one affiliate and conversion.
const SAME_BASE: &str = "COALESCE(x.base_affiliate_id, x.affiliate_id) = COALESCE(c.base_affiliate_id, c.affiliate_id)";

/// What affiliates have is what their commissions are now, and each adjustment is posted once.
async fn adjustments(empty: &impl AsyncFn(&str, &str)) {
    let account = |code: i32, status: &str| {
        format!(
            "SELECT a.id FROM account a JOIN balance b ON b.tenant_id = a.tenant_id AND b.account_id = a.id \
             WHERE a.code = {code} AND b.amount_minor <> (SELECT COALESCE(SUM(c.amount_minor + c.adjusted_minor - c.reversed_minor), 0) \
             FROM commission c WHERE c.tenant_id = a.tenant_id AND c.affiliate_id = a.affiliate_id \
             AND c.currency = a.currency AND c.status = '{status}') + (SELECT COALESCE(SUM(w.amount_minor), 0) FROM award w \
             WHERE w.tenant_id = a.tenant_id AND w.affiliate_id = a.affiliate_id AND w.currency = a.currency \
             AND w.status = '{status}')"
        )
    };
    empty("pending balances that are not the commissions and awards in hold", &account(2000, "PENDING")).await;
    empty(
        "awards that are not what their journals did",
        "SELECT w.id FROM award w WHERE w.amount_minor <> (SELECT COALESCE(-SUM(e.amount_minor), 0) FROM entry e \
         JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id WHERE e.tenant_id = w.tenant_id \
         AND e.journal_id = w.journal_id AND e.currency = w.currency AND a.affiliate_id = w.affiliate_id)",
    )
    .await;
    // A commission that a run made is the first of its adjustments. One of a conversion that was taken up again is another
    // than that which a run adjusted before.
    let by = |table: &str| {
        format!(
            "(SELECT COALESCE(SUM(x.amount_minor), 0) FROM {table} x WHERE x.tenant_id = c.tenant_id \
             AND x.conversion_id = c.conversion_id AND x.affiliate_id = c.affiliate_id AND {SAME_BASE} \
             AND x.recorded_at >= c.created_at)"
        )
    };
    let adjusted = format!(
        "({} + {} + {})",
        by("attribution_adjustment"),
        by("tier_adjustment"),
        changed("h.kind = 'ADJUSTMENT'")
    );
    empty(
        "commissions whose adjustments are not what runs and changes did",
        &format!(
            "SELECT c.id FROM commission c WHERE c.adjusted_minor <> {adjusted} \
             AND c.amount_minor + c.adjusted_minor <> {adjusted}"
        ),
    )
    .await;
    empty(
        "adjustment journals that are not the sum of their adjustments",
        "SELECT j.id FROM journal j WHERE j.kind = 'ADJUSTMENT' AND (SELECT SUM(e.amount_minor) FROM entry e \
         JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
         WHERE e.tenant_id = j.tenant_id AND e.journal_id = j.id AND a.code = 5030) <> \
         (SELECT COALESCE(SUM(x.amount_minor), 0) FROM attribution_adjustment x \
         WHERE x.tenant_id = j.tenant_id AND x.journal_id = j.id) + \
         (SELECT COALESCE(SUM(x.amount_minor - x.reversed_minor), 0) FROM tier_adjustment x \
         WHERE x.tenant_id = j.tenant_id AND x.journal_id = j.id) + \
         (SELECT COALESCE(SUM(w.amount_minor), 0) FROM award w \
         WHERE w.tenant_id = j.tenant_id AND w.journal_id = j.id) + \
         (SELECT COALESCE(SUM(l.amount_minor), 0) FROM conversion_change h JOIN conversion_change_line l \
         ON l.tenant_id = h.tenant_id AND l.change_id = h.id WHERE h.tenant_id = j.tenant_id AND h.journal_id = j.id)",
    )
    .await;
}

/// What changes did to a commission.
fn changed(which: &str) -> String {
    format!(
        "(SELECT COALESCE(SUM(l.amount_minor), 0) FROM conversion_change_line l JOIN conversion_change h \
         ON h.tenant_id = l.tenant_id AND h.id = l.change_id WHERE l.tenant_id = c.tenant_id AND l.commission_id = c.id \
         AND {which})"
    )
}

/// What was taken back is what reversals took, each once, and is in the ledger where the commission is.
async fn reversals(empty: &impl AsyncFn(&str, &str)) {
    empty(
        "commissions of which other amounts were taken back than reversals say",
        &format!(
            "SELECT c.id FROM commission c WHERE c.status <> 'REJECTED' AND c.reversed_minor <> -{} + \
             (SELECT COALESCE(SUM(x.reversed_minor), 0) FROM tier_adjustment x WHERE x.tenant_id = c.tenant_id \
             AND x.conversion_id = c.conversion_id AND x.affiliate_id = c.affiliate_id AND {SAME_BASE} \
             AND x.recorded_at >= c.created_at)",
            changed("h.kind IN ('REVERSAL', 'UNDO')")
        ),
    )
    .await;
    let of_sale = |kinds: &str| {
        format!(
            "(SELECT COALESCE(SUM(h.sale_minor), 0) FROM conversion_change h WHERE h.tenant_id = v.tenant_id \
             AND h.conversion_id = v.id AND h.kind IN ({kinds}))"
        )
    };
    empty(
        "conversions whose sale is not what changes made of it",
        &format!(
            "SELECT v.id FROM conversion v WHERE v.refunded_minor <> -{} OR v.sale_adjusted_minor <> {}",
            of_sale("'REVERSAL', 'UNDO'"),
            of_sale("'ADJUSTMENT'")
        ),
    )
    .await;
    empty(
        "conversions that are taken back and not whole, or whole and not taken back",
        "SELECT v.id FROM conversion v WHERE v.sale_minor + v.sale_adjusted_minor > 0 AND v.status <> 'REJECTED' \
         AND (v.status = 'REVERSED') <> (v.refunded_minor = v.sale_minor + v.sale_adjusted_minor)",
    )
    .await;
    empty(
        "commissions of conversions that are taken back, of which something is left",
        "SELECT c.id FROM commission c JOIN conversion v ON v.tenant_id = c.tenant_id AND v.id = c.conversion_id \
         WHERE (v.status = 'REVERSED') <> (c.status = 'REVERSED') \
         OR (c.status = 'REVERSED' AND c.reversed_minor <> c.amount_minor + c.adjusted_minor)",
    )
    .await;
    empty(
        "undone changes that did not give what was taken",
        "SELECT h.id FROM conversion_change h JOIN conversion_change u ON u.tenant_id = h.tenant_id AND u.undoes_id = h.id \
         WHERE h.sale_minor <> -u.sale_minor OR h.conversion_id <> u.conversion_id OR h.kind <> 'REVERSAL'",
    )
    .await;
    let expense = "SELECT SUM(e.amount_minor) FROM entry e JOIN account a ON a.tenant_id = e.tenant_id \
        AND a.id = e.account_id WHERE e.tenant_id = j.tenant_id AND e.journal_id = j.id AND a.code IN (5000, 5020)";
    empty(
        "reversal journals that are not what their change did",
        &format!(
            "SELECT j.id FROM journal j WHERE j.kind = 'REVERSAL' AND ({expense}) IS DISTINCT FROM \
             (SELECT SUM(l.amount_minor) FROM conversion_change h JOIN conversion_change_line l \
             ON l.tenant_id = h.tenant_id AND l.change_id = h.id \
             WHERE h.tenant_id = j.tenant_id AND h.journal_id = j.id)"
        ),
    )
    .await;
}

/// What a payout pays.
const NET: &str = "p.gross_minor - p.tax_minor - p.fee_minor";

/// A payout's journals are those that its history names.
async fn payouts(empty: &impl AsyncFn(&str, &str)) {
    let posted = |kind: &str| {
        format!(
            "(SELECT COALESCE(SUM(ABS(e.amount_minor)), 0) FROM payout_history h \
             JOIN journal j ON j.tenant_id = h.tenant_id AND j.id = h.journal_id \
             JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
             JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
             WHERE h.tenant_id = p.tenant_id AND h.payout_id = p.id AND j.kind = '{kind}' AND a.code = 2020)"
        )
    };
    let (initiated, settled, failed) = (posted("PAYOUT_INITIATED"), posted("PAYOUT_SETTLED"), posted("PAYOUT_FAILED"));
    empty(
        "payouts of which initiated is not settled, failed and open",
        &format!(
            "SELECT p.id FROM payout p WHERE {initiated} <> {settled} + {failed} + \
             CASE WHEN p.status IN ('SUBMITTED', 'IN_TRANSIT', 'UNKNOWN') THEN {NET} ELSE 0 END"
        ),
    )
    .await;
    empty(
        "payouts whose journals are not what their state says",
        &format!(
            "SELECT p.id FROM payout p WHERE {initiated} <> CASE WHEN p.submitted_at IS NULL THEN 0 ELSE {NET} END \
             OR {settled} <> CASE WHEN p.status IN ('PAID', 'RETURNED') THEN {NET} ELSE 0 END"
        ),
    )
    .await;
    empty(
        "clearing accounts that are not the sum of the open payouts",
        &format!(
            "SELECT c.tenant_id FROM (SELECT a.tenant_id, a.currency, -SUM(e.amount_minor) AS cleared FROM account a \
             JOIN entry e ON e.tenant_id = a.tenant_id AND e.account_id = a.id WHERE a.code = 2020 \
             GROUP BY a.tenant_id, a.currency) c \
             WHERE c.cleared <> (SELECT COALESCE(SUM({NET}), 0) FROM payout p WHERE p.tenant_id = c.tenant_id \
             AND p.currency = c.currency AND p.status IN ('SUBMITTED', 'IN_TRANSIT', 'UNKNOWN'))"
        ),
    )
    .await;
    empty(
        "payout journals that no step of a payout names",
        "SELECT j.id FROM journal j WHERE j.kind LIKE 'PAYOUT%' AND NOT EXISTS (SELECT 1 FROM payout_history h \
         WHERE h.tenant_id = j.tenant_id AND h.journal_id = j.id)",
    )
    .await;
    empty(
        "payouts whose history does not end where they stand, or whose steps were not told",
        "SELECT p.id FROM payout p WHERE NOT EXISTS (SELECT 1 FROM payout_history h WHERE h.tenant_id = p.tenant_id \
         AND h.payout_id = p.id AND h.version = p.version AND h.to_status = p.status) \
         OR p.version <> (SELECT COUNT(*) FROM event e WHERE e.tenant_id = p.tenant_id AND e.subject_id = p.id)",
    )
    .await;
    empty(
        "affiliates with two open payouts in a currency",
        "SELECT affiliate_id FROM payout WHERE status NOT IN ('PAID', 'FAILED', 'CANCELLED', 'RETURNED') \
         GROUP BY tenant_id, affiliate_id, currency HAVING COUNT(*) > 1",
    )
    .await;
}
