//! The proxy beside other proxies: CPU time, latency and memory, and what they do to bodies, as
//! tables and a figure. Arguments select scenarios by a part of their names.
//!
//! Each proxy is a process of its own: the one of `examples/proxy`, a plain one of hyper's server
//! and hyper-util's client, a naive one that parses and serializes bodies, and, where they are
//! installed, nginx, nginx, HAProxy and Envoy with scripts in Lua that route as the naive one does,
//! and LiteLLM. A client and an upstream in this process use all of them in each round. CPU time and
//! memory of a process are those that Linux counts.
//!
//! CPU time is the tenth percentile of the rounds, because disturbances only ever add to it, for
//! several rounds in a row at times.

mod environment;
mod fidelity;
mod figure;
mod hyper_proxies;
mod measure;
mod probe;
mod raw_json;
mod report;
mod servers;
mod streams;
mod subjects;
mod upstream;
mod workload;

use std::{env, thread};

use benches::{catalogs::runtime, filters, is_measuring, is_selected};
use tokio::sync::oneshot;
use tower_model_routing::BoxError;

use crate::{upstream::Upstream, workload::SCENARIOS};

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, upstream] = arguments.as_slice() {
        match role.as_str() {
            hyper_proxies::PLAIN => return hyper_proxies::run_plain(upstream.parse()?),
            hyper_proxies::NAIVE => return hyper_proxies::run_naive(upstream.parse()?),
            _ => {}
        }
    }
    if !cfg!(target_os = "linux") {
        println!("skipped: it reads CPU time and memory from Linux's /proc");
        return Ok(());
    }
    runtime().block_on(run(&filters()))
}

async fn run(filters: &[String]) -> Result<(), BoxError> {
    let upstream = Upstream::start().await?;
    let address = upstream.address;
    // The upstream must serve while they start. Envoy ends with the thread that has started it.
    let (started, subjects) = oneshot::channel();
    thread::spawn(move || {
        let _ = started.send(subjects::start(address));
        loop {
            thread::park();
        }
    });
    let subjects = subjects.await??;
    environment::print(&upstream, &subjects).await?;
    // First, while no process has used memory for anything else.
    let streams = match is_selected(streams::NAME, filters) {
        true => Some(streams::measure(&upstream, &subjects).await?),
        false => None,
    };
    let mut rows = Vec::new();
    for scenario in &SCENARIOS {
        if is_selected(scenario.name, filters) {
            rows.push(measure::measure(&upstream, &subjects, scenario).await?);
        }
    }
    report::print(&subjects, &rows);
    if let Some(streams) = &streams {
        report::print_streams(&subjects, streams);
        if filters.is_empty() && is_measuring() {
            figure::draw(&rows, streams)?;
        }
    }
    if filters.is_empty() {
        fidelity::print(&upstream, &subjects).await?;
    }
    Ok(())
}
