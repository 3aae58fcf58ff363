//! What a process has used, from `/proc`.

use std::{fs, time::Duration};

use crate::BenchError;

/// Processor time so far, user and system.
///
/// # Errors
/// When the process is gone.
pub fn cpu(pid: u32) -> Result<Duration, BenchError> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
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
