//! What a process has used, from `/proc`.

use std::{fs, time::Duration};

use crate::BenchError;

/// Processor time so far, user and system.
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: u32) -> Result<Duration, BenchError> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks: u64 = numbers(&stat).iter().skip(10).take(2).sum();
    // USER_HZ is 100 on every Linux that Rust runs on.
    Ok(Duration::from_millis(ticks * 10))
}

/// Processes that work on the same: a server, its database where that is the benchmark's own, and this client.
#[derive(Clone, Copy)]
pub struct Together {
    pub server: u32,
    pub database: Option<u32>,
}

/// Processor time of server, database and client.
pub type Used = [Duration; 3];

impl Together {
    /// So far.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn used(self) -> Result<Used, BenchError> {
        let of_database = self.database.map_or(Ok(Duration::ZERO), cpu_of_family)?;
        Ok([cpu(self.server)?, of_database, cpu(std::process::id())?])
    }

    /// Microseconds since then, for each of so many.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn each(self, before: Used, count: usize) -> Result<[f64; 3], BenchError> {
        Ok(micros_each(before, self.used()?, count))
    }
}

fn micros_each(before: Used, after: Used, count: usize) -> [f64; 3] {
    let each = |part: usize| after[part].saturating_sub(before[part]).as_secs_f64() * 1e6 / count.max(1) as f64;
    [each(0), each(1), each(2)]
}

/// Resident memory in bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> Result<u64, BenchError> {
    memory(pid, "VmRSS:")
}

/// The most resident memory since [`forget_peak`], in bytes.
///
/// # Errors
/// When the process is gone.
pub fn peak(pid: u32) -> Result<u64, BenchError> {
    memory(pid, "VmHWM:")
}

/// Measures [`peak`] from now on.
///
/// # Errors
/// When the process is gone.
pub fn forget_peak(pid: u32) -> Result<(), BenchError> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn memory(pid: u32, name: &str) -> Result<u64, BenchError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    Ok(kilobytes.unwrap_or(0) * 1024)
}

/// As [`cpu`], of a process and the children that it has and had.
///
/// # Errors
/// When the process is gone.
pub fn cpu_of_family(pid: u32) -> Result<Duration, BenchError> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has just ended is among those that its parent had.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let fields: Vec<u64> = numbers(&stat);
        let field = |number: usize| fields.get(number).copied().unwrap_or(0);
        if process == pid {
            ticks += field(10) + field(11) + field(12) + field(13);
        } else if field(0) == u64::from(pid) {
            ticks += field(10) + field(11);
        }
    }
    Ok(Duration::from_millis(ticks * 10))
}

/// The fields of a process's state that follow the letter of it: the first is the parent, the 11th to 14th are times, of
/// its own and of children that ended.
fn numbers(stat: &str) -> Vec<u64> {
    // The name in parentheses may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    fields.skip(1).map(|field| field.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_is_told_for_each() {
        let seconds = |all: [u64; 3]| all.map(Duration::from_secs);
        assert_eq!(micros_each(seconds([1, 0, 5]), seconds([3, 0, 4]), 1_000), [2_000.0, 0.0, 0.0]);
        assert_eq!(micros_each(seconds([0, 0, 0]), seconds([1, 1, 1]), 0), [1e6; 3]);
    }

    #[test]
    fn fields_of_a_state_begin_behind_a_name_with_spaces() {
        assert_eq!(numbers("12 (a (b) c) S 34 5 6"), [34, 5, 6]);
    }
}
