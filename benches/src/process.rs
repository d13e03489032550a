//! A server process, and its CPU time, memory and files.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A server that runs until it is dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts a server that prints on stdout where it listens.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("it printed {line:?}")))?;
        Ok(Self { address, child })
    }

    /// Takes over a server that listens at this address already.
    pub fn listening(child: Child, address: SocketAddr) -> Self {
        Self { address, child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the CPU time that all its threads have used.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            let running = times.split(' ').next().unwrap_or_default();
            nanos += running.parse::<u64>().map_err(io::Error::other)?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resets the peak of its memory, `VmHWM`, where the system can.
    pub fn reset_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.id()), "5");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a number of `/proc/ID/status`, in bytes where that has KiB.
pub fn status(id: u32, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let mut words = value.unwrap_or_default().split_whitespace();
    let number = words.next().unwrap_or_default().parse::<u64>();
    let unit = if words.next() == Some("kB") { 1024 } else { 1 };
    Ok(number.map_err(io::Error::other)? * unit)
}

/// Returns the number of open files.
pub fn open_files(id: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{id}/fd"))?.count())
}
