//! What the upstream, or the network to it, does wrong.

use std::time::Duration;

use super::*;

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\n";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";

pub(super) struct Row {
    pub(super) fault: &'static str,
    link: Fault,
    answer: Answers,
    settings: &'static [&'static str],
    /// Whether the connection to the upstream has been used before.
    is_reused: Reused,
    pub(super) client: &'static str,
    pub(super) upstream: Sees,
}

#[derive(Clone, Copy, PartialEq)]
enum Reused {
    No,
    Yes,
    /// And was closed by the upstream.
    AndClosed,
}

/// What the upstream itself sends.
#[derive(Clone, Copy)]
enum Answers {
    Well,
    /// This, and then the end.
    With(&'static str),
    /// This, and once the client has seen the head, that, and then the end.
    WithThen(&'static str, &'static str),
}

const fn row(fault: &'static str, client: &'static str, upstream: Sees) -> Row {
    Row {
        fault,
        link: Fault::None,
        answer: Answers::Well,
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

    fn with(self, answer: &'static str) -> Self {
        let answer = Answers::With(answer);
        Self { answer, ..self }
    }

    fn with_then(self, answer: &'static str, rest: &'static str) -> Self {
        let answer = Answers::WithThen(answer, rest);
        Self { answer, ..self }
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
    const CUT_OFF: &str = "200, visibly cut off";
    const ONCE: Sees = Sees::Whole(1);
    const HURRY: &[&str] = &["--upstream-first-byte-timeout 3"];
    vec![
        row("refuses connections", BAD_GATEWAY, Sees::Nothing).settings(&[NOBODY]),
        row(
            "takes the connection and closes it",
            BAD_GATEWAY,
            Sees::Nothing,
        )
        .link(Fault::Close),
        row("closes it instead of answering", BAD_GATEWAY, ONCE).link(Fault::Cut(0)),
        row("resets it instead of answering", BAD_GATEWAY, ONCE).link(Fault::Reset(0)),
        row("never answers", TIMEOUT, ONCE)
            .link(Fault::Stall(0))
            .settings(HURRY),
        row("answers late", "200", ONCE).link(Fault::Delay(Duration::from_millis(300))),
        row("answers byte by byte", "200", ONCE).link(Fault::ByteByByte),
        row("answers slowly but steadily", "200", ONCE)
            .link(Fault::Throttle)
            .settings(&["--upstream-idle-timeout 5"]),
        row("stops in the head", TIMEOUT, ONCE)
            .link(Fault::Stall(10))
            .settings(HURRY),
        row("closes in the head", BAD_GATEWAY, ONCE).with("HTTP/1.1 200 OK\r\ncontent-"),
        row("answers something that is not HTTP", BAD_GATEWAY, ONCE)
            .with("SSH-2.0-OpenSSH_9.9\r\n"),
        row("has a bit flipped in the head", BAD_GATEWAY, ONCE).link(Fault::Corrupt(0)),
        row("names two lengths", BAD_GATEWAY, ONCE)
            .with("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc"),
        row("names a length and chunks", "200", ONCE).with(
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nok\r\n0\r\n\r\n",
        ),
        row("stops in the body", CUT_OFF, ONCE)
            .with(LENGTH)
            .link(Fault::Stall(LENGTH.len()))
            .settings(&["--upstream-idle-timeout 1"]),
        row("closes before the promised length", CUT_OFF, ONCE).with_then(LENGTH, "12345"),
        row("resets in the body", CUT_OFF, ONCE)
            .with_then(LENGTH, "1234567890")
            .link(Fault::Reset(LENGTH.len() + 5)),
        row("closes between two chunks", CUT_OFF, ONCE).with_then(CHUNKED, ""),
        row("sends a chunk size that is none", CUT_OFF, ONCE).with_then(CHUNKED, "zz\r\nabc\r\n"),
        row("sends a chunk longer than its size", CUT_OFF, ONCE)
            .with_then(CHUNKED, "2\r\nabc\r\n0\r\n\r\n"),
        row("has a bit flipped in a chunk size", CUT_OFF, ONCE)
            .with_then(CHUNKED, "3\r\nabc\r\n0\r\n\r\n")
            .link(Fault::Corrupt(CHUNKED.len())),
        row(
            "answers in HTTP/1.0, to the end of the connection",
            "200",
            ONCE,
        )
        .with("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nabc"),
        row("says 100 and 103 first", "200", ONCE).with(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
        row("sends a second answer that nobody asked for", "200", ONCE).with(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\
             HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno",
        ),
        row("has closed an idle connection", "200", ONCE).reused(Reused::AndClosed),
        row(
            "closes an idle connection when a request comes",
            BAD_GATEWAY,
            Sees::Nothing,
        )
        .link(Fault::CloseWhenAskedAgain)
        .reused(Reused::Yes),
    ]
}

#[tokio::test]
async fn faults_of_the_upstream() {
    each(rows(), check).await;
}

async fn check(row: Row) {
    let lab = Lab::start(row.settings).await;
    lab.warm_up().await;
    lab.upstream_link.fault(row.link);
    // One connection: each has upstream connections to itself.
    let mut stream = BufReader::new(connect(lab.address()).await);
    if row.is_reused != Reused::No {
        lab.upstream
            .script(vec![Act::answer(200, "content-type: text/plain\r\n", "ok")]);
        stream.write_all(request(BODY).as_bytes()).await.unwrap();
        let answer = answer_on(&mut stream, &lab.upstream_link).await;
        assert_eq!(client_sees(answer), "200");
        assert_eq!(lab.upstream.request().await.header("connection"), None);
        if row.is_reused == Reused::AndClosed {
            lab.upstream_link.close_idle().await;
        }
    }
    lab.upstream.script(match row.answer {
        Answers::Well => good_answer(),
        Answers::With(answer) => vec![Act::send(answer), Act::Close],
        Answers::WithThen(answer, rest) => vec![
            Act::send(answer),
            Act::Wait(lab.upstream_link.allowed()),
            Act::send(rest),
            Act::Close,
        ],
    });
    stream.write_all(request(BODY).as_bytes()).await.unwrap();
    let answer = answer_on(&mut stream, &lab.upstream_link).await;
    assert_eq!(
        client_sees(answer),
        row.client,
        "the upstream {}",
        row.fault
    );
    lab.check(row.fault, row.upstream).await;
}
