//! The example proxy next to other proxies: what they take of the CPU, of time
//! and of memory, and what they do to bodies, as tables and as a figure.
//!
//! Each proxy is a process of its own: `examples/proxy`, a plain proxy (hyper's
//! server, hyper-util's client, nothing between them), a naive one (which parses
//! the body and serialises it again), and, where they are installed, nginx, nginx
//! with a script in Lua that routes as the naive proxy does, and LiteLLM. A client
//! and an upstream in this process talk through all of them. What counts as CPU
//! time and memory is what Linux has counted for the process.
//!
//! Machines change their clock while a benchmark runs, and have other things to
//! do. So the contestants take turns here, each for a moment, and what counts is
//! the tenth percentile of its turns: what disturbs a process only ever adds, for
//! several turns in a row at times, as when it must share its core. An argument
//! selects scenarios whose names contain it, and leaves out the rest.
//!
//! On one core, figures swing less: it costs much or nothing to wake another one,
//! as the kernel places the processes.
//!
//! ```sh
//! taskset -c 1 cargo bench --bench proxies
//! ```

mod about;
#[path = "../support/bars.rs"]
mod bars;
#[path = "../support/chart.rs"]
mod chart;
mod client;
mod contestants;
#[path = "../support/example.rs"]
mod example;
mod facts;
mod figure;
mod hyper_proxy;
mod measure;
#[path = "../../tests/it/support/members.rs"]
mod members;
mod naive;
mod plain;
mod probe;
mod process;
mod report;
mod scenario;
#[path = "../support/sdk.rs"]
mod sdk;
mod spelling;
mod upstream;

use std::env;

use tokio::task::spawn_blocking;
use tower_model_routing::BoxError;

use scenario::SCENARIOS;
use upstream::Upstream;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, upstream] = arguments.as_slice() {
        match role.as_str() {
            plain::ROLE => return plain::run(upstream.parse()?),
            naive::ROLE => return naive::run(upstream.parse()?),
            _ => {}
        }
    }
    if !cfg!(target_os = "linux") {
        println!("skipped: what other processes take is read from Linux's /proc");
        return Ok(());
    }
    let is_measuring = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|it| !it.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(is_measuring, filter.map(String::as_str)))
}

async fn run(is_measuring: bool, filter: Option<&str>) -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let address = upstream.address;
    // The upstream must not wait while they start.
    let contestants = spawn_blocking(move || contestants::all(address, is_measuring)).await??;
    about::print(&upstream, &contestants).await?;
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        if filter.is_none_or(|it| scenario.name.contains(it)) {
            rows.push(measure::measure(&upstream, &contestants, scenario, is_measuring).await?);
        }
    }
    report::print(&contestants, &rows);
    if filter.is_none() && is_measuring {
        figure::draw(&rows)?;
    }
    if filter.is_none() {
        facts::print(&upstream, &contestants).await?;
    }
    Ok(())
}
