//! What those who act at once asked for, and what is there of it when all are at rest: of what was refused, nothing;
//! and no more in all than what was done has written.
//!
//! Nobody can say what tables held just before one of several operations. So each has a mark of its own, as a text
//! that is kept with what it does, and as its idempotency key.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tributary_entity::ids::ConversionId;

use crate::{isolation::catalogue, support::TestApp};

/// How marks begin; the digits of a UUID follow.
const MARK: &str = "asked-";
const MARK_LENGTH: usize = MARK.len() + 32;
/// Of each operation, so much of what was refused is asked for again.
const AGAIN: usize = 2;
/// What keeps the marks of reviews, in a row for each conversion that they moved.
const REVIEWED: &str = "conversion_history";

/// Operations that are marked, in which text of their input, and the table that keeps it: in one row, but for reviews.
const KEPT: [(&str, &str, &str); 18] = [
    ("recordConversions", "orderId", "conversion"),
    ("recordRevenue", "reference", "revenue_record"),
    ("approveConversions", "note", REVIEWED),
    ("rejectConversions", "note", REVIEWED),
    ("reopenConversions", "note", REVIEWED),
    ("refundConversion", "note", "conversion_change"),
    ("undoReversal", "note", "conversion_change"),
    ("adjustConversion", "note", "conversion_change"),
    ("convertBalance", "note", "fx_conversion"),
    ("writeOffDebt", "reason", "event"),
    ("recordDeposit", "reference", "journal"),
    ("postBonus", "reason", "award"),
    ("postAdjustment", "reason", "award"),
    ("markPayoutPaid", "reference", "payout_history"),
    ("markPayoutFailed", "reason", "payout_history"),
    ("markPayoutReturned", "reason", "payout_history"),
    ("createPayoutBatch", "note", "payout_batch"),
    ("applyAttribution", "reason", "attribution_run"),
];

/// What each of these operations writes one row of that was done, and nobody else any.
const WRITTEN: [(&[&str], &[&str]); 14] = [
    (&["recordConversions"], &["conversion WHERE 1 = 1", "conversion_history WHERE from_status IS NULL"]),
    (&["recordRevenue"], &["revenue_record WHERE 1 = 1"]),
    (&["refundConversion"], &["conversion_change WHERE kind = 'REVERSAL'", "event WHERE kind = 'CONVERSION_REVERSED'"]),
    (&["undoReversal"], &["conversion_change WHERE kind = 'UNDO'", "event WHERE kind = 'CONVERSION_RESTORED'"]),
    (
        &["adjustConversion"],
        &["conversion_change WHERE kind = 'ADJUSTMENT'", "event WHERE kind = 'CONVERSION_ADJUSTED'"],
    ),
    (
        &["convertBalance"],
        &[
            "fx_conversion WHERE 1 = 1",
            "journal WHERE kind = 'FX_CONVERSION'",
            "event WHERE kind = 'BALANCE_CONVERTED'",
        ],
    ),
    (&["writeOffDebt"], &["journal WHERE kind = 'WRITE_OFF'"]),
    (&["recordDeposit"], &["journal WHERE kind = 'DEPOSIT'"]),
    (&["writeOffDebt", "recordDeposit"], &["event WHERE kind = 'JOURNAL_POSTED'"]),
    (&["postBonus", "postAdjustment"], &["award WHERE author <> 'system'"]),
    (&["markPayoutPaid"], &["payout_history WHERE to_status = 'PAID' AND actor <> 'system'"]),
    (&["markPayoutFailed"], &["payout_history WHERE to_status = 'FAILED' AND actor <> 'system'"]),
    (&["markPayoutReturned"], &["payout_history WHERE to_status = 'RETURNED' AND actor <> 'system'"]),
    (&["createPayoutBatch"], &["payout_batch WHERE 1 = 1"]),
];

