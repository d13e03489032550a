//! The example proxy under ten minutes of mixed traffic, while its registry
//! fails and comes back every few seconds.
//!
//! ```sh
//! cargo bench --bench soak -- --seconds 600
//! ```
//!
//! The traffic is the same for the same `--seed`. Everything that arrives at the
//! upstream and at the clients is compared with what must be so, and the program
//! fails when anything is not. It prints tables, and draws
//! `benches/soak/figure.svg`. Without a number of seconds it only tries if all
//! works.

mod bad;
#[path = "../support/chart.rs"]
mod chart;
mod checks;
mod client;
#[path = "../support/example.rs"]
mod example;
mod history;
mod ledger;
mod lists;
mod plan;
mod plot;
#[path = "../support/process.rs"]
mod process;
mod registry;
mod report;
mod rude;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod traffic;
mod upstream;
mod watch;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower_model_routing::BoxError;

use crate::{
    checks::{Check, Checks},
    client::Clients,
    history::{FETCH_TIMEOUT, History, MISS_REFRESH, TTL},
    ledger::Ledger,
    plan::{Act, Connection, Delivery, End, Plan},
    registry::Registry,
    report::Report,
    support::process::{Process, command},
    traffic::Traffic,
    upstream::Upstream,
    watch::Watch,
};

/// Shorter runs are no measurement: memory has not settled, the load changes by
/// chance, and few requests tell if the machine is busy with something else.
const LONG: Duration = Duration::from_secs(120);

/// Mixed traffic through the example proxy, whose registry flaps.
#[derive(Debug, Parser)]
struct Settings {
    /// How long the traffic lasts [default: 8, slower, and without a figure].
    #[arg(long)]
    seconds: Option<u64>,

    /// Requests per second [default: 300].
    #[arg(long)]
    rate: Option<f64>,

    #[arg(long, default_value = "7")]
    seed: u64,

    /// Cargo's own, and a filter of benchmarks.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(hide = true)]
    filter: Option<String>,
}

fn main() -> Result<ExitCode, BoxError> {
    if !cfg!(target_os = "linux") {
        println!("what a process takes is asked of Linux only");
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::parse();
    example::build(is_measuring())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(&settings))?;
    report.print();
    if settings.seconds.is_some() {
        plot::draw(&report).map_err(|error| error.to_string())?;
    }
    Ok(match report.checks.print() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Whether this is built for measuring, and not only as a test.
fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

async fn run(settings: &Settings) -> Result<Report, BoxError> {
    let (seconds, rate, pace) = match settings.seconds {
        Some(seconds) => (seconds, 300.0, Duration::from_secs(2)),
        None => (8, 60.0, Duration::from_millis(700)),
    };
    let time = Duration::from_secs(seconds);
    let rate = settings.rate.unwrap_or(rate);
    let mut rng = fastrand::Rng::with_seed(settings.seed);
    let (checks, history) = (Arc::new(Checks::default()), Arc::new(History::default()));
    let ledger = Arc::new(Ledger::new(Arc::clone(&checks), Arc::clone(&history)));

    let mut registry = Registry::start(Arc::clone(&history), rng.fork()).await;
    let upstream = Upstream::start(Arc::clone(&ledger)).await?;
    let process = start(&registry, &upstream).await;
    let address = process.address();
    let clients = Arc::new(Clients::new(address, Arc::clone(&ledger)));
    let watch = Watch::new(address, process.id(), Arc::clone(&ledger));
    let mut traffic = Traffic::new(rng.fork());

    watch.check_cold().await?;
    let mut plan = traffic.plain("cold");
    plan.end = End::Refused(503, "model_registry_unavailable");
    plan.may_be_whole = false;
    clients.perform(plan).await;
    watch.wait_for(registry.recover()).await?;
    // Some more, so that each of the proxy's threads has what it keeps.
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
    // Not those of the time in which only the last requests were answered.
    let mut samples = watch.samples();
    samples.retain(|sample| sample.at <= ended);
    if time >= LONG {
        watch::check_flat(&samples, &checks);
        ledger.check_waiting(late);
    }
    // What failed last is tried again by requests only.
    watch.wait_for(registry.recover()).await?;
    let stopped_after = stop_under_load(process, &clients, &mut traffic, &ledger).await?;
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
        ledger,
        history,
        checks,
    })
}

async fn start(registry: &Registry, upstream: &Upstream) -> Process {
    let mut proxy = command("proxy");
    proxy
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("UPSTREAM_URL", format!("http://{}", upstream.address))
        .env("ACTIVE_MODELS_URL", registry.url())
        .args(["--held-timeout", "3", "--client-idle-timeout", "4"])
        .args(["--upstream-first-byte-timeout", "5"]);
    for (variable, time) in [
        ("MODELS_TTL_SECONDS", TTL),
        ("MODELS_FETCH_TIMEOUT_SECONDS", FETCH_TIMEOUT),
        ("MODELS_MISS_REFRESH_SECONDS", MISS_REFRESH),
    ] {
        proxy.env(variable, time.as_secs_f64().to_string());
    }
    Process::start(&mut proxy).await
}

/// Sends requests at random moments, and waits for the end of each.
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
        spawn(&mut requests, clients, traffic.next().await);
        while let Some(ended) = requests.try_join_next() {
            ended.expect("no client panics");
        }
        // As independent clients do.
        due += Duration::from_secs_f64(-(1.0 - rng.f64()).ln() / rate);
    }
    requests.join_all().await;
}

fn spawn(requests: &mut JoinSet<()>, clients: &Arc<Clients>, plan: Plan) {
    let clients = Arc::clone(clients);
    requests.spawn(async move { clients.perform(plan).await });
}

/// Tells the proxy to stop while it is at work; how long that takes.
async fn stop_under_load(
    process: Process,
    clients: &Arc<Clients>,
    traffic: &mut Traffic,
    ledger: &Ledger,
) -> Result<Duration, BoxError> {
    const EACH: usize = 30;

    let failed_before = ledger.checks.failed();
    let mut requests = JoinSet::new();
    for _ in 0..EACH {
        let mut plan = traffic.events("at the end");
        plan.act = Act::Events(15, Duration::from_millis(100));
        spawn(&mut requests, clients, plan);
        let mut plan = traffic.plain("at the end");
        plan.delivery = Delivery::Drip(10, Duration::from_millis(100));
        spawn(&mut requests, clients, plan);
    }
    sleep(Duration::from_millis(500)).await;
    let (address, told) = (process.address(), Instant::now());
    process.signal("TERM").await;
    requests.join_all().await;
    let lost = ledger.checks.failed() - failed_before;
    ledger.checks.check(Check::Stop, lost == 0, || {
        format!("{lost} checks failed since")
    });
    let remains = process.end().await;
    let took = told.elapsed();
    let code = remains.status.code();
    ledger.checks.check(Check::Stop, code == Some(0), || {
        format!("the process ended with {code:?}")
    });
    let is_drained = remains.stderr.contains("drained");
    ledger
        .checks
        .check(Check::Stop, is_drained, || "it gave up".to_owned());
    let is_closed = tokio::net::TcpStream::connect(address).await.is_err();
    ledger
        .checks
        .check(Check::Stop, is_closed, || "it still listens".to_owned());
    let panic = remains
        .stderr
        .lines()
        .find(|line| line.contains("panicked"));
    ledger.checks.check(Check::Log, panic.is_none(), || {
        panic.unwrap_or_default().to_owned()
    });
    Ok(took)
}
