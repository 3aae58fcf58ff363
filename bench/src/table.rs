//! The tables of measurements.

use std::fmt::Write as _;

use crate::calls::Seen;

/// One measured line of the fan-out.
pub struct FanoutLine {
    pub server: &'static str,
    pub sockets: usize,
    pub documents: usize,
    pub deliveries_per_second: f64,
    pub lost: usize,
    pub doubled: usize,
    pub cpu_micros_per_delivery: f64,
    pub from_answer_p50_ms: f64,
    pub from_answer_p99_ms: f64,
    pub from_answer_p999_ms: f64,
    pub from_send_p99_ms: f64,
    pub resident_mib: f64,
    pub kib_per_socket: f64,
}

/// The lines as a table, the ratios to the first line (the floor) behind them.
pub fn fanout(lines: &[FanoutLine]) -> String {
    let mut text = format!(
        "{:<12}{:>9}{:>7}{:>11}{:>8}{:>9}{:>11}{:>9}{:>9}{:>9}{:>9}{:>8}{:>7}\n",
        "server",
        "sockets",
        "docs",
        "deliv./s",
        "lost",
        "doubled",
        "us/deliv.",
        "ratio",
        "p50 ms",
        "p99 ms",
        "p999 ms",
        "MiB",
        "kiB/s."
    );
    let floor = lines.first().map_or(1.0, |line| line.cpu_micros_per_delivery);
    for line in lines {
        let _ = writeln!(
            text,
            "{:<12}{:>9}{:>7}{:>11.0}{:>8}{:>9}{:>11.2}{:>9.2}{:>9.1}{:>9.1}{:>9.1}{:>8.0}{:>7.1}",
            line.server,
            line.sockets,
            line.documents,
            line.deliveries_per_second,
            line.lost,
            line.doubled,
            line.cpu_micros_per_delivery,
            line.cpu_micros_per_delivery / floor,
            line.from_answer_p50_ms,
            line.from_answer_p99_ms,
            line.from_answer_p999_ms,
            line.resident_mib,
            line.kib_per_socket,
        );
    }
    text
}

/// Processor time of server, database and client in three columns; empty ones for who has none.
pub fn cost(micros: Option<[f64; 3]>) -> String {
    micros.map_or_else(
        || format!("{:>9}{:>9}{:>9}", "", "", ""),
        |[server, database, client]| format!("{server:>9.0}{database:>9.0}{client:>9.0}"),
    )
}

/// Over lines of [`rate`]: what the label is, and what is counted.
pub fn rate_head(label: &str, counted: &str) -> String {
    format!(
        "{label}{counted:>12}{:>8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "ratio", "server", "database", "client", "p50 ms", "p99 ms", "p999 ms"
    )
}

/// Who was asked how often in a second, what that cost, and how long it took.
pub fn rate(label: &str, seen: &Seen, micros: Option<[f64; 3]>, floor: &Seen) -> String {
    format!(
        "{label}{:>12.1}{:>8.2}{}{:>9.2}{:>9.2}{:>9.2}",
        seen.per_second,
        seen.per_second / floor.per_second,
        cost(micros),
        seen.at(0.5),
        seen.at(0.99),
        seen.at(0.999),
    )
}