/// Rows that no operation accounts for.
const NOBODYS: [(&str, &str); 2] = [
    (
        "steps of conversions by a person who was not asked to take them",
        "conversion_history t WHERE t.actor <> 'system' AND t.from_status IS NOT NULL \
         AND (t.note IS NULL OR t.note NOT LIKE 'asked-%')",
    ),
    (
        "journals of awards that there are not",
        "journal t WHERE t.kind IN ('BONUS', 'COMMISSION') AND NOT EXISTS \
         (SELECT 1 FROM award w WHERE w.tenant_id = t.tenant_id AND w.journal_id = t.id)",
    ),
];

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused,
    /// It may be done, and what it came to could not be read.
    Unknown,
}

impl Outcome {
    /// By the refusals of an item of a batch.
    fn of(errors: &Value) -> Self {
        if *errors == json!([]) {
            Self::Done
        } else if errors[0]["code"] == "UNAVAILABLE" {
            Self::Unknown
        } else {
            Self::Refused
        }
    }
}

/// Where an operation is marked, and what keeps that.
fn kept(name: &str) -> Option<(&'static str, &'static str)> {
    KEPT.iter().find(|(known, ..)| *known == name).map(|(_, field, table)| (*field, *table))
}

fn is_review(name: &str) -> bool {
    kept(name).is_some_and(|(_, table)| table == REVIEWED)
}

/// What is selected of an operation's payload to tell what came of it.
pub fn selected(name: &str) -> &'static str {
    if is_review(name) { "items { id userErrors { code } }" } else { "" }
}

/// Marks an operation, or each item of a batch; the marks.
pub fn mark(name: &str, input: &mut Value) -> Vec<String> {
    let Some((field, table)) = kept(name) else { return Vec::new() };
    let one = |input: &mut Value| {
        let mark = format!("{MARK}{}", uuid::Uuid::new_v4().simple());
        input[field] = json!(mark);
        // Records are known by their reference alone. A review is no refusal where it moves nothing, and keeps its key.
        if table != "revenue_record" && table != REVIEWED {
            input["idempotencyKey"] = json!(mark);
        }
        mark
    };
    if input.get("items").is_some() {
        input["items"].as_array_mut().expect("items").iter_mut().map(one).collect()
    } else {
        vec![one(input)]
    }
}

/// An operation that was asked for, or an item of a batch. A review that moves nothing is refused.
struct Asking {
    name: String,
    mark: String,
    outcome: Outcome,
    /// The conversions that a review moved.
    moved: BTreeSet<String>,
    /// The input for what was refused of it.
    again: Option<Value>,
}

/// All that was asked for, in the order of the answers.
#[derive(Default)]
pub struct Asked(Mutex<Vec<Asking>>);

impl Asked {
    /// Notes what came of what was asked for with these marks.
    pub async fn note(&self, name: &str, marks: Vec<String>, mut input: Value, outcome: Outcome, payload: &Value) {
        let asking =
            |mark, outcome| Asking { name: name.to_owned(), mark, outcome, moved: BTreeSet::new(), again: None };
        let mut asked = self.0.lock().await;
        if input.get("items").is_some() {
            for (number, mark) in marks.into_iter().enumerate() {
                let of_item = match outcome {
                    Outcome::Done => Outcome::of(&payload["items"][number]["userErrors"]),
                    outcome => outcome,
                };
                asked.push(asking(mark, of_item));
            }
            return;
        }
        let Some(mark) = marks.into_iter().next() else { return };
        let mut one = asking(mark, outcome);
        if is_review(name) && outcome == Outcome::Done {
            let mut refused = Vec::new();
            for item in payload["items"].as_array().expect("items") {
                if Outcome::of(&item["userErrors"]) == Outcome::Done {
                    one.moved.insert(item["id"].as_str().expect("an id").to_owned());
                } else {
                    refused.push(item["id"].clone());
                }
            }
            if one.moved.is_empty() {
                one.outcome = Outcome::Refused;
            }
            if !refused.is_empty() {
                input["ids"] = Value::Array(refused);
                one.again = Some(input);
            }
        } else if outcome == Outcome::Refused {
            one.again = Some(input);
        }
        asked.push(one);
    }

    /// What came of what was asked for last.
    pub async fn last(&self) -> Option<Outcome> {
        self.0.lock().await.last().map(|asking| asking.outcome)
    }

