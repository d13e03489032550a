//! What the example proxy takes of the CPU, next to other proxies, as a table.
//!
//! Each proxy is a process of its own, and what counts is the CPU time that
//! Linux has counted for it: `examples/proxy`, a plain proxy (hyper's server,
//! hyper-util's client, nothing between them) and nginx, if there is one. A
//! client and an upstream in this process talk through all of them.
//!
//! Machines change their clock while a benchmark runs, and have other things to
//! do. So the contestants take turns here, each for a moment, and what counts is
//! the lower quartile of its turns: what disturbs a process only ever adds. An
//! argument selects scenarios whose names contain it.
//!
//! ```sh
//! cargo build --release --example proxy && cargo bench --bench proxies
//! ```

mod plain;
mod process;
mod scenario;
#[path = "../support/sdk.rs"]
mod sdk;
mod upstream;

use std::{
    env,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_model_routing::BoxError;

use process::Process;
use scenario::{SCENARIOS, Scenario};
use sdk::sdk_request;
use upstream::{Upstream, events};

/// How long a contestant's turn is at least.
const TURN: Duration = Duration::from_millis(40);
const TURNS: usize = 61;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, upstream] = arguments.as_slice()
        && role == plain::ROLE
    {
        return plain::run(upstream.parse()?);
    }
    if !cfg!(target_os = "linux") {
        println!("skipped: the CPU time of other processes is read from Linux's /proc");
        return Ok(());
    }
    let is_measuring = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|it| !it.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let scenarios: Vec<&Scenario> = SCENARIOS
            .iter()
            .filter(|it| filter.is_none_or(|filter| it.name.contains(filter.as_str())))
            .collect();
        table(&scenarios, if is_measuring { TURNS } else { 1 }).await
    })
}

async fn table(scenarios: &[&Scenario], turns: usize) -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let mut routes = Vec::new();
    for process in process::all(upstream.address)? {
        routes.push(Route::new(process).await?);
    }
    let names: Vec<_> = routes.iter().map(|it| it.process.name).collect();
    println!("CPU time of the process per request, µs; x: the example proxy over others");
    print!("| scenario | {} |", names.join(" | "));
    for name in &names[1..] {
        print!(" x {name} |");
    }
    println!("\n|---|{}", "---|".repeat(2 * names.len() - 1));
    for scenario in scenarios {
        let scenario = Arc::new(scenario.play());
        upstream.set(Arc::clone(&scenario));
        let mut rounds = Vec::new();
        for turn in 0..turns {
            let mut round = vec![0.0; routes.len()];
            for index in 0..routes.len() {
                // Nobody always comes after the same one.
                let index = (index + turn) % routes.len();
                let turn = if turns > 1 { TURN } else { Duration::ZERO };
                round[index] = routes[index].micros(&upstream, &scenario, turn).await?;
            }
            rounds.push(round);
        }
        print!("| {} |", scenario.name);
        let micros: Vec<f64> = (0..routes.len())
            .map(|route| lower_quartile(rounds.iter().map(|round| round[route])))
            .collect();
        for micros in &micros {
            print!(" {micros:.1} |");
        }
        for other in &micros[1..] {
            print!(" {:.2} |", micros[0] / other);
        }
        println!();
    }
    Ok(())
}

fn lower_quartile(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 4]
}

/// A connection to a proxy.
struct Route {
    process: Process,
    client: SendRequest<Full<Bytes>>,
}

impl Route {
    async fn new(process: Process) -> Result<Self, BoxError> {
        let client = connect(process.address).await?;
        Ok(Self { process, client })
    }

    /// How much of the CPU's time a request takes.
    async fn micros(
        &mut self,
        upstream: &Upstream,
        scenario: &scenario::Play,
        turn: Duration,
    ) -> Result<f64, BoxError> {
        let before = self.process.cpu_time()?;
        let start = Instant::now();
        let mut requests = 0;
        loop {
            self.ask(upstream, scenario).await?;
            requests += 1;
            if start.elapsed() >= turn {
                break;
            }
        }
        let spent = self.process.cpu_time()? - before;
        Ok(spent.as_secs_f64() * 1e6 / f64::from(requests))
    }

    async fn ask(
        &mut self,
        upstream: &Upstream,
        scenario: &scenario::Play,
    ) -> Result<(), BoxError> {
        self.client.ready().await?;
        let request = sdk_request(scenario.request.clone())?;
        let response = self.client.send_request(request).await?;
        assert!(response.status().is_success(), "{response:?}");
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            length += data.len();
            if scenario.one_by_one {
                upstream.received(events(data));
            }
        }
        assert!(length > 0);
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(client)
}
