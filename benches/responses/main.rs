//! The CPU time of setting the model of responses, as a table. Arguments select responses by a part
//! of their names.
//!
//! A client, an upstream and three proxies are in one thread, and their CPU time is measured
//! together. That of the client and the upstream is measured without a proxy, and subtracted.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use benches::{
    catalogs::{layer, runtime},
    filters,
    http::{connect, forward, serve},
    is_measuring, is_selected,
    openai::{MODELS, catalog, chat, completion, events, sdk_request},
    rounds::Rounds,
};
use bytes::Bytes;
use cpu_time::ProcessTime;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Incoming, client::conn::http1::SendRequest, server::conn::http1};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{Layer, Service, service_fn};
use tower_model_routing::{BoxError, ModelRoutingLayer, ResponseModel};

/// How long a route is used in a round, at least.
const MOMENT: Duration = Duration::from_millis(8);

/// The routes to the upstream. The last layer sets the response's model.
const ROUTES: [&str; 4] = ["no proxy", "plain proxy", "layer", "layer, model set"];

type Client = SendRequest<Full<Bytes>>;

/// A response of the upstream.
struct Workload {
    name: &'static str,
    content_type: &'static str,
    frames: fn() -> Vec<String>,
    /// Whether each frame is a write of its own.
    one_by_one: bool,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "50 events at once",
        content_type: "text/event-stream",
        frames: events,
        one_by_one: false,
    },
    Workload {
        name: "50 events one by one",
        content_type: "text/event-stream",
        frames: events,
        one_by_one: true,
    },
    Workload {
        name: "JSON of 100 KB",
        content_type: "application/json",
        frames: json,
        one_by_one: false,
    },
];

fn json() -> Vec<String> {
    let document = completion(100_000);
    let frames = document.as_bytes().chunks(16 * 1024);
    frames
        .map(|frame| String::from_utf8_lossy(frame).into_owned())
        .collect()
}

fn main() -> Result<(), BoxError> {
    let filters = filters();
    println!("CPU time per request, µs; the ratios are of the times above that of no proxy\n");
    println!(
        "| response | {} | model set / plain proxy | model set / layer |",
        ROUTES.join(" | ")
    );
    println!("|---|---|---|---|---|---|---|");
    for workload in &WORKLOADS {
        if is_selected(workload.name, &filters) {
            print_row(workload)?;
        }
    }
    Ok(())
}

fn print_row(workload: &'static Workload) -> Result<(), BoxError> {
    let layers = [
        layer(catalog().into(), ResponseModel::Unchanged)?,
        layer(catalog().into(), ResponseModel::Served)?,
    ];
    let runtime = runtime();
    let mut clients = runtime.block_on(start(workload, layers))?;
    let rounds = if is_measuring() { 101 } else { 1 };
    let mut failure = None;
    let rounds = Rounds::<{ ROUTES.len() }>::measure(rounds, |route| {
        let seconds = runtime.block_on(seconds(&mut clients[route]));
        seconds.unwrap_or_else(|error| {
            failure = Some(error);
            f64::NAN
        })
    });
    if let Some(error) = failure {
        return Err(error);
    }
    print!("| {} |", workload.name);
    for route in 0..ROUTES.len() {
        print!(" {:.1} |", rounds.median(|times| times[route] * 1e6));
    }
    let plain = rounds.median(|[none, plain, _, set]| (set - none) / (plain - none));
    let layer = rounds.median(|[none, _, layer, set]| (set - none) / (layer - none));
    println!(" {plain:.3} | {layer:.3} |");
    Ok(())
}

/// Returns the CPU time of a request.
async fn seconds(client: &mut Client) -> Result<f64, BoxError> {
    let start = ProcessTime::now();
    let mut requests = 0;
    loop {
        let mut body = send(client).await?;
        while let Some(frame) = body.frame().await {
            frame?;
        }
        requests += 1;
        let elapsed = start.elapsed();
        if elapsed > MOMENT || !is_measuring() {
            return Ok(elapsed.as_secs_f64() / f64::from(requests));
        }
    }
}

/// Starts an upstream and proxies, and connects to each of [`ROUTES`].
async fn start(
    workload: &'static Workload,
    [layer, setting_layer]: [ModelRoutingLayer; 2],
) -> Result<Vec<Client>, BoxError> {
    let frames: Vec<_> = (workload.frames)().into_iter().map(Bytes::from).collect();
    let sent = frames.concat();
    let upstream = service_fn(move |request| respond(workload, frames.clone(), request));
    let upstream = listen(upstream).await?;
    let addresses = [
        upstream,
        listen(service_fn(forward(upstream))).await?,
        listen(layer.layer(service_fn(forward(upstream)))).await?,
        listen(setting_layer.layer(service_fn(forward(upstream)))).await?,
    ];
    let sent = String::from_utf8(sent)?;
    let [(name, id), ..] = MODELS;
    let mut clients = Vec::new();
    for (address, route) in addresses.into_iter().zip(ROUTES) {
        let mut client = connect(address).await?;
        let received = send(&mut client).await?.collect().await?.to_bytes();
        let expected = match route {
            "layer, model set" => sent.replace(id, name),
            _ => sent.clone(),
        };
        assert!(received == expected, "{route}: {received:?}");
        clients.push(client);
    }
    Ok(clients)
}

async fn send(client: &mut Client) -> Result<Incoming, BoxError> {
    client.ready().await?;
    let request = sdk_request(Full::from(chat(300, true)));
    let response = client.send_request(request).await?;
    assert!(response.status().is_success(), "{response:?}");
    Ok(response.into_body())
}

async fn respond(
    workload: &Workload,
    frames: Vec<Bytes>,
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible> + use<>>, BoxError> {
    request.into_body().collect().await?;
    let one_by_one = workload.one_by_one;
    let frames = stream::iter(frames).then(move |frame| async move {
        if one_by_one {
            // Flushes the frame before.
            tokio::task::yield_now().await;
        }
        Ok(Frame::data(frame))
    });
    Ok(Response::builder()
        .header("content-type", workload.content_type)
        .header("x-request-id", "req_0123456789abcdef")
        .body(StreamBody::new(frames))?)
}

/// Serves on the address that it returns.
async fn listen<S, B>(service: S) -> Result<SocketAddr, BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError> + Send>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = TowerToHyperService::new(service);
    tokio::spawn(serve(listener, http1::Builder::new(), service));
    Ok(address)
}
