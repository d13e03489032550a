//! A proxy as a process, and what it takes.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a proxy may take until it listens.
const START: Duration = Duration::from_secs(120);

/// A proxy that runs until it is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    /// Files to be removed after it.
    directory: Option<Directory>,
}

impl Process {
    /// Runs a proxy that says on stdout where it listens.
    pub(crate) fn announced(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("a proxy said {line:?}")))?;
        Ok(Self {
            address,
            child,
            directory: None,
        })
    }

    /// Runs a proxy that was told where to listen, and waits until it does. It is
    /// not found if it does not start for want of a part of it, which its log
    /// says by one of these words.
    pub(crate) fn told(
        command: &mut Command,
        address: SocketAddr,
        directory: Directory,
        wants: &[&str],
    ) -> io::Result<Self> {
        let log = directory.0.join("log");
        let file = File::create(&log)?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()?;
        let mut this = Self {
            address,
            child,
            directory: Some(directory),
        };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let is_over = this.child.try_wait()?.is_some();
            if is_over || start.elapsed() > START {
                let log = fs::read_to_string(log)?;
                return Err(match wants.iter().any(|it| log.contains(it)) {
                    true => io::Error::new(ErrorKind::NotFound, log),
                    false => io::Error::other(format!("{command:?} does not listen: {log}")),
                });
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(this)
    }

    /// The CPU time that all its threads have taken so far.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(self.file("task"))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            let running = times.split(' ').next().unwrap_or_default();
            nanos += running.parse::<u64>().map_err(io::Error::other)?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// The most memory that it has had since it started, or since
    /// [`Self::forget_peak`].
    pub(crate) fn peak_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(self.file("status"))?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib = kib.unwrap_or_default().parse::<u64>();
        Ok(kib.map_err(io::Error::other)? * 1024)
    }

    /// Where the system cannot do it, peaks are those since the start.
    pub(crate) fn forget_peak(&self) {
        let _ = fs::write(self.file("clear_refs"), "5");
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What cannot be ended any more is no concern of a benchmark.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Only then may its files go.
        drop(self.directory.take());
    }
}

/// A directory for the files of a proxy, until it is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let name = format!("proxies-bench-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Writes a file in which each `{name}` is replaced by its value.
    pub(crate) fn write(
        &self,
        name: &str,
        template: &str,
        values: &[(&str, &str)],
    ) -> io::Result<PathBuf> {
        let text = values.iter().fold(template.to_owned(), |text, value| {
            text.replace(&format!("{{{}}}", value.0), value.1)
        });
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Nobody else is likely to take it in the moment between.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
