//! The end of the process.

#![cfg(unix)]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{Semaphore, mpsc},
};
use tower_model_routing::BoxError;

use super::{Setup, forward::h2_client};
use test_support::{
    client::answer,
    upstream::{Act, Received},
};

const REQUEST_BODY: &str = r#"{"model":"code"}"#;
const REQUEST: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\n\
                       content-type: application/json\r\ncontent-length: 16\r\n\r\n\
                       {\"model\":\"code\"}";

#[tokio::test]
async fn a_request_under_way_finishes_and_then_the_process_ends_well() {
    for signal in ["TERM", "INT"] {
        let permits = Arc::new(Semaphore::new(0));
        let mut setup = Setup::scripted(vec![
            Act::send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc"),
            Act::Wait(Arc::clone(&permits)),
            Act::send("def"),
        ])
        .await;
        // One under way, one idle after a request, one that never sent any.
        let mut busy = TcpStream::connect(setup.address()).await.unwrap();
        busy.write_all(REQUEST.as_bytes()).await.unwrap();
        setup.upstream.request().await;
        let mut silent = TcpStream::connect(setup.address()).await.unwrap();
        let mut idle = TcpStream::connect(setup.address()).await.unwrap();
        idle.write_all(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .unwrap();
        let mut idle = BufReader::new(idle);
        answer(&mut idle).await.unwrap();

        setup.proxy.signal(signal).await;
        setup.proxy.logged(&["draining"]).await;
        // Idle connections end at once, and no new ones are taken.
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
        assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
        assert!(TcpStream::connect(setup.address()).await.is_err());

        permits.add_permits(1);
        let answer = answer(&mut BufReader::new(busy)).await.unwrap();
        assert_eq!(answer.text(), "abcdef");
        let remains = setup.proxy.end().await;
        assert_eq!(remains.status.code(), Some(0), "{remains:?}");
        assert_eq!(remains.stdout, "", "nothing after the first line");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_does_not_hold_the_end_up() {
    let setup = Setup::with(|proxy| {
        proxy.args(["--drain-timeout", "0.2"]);
    })
    .await;
    setup.upstream.script(vec![Act::WaitUntilGone]);
    let mut busy = TcpStream::connect(setup.address()).await.unwrap();
    busy.write_all(REQUEST.as_bytes()).await.unwrap();
    setup.upstream.request().await;
    setup.proxy.signal("TERM").await;
    let remains = setup.proxy.end().await;
    assert_eq!(remains.status.code(), Some(0), "{remains:?}");
    assert!(remains.stderr.contains("gave up"), "{remains:?}");
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut setup = Setup::scripted(vec![Act::WaitUntilGone]).await;
    let mut busy = TcpStream::connect(setup.address()).await.unwrap();
    busy.write_all(REQUEST.as_bytes()).await.unwrap();
    setup.upstream.request().await;
    setup.proxy.signal("TERM").await;
    setup.proxy.logged(&["draining"]).await;
    setup.proxy.signal("INT").await;
    let remains = setup.proxy.end().await;
    assert_eq!(remains.status.code(), Some(0), "{remains:?}");
    assert!(remains.stderr.contains("at once"), "{remains:?}");
}

#[tokio::test]
async fn an_idle_http2_connection_does_not_hold_the_end_up() {
    let setup = Setup::new().await;
    let mut client = h2_client(&setup).await;
    let body = Empty::new().map_err(|never| match never {});
    let request = Request::get("http://gateway.example/v1/files");
    let response = client.send_request(request.body(body).unwrap()).await;
    response.unwrap().into_body().collect().await.unwrap();
    let request = setup.upstream.request().await;
    assert_eq!(request.header("transfer-encoding"), None);
    assert_eq!(request.header("content-length"), None);

    setup.proxy.signal("TERM").await;
    let remains = setup.proxy.end().await;
    assert_eq!(remains.status.code(), Some(0), "{remains:?}");
    assert!(remains.stderr.contains("drained"), "{remains:?}");
}

type H2Body = UnsyncBoxBody<Bytes, BoxError>;
type H2Client = hyper::client::conn::http2::SendRequest<H2Body>;

async fn send(address: SocketAddr, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

fn h2_request(body: H2Body) -> Request<H2Body> {
    Request::post("http://gateway.example/v1/chat/completions")
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

fn whole(body: &'static str) -> H2Body {
    Full::from(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The number that a client gave its request.
fn number(request: &Received) -> usize {
    request.header("x-number").unwrap().parse().unwrap()
}

/// How many requests of each kind are under way.
const MANY: usize = 12;
const CODE: &str = "0x8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a";
const EVENT: &str = "data: {\"model\":\"code\"}\n\n";

#[tokio::test]
async fn every_request_that_has_begun_is_answered_whole() {
    let mut setup = Setup::new().await;
    let mut used = Vec::new();
    for _ in 0..MANY {
        let mut stream = send(
            setup.address(),
            "GET /health HTTP/1.1\r\nhost: test\r\n\r\n",
        )
        .await;
        answer(&mut stream).await.unwrap();
        used.push(stream);
    }
    let mut h2 = h2_client(&setup).await;
    let permits = Arc::new(Semaphore::new(0));

    // Streams of which the first event has come.
    let event = EVENT.replace("code", CODE);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    setup.upstream.script(vec![
        Act::send(&format!("{head}{chunk}")),
        Act::Wait(Arc::clone(&permits)),
        Act::send(&format!("{chunk}0\r\n\r\n")),
    ]);
    let streams: Vec<_> = join_all((0..MANY).map(|_| send(setup.address(), REQUEST))).await;
    let mut h2_streams = Vec::new();
    for _ in 0..MANY {
        let response = h2
            .send_request(h2_request(whole(REQUEST_BODY)))
            .await
            .unwrap();
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        h2_streams.push((first, body));
    }
    for _ in 0..2 * MANY {
        setup.upstream.head().await;
    }

    // Uploads that are half done, then requests whose answers have not begun.
    let json = "content-type: application/json\r\n";
    setup.upstream.script(vec![
        Act::Wait(Arc::clone(&permits)),
        Act::answer(200, json, r#"{"ok":true}"#),
    ]);
    let (half, rest) = (r#"{"model":"code""#, r#","last":"0123456789"}"#);
    let upload = REQUEST.replace("content-length: 16", "content-length: 36");
    let upload = upload.replace(REQUEST_BODY, half);
    let mut uploads = join_all((0..MANY).map(|_| send(setup.address(), &upload))).await;
    let mut h2_uploads = Vec::new();
    let mut h2_answers = Vec::new();
    for _ in 0..MANY {
        let (frames, body) = mpsc::unbounded_channel();
        let body = stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let body = StreamBody::new(body.map(Ok::<_, BoxError>));
        frames.send(Frame::data(Bytes::from(half))).unwrap();
        h2_uploads.push(frames);
        let response = h2.send_request(h2_request(body.boxed_unsync()));
        h2_answers.push(tokio::spawn(response));
    }
    let plain = join_all((0..MANY).map(|_| send(setup.address(), REQUEST))).await;
    for _ in 0..3 * MANY {
        setup.upstream.head().await;
    }

    // Requests that are still in the sockets when the signal comes, on new
    // connections and on old ones: the proxy has no chance to read them before.
    setup.proxy.signal("STOP").await;
    let fresh = join_all((0..MANY).map(|_| send(setup.address(), REQUEST))).await;
    for stream in &mut used {
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
    }
    setup.proxy.signal("TERM").await;
    setup.proxy.signal("CONT").await;
    setup.proxy.logged(&["draining"]).await;
    assert!(TcpStream::connect(setup.address()).await.is_err());
    for _ in 0..2 * MANY {
        setup.upstream.head().await;
    }

    permits.add_permits(100 * MANY);
    for (first, body) in h2_streams {
        let rest = body.collect().await.unwrap().to_bytes();
        assert_eq!([first, rest].concat(), [EVENT, EVENT].concat().as_bytes());
    }
    for mut stream in streams {
        let answer = answer(&mut stream).await.unwrap();
        assert_eq!(answer.text(), [EVENT, EVENT].concat());
    }
    for stream in &mut uploads {
        stream.write_all(rest.as_bytes()).await.unwrap();
    }
    for frames in h2_uploads {
        frames.send(Frame::data(Bytes::from(rest))).unwrap();
    }
    for answer in h2_answers {
        let body = answer.await.unwrap().unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), r#"{"ok":true}"#);
    }
    for mut stream in uploads.into_iter().chain(plain).chain(fresh).chain(used) {
        let answer = answer(&mut stream).await.unwrap();
        assert_eq!(answer.text(), r#"{"ok":true}"#);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    for _ in 0..7 * MANY {
        assert!(setup.upstream.request().await.payload.is_complete);
    }
    assert!(!setup.upstream.has_request().await);
    let remains = setup.proxy.end().await;
    assert_eq!(remains.status.code(), Some(0), "{remains:?}");
    assert!(remains.stderr.contains("drained"), "{remains:?}");
}

#[tokio::test]
async fn no_request_is_lost_when_the_signal_comes_under_load() {
    let setup = Setup::new().await;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..24 {
        let (address, sent) = (setup.address(), Arc::clone(&sent));
        clients.push(match number % 3 {
            0 => tokio::spawn(load_with_h2(h2_client(&setup).await, sent)),
            1 => tokio::spawn(load(address, sent, "close")),
            _ => tokio::spawn(load(address, sent, "keep-alive")),
        });
    }
    let mut seen = HashSet::new();
    while seen.len() < 300 {
        seen.insert(number(&setup.upstream.request().await));
    }
    setup.proxy.signal("TERM").await;
    let mut unanswered = Vec::new();
    for client in clients {
        unanswered.extend(client.await.unwrap());
    }
    let remains = setup.proxy.end().await;
    assert_eq!(remains.status.code(), Some(0), "{remains:?}");
    while setup.upstream.has_request().await {
        seen.insert(number(&setup.upstream.request().await));
    }
    // A client may send these again: nothing came of them.
    for number in &unanswered {
        assert!(!seen.contains(number), "request {number} was lost");
    }
    assert_eq!(seen.len() + unanswered.len(), sent.load(Ordering::Relaxed));
}

/// Sends requests one after the other until no connection is accepted any more;
/// the numbers of those that got no answer.
async fn load(address: SocketAddr, sent: Arc<AtomicUsize>, connection: &str) -> Vec<usize> {
    let mut unanswered = Vec::new();
    while let Ok(stream) = TcpStream::connect(address).await {
        let mut stream = BufReader::new(stream);
        loop {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let headers = format!("x-number: {number}\r\nconnection: {connection}\r\nhost:");
            let request = REQUEST.replace("host:", &headers);
            // The other side may have closed it.
            let _ = stream.write_all(request.as_bytes()).await;
            let Some(answer) = answer(&mut stream).await else {
                unanswered.push(number);
                break;
            };
            assert_eq!(answer.text(), r#"{"ok":true}"#, "request {number}");
            if answer.header("connection") == Some("close") {
                break;
            }
        }
    }
    unanswered
}

/// The same over one HTTP/2 connection.
async fn load_with_h2(mut client: H2Client, sent: Arc<AtomicUsize>) -> Vec<usize> {
    while client.ready().await.is_ok() {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let mut request = h2_request(whole(REQUEST_BODY));
        request.headers_mut().insert("x-number", number.into());
        let Ok(response) = client.send_request(request).await else {
            return vec![number];
        };
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, r#"{"ok":true}"#, "request {number}");
    }
    Vec::new()
}
