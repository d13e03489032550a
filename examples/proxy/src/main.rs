//! A reverse proxy for LLM APIs that routes by model name.
//!
//! Without settings it runs a demo with an embedded registry and upstream; `--help`
//! lists the settings.
//!
//! ```sh
//! cargo run --release -p model-routing-proxy
//! cargo run --release -p model-routing-proxy -- --upstream https://api.example.com
//! ```

mod access_log;
mod admin;
mod app;
mod body;
mod cache_stats;
mod cli;
mod coalesce;
mod compression;
mod cors;
mod demo;
mod error;
mod forward;
mod gen_ai;
mod half_close;
mod head_errors;
mod headers;
mod hop_by_hop;
mod log;
mod observe;
#[cfg(feature = "otlp")]
mod otlp;
mod request_context;
mod response;
mod server;
mod signals;
mod stream_timeout;
mod tasks;
mod upload;
mod upstream;
mod upstream_headers;
mod validate;
mod websocket;
mod workers;

use std::{
    future::pending,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use mimalloc::MiMalloc;
use tokio::{net::TcpListener, runtime::Handle, sync::Semaphore, time::interval};
use tower_model_routing::{BoxError, ModelRoutingLayer};

use crate::{
    admin::{AdminRoutes, Fallbacks},
    app::App,
    cli::Settings,
    demo::Instructions,
    error::ErrorChain,
    forward::Forward,
    log::Log,
    request_context::Records,
    server::Limits,
    signals::{Hangup, ShutdownSignals},
    tasks::TaskGauge,
    upstream::Connector,
};

/// A request takes some sixty allocations, most of them freed by the same thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // For TLS to the upstream and to the registry. It fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();

    // A huge page takes all of its memory once one byte is used, and read buffers are
    // used in part: with huge pages connections take up to ten times the memory, and no
    // less CPU time. The allocator does not request them (`no_thp`), but some systems
    // use them by default.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);

    let settings = Settings::from_args_and_env().and_then(|settings| {
        let log = Log::init(settings.log_format)?;
        Ok((settings, log))
    });
    let (settings, log) = match settings {
        Ok(settings) => settings,
        Err(message) => {
            // Ignores errors: stderr may be closed.
            let _ = writeln!(io::stderr(), "error: {message}");
            return ExitCode::from(2);
        }
    };
    match run(settings, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.print(&format_args!("error: {}\n", ErrorChain(&*error)));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(settings: Settings, log: &Log) -> Result<(), BoxError> {
    let listener = bind(&settings.listen, "--listen").await?;
    let address = listener.local_addr()?;
    let admin_listener = match &settings.admin_listen {
        Some(listen) => Some(bind(listen, "--admin-listen").await?),
        None => None,
    };

    let is_demo = settings.upstream.is_none();
    let mut routing = settings.routing.response_headers(true);
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
    let fallbacks = Fallbacks::new(&config);
    // Installed before the layer is built, which describes its metrics.
    let metrics = install_metrics()?;
    // Without upkeep, histograms keep every sample until the next export.
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
    let runtimes = workers::spawn()?;
    let tasks = TaskGauge::new([&[Handle::current()], &*runtimes].concat());
    let dropped_lines = log.dropped_lines();
    let admin = Arc::new(AdminRoutes::new(
        layer.clone(),
        fallbacks,
        metrics,
        tasks,
        dropped_lines,
    ));
    tracing::info!(%upstream, registry = registry.location(), "starting");
    let app_settings = app::Settings {
        has_admin_listener: admin_listener.is_some(),
        cors: settings.cors_origin.map(cors::layer),
        access_log: settings.access_log,
        client_idle_timeout: settings.client_idle_timeout,
        requests: Arc::new(Semaphore::new(settings.max_requests)),
    };
    let connector = Connector::new(&upstream, settings.connect_timeout)?;
    let workers = runtimes
        .into_iter()
        .map(|runtime| {
            let forward = Forward::new(
                connector.clone(),
                upstream.clone(),
                settings.upstream_headers.clone(),
                settings.timeouts,
            )?;
            let admin = Arc::clone(&admin);
            let app = Arc::new(App::new(admin, &layer, forward, app_settings.clone()));
            let handler = move |request, client| Arc::clone(&app).handle(request, client);
            Ok((runtime, handler))
        })
        .collect::<Result<Vec<_>, BoxError>>()?;

    let limits = Limits {
        max_connections: settings.max_connections,
        header_timeout: settings.client_header_timeout,
        write_timeout: settings.client_write_timeout,
        drain_timeout: settings.drain_timeout,
    };
    let mut signals = ShutdownSignals::new()?;
    let mut hangup = Hangup::new()?;
    tokio::spawn(async move {
        loop {
            // At first, so that the first requests need not wait. Errors are logged.
            let _ = registry.refresh().await;
            hangup.recv().await;
            tracing::info!("refreshing the catalog after SIGHUP");
        }
    });
    print_line(&format!("listening on http://{address}"));
    if let Some(listener) = &admin_listener {
        print_line(&format!("admin on http://{}", listener.local_addr()?));
    }
    if is_demo {
        log.print(&Instructions { address });
    }
    let admin = serve_admin(admin_listener, admin, limits);
    tokio::select! {
        () = server::serve(listener, &workers, async || signals.recv().await, limits) => {}
        // It serves during the drain, too.
        () = admin => {}
    }
    Ok(())
}

async fn bind(listen: &str, flag: &str) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(listen).await;
    listener.map_err(|error| format!("cannot listen on {listen} ({flag}): {error}"))
}

/// Serves the admin listener, if there is one. Never ends.
async fn serve_admin(listener: Option<TcpListener>, admin: Arc<AdminRoutes>, limits: Limits) {
    let Some(listener) = listener else {
        return pending().await;
    };
    let handler = move |request, _client| {
        let admin = Arc::clone(&admin);
        request_context::handle(request, Records::default(), |request| {
            request_context::catch_panics(request.uri().clone(), async move || {
                admin.handle_all(request).await
            })
        })
    };
    let workers = [(Handle::current(), handler)];
    server::serve(listener, &workers, pending, limits).await;
}

fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    // From a lookup in the catalog to the wait for a registry without one.
    const SECONDS: [f64; 9] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 2.0, 10.0];

    // A client may ask for each model of a large catalog.
    const IDLE: Duration = Duration::from_secs(3600);

    let builder = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .idle_timeout(MetricKindMask::HISTOGRAM, Some(IDLE));
    let recorder = gen_ai::set_buckets(builder)?.install_recorder()?;
    gen_ai::describe();
    Ok(recorder)
}

/// Prints a line to stdout and flushes it. Ignores errors: stdout may be closed.
fn print_line(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
