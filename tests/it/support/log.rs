//! What the event log says, past the store: the truth that subscribers are measured by.

use serde_json::Value;

use super::database::Auditor;

/// One event of a conversion: its type as the API calls it, and the conversion's id.
pub type Seen = (String, String);

/// A conversion's event with the conversion as it was then.
pub struct Logged {
    pub seen: Seen,
    pub conversion: Value,
}

/// All conversion events of the only tenant that has some, in order.
pub async fn entries(auditor: &Auditor) -> Vec<Logged> {
    let rows = auditor.rows("SELECT kind, payload FROM event WHERE kind LIKE 'CONVERSION%' ORDER BY seq").await;
    rows.iter()
        .map(|row| {
            let kind: String = row.try_get_by_index(0).expect("text");
            let payload: String = row.try_get_by_index(1).expect("text");
            let mut payload: Value = serde_json::from_str(&payload).expect("JSON");
            let conversion = payload["conversion"].take();
            let id = conversion["id"].as_str().expect("an id").to_owned();
            Logged { seen: (kind.trim_start_matches("CONVERSION_").to_owned(), id), conversion }
        })
        .collect()
}

/// As `entries`, without the conversions.
pub async fn all(auditor: &Auditor) -> Vec<Seen> {
    entries(auditor).await.into_iter().map(|entry| entry.seen).collect()
}

/// The log from a subscriber's first event on: what it has to have seen.
pub async fn since_first_of(auditor: &Auditor, seen: &[Seen]) -> Vec<Seen> {
    let first = seen.first().expect("something was seen");
    let mut log = all(auditor).await;
    let start = log.iter().position(|entry| entry == first).expect("what was seen is in the log");
    log.split_off(start)
}

/// Demands that a subscriber saw the log from its first event on: every event, once, in order.
pub async fn assert_saw_everything(auditor: &Auditor, seen: &[Seen]) {
    assert_same(seen, &since_first_of(auditor, seen).await);
}

/// Compares without printing thousands of ids.
pub fn assert_same(seen: &[Seen], expected: &[Seen]) {
    let differs = seen.iter().zip(expected).position(|(seen, expected)| seen != expected);
    assert!(
        differs.is_none() && seen.len() == expected.len(),
        "saw {} events, expected {}; the first difference is at {differs:?}",
        seen.len(),
        expected.len(),
    );
}
