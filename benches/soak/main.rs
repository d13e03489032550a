//! The proxy under mixed traffic, while its registry fails and recovers every few seconds.
//!
//! The traffic is the same for the same `--seed`. Every request at the upstream and every response
//! is checked, and the program fails when a rule is violated. It prints tables and draws
//! `soak/figure.svg`. Without `--seconds` it only checks that it runs.

mod access_log;
mod bad_requests;
mod catalogs;
mod checks;
mod client;
mod history;
mod misbehaving_clients;
mod plan;
mod plot;
mod registry;
mod report;
mod request_log;
mod requests;
mod responses;
mod traffic;
mod upstream;
mod watch;
mod websocket;

use std::{process::ExitCode, sync::Arc, time::Duration};

use benches::proxy;
use clap::Parser;
use test_support::process::{Process, command};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower_model_routing::BoxError;

use crate::{
    catalogs::ALIASES,
    checks::{Check, Checks},
    client::Clients,
    history::{FETCH_TIMEOUT, History, MISS_REFRESH, TTL},
    plan::{Action, Connection, Delivery, End, ID_HEADER, NAME_HEADER, ORIGIN, Plan},
    registry::Registry,
    report::Report,
    request_log::RequestLog,
    traffic::Traffic,
    upstream::Upstream,
    watch::Watch,
};

/// Runs shorter than this measure nothing: memory has not settled, the load varies, and too few
/// requests pass through to tell whether the machine is busy.
const LONG: Duration = Duration::from_secs(120);

/// On a machine that is too busy for the rate, further requests wait for one to end, so that none
/// is late.
const MAX_IN_FLIGHT: usize = 400;

/// Mixed traffic through the proxy, whose registry fails now and then.
#[derive(Debug, Parser)]
struct Settings {
    /// How long the traffic lasts [default: 5, slower, and without a figure].
    #[arg(long)]
    seconds: Option<u64>,

    /// Requests per second [default: 300].
    #[arg(long)]
    rate: Option<f64>,

    #[arg(long, default_value = "7")]
    seed: u64,

    /// Cargo's own argument, and a filter of benchmarks.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(hide = true)]
    filter: Option<String>,
}

