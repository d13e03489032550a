//! A reverse proxy for LLM APIs that routes by model name.
//!
//! Without arguments it is a demo that brings a registry and an upstream along;
//! `--help` lists the settings that make it a real one.
//!
//! ```sh
//! cargo run --release -p model-routing-proxy
//! cargo run --release -p model-routing-proxy -- --upstream https://api.example.com
//! ```

mod app;
mod body;
mod cli;
mod demo;
mod forward;
mod front;
mod gather;
mod headers;
mod health;
mod hop_by_hop;
mod log;
mod reply;
mod server;
mod stop;
mod tasks;
mod upload;
mod upstream;
mod workers;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use mimalloc::MiMalloc;
use tokio::{net::TcpListener, runtime::Handle, time::interval};
use tower_model_routing::{BoxError, ModelRoutingLayer};

use crate::{
    app::App,
    cli::Settings,
    demo::Demo,
    forward::{Chain, Forward},
    health::{Fallbacks, Pages},
    server::Limits,
    stop::StopSignals,
    tasks::Tasks,
};

/// A request takes some sixty allocations, most of them freed on the thread that
/// made them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // A huge page takes all of its memory once a byte of it is used, and read buffers
    // are used in part: connections took up to ten times as much besides what they
    // held, and no less time. The allocator does not ask for such pages (`no_thp`), but
    // some systems give them unasked. Where this fails, they do.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);

    let settings = Settings::from_args_and_env().and_then(|settings| {
        log::start(settings.log_format)?;
        Ok(settings)
    });
    let settings = match settings {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(settings: Settings) -> Result<(), BoxError> {
    let listener = TcpListener::bind(&settings.listen)
        .await
        .map_err(|error| format!("cannot listen on {} (--listen): {error}", settings.listen))?;
    let address = listener.local_addr()?;

    let is_demo = settings.upstream.is_none();
    let mut routing = settings
        .routing
        .response_headers(true)
        .restore_model_name(true);
    if let Some(url) = settings.models_url {
        routing = routing.models_url(url);
    } else if is_demo {
        routing = routing.models_url(demo::start_registry().await?);
    }
    let upstream = match settings.upstream {
        Some(upstream) => upstream,
        None => demo::start_upstream().await?,
    };
    let config = routing.build()?;
    let fallbacks = Fallbacks::of(&config);
    // Before the layer, which tells the recorder what its metrics mean.
    let metrics = install_metrics()?;
    // Else a histogram would keep every sample until somebody asks for it.
    let recorder = metrics.clone();
    tokio::spawn(async move {
        let mut upkeep = interval(Duration::from_secs(5));
        loop {
            upkeep.tick().await;
            recorder.run_upkeep();
        }
    });
    let layer = ModelRoutingLayer::new(config);
    let registry = layer.registry().clone();
    let runtimes = workers::start()?;
    let tasks = Tasks::of([&[Handle::current()], &*runtimes].concat());
    let pages = Arc::new(Pages::new(layer.clone(), fallbacks, metrics, tasks));
    tracing::info!(%upstream, registry = registry.location(), "starting");
    let connector = upstream::connector(&upstream, settings.connect_timeout)?;
    let workers = runtimes
        .into_iter()
        .map(|runtime| {
            let forward = Forward::new(
                connector.clone(),
                upstream.clone(),
                settings.authorization.clone(),
                settings.timeouts,
            )?;
            let pages = Arc::clone(&pages);
            let app = Arc::new(App::new(
                pages,
                &layer,
                forward,
                settings.client_idle_timeout,
            ));
            let answer = move |request, client| Arc::clone(&app).answer(request, client);
            Ok((runtime, answer))
        })
        .collect::<Result<Vec<_>, BoxError>>()?;

    let limits = Limits {
        header_timeout: settings.client_header_timeout,
        write_timeout: settings.client_write_timeout,
        drain_timeout: settings.drain_timeout,
    };
    let stop = StopSignals::new()?;
    // The first requests need not wait for it. What goes wrong is in the log.
    tokio::spawn(async move { registry.refresh().await });
    say(&format!("listening on http://{address}"));
    if is_demo {
        eprint!("{}", Demo { address });
    }
    server::serve(listener, &workers, stop, limits).await;
    Ok(())
}

fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    // From one microsecond, the price of a hit, to the wait for a cold registry.
    const SECONDS: [f64; 9] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 2.0, 10.0];

    PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .install_recorder()
}

/// Writes a line to stdout at once. Nobody may be reading it.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
