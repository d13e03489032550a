//! The contestants as processes.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::plain;

/// A proxy that runs until it is dropped.
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
    /// Files to be removed after it.
    directory: Option<PathBuf>,
}

/// Starts all contestants, the example proxy first; nginx only where it is
/// installed.
pub(crate) fn all(upstream: SocketAddr) -> io::Result<Vec<Process>> {
    let mut all = vec![example(upstream)?, plain(upstream)?];
    match nginx(upstream) {
        Ok(nginx) => all.push(nginx),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("nginx is not installed: left out");
        }
        Err(error) => return Err(error),
    }
    Ok(all)
}

impl Process {
    /// The CPU time that all its threads have taken so far.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            let running = times.split(' ').next().unwrap_or_default();
            nanos += running.parse::<u64>().map_err(io::Error::other)?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Runs a proxy that says on stdout where it listens.
    fn start(name: &'static str, command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("{name} said {line:?}")))?;
        Ok(Self {
            name,
            address,
            child,
            directory: None,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What cannot be ended or removed any more is no concern of a benchmark.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

fn example(upstream: SocketAddr) -> io::Result<Process> {
    let this = env::current_exe()?;
    let profile = this.ancestors().nth(2).unwrap_or(Path::new("."));
    let path = profile.join("examples/proxy");
    if !path.exists() {
        return Err(io::Error::other(format!(
            "{} is missing: run `cargo build --release --example proxy` first",
            path.display()
        )));
    }
    let mut command = Command::new(path);
    command
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("UPSTREAM_URL", format!("http://{upstream}"))
        .env("ACTIVE_MODELS_URL", format!("http://{upstream}/models"))
        .env_remove("RUST_LOG");
    Process::start("example proxy", &mut command)
}

fn plain(upstream: SocketAddr) -> io::Result<Process> {
    let mut command = Command::new(env::current_exe()?);
    command.args([plain::ROLE, &upstream.to_string()]);
    Process::start("plain hyper proxy", &mut command)
}

fn nginx(upstream: SocketAddr) -> io::Result<Process> {
    // Nobody else is likely to take it in the moment between.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let directory = env::temp_dir().join(format!("proxies-bench-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let config = directory.join("nginx.conf");
    let settings = [
        ("{directory}", directory.display().to_string()),
        ("{upstream}", upstream.to_string()),
        ("{address}", address.to_string()),
    ];
    let text = settings.iter().fold(
        include_str!("nginx.conf").to_owned(),
        |text, (name, value)| text.replace(name, value),
    );
    fs::write(&config, text)?;
    let child = Command::new("nginx").arg("-c").arg(&config).spawn()?;
    let nginx = Process {
        name: "nginx",
        address,
        child,
        directory: Some(directory),
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err(io::Error::other("nginx does not listen"));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(nginx)
}
