//! The end of the process.

#![cfg(unix)]

use std::sync::Arc;

use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::Semaphore,
};

use super::{Setup, forward::h2_client};
use crate::support::{client::answer, upstream::Act};

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
