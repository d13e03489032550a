//! Faults of the upstream and the network to it.

use std::time::Duration;

use super::*;

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\n";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";

pub(super) struct Row {
    pub(super) fault: &'static str,
    link: Fault,
    sends: Sends,
    settings: &'static [&'static str],
    /// Whether the upstream connection has been used before.
    is_reused: Reused,
    pub(super) client: &'static str,
    pub(super) upstream: Sees,
}

#[derive(Clone, Copy, PartialEq)]
enum Reused {
    No,
    Yes,
    /// And the upstream has closed it.
    AndClosed,
}

/// What the upstream sends, before the faults of the link.
#[derive(Clone, Copy)]
enum Sends {
    GoodResponse,
    /// Bytes and the end.
    Bytes(&'static str),
    /// Bytes, then more after the client has received the head, and the end.
    BytesThen(&'static str, &'static str),
}

const fn row(fault: &'static str, client: &'static str, upstream: Sees) -> Row {
    Row {
        fault,
        link: Fault::None,
        sends: Sends::GoodResponse,
        settings: &[],
        is_reused: Reused::No,
        client,
        upstream,
    }
}

impl Row {
    fn link(self, link: Fault) -> Self {
        Self { link, ..self }
    }

    fn sends(self, bytes: &'static str) -> Self {
        let sends = Sends::Bytes(bytes);
        Self { sends, ..self }
    }

    fn sends_then(self, bytes: &'static str, rest: &'static str) -> Self {
        let sends = Sends::BytesThen(bytes, rest);
        Self { sends, ..self }
    }

    fn settings(self, settings: &'static [&'static str]) -> Self {
        Self { settings, ..self }
    }

    fn reused(self, is_reused: Reused) -> Self {
        Self { is_reused, ..self }
    }
}

pub(super) fn rows() -> Vec<Row> {
    const BAD_GATEWAY: &str = "502 `upstream_unavailable`";
    const TIMEOUT: &str = "504 `upstream_timeout`";
    const CUT_OFF: &str = "200, cut off";
    const ONCE: Sees = Sees::Complete(1);
    const FIRST_BYTE: &[&str] = &["--upstream-first-byte-timeout 3"];
    vec![
        row("refuses connections", BAD_GATEWAY, Sees::Nothing).settings(&[REFUSING_UPSTREAM]),
        row("closes new connections", BAD_GATEWAY, Sees::Nothing).link(Fault::Close),
        row("closes instead of responding", BAD_GATEWAY, ONCE).link(Fault::Cut(0)),
        row("resets instead of responding", BAD_GATEWAY, ONCE).link(Fault::Reset(0)),
        row("never responds", TIMEOUT, ONCE)
            .link(Fault::Stall(0))
            .settings(FIRST_BYTE),
        row("responds late", "200", ONCE).link(Fault::Delay(Duration::from_millis(300))),
        row("responds byte by byte", "200", ONCE).link(Fault::ByteByByte),
        row("responds slowly but steadily", "200", ONCE)
            .link(Fault::Throttle)
            .settings(&["--upstream-idle-timeout 5"]),
        row("stops in the head", TIMEOUT, ONCE)
            .link(Fault::Stall(10))
            .settings(FIRST_BYTE),
        row("closes in the head", BAD_GATEWAY, ONCE).sends("HTTP/1.1 200 OK\r\ncontent-"),
        row("responds with something other than HTTP", BAD_GATEWAY, ONCE)
            .sends("SSH-2.0-OpenSSH_9.9\r\n"),
        row("has a bit flipped in the head", BAD_GATEWAY, ONCE).link(Fault::Corrupt(0)),
        row("sends two lengths", BAD_GATEWAY, ONCE)
            .sends("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"),
        row("sends a length and chunks", "200", ONCE).sends(
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\n\r\n",
        ),
        row("stops in the body", CUT_OFF, ONCE)
            .sends(LENGTH)
            .link(Fault::Stall(LENGTH.len()))
            .settings(&["--upstream-idle-timeout 1"]),
        row("closes before the announced length", CUT_OFF, ONCE).sends_then(LENGTH, "12345"),
        row("resets in the body", CUT_OFF, ONCE)
            .sends_then(LENGTH, "1234567890")
            .link(Fault::Reset(LENGTH.len() + 5)),
        row("closes between two chunks", CUT_OFF, ONCE).sends_then(CHUNKED, ""),
        row("sends an invalid chunk size", CUT_OFF, ONCE).sends_then(CHUNKED, "zz\r\nabc\r\n"),
        row("sends a chunk longer than its size", CUT_OFF, ONCE)
            .sends_then(CHUNKED, "2\r\nabc\r\n0\r\n\r\n"),
        row("has a bit flipped in a chunk size", CUT_OFF, ONCE)
            .sends_then(CHUNKED, "3\r\nabc\r\n0\r\n\r\n")
            .link(Fault::Corrupt(CHUNKED.len())),
        row("responds in HTTP/1.0 without a length", "200", ONCE)
            .sends("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nabc"),
        row("sends 100 and 103 first", "200", ONCE).sends(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
        row("sends a second response to one request", "200", ONCE).sends(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
             HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
        ),
        row("has closed an idle connection", "200", ONCE).reused(Reused::AndClosed),
        row(
            "closes an idle connection when a request arrives",
            BAD_GATEWAY,
            Sees::Nothing,
        )
        .link(Fault::CloseOnSecondRequest)
        .reused(Reused::Yes),
    ]
}

#[tokio::test]
async fn upstream_faults() {
    each(rows(), check).await;
}

async fn check(row: Row) {
    let lab = Lab::start(row.settings).await;
    lab.warm_up().await;
    lab.upstream_link.fault(row.link);
    // One client connection, so that all requests are on one worker and its pool.
    let mut stream = BufReader::new(connect(lab.address()).await);
    if row.is_reused != Reused::No {
        lab.upstream.script(vec![Step::response(
            200,
            "content-type: text/plain\r\n",
            "ok",
        )]);
        stream.write_all(request(BODY).as_bytes()).await.unwrap();
        let response = response_on(&mut stream, &lab.upstream_link).await;
        assert_eq!(client_sees(response), "200");
        assert_eq!(lab.upstream.request().await.header("connection"), None);
        if row.is_reused == Reused::AndClosed {
            lab.upstream_link.close_idle().await;
        }
    }
    lab.upstream.script(match row.sends {
        Sends::GoodResponse => good_response(),
        Sends::Bytes(response) => vec![Step::send(response), Step::Close],
        Sends::BytesThen(response, rest) => vec![
            Step::send(response),
            Step::Wait(lab.upstream_link.allowed()),
            Step::send(rest),
            Step::Close,
        ],
    });
    stream.write_all(request(BODY).as_bytes()).await.unwrap();
    let response = response_on(&mut stream, &lab.upstream_link).await;
    assert_eq!(
        client_sees(response),
        row.client,
        "the upstream {}",
        row.fault
    );
    lab.check(row.fault, row.upstream).await;
}
