//! Facts that must agree, each a select of the rows of the tenant `$1` where they do not: `subject`, `expected`, `found`.
//! `$2` is the instant from which clicks are kept.
//!
//! # Adding one
//! A line in [`checks`], with a stable name. What a table of sums must be belongs into [`super::projections`] instead,
//! which also restores it.

use sea_orm::DbBackend;
use tributary_entity::money::Currency;

use super::payouts;
use crate::store::dialect;

/// From when on every node knows of a cap, and every batch that did not has ended; with clocks that are minutes apart.
const CAP_KNOWN_MINUTES: u32 = 5;

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
                 WHERE s.tenant_id = $1 AND v.status IN ('REJECTED', 'REVERSED')",
                id("v.id")
            ),
        ),
    ];
    checks.extend(conversions(backend));
    checks.extend(commissions(backend));
    checks.extend(overrides(backend));
    checks.extend(changes(backend));
    checks.extend(exchanges(backend));
    checks.extend(revenue(backend));
    checks.extend(payouts::checks(backend));
    checks.extend(beside(backend));
    checks.extend(clicks(backend));
    checks
}

/// A conversion's journals are those of its state, and never take back more than was posted.
fn conversions(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = dialect::id_text(backend, "v.id");
    vec![
        (
            "CONVERSION_NOT_POSTED",
            format!(
                "SELECT 'conversion ' || {id} AS subject, 'a journal' AS expected, v.status || ', none' AS found \
                 FROM conversion v WHERE v.tenant_id = $1 AND EXISTS (SELECT 1 FROM commission c \
                 WHERE c.tenant_id = v.tenant_id AND c.conversion_id = v.id \
                 AND c.status IN ('PENDING', 'AVAILABLE') AND c.amount_minor + c.adjusted_minor > c.reversed_minor) \
                 AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.tenant_id = v.tenant_id AND j.conversion_id = v.id)"
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

/// What affiliates have in their hold period is what their commissions are, and what was changed of those adds up.
fn commissions(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = dialect::id_text(backend, "c.id");
    vec![
        (
            "PENDING",
            format!(
                "SELECT 'account ' || {} AS subject, CAST(COALESCE(c.amount, 0) AS text) AS expected, \
                 CAST(b.amount_minor AS text) AS found FROM account a \
                 JOIN balance b ON b.tenant_id = a.tenant_id AND b.account_id = a.id \
                 LEFT JOIN (SELECT affiliate_id, currency, SUM(amount_minor + adjusted_minor - reversed_minor) AS amount \
                 FROM (SELECT affiliate_id, currency, amount_minor, adjusted_minor, reversed_minor FROM commission \
                 WHERE tenant_id = $1 AND status = 'PENDING' UNION ALL SELECT affiliate_id, currency, amount_minor, 0, 0 \
                 FROM award WHERE tenant_id = $1 AND status = 'PENDING') held GROUP BY affiliate_id, currency) c \
                 ON c.affiliate_id = a.affiliate_id AND c.currency = a.currency \
                 WHERE a.tenant_id = $1 AND a.code = 2000 AND b.amount_minor <> COALESCE(c.amount, 0)",
                dialect::id_text(backend, "a.id")
            ),
        ),
        // A commission that a run made is what the run gave. What was added since is `adjusted_minor`, a projection.
        (
            "COMMISSION_OF_RUN",
            format!(
                "SELECT 'commission ' || {} AS subject, CAST(x.amount_minor AS text) AS expected, \
                 CAST(r.amount_minor AS text) AS found FROM commission r JOIN attribution_adjustment x \
                 ON x.tenant_id = r.tenant_id AND x.conversion_id = r.conversion_id \
                 AND {SAME_EARNER} AND x.recorded_at = r.created_at \
                 WHERE r.tenant_id = $1 AND x.amount_minor <> r.amount_minor",
                dialect::id_text(backend, "r.id")
            ),
        ),
        (
            "COMMISSION_REVERSED",
            format!(
                "SELECT 'commission ' || {id} AS subject, v.status AS expected, c.status || ', ' || \
                 CAST(c.amount_minor + c.adjusted_minor - c.reversed_minor AS text) AS found FROM commission c \
                 JOIN conversion v ON v.tenant_id = c.tenant_id AND v.id = c.conversion_id WHERE c.tenant_id = $1 \
                 AND ((v.status = 'REVERSED') <> (c.status = 'REVERSED') \
                 OR (c.status = 'REVERSED' AND c.reversed_minor <> c.amount_minor + c.adjusted_minor))"
            ),
        ),
    ]
}

/// An adjustment `x` is of the commission `r`, where both are of one affiliate and conversion: an affiliate has one of its
/// own, and one on top of each that is another's. The affiliate is within an expression, so that no index of affiliates is
/// taken for it: SQLite would take that rather than the conversion's, and go through all that an affiliate ever had.
const SAME_EARNER: &str = "COALESCE(r.affiliate_id, x.affiliate_id) = x.affiliate_id \
     AND COALESCE(x.base_affiliate_id, x.affiliate_id) = COALESCE(r.base_affiliate_id, r.affiliate_id)";

/// Overrides are on a commission of their conversion and stand where it stands, and what is approved was spent from the
/// account of its level.
fn overrides(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = |column: &str| dialect::id_text(backend, column);
    // What a commission was when its conversion was approved: what it is, less what was posted since.
    let moved = format!(
        "SELECT r.id, x.amount_minor FROM commission r JOIN attribution_adjustment x ON x.tenant_id = r.tenant_id \
         AND x.conversion_id = r.conversion_id AND {SAME_EARNER} \
         WHERE r.tenant_id = $1 AND x.journal_id IS NOT NULL \
         UNION ALL SELECT r.id, x.amount_minor - x.reversed_minor FROM commission r JOIN tier_adjustment x \
         ON x.tenant_id = r.tenant_id AND x.conversion_id = r.conversion_id \
         AND {SAME_EARNER} WHERE r.tenant_id = $1 AND x.journal_id IS NOT NULL \
         UNION ALL SELECT l.commission_id, l.amount_minor FROM conversion_change_line l JOIN conversion_change h \
         ON h.tenant_id = l.tenant_id AND h.id = l.change_id WHERE l.tenant_id = $1 AND h.journal_id IS NOT NULL"
    );
    let approved = |code: i32, levels: &str| {
        let facts = format!(
            "SELECT c.conversion_id, c.amount_minor + c.adjusted_minor - c.reversed_minor AS amount_minor \
             FROM commission c JOIN conversion v ON v.tenant_id = c.tenant_id AND v.id = c.conversion_id \
             WHERE c.tenant_id = $1 AND v.approved_at IS NOT NULL AND c.level {levels} \
             UNION ALL SELECT c.conversion_id, -x.amount_minor FROM commission c \
             JOIN ({moved}) x ON x.id = c.id WHERE c.tenant_id = $1 AND c.level {levels}"
        );
        let entries = format!(
            "SELECT j.conversion_id, e.amount_minor FROM journal j \
             JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
             JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
             WHERE j.tenant_id = $1 AND j.kind = 'CONVERSION_APPROVED' AND a.code = {code}"
        );
        format!(
            "SELECT 'conversion ' || {} AS subject, CAST(COALESCE(x, 0) AS text) || ' at {code}' AS expected, \
             CAST(COALESCE(p, 0) AS text) AS found FROM ({}) sides WHERE COALESCE(x, 0) <> COALESCE(p, 0)",
            id("conversion_id"),
            sides("conversion_id", &facts, &entries)
        )
    };
    vec![
        // By the index of conversions, as with `SAME_EARNER`.
        (
            "OVERRIDE",
            format!(
                "SELECT 'commission ' || {} AS subject, 'a commission below that is ' || c.status AS expected, \
                 COALESCE(b.status, 'none') AS found FROM commission c LEFT JOIN commission b \
                 ON b.tenant_id = c.tenant_id AND b.conversion_id = c.conversion_id AND b.level = 0 \
                 AND COALESCE(b.affiliate_id, c.base_affiliate_id) = c.base_affiliate_id WHERE c.tenant_id = $1 AND c.level > 0 \
                 AND COALESCE(b.status, '') <> c.status",
                id("c.id")
            ),
        ),
        ("APPROVED_OWN", approved(5000, "= 0")),
        ("APPROVED_OVERRIDES", approved(5020, "> 0")),
    ]
}

/// Changes of conversions are posted once, each with what it did, and undone by their opposite.
fn changes(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = |column: &str| dialect::id_text(backend, column);
    let by_runs = "SELECT journal_id, amount_minor FROM attribution_adjustment \
        WHERE tenant_id = $1 AND journal_id IS NOT NULL";
    // What is left of it: the rest belongs to what was taken back already.
    let by_tiers = "SELECT journal_id, amount_minor - reversed_minor FROM tier_adjustment \
        WHERE tenant_id = $1 AND journal_id IS NOT NULL";
    // The lines of commissions on some levels; of the others, nothing.
    let by_changes = |kinds: &str, levels: &str| {
        format!(
            "SELECT h.journal_id, CASE WHEN COALESCE(c.level, 0) {levels} THEN l.amount_minor ELSE 0 END AS amount_minor \
             FROM conversion_change h \
             JOIN conversion_change_line l ON l.tenant_id = h.tenant_id AND l.change_id = h.id \
             LEFT JOIN commission c ON c.tenant_id = l.tenant_id AND c.id = l.commission_id \
             WHERE h.tenant_id = $1 AND h.journal_id IS NOT NULL AND h.kind IN ({kinds})"
        )
    };
    // What the expense of a kind of journals is, against what made them.
    let posted = |kind: &str, codes: &str, facts: &str| {
        let entries = format!(
            "SELECT j.id AS journal_id, CASE WHEN a.code IN ({codes}) THEN e.amount_minor ELSE 0 END AS amount_minor \
             FROM journal j JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
             JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
             WHERE j.tenant_id = $1 AND j.kind = '{kind}'"
        );
        format!(
            "SELECT 'journal ' || {} AS subject, COALESCE(CAST(x AS text), 'no such journal') AS expected, \
             COALESCE(CAST(p AS text), 'nothing') AS found FROM ({}) sides \
             WHERE COALESCE(x <> p, x IS NOT NULL OR p IS NOT NULL)",
            id("journal_id"),
            sides("journal_id", facts, &entries)
        )
    };
    let by_awards = "SELECT journal_id, amount_minor FROM award WHERE tenant_id = $1 AND kind = 'ADJUSTMENT'";
    let by_changed = by_changes("'ADJUSTMENT'", ">= 0");
    let adjustments = format!("{by_runs} UNION ALL {by_tiers} UNION ALL {by_awards} UNION ALL {by_changed}");
    vec![
        // What is refused or taken back in full counts nowhere.
        (
            "TIER_SHARE",
            format!(
                "SELECT 'conversion ' || {} AS subject, v.status AS expected, \
                 CASE WHEN s.is_counted THEN 'counted by a tier, ' ELSE 'not counted by a tier, ' END \
                 || CAST(s.sale_minor AS text) AS found FROM tier_share s \
                 JOIN conversion v ON v.tenant_id = s.tenant_id AND v.id = s.conversion_id WHERE s.tenant_id = $1 \
                 AND (v.status = 'REJECTED' OR (v.status = 'REVERSED') = s.is_counted \
                 OR (v.status = 'REVERSED' AND s.sale_minor <> 0))",
                id("v.id")
            ),
        ),
        (
            "BONUSES",
            posted(
                "BONUS",
                "5010",
                "SELECT journal_id, amount_minor FROM award WHERE tenant_id = $1 AND kind = 'BONUS'",
            ),
        ),
        (
            "AWARDED_COMMISSIONS",
            posted(
                "COMMISSION",
                "5000",
                "SELECT journal_id, amount_minor FROM award WHERE tenant_id = $1 AND kind IN ('CLICKS', 'REVENUE')",
            ),
        ),
        ("ADJUSTMENTS", posted("ADJUSTMENT", "5030", &adjustments)),
        ("REVERSALS", posted("REVERSAL", "5000", &by_changes("'REVERSAL', 'UNDO'", "= 0"))),
        ("REVERSED_OVERRIDES", posted("REVERSAL", "5020", &by_changes("'REVERSAL', 'UNDO'", "> 0"))),
        (
            "UNDO",
            format!(
                "SELECT 'conversion change ' || {} AS subject, CAST(-h.sale_minor AS text) AS expected, \
                 CAST(u.sale_minor AS text) AS found FROM conversion_change h \
                 JOIN conversion_change u ON u.tenant_id = h.tenant_id AND u.undoes_id = h.id WHERE h.tenant_id = $1 \
                 AND (h.sale_minor <> -u.sale_minor OR h.conversion_id <> u.conversion_id OR h.kind <> 'REVERSAL')",
                id("u.id")
            ),
        ),
        (
            "CONVERSION_REVERSED",
            format!(
                "SELECT 'conversion ' || {} AS subject, v.status AS expected, CAST(v.refunded_minor AS text) || ' of ' || \
                 CAST(v.sale_minor + v.sale_adjusted_minor AS text) AS found FROM conversion v \
                 WHERE v.tenant_id = $1 AND v.sale_minor + v.sale_adjusted_minor > 0 AND v.status <> 'REJECTED' \
                 AND (v.status = 'REVERSED') <> (v.refunded_minor = v.sale_minor + v.sale_adjusted_minor)",
                id("v.id")
            ),
        ),
    ]
}

/// What was converted between currencies is what affiliates gave and got, and what the tenant's position is.
fn exchanges(backend: DbBackend) -> Vec<(&'static str, String)> {
    let facts = "SELECT affiliate_id, from_currency AS currency, -from_minor AS amount_minor FROM fx_conversion \
        WHERE tenant_id = $1 UNION ALL \
        SELECT affiliate_id, to_currency, to_minor FROM fx_conversion WHERE tenant_id = $1";
    let entries = |amount: &str, which: &str| {
        format!(
            "SELECT a.affiliate_id, e.currency, {amount} AS amount_minor \
             FROM journal j JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
             JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
             WHERE j.tenant_id = $1 AND j.kind = 'FX_CONVERSION' AND {which}"
        )
    };
    let differing = |subject: &str, keys: &str, entries: &str| {
        format!(
            "SELECT {subject} AS subject, CAST(COALESCE(x, 0) AS text) AS expected, \
             CAST(COALESCE(p, 0) AS text) AS found FROM ({}) sides WHERE COALESCE(x, 0) <> COALESCE(p, 0)",
            sides(keys, facts, entries)
        )
    };
    let affiliate = format!("'affiliate ' || {} || ' ' || currency", dialect::id_text(backend, "affiliate_id"));
    vec![
        (
            "EXCHANGED",
            differing(&affiliate, "affiliate_id, currency", &entries("-e.amount_minor", "a.affiliate_id IS NOT NULL")),
        ),
        (
            "FX_POSITION",
            differing("'FX position ' || currency", "currency", &entries("e.amount_minor", "a.code = 1900")),
        ),
    ]
}

/// What facts and what was posted come to by their keys: `x` and `p`, null where there is none. Both have the keys and
/// `amount_minor`. Not a full join, which SQLite makes by looking at every pair of rows.
pub(super) fn sides(keys: &str, facts: &str, posted: &str) -> String {
    format!(
        "SELECT {keys}, SUM(x) AS x, SUM(p) AS p FROM (\
         SELECT {keys}, amount_minor AS x, CAST(NULL AS bigint) AS p FROM ({facts}) facts \
         UNION ALL SELECT {keys}, CAST(NULL AS bigint), amount_minor FROM ({posted}) posted) sides GROUP BY {keys}"
    )
}

/// Settlements of net revenue, their records, customers who qualified, and what was posted.
fn revenue(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = |column: &str| dialect::id_text(backend, column);
    vec![
        (
            "REVENUE_RECORDS",
            format!(
                "SELECT 'revenue settlement ' || {} AS subject, \
                 CAST(s.records AS text) || ' records of ' || CAST(s.ggr_minor AS text) AS expected, \
                 CAST(COUNT(r.id) AS text) || ' records of ' || CAST({} AS text) AS found FROM revenue_settlement s \
                 LEFT JOIN revenue_record r ON r.tenant_id = s.tenant_id AND r.settlement_id = s.id \
                 AND r.campaign_id = s.campaign_id AND r.affiliate_id = s.affiliate_id AND r.day < s.period_end \
                 AND r.reason IS NULL AND r.currency = s.currency \
                 WHERE s.tenant_id = $1 GROUP BY s.id, s.records, s.ggr_minor \
                 HAVING COUNT(r.id) <> s.records OR {} <> s.ggr_minor",
                id("s.id"),
                dialect::sum("r.ggr_minor"),
                dialect::sum("r.ggr_minor"),
            ),
        ),
        (
            "REVENUE_QUALIFIED",
            format!(
                "SELECT 'revenue settlement ' || {} AS subject, \
                 CAST(s.qualified AS text) || ' customers for ' || CAST(s.qualified_minor AS text) AS expected, \
                 CAST(COUNT(q.customer_id) AS text) || ' customers for ' || CAST({} AS text) AS found \
                 FROM revenue_settlement s LEFT JOIN revenue_qualification q ON q.tenant_id = s.tenant_id \
                 AND q.settlement_id = s.id AND q.affiliate_id = s.affiliate_id WHERE s.tenant_id = $1 \
                 GROUP BY s.id, s.qualified, s.qualified_minor \
                 HAVING COUNT(q.customer_id) <> s.qualified OR {} <> s.qualified_minor",
                id("s.id"),
                dialect::sum("q.amount_minor"),
                dialect::sum("q.amount_minor"),
            ),
        ),
        (
            "REVENUE_AWARD",
            format!(
                "SELECT 'revenue settlement ' || {} AS subject, \
                 CAST(s.share_minor + s.qualified_minor AS text) AS expected, \
                 COALESCE(CAST(a.amount_minor AS text), 'no award') AS found FROM revenue_settlement s \
                 LEFT JOIN award a ON a.tenant_id = s.tenant_id AND a.id = s.award_id AND a.kind = 'REVENUE' \
                 AND a.affiliate_id = s.affiliate_id AND a.currency = s.currency WHERE s.tenant_id = $1 \
                 AND COALESCE(a.amount_minor, 0) <> s.share_minor + s.qualified_minor",
                id("s.id")
            ),
        ),
    ]
}

/// What processors took is what their journals say, and what rules gave is what they promise.
fn beside(backend: DbBackend) -> Vec<(&'static str, String)> {
    let charged = "SELECT method || ':' || fee_transaction AS business_key, fee_minor AS amount_minor \
        FROM payout_transfer WHERE tenant_id = $1 AND fee_transaction IS NOT NULL";
    let entries = "SELECT j.business_key, CASE WHEN a.code = 5100 THEN e.amount_minor ELSE 0 END AS amount_minor \
        FROM journal j JOIN entry e ON e.tenant_id = j.tenant_id AND e.journal_id = j.id \
        JOIN account a ON a.tenant_id = e.tenant_id AND a.id = e.account_id \
        WHERE j.tenant_id = $1 AND j.kind = 'PROCESSOR_FEE'";
    vec![
        (
            "PROCESSOR_FEE",
            format!(
                "SELECT 'charge ' || business_key AS subject, CAST(COALESCE(x, 0) AS text) AS expected, \
                 CAST(COALESCE(p, 0) AS text) AS found FROM ({}) sides WHERE COALESCE(x, 0) <> COALESCE(p, 0)",
                sides("business_key", charged, entries)
            ),
        ),
        (
            "BONUS_GRANT",
            format!(
                "SELECT 'award ' || {} AS subject, CAST(r.amount_minor AS text) || ' ' || r.currency AS expected, \
                 COALESCE(CAST(w.amount_minor AS text) || ' ' || w.currency, 'no such bonus') AS found \
                 FROM bonus_grant g JOIN bonus_rule r ON r.tenant_id = g.tenant_id AND r.id = g.rule_id \
                 LEFT JOIN award w ON w.tenant_id = g.tenant_id AND w.id = g.award_id AND w.kind = 'BONUS' \
                 AND w.affiliate_id = g.affiliate_id WHERE g.tenant_id = $1 \
                 AND (w.id IS NULL OR w.amount_minor <> r.amount_minor OR w.currency <> r.currency)",
                dialect::id_text(backend, "g.award_id")
            ),
        ),
    ]
}

/// What clicks used of caps and earned is no more than there were, of those that are kept. Whether a cap was there already
/// is not told to the click: one that was recorded [`CAP_KNOWN_MINUTES`] later has used it. When a rate was set is not told
/// either. What they earned by each version of a rate is exact ([`super::clicks`]) and a part of all they earned; what is
/// beside it was accrued when that was not kept.
fn clicks(backend: DbBackend) -> Vec<(&'static str, String)> {
    let id = |column: &str| dialect::id_text(backend, column);
    let earning = |of: &str, more: &str| {
        format!(
            "(SELECT COUNT(*) FROM click k WHERE k.tenant_id = $1 AND k.campaign_id = {of}.campaign_id {more} \
             AND k.is_unique AND k.invalid_reason IS NULL)"
        )
    };
    // In `a`: what was ever accrued, by what is open and what is posted, and of that what the versions of rates tell.
    let accrued = |open: &str| {
        format!(
            "{open} + {} * (SELECT {} FROM award w WHERE w.tenant_id = $1 AND w.kind = 'CLICKS' \
             AND w.campaign_id = a.campaign_id AND w.affiliate_id = a.affiliate_id)",
            micros("g.currency"),
            dialect::sum("w.amount_minor")
        )
    };
    let by_rate = |column: &str| {
        format!(
            "(SELECT {} FROM click_rate_accrual x WHERE x.tenant_id = $1 AND x.campaign_id = a.campaign_id \
             AND x.affiliate_id = a.affiliate_id)",
            dialect::sum(column)
        )
    };
    vec![
        // Of a period and those after it together: where each ends is a matter of the tenant's time zone.
        (
            "CAP_CLICKS",
            format!(
                "SELECT 'cap ' || {} || ' ' || CAST(period_start AS text) AS subject, \
                 'at most ' || CAST(clicks AS text) AS expected, CAST(used AS text) AS found FROM (\
                 SELECT u.cap_id, u.period_start, (SELECT {} FROM cap_usage l WHERE l.tenant_id = u.tenant_id \
                 AND l.cap_id = u.cap_id AND l.period_start >= u.period_start) AS used, {} AS clicks FROM cap_usage u \
                 JOIN cap c ON c.tenant_id = u.tenant_id AND c.id = u.cap_id \
                 WHERE u.tenant_id = $1 AND c.metric = 'CLICKS' AND u.period_start >= $2) sums WHERE used > clicks",
                id("cap_id"),
                dialect::sum("l.used"),
                earning(
                    "c",
                    "AND (c.affiliate_id IS NULL OR k.affiliate_id = c.affiliate_id) AND k.occurred_at >= u.period_start"
                )
            ),
        ),
        // In all of its periods: a click may be forgotten, but not what it used.
        (
            "CAP_CLICKS_MISSING",
            format!(
                "SELECT 'cap ' || {} AS subject, 'at least ' || CAST(clicks AS text) AS expected, \
                 CAST(used AS text) AS found FROM (SELECT c.id, {} AS clicks, (SELECT {} FROM cap_usage u \
                 WHERE u.tenant_id = c.tenant_id AND u.cap_id = c.id) AS used FROM cap c \
                 WHERE c.tenant_id = $1 AND c.metric = 'CLICKS' AND c.status = 'ACTIVE') sums WHERE used < clicks",
                id("id"),
                earning(
                    "c",
                    &format!(
                        "AND (c.affiliate_id IS NULL OR k.affiliate_id = c.affiliate_id) AND {}",
                        dialect::is_later_by(backend, "k.recorded_at", "c.created_at", CAP_KNOWN_MINUTES)
                    )
                ),
                dialect::sum("u.used"),
            ),
        ),
        (
            "CLICK_ACCRUAL",
            format!(
                "SELECT 'clicks ' || {} || ' ' || {} AS subject, 'at most ' || CAST(most AS text) AS expected, \
                 CAST(other AS text) AS found FROM (SELECT a.campaign_id, a.affiliate_id, \
                 {} - {} AS other, ({} - {}) * \
                 (SELECT COALESCE(MAX(CASE WHEN v.kind = 'PER_MILLE' THEN v.rate_micros / 1000 ELSE v.rate_micros END), 0) \
                 FROM click_rate r JOIN click_rate_version v ON v.tenant_id = r.tenant_id AND v.rate_id = r.id \
                 WHERE r.tenant_id = $1 AND r.campaign_id = a.campaign_id \
                 AND (r.affiliate_id IS NULL OR r.affiliate_id = a.affiliate_id)) AS most FROM click_accrual a \
                 JOIN campaign g ON g.tenant_id = a.tenant_id AND g.id = a.campaign_id \
                 WHERE a.tenant_id = $1 AND g.created_at >= $2) sums WHERE other > most",
                id("campaign_id"),
                id("affiliate_id"),
                accrued("a.accrued_micros"),
                by_rate("x.accrued_micros"),
                earning("a", "AND k.affiliate_id = a.affiliate_id"),
                by_rate("x.clicks"),
            ),
        ),
        (
            "CLICK_RATES",
            format!(
                "SELECT 'clicks ' || {} || ' ' || {} AS subject, 'at least ' || CAST(rated AS text) AS expected, \
                 CAST(earned AS text) AS found FROM (SELECT a.campaign_id, a.affiliate_id, a.rated, {} AS earned FROM (\
                 SELECT campaign_id, affiliate_id, {} AS rated FROM click_rate_accrual WHERE tenant_id = $1 \
                 GROUP BY campaign_id, affiliate_id) a JOIN campaign g ON g.tenant_id = $1 AND g.id = a.campaign_id \
                 LEFT JOIN click_accrual c ON c.tenant_id = $1 AND c.campaign_id = a.campaign_id \
                 AND c.affiliate_id = a.affiliate_id) sums WHERE earned < rated",
                id("campaign_id"),
                id("affiliate_id"),
                accrued("COALESCE(c.accrued_micros, 0)"),
                dialect::sum("accrued_micros"),
            ),
        ),
    ]
}

/// Millionths of the major unit in a minor unit of a currency's column.
fn micros(column: &str) -> String {
    let mut cases = String::new();
    for exponent in [0, 3, 4] {
        let codes: Vec<String> =
            Currency::all().filter(|known| known.exponent() == exponent).map(|known| format!("'{known}'")).collect();
        if !codes.is_empty() {
            let micros = 10_i64.pow(6 - u32::from(exponent));
            cases.push_str(&format!("WHEN {column} IN ({}) THEN {micros} ", codes.join(", ")));
        }
    }
    format!("CASE {cases}ELSE 10000 END")
}
