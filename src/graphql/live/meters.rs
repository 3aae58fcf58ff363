//! What operators are told of live subscriptions. The names are explained in `telemetry`.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles of the counters that are met at every event, looked up once.
pub(super) struct Meters {
    pub groups: Gauge,
    pub subscribers: Gauge,
    pub executions: Counter,
    pub deliveries: Counter,
    pub conflated: Counter,
    pub overflows: Counter,
    pub lag: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            groups: gauge!("tributary_live_groups"),
            subscribers: gauge!("tributary_live_subscribers"),
            executions: counter!("tributary_live_executions_total"),
            deliveries: counter!("tributary_live_deliveries_total"),
            conflated: counter!("tributary_live_conflated_total"),
            overflows: counter!("tributary_live_overflows_total"),
            lag: histogram!("tributary_live_lag_seconds"),
        }
    }
}

/// Counts something that is there until this is dropped.
pub(super) struct Present(Gauge);

impl Present {
    pub fn in_gauge(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Counts the end of a subscription.
pub(super) fn closed(reason: &'static str) {
    counter!("tributary_live_closings_total", "reason" => reason).increment(1);
}