fn main() -> Result<ExitCode, BoxError> {
    if !cfg!(target_os = "linux") {
        println!("skipped: it reads the proxy's memory from Linux's /proc");
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::parse();
    let binary = proxy::build()?;
    let binary = binary.to_str().ok_or("a path that is not UTF-8")?;
    let report = benches::catalogs::runtime().block_on(run(&settings, binary))?;
    report.print();
    if settings.seconds.is_some() {
        plot::draw(&report)?;
    }
    Ok(match report.checks.print() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn run(settings: &Settings, binary: &str) -> Result<Report, BoxError> {
    let (seconds, rate, pace) = match settings.seconds {
        Some(seconds) => (seconds, 300.0, Duration::from_secs(2)),
        None => (5, 60.0, Duration::from_millis(700)),
    };
    let time = Duration::from_secs(seconds);
    let rate = settings.rate.unwrap_or(rate);
    let mut rng = fastrand::Rng::with_seed(settings.seed);
    let (checks, history) = (Arc::new(Checks::default()), Arc::new(History::default()));
    let log = Arc::new(RequestLog::new(Arc::clone(&checks), Arc::clone(&history)));

    let mut registry = Registry::start(Arc::clone(&history), rng.fork()).await;
    let upstream = Upstream::start(Arc::clone(&log)).await?;
    let mut process = start(binary, &registry, &upstream).await;
    let address = process.address();
    let line = process.next_line().await;
    let admin = line
        .strip_prefix("admin on http://")
        .ok_or("no admin address")?;
    let clients = Arc::new(Clients::new(address, Arc::clone(&log)));
    let watch = Watch::new(address, admin.parse()?, process.id(), Arc::clone(&log));
    let mut traffic = Traffic::new(rng.fork());

    watch.check_cold().await?;
    let mut plan = traffic.plain("cold");
    plan.end = End::Rejected(503, "model_registry_unavailable");
    plan.may_be_complete = false;
    clients.perform(plan).await;
    watch.wait_for(registry.recover()).await?;
    // Some more, so that each thread of the proxy has its files and tasks.
    for _ in 0..20 {
        let mut plan = traffic.plain("first");
        plan.connection = Connection::Own;
        clients.perform(plan).await;
    }
    upstream.close();
    let before = watch.settled(&upstream).await?;

    let started = std::time::Instant::now();
    tokio::select! {
        never = registry.flap(pace) => never,
        ended = watch.run(&clients) => return Err(ended.expect_err("it only ends so")),
        () = drive(&clients, &mut traffic, &mut rng, rate, time) => {}
    }
    let ended = started + time;

    clients.close();
    upstream.close();
    let after = watch.check_freed(&before, &upstream).await?;
    let (late, inspected) = watch.late().await?;
    // Without the time in which only the last responses ended.
    let mut samples = watch.samples();
    samples.retain(|sample| sample.at <= ended);
    if time >= LONG {
        watch::check_flat(&samples, &checks);
        log.check_waits(late);
    }
    // Only a request retries a fetch that failed last.
    watch.wait_for(registry.recover()).await?;
    let dropped = watch.dropped_lines().await?;
    let (stopped_after, stderr) = stop_under_load(process, &clients, &mut traffic, &checks).await?;
    access_log::check(&stderr, log.take_lines(), dropped, &checks);
    Ok(Report {
        started,
        ended,
        rate,
        seed: settings.seed,
        samples,
        before,
        after,
        fetches: registry.fetches(),
        late,
        inspected,
        stopped_after,
        log,
        history,
        checks,
    })
}

async fn start(binary: &str, registry: &Registry, upstream: &Upstream) -> Process {
    let mut proxy = command(binary);
    proxy
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("UPSTREAM_URL", format!("http://{}", upstream.address))
        .env("ACTIVE_MODELS_URL", registry.url())
        .args(["--admin-listen", "127.0.0.1:0"])
        .args(["--access-log", "--log-format", "json"])
        .args(["--id-header", ID_HEADER, "--name-header", NAME_HEADER])
        .args(["--cors-origin", ORIGIN])
        // So long that no client of a busy machine is late.
        .args(["--held-timeout", "8", "--client-idle-timeout", "9"])
        .args(["--upstream-first-byte-timeout", "9"])
        // What a response names, and where a name that is not in the catalog goes, follows from the
        // catalog alone.
        .args(["--response-model", "served", "--unknown-model", "fallback"]);
    for (variable, time) in [
        ("MODELS_TTL_SECONDS", TTL),
        ("MODELS_FETCH_TIMEOUT_SECONDS", FETCH_TIMEOUT),
        ("MODELS_MISS_REFRESH_SECONDS", MISS_REFRESH),
    ] {
        proxy.env(variable, time.as_secs_f64().to_string());
    }
    for (alias, model) in ALIASES {
        proxy.arg("--alias").arg(format!("{alias}={model}"));
    }
    Process::start(&mut proxy).await
}

/// Sends requests at random instants, and waits until all have ended.
async fn drive(
    clients: &Arc<Clients>,
    traffic: &mut Traffic,
    rng: &mut fastrand::Rng,
    rate: f64,
    time: Duration,
) {
    let mut requests = JoinSet::new();
    let start = Instant::now();
    let mut due = Duration::ZERO;
    while due < time {
        sleep_until(start + due).await;
        while let Some(ended) = requests.try_join_next() {
            ended.expect("no client panics");
        }
        if requests.len() == MAX_IN_FLIGHT {
            requests.join_next().await;
            due = due.max(start.elapsed());
        }
        spawn(&mut requests, clients, traffic.next().await);
        // A Poisson process, as of independent clients.
        due += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate);
    }
    requests.join_all().await;
}

fn spawn(requests: &mut JoinSet<()>, clients: &Arc<Clients>, plan: Plan) {
    let clients = Arc::clone(clients);
    requests.spawn(async move { clients.perform(plan).await });
}

/// Sends SIGTERM while requests are in flight. Returns the time until the proxy exits, and its log.
async fn stop_under_load(
    process: Process,
    clients: &Arc<Clients>,
    traffic: &mut Traffic,
    checks: &Checks,
) -> Result<(Duration, String), BoxError> {
    const EACH: usize = 30;

    let violations_before = checks.violations();
    let mut requests = JoinSet::new();
    for _ in 0..EACH {
        let mut plan = traffic.events("at the end");
        plan.action = Action::Events(15, Duration::from_millis(100));
        spawn(&mut requests, clients, plan);
        let mut plan = traffic.plain("at the end");
        plan.delivery = Delivery::Drip(10, Duration::from_millis(100));
        spawn(&mut requests, clients, plan);
    }
    sleep(Duration::from_millis(500)).await;
    let (address, signaled) = (process.address(), Instant::now());
    process.signal("TERM").await;
    requests.join_all().await;
    let check = |holds, detail: String| checks.check(Check::Stop, holds, || detail);
    let violations = checks.violations() - violations_before;
    check(violations == 0, format!("{violations} violations since"));
    let output = process.wait().await;
    let stopped_after = signaled.elapsed();
    let code = output.status.code();
    check(code == Some(0), format!("the exit code is {code:?}"));
    check(
        output.stderr.contains("drained"),
        "it has not drained".to_owned(),
    );
    let is_closed = tokio::net::TcpStream::connect(address).await.is_err();
    check(is_closed, "it still listens".to_owned());
    let mut lines = output.stderr.lines();
    let panic = lines.find(|line| line.contains("panicked"));
    checks.check(Check::Log, panic.is_none(), || {
        panic.unwrap_or_default().to_owned()
    });
    Ok((stopped_after, output.stderr))
}
