//! Processes.

use std::{
    env,
    ffi::OsStr,
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

use crate::client::TIMEOUT;

/// The variables that the proxy reads.
const VARIABLES: [&str; 27] = [
    "ADMIN_LISTEN_ADDR",
    "CORS_ORIGIN",
    "LISTEN_ADDR",
    "LOG_FORMAT",
    "UPSTREAM_AUTHORIZATION",
    "UPSTREAM_URL",
    "ACTIVE_MODELS_URL",
    "DEFAULT_FALLBACK_MODEL",
    "DEFAULT_FALLBACK_EMBEDDINGS_MODEL",
    "DEFAULT_FALLBACK_TTS_MODEL",
    "DEFAULT_FALLBACK_STT_MODEL",
    "MODELS_TTL_SECONDS",
    "MODELS_FETCH_TIMEOUT_SECONDS",
    "MODELS_MISS_REFRESH_SECONDS",
    "MAX_HELD_BYTES",
    "MAX_TOTAL_HELD_BYTES",
    "HELD_TIMEOUT_SECONDS",
    "RUST_LOG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "RUST_BACKTRACE",
];

/// A running server, which is killed on drop.
pub struct Process {
    child: Child,
    address: SocketAddr,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: watch::Receiver<Arc<Mutex<String>>>,
}

/// The status and the output of a process that has ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Returns the command for this binary, in an environment without settings.
pub fn command(binary: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(binary);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    // Those of OpenTelemetry, which the feature `otlp` reads.
    for (variable, _) in env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"OTEL_") {
            command.env_remove(variable);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn run(command: &mut Command) -> Output {
    let output = timeout(TIMEOUT, command.output()).await;
    let output = output.expect("the end of the process in time").unwrap();
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Process {
    /// Starts a server and waits until it prints its address. Its log is empty if `command` has
    /// another stderr.
    pub async fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take();
        let (changes, log) = watch::channel(Arc::new(Mutex::new(String::new())));
        tokio::spawn(async move {
            let Some(mut stderr) = stderr else { return };
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..count]);
                changes.send_modify(|log| log.lock().unwrap().push_str(&text));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(TIMEOUT, stdout.next_line()).await;
        let first = first.expect("the first line in time").unwrap();
        let Some(address) = first
            .as_deref()
            .and_then(|line| line.strip_prefix("listening on http://"))
        else {
            let log = log.borrow().lock().unwrap().clone();
            panic!("the first line is {first:?}; on stderr: {log}");
        };
        Self {
            address: address.parse().unwrap(),
            child,
            stdout: Some(stdout),
            stderr: log,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Returns the next line on stdout.
    pub async fn next_line(&mut self) -> String {
        let line = self.stdout.as_mut().unwrap().next_line();
        let line = timeout(TIMEOUT, line).await.expect("a line in time");
        line.unwrap().unwrap()
    }

    /// Closes the reading end of stdout.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Returns the output on stderr so far.
    pub fn log(&self) -> String {
        self.stderr.borrow().lock().unwrap().clone()
    }

    /// Waits for a line on stderr that contains all of `parts`, and returns it.
    pub async fn wait_for_log(&mut self, parts: &[&str]) -> String {
        let search = async {
            loop {
                let log = self.stderr.borrow_and_update().lock().unwrap().clone();
                let line = log
                    .lines()
                    .find(|line| parts.iter().all(|part| line.contains(part)));
                if let Some(line) = line {
                    return line.to_owned();
                }
                if self.stderr.changed().await.is_err() {
                    panic!("{parts:?} are not in {log}");
                }
            }
        };
        match timeout(TIMEOUT, search).await {
            Ok(line) => line,
            Err(_) => panic!("{parts:?} are not in {}", self.log()),
        }
    }

    /// Sends a signal, such as `TERM`.
    pub async fn signal(&self, signal: impl AsRef<OsStr>) {
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -s \"$0\" \"$1\""])
            .arg(signal.as_ref());
        assert!(
            kill.arg(self.id().to_string())
                .status()
                .await
                .unwrap()
                .success()
        );
    }

    /// Waits for the end of the process.
    pub async fn wait(mut self) -> Output {
        let status = timeout(TIMEOUT, self.child.wait()).await;
        let status = status.expect("the end of the process in time").unwrap();
        let mut stdout = String::new();
        if let Some(mut lines) = self.stdout.take() {
            while let Some(line) = lines.next_line().await.unwrap() {
                stdout += &line;
                stdout.push('\n');
            }
        }
        while self.stderr.changed().await.is_ok() {}
        Output {
            status,
            stdout,
            stderr: self.log(),
        }
    }
}
