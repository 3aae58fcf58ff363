//! What operators are told of ingest. The names are explained in `telemetry`.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tributary_entity::{
    Instant,
    kinds::{ConversionReason, ConversionStatus},
};

use super::{Answer, Failure, Recorded};
use crate::domain::conversion::Snapshot;

/// Handles that are met by every batch, looked up once.
pub(super) struct Meters {
    /// Items that are queued or under way.
    waiting: Gauge,
    batch_items: Histogram,
    batch_seconds: Histogram,
    commit_seconds: Histogram,
    lateness_seconds: Histogram,
    clicks: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            waiting: gauge!("tributary_ingest_waiting_items"),
            batch_items: histogram!("tributary_ingest_batch_items"),
            batch_seconds: histogram!("tributary_ingest_batch_seconds"),
            commit_seconds: histogram!("tributary_ingest_commit_seconds"),
            lateness_seconds: histogram!("tributary_ingest_lateness_seconds"),
            clicks: counter!("tributary_ingest_items_total", "kind" => "click", "outcome" => "recorded"),
        }
    }
}

/// Items that wait until this is dropped.
pub(super) struct Waiting(Gauge, usize);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.decrement(self.1 as f64);
    }
}

impl Meters {
    pub fn wait(&self, items: usize) -> Waiting {
        self.waiting.increment(items as f64);
        Waiting(self.waiting.clone(), items)
    }

    /// A batch was settled, whatever became of its items.
    pub fn settled(&self, items: usize, took: Duration) {
        self.batch_items.record(items as f64);
        self.batch_seconds.record(took);
    }

    pub fn committed(&self, took: Duration) {
        self.commit_seconds.record(took);
    }

    /// What became of one item.
    pub fn answered(&self, answer: &Answer, is_click: bool) {
        match answer {
            Ok(Recorded::Click(click)) => match click.invalid_reason {
                None => self.clicks.increment(1),
                Some(_) => count(is_click, "invalid"),
            },
            Ok(Recorded::Conversion(snapshot)) => self.recorded(snapshot),
            Ok(Recorded::Replayed(_)) => count(is_click, "replayed"),
            Err(Failure::Refused(_)) => count(is_click, "refused"),
            Err(Failure::Unavailable) => count(is_click, "unavailable"),
            Err(Failure::Poison) => count(is_click, "failed"),
        }
    }

    fn recorded(&self, snapshot: &Snapshot) {
        let row = &snapshot.conversion;
        count(false, outcome(row.status, row.reason));
        self.lateness_seconds.record(late(row.recorded_at, row.occurred_at));
        let fields = [
            ("click", row.click_id.is_none()),
            ("order", row.order_id.is_none()),
            ("customer", row.customer_id.is_none()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, is_missing)| *is_missing) {
            counter!("tributary_ingest_missing_fields_total", "field" => field).increment(1);
        }
    }
}

/// Nothing where clocks differ.
fn late(recorded: Instant, occurred: Instant) -> Duration {
    (recorded - occurred).to_std().unwrap_or_default()
}

fn count(is_click: bool, outcome: &'static str) {
    let kind = if is_click { "click" } else { "conversion" };
    counter!("tributary_ingest_items_total", "kind" => kind, "outcome" => outcome).increment(1);
}

const fn outcome(status: ConversionStatus, reason: Option<ConversionReason>) -> &'static str {
    match (status, reason) {
        (ConversionStatus::Rejected, Some(ConversionReason::DuplicateOrder | ConversionReason::DuplicateClick)) => {
            "duplicate"
        }
        (ConversionStatus::Rejected, _) => "rejected",
        (ConversionStatus::Held, _) => "held",
        _ => "recorded",
    }
}
