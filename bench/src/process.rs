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