    /// Some of what was refused, the last of each operation, as it was asked for.
    pub async fn refused(&self) -> Vec<(String, Value)> {
        let asked = self.0.lock().await;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut chosen = Vec::new();
        for Asking { name, again, .. } in asked.iter().rev() {
            let Some(input) = again else { continue };
            let count = counts.entry(name.as_str()).or_default();
            if *count < AGAIN {
                *count += 1;
                chosen.push((name.clone(), input.clone()));
            }
        }
        chosen
    }

    /// Demands of the home tenant, at rest, that what was done is there once, what was refused nowhere, of what nobody
    /// could read the one or the other, and beside it nothing that others than the clock write. How much was refused.
    pub async fn check(&self, app: &TestApp) -> usize {
        let asked = self.0.lock().await;
        let (found, moved) = (found(app).await, moved(app).await);
        let (nowhere, nothing) = (Vec::new(), BTreeSet::new());
        let mut done: BTreeMap<&str, usize> = BTreeMap::new();
        for Asking { name, mark, outcome, moved: expected, .. } in asked.iter() {
            let (_, table) = kept(name).expect("is marked");
            let tables = found.get(mark).unwrap_or(&nowhere);
            let rows = tables.iter().filter(|known| *known == table).count();
            let once = if is_review(name) { expected.len() } else { 1 };
            match outcome {
                Outcome::Done => assert_eq!(rows, once, "{name} is in {table} once, not in {tables:?}"),
                Outcome::Refused => assert!(tables.is_empty(), "{name} was refused, and is in {tables:?}"),
                Outcome::Unknown => assert!(rows > 0 || tables.is_empty(), "{name} is done in part: {tables:?}"),
            }
            if is_review(name) && *outcome != Outcome::Unknown {
                assert_eq!(moved.get(mark).unwrap_or(&nothing), expected, "{name} moves what it says");
            }
            *done.entry(name.as_str()).or_default() += usize::from(rows > 0);
        }
        let tenant = app.auditor.literal(app.home.uuid());
        for (names, written) in WRITTEN {
            let count: usize = names.iter().filter_map(|name| done.get(name)).sum();
            for rows in written {
                let sql = format!("SELECT COUNT(*) FROM {rows} AND tenant_id = {tenant}");
                let expected = i64::try_from(count).expect("a number");
                assert_eq!(app.auditor.number(&sql).await, expected, "{rows} is what {names:?} wrote");
            }
        }
        for (what, rows) in NOBODYS {
            let sql = format!("SELECT COUNT(*) FROM {rows} AND t.tenant_id = {tenant}");
            assert_eq!(app.auditor.number(&sql).await, 0, "{what}");
        }
        asked.iter().filter(|asking| asking.outcome == Outcome::Refused).count()
    }
}

/// The marks that are anywhere in the database: the table of each row that has one.
async fn found(app: &TestApp) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for table in catalogue::tables(&app.auditor).await {
        let line = if app.auditor.is_postgres() {
            "t::text".to_owned()
        } else {
            let named = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
            let columns = catalogue::texts(&app.auditor, &named).await;
            columns.iter().map(|column| format!("quote({column})")).collect::<Vec<_>>().join(" || ")
        };
        let lines = format!("SELECT {line} AS line FROM {table} t");
        let sql = format!("SELECT line FROM ({lines}) x WHERE line LIKE '%{MARK}%'");
        for line in catalogue::texts(&app.auditor, &sql).await {
            let places = line.match_indices(MARK);
            let marks: BTreeSet<&str> = places.filter_map(|(at, _)| line.get(at..at + MARK_LENGTH)).collect();
            for mark in marks {
                found.entry(mark.to_owned()).or_default().push(table.clone());
            }
        }
    }
    found
}

/// The conversions that have a step in their history with each mark.
async fn moved(app: &TestApp) -> BTreeMap<String, BTreeSet<String>> {
    let sql = format!("SELECT note, conversion_id FROM {REVIEWED} WHERE note LIKE '{MARK}%'");
    let mut moved: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in app.auditor.rows(&sql).await {
        let note: String = row.try_get("", "note").expect("a note");
        let conversion: ConversionId = row.try_get("", "conversion_id").expect("an id");
        moved.entry(note).or_default().insert(conversion.to_string());
    }
    moved
}
