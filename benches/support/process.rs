//! What Linux says of a process.

use std::fs;

/// A number in `/proc/PID/status`: of bytes where it is one of KiB.
pub(crate) fn status(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let mut words = value.unwrap().split_whitespace();
    let number: u64 = words.next().unwrap().parse().unwrap();
    match words.next() {
        Some("kB") => number * 1024,
        _ => number,
    }
}

/// How many files it has open.
pub(crate) fn files(id: u32) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}
