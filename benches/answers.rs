//! What restoring the model's name costs a proxy, as a table.
//!
//! A client, an upstream and three proxies between them talk over loopback
//! sockets in one thread, and what counts is the CPU time of all of them. What
//! the client and the upstream take is measured without a proxy, and
//! subtracted.
//!
//! Machines change their clock while a benchmark runs. So the contestants take
//! turns here, each for a moment, and what counts is the median of the ratios
//! of one turn. An argument selects answers whose names contain it.

mod support;

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use cpu_time::ProcessTime;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response, Uri, uri::PathAndQuery};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use support::{feed::Feed, is_measuring, sdk::sdk_request};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service, service_fn};
use tower_model_routing::{BoxError, Catalog, ModelRoutingLayer, RoutingConfig};

const TURNS: usize = 101;

/// How long a contestant's turn is at least.
const TURN: Duration = Duration::from_millis(8);

const NAME: &str = "llama-3.3-70b";
const ID: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";

/// The contestants, in the order in which they are measured.
const ROUTES: [&str; 4] = ["direct", "plain proxy", "layer", "layer, restoring"];

/// An answer of the upstream's.
#[derive(Clone, Copy, Debug)]
struct Answer {
    name: &'static str,
    content_type: &'static str,
    frames: fn() -> Vec<String>,
    /// Whether others have a turn before each frame, which then is a write of
    /// its own.
    yields: bool,
}

const ANSWERS: [Answer; 3] = [
    Answer {
        name: "50 events at once",
        content_type: "text/event-stream",
        frames: events,
        yields: false,
    },
    Answer {
        name: "50 events one by one",
        content_type: "text/event-stream",
        frames: events,
        yields: true,
    },
    Answer {
        name: "JSON of 100 KB",
        content_type: "application/json",
        frames: json,
        yields: false,
    },
];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut filters = std::env::args().skip(1);
    let filter = filters.find(|argument| !argument.starts_with('-'));
    println!("CPU time per request, µs; x: restoring over others, all without direct");
    println!(
        "| answer | {} | x plain proxy | x layer |",
        ROUTES.join(" | ")
    );
    println!("|---|---|---|---|---|---|---|");
    for answer in ANSWERS {
        if filter.as_ref().is_none_or(|it| answer.name.contains(it)) {
            runtime.block_on(row(answer)).unwrap();
        }
    }
}

async fn row(answer: Answer) -> Result<(), BoxError> {
    let mut routes = routes(answer).await?;
    let turns = if is_measuring() { TURNS } else { 1 };
    let mut times = Vec::new();
    for turn in 0..turns {
        let mut turns = [0.0; ROUTES.len()];
        for index in 0..ROUTES.len() {
            // Nobody always comes after the same one.
            let index = (index + turn) % ROUTES.len();
            turns[index] = seconds(&mut routes[index]).await?;
        }
        times.push(turns);
    }
    print!("| {} |", answer.name);
    for route in 0..ROUTES.len() {
        print!(" {:.1} |", median(times.iter().map(|it| it[route] * 1e6)));
    }
    for other in [1, 2] {
        let ratio = |it: &[f64; 4]| (it[3] - it[0]) / (it[other] - it[0]);
        print!(" {:.3} |", median(times.iter().map(ratio)));
    }
    println!();
    Ok(())
}

