//! What the demo tells while it runs: results on standard output; how far the loading is on standard error, as one line
//! that is overwritten on a terminal, as a line a second elsewhere.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::Mutex,
    time::{Duration, Instant},
};

/// Prints a line. A reader that is gone (`demo | head`) is no reason to stop serving.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Counts what is done, and tells.
pub struct Progress {
    what: &'static str,
    total: usize,
    started: Instant,
    overwrite: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    done: usize,
    /// What was told last, and when.
    told: Option<(usize, Instant)>,
}

impl Progress {
    pub fn new(what: &'static str, total: usize) -> Self {
        let overwrite = std::io::stderr().is_terminal();
        let state = Mutex::new(State { done: 0, told: None });
        Self { what, total, started: Instant::now(), overwrite, state }
    }

    /// Counts.
    pub fn add(&self, count: usize) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.done += count;
        let pause = if self.overwrite { Duration::from_millis(100) } else { Duration::from_secs(1) };
        if state.told.is_none_or(|(_, at)| at.elapsed() >= pause) {
            state.told = Some((state.done, Instant::now()));
            self.tell(state.done, false);
        }
    }

    /// Tells the end.
    pub fn finish(self) {
        let State { done, told } = *self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.overwrite || told.is_none_or(|(told, _)| told != done) {
            self.tell(done, true);
        }
    }

    fn tell(&self, done: usize, is_last: bool) {
        let line = line(self.what, done, self.total, self.started.elapsed());
        // A terminal that is gone is no reason to stop.
        let _ = match (self.overwrite, is_last) {
            (true, false) => write!(std::io::stderr(), "\r{line}\x1b[K"),
            (true, true) => writeln!(std::io::stderr(), "\r{line}\x1b[K"),
            (false, _) => writeln!(std::io::stderr(), "{line}"),
        };
    }
}

fn line(what: &str, done: usize, total: usize, elapsed: Duration) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let millis = elapsed.as_millis().max(1);
    let per_second = done as u128 * 1_000 / millis;
    format!(
        "{what}: {done} of {total} ({percent} %), {}.{} s, {per_second} per second",
        millis / 1_000,
        millis % 1_000 / 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_tells_share_and_pace() {
        let two_seconds = Duration::from_millis(2_050);
        assert_eq!(line("orders", 500, 1_000, two_seconds), "orders: 500 of 1000 (50 %), 2.0 s, 243 per second");
        assert_eq!(line("orders", 0, 0, Duration::ZERO), "orders: 0 of 0 (100 %), 0.0 s, 0 per second");
    }
}