/// How much CPU time a request takes this way.
async fn seconds(client: &mut SendRequest<Full<Bytes>>) -> Result<f64, BoxError> {
    let start = ProcessTime::now();
    let mut rounds = 0;
    loop {
        let mut body = ask(client).await?;
        while let Some(frame) = body.frame().await {
            frame?;
        }
        rounds += 1;
        let elapsed = start.elapsed();
        if elapsed > TURN || !is_measuring() {
            return Ok(elapsed.as_secs_f64() / f64::from(rounds));
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Connections by all of [`ROUTES`] to an upstream that gives this answer.
async fn routes(answer: Answer) -> Result<Vec<SendRequest<Full<Bytes>>>, BoxError> {
    let upstream = upstream(answer).await?;
    let addresses = [
        upstream,
        serve(service_fn(forward(upstream))).await?,
        serve(layer(false).await?.layer(service_fn(forward(upstream)))).await?,
        serve(layer(true).await?.layer(service_fn(forward(upstream)))).await?,
    ];
    let sent = (answer.frames)().concat();
    let mut routes = Vec::new();
    for (address, name) in addresses.into_iter().zip(ROUTES) {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut client, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let received = ask(&mut client).await?.collect().await?.to_bytes();
        let expected = match name {
            "layer, restoring" => sent.replace(ID, NAME),
            _ => sent.clone(),
        };
        assert!(received == expected, "{name} gave {received:?}");
        routes.push(client);
    }
    Ok(routes)
}

async fn ask(client: &mut SendRequest<Full<Bytes>>) -> Result<Incoming, BoxError> {
    const BODY: &[u8] = br#"{"model": "llama-3.3-70b", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is the airspeed velocity of an unladen swallow?"}], "temperature": 0.7, "stream": true}"#;
    client.ready().await?;
    let request = sdk_request(BODY)?;
    let response = client.send_request(request).await?;
    assert!(response.status().is_success(), "{response:?}");
    Ok(response.into_body())
}

async fn layer(restores: bool) -> Result<ModelRoutingLayer, BoxError> {
    let document = format!(r#"{{"models": [{{"Name": "{NAME}", "Id": "{ID}"}}]}}"#);
    let config = RoutingConfig::builder()
        .source(Feed::new([Bytes::from(document.clone())]))
        .initial_catalog(Catalog::parse(document.as_bytes())?)
        .restore_model_name(restores)
        .build()?;
    let layer = ModelRoutingLayer::new(config);
    // Otherwise the first request would do it.
    layer.registry().refresh().await?;
    Ok(layer)
}

/// Sends requests on to the upstream.
fn forward<B>(
    upstream: SocketAddr,
) -> impl Fn(Request<B>) -> hyper_util::client::legacy::ResponseFuture + Clone
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    move |mut request| {
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme("http")
            .authority(upstream.to_string())
            .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")));
        *request.uri_mut() = uri.build().unwrap();
        client.request(request)
    }
}

async fn upstream(answer: Answer) -> Result<SocketAddr, BoxError> {
    let frames: Vec<Bytes> = (answer.frames)().into_iter().map(Bytes::from).collect();
    serve(service_fn(move |request: Request<Incoming>| {
        let frames = frames.clone();
        async move {
            request.into_body().collect().await?;
            let body = StreamBody::new(paced(frames, answer.yields));
            Response::builder()
                .header("content-type", answer.content_type)
                .header("x-request-id", "req_0123456789abcdef")
                .body(body)
                .map_err(BoxError::from)
        }
    }))
    .await
}

fn paced(
    frames: Vec<Bytes>,
    yields: bool,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    stream::iter(frames).then(move |frame| async move {
        if yields {
            // What was written before goes out, and sockets are looked at.
            tokio::task::yield_now().await;
        }
        Ok(Frame::data(frame))
    })
}

/// Serves all connections to the address returned.
async fn serve<S, B>(service: S) -> Result<SocketAddr, BoxError>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

fn events() -> Vec<String> {
    let event = |index: usize| {
        format!(
            r#"data: {{"id":"chatcmpl-CkZ2mQxT0b9yVn4LwR7sJd1aPe","object":"chat.completion.chunk","created":1764201600,"model":"{ID}","choices":[{{"index":0,"delta":{{"content":" word{index}"}},"logprobs":null,"finish_reason":null}}]}}{end}"#,
            end = "\n\n",
        )
    };
    let done = "data: [DONE]\n\n".to_owned();
    (0..50).map(event).chain([done]).collect()
}

fn json() -> Vec<String> {
    let front = format!(
        r#"{{"id":"chatcmpl-CkZ2mQxT0b9yVn4LwR7sJd1aPe","object":"chat.completion","created":1764201600,"model":"{ID}","choices":[{{"index":0,"message":{{"role":"assistant","content":""#
    );
    let back = r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":24000,"total_tokens":24031}}"#;
    let line = r"The swallow flies south with the sun.\n";
    let lines = (100_000 - front.len() - back.len()) / line.len();
    let document = front + &line.repeat(lines) + back;
    let frames = document.as_bytes().chunks(16 * 1024);
    frames
        .map(|frame| String::from_utf8_lossy(frame).into_owned())
        .collect()
}
