//! Faults of clients and the network to them.

use tokio::io::AsyncReadExt;

use super::*;

pub(super) struct Row {
    pub(super) fault: &'static str,
    request: String,
    /// Sent after the upstream has received the head of the request.
    rest: &'static str,
    pace: Pace,
    end: End,
    settings: &'static [&'static str],
    pub(super) client: &'static str,
    pub(super) upstream: Sees,
}

/// How the request is sent.
#[derive(Clone, Copy, PartialEq)]
enum Pace {
    AtOnce,
    ByteByByte,
    /// Followed by a byte at a time, until there is a response.
    Dripping,
}

/// What the client does after sending the request.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Reads this many responses.
    Read(usize),
    Disconnect,
    Reset,
    /// Disconnects after the upstream has received the head of the request.
    DisconnectInBody,
    /// Disconnects after the upstream has received the request.
    DisconnectBeforeResponse,
    /// Disconnects within the response.
    DisconnectInResponse,
}

const BAD_REQUEST: &str = "400 `invalid_request_head`";
const TIMED_OUT: &str = "408 `request_timeout`";
const INVALID_BODY: &str = "400 `invalid_request_body`";
const DISCONNECTED: &str = "(disconnected)";

fn row(fault: &'static str, request: String, client: &'static str, upstream: Sees) -> Row {
    Row {
        fault,
        request,
        rest: "",
        pace: Pace::AtOnce,
        end: End::Read(1),
        settings: &[],
        client,
        upstream,
    }
}

impl Row {
    fn rest(self, rest: &'static str) -> Self {
        Self { rest, ..self }
    }

    fn pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    fn end(self, end: End) -> Self {
        Self { end, ..self }
    }

    fn settings(self, settings: &'static [&'static str]) -> Self {
        Self { settings, ..self }
    }
}

pub(super) fn rows() -> Vec<Row> {
    let nothing = Sees::Nothing;
    let once = Sees::Complete(1);
    let head = |framing: &str| format!("{}{framing}\r\n\r\n", head(CHAT));
    let unknown = || format!("{}{{\"a\":\"", head("content-length: 999"));
    let known = || format!("{}{{\"model\":\"code\",", head("content-length: 999"));
    let chunked = |chunks: &str| format!("{}{chunks}", head("transfer-encoding: chunked"));
    let with = |line: &str| request(BODY).replacen("\r\n", &format!("\r\n{line}\r\n"), 1);
    vec![
        row("sends byte by byte", request(BODY), "200", once).pace(Pace::ByteByByte),
        row(
            "stalls in the head",
            "POST /v1/chat".into(),
            "a closed connection",
            nothing,
        )
        .settings(&["--client-header-timeout 3"]),
        row("stalls before the model", unknown(), TIMED_OUT, nothing)
            .settings(&["--held-timeout 1"]),
        row("drips before the model", unknown(), TIMED_OUT, nothing)
            .pace(Pace::Dripping)
            .settings(&["HELD_TIMEOUT_SECONDS=0.5"]),
        row(
            "stalls after the model",
            known(),
            TIMED_OUT,
            Sees::Incomplete,
        )
        .settings(&["--client-idle-timeout 1"]),
        row(
            "disconnects in the head",
            "POST /v1/chat".into(),
            DISCONNECTED,
            nothing,
        )
        .end(End::Disconnect),
        row(
            "disconnects before the model",
            unknown(),
            DISCONNECTED,
            nothing,
        )
        .end(End::Disconnect),
        row("resets before the model", unknown(), DISCONNECTED, nothing).end(End::Reset),
        row(
            "disconnects after the model",
            known(),
            DISCONNECTED,
            Sees::Incomplete,
        )
        .end(End::DisconnectInBody),
        row(
            "disconnects before the last chunk",
            chunked("10\r\n{\"model\":\"code\"}\r\n"),
            DISCONNECTED,
            Sees::Incomplete,
        )
        .end(End::DisconnectInBody),
        row(
            "disconnects before the response, which cancels the upstream request",
            request(BODY),
            DISCONNECTED,
            once,
        )
        .end(End::DisconnectBeforeResponse),
        row(
            "disconnects in the response, which cancels the upstream request",
            request(BODY),
            DISCONNECTED,
            once,
        )
        .end(End::DisconnectInResponse),
        row(
            "pipelines a valid request and an invalid one",
            request(BODY) + &request("{"),
            "200, then 400 `invalid_json`",
            once,
        )
        .end(End::Read(2)),
        row(
            "pipelines two requests",
            request(BODY) + &request(BODY),
            "200, then 200",
            Sees::Complete(2),
        )
        .end(End::Read(2)),
        row(
            "sends Content-Length and Transfer-Encoding",
            format!(
                "{}1d\r\n{BODY}\r\n0\r\n\r\n",
                head("content-length: 5\r\ntransfer-encoding: chunked")
            ),
            "200",
            once,
        ),
        row(
            "smuggles a second request behind both",
            format!(
                "{}1d\r\n{BODY}\r\n0\r\n\r\nGET /v1/files HTTP/1.1\r\nhost: test\r\n\r\n",
                head("content-length: 5\r\ntransfer-encoding: chunked"),
            ),
            "200, then a closed connection",
            once,
        )
        .end(End::Read(2)),
        row(
            "sends two lengths",
            head("content-length: 29\r\ncontent-length: 2") + BODY,
            BAD_REQUEST,
            nothing,
        ),
        row(
            "sends an invalid length",
            head("content-length: +29") + BODY,
            BAD_REQUEST,
            nothing,
        ),
        row(
            "sends a transfer coding after chunked",
            format!(
                "{}1d\r\n{BODY}\r\n0\r\n\r\n",
                head("transfer-encoding: chunked, gzip")
            ),
            BAD_REQUEST,
            nothing,
        ),
        row(
            "sends an invalid chunk size before the model",
            chunked("1\r\n{\r\nzz\r\n"),
            INVALID_BODY,
            nothing,
        ),
        row(
            "sends an invalid chunk size after the model",
            chunked("10\r\n{\"model\":\"code\",\r\n"),
            INVALID_BODY,
            Sees::Incomplete,
        )
        .rest("zz\r\n"),
        row(
            "folds a header over two lines",
            with("x-folded: a\r\n b"),
            BAD_REQUEST,
            nothing,
        ),
        row(
            "puts a space before a colon",
            with("x-space : a"),
            BAD_REQUEST,
            nothing,
        ),
        row(
            "sends NUL in a header",
            with("x-nul: a\0b"),
            BAD_REQUEST,
            nothing,
        ),
        row(
            "ends lines without CR",
            request(BODY).replace('\r', ""),
            "200",
            once,
        ),
        row(
            "sends a head that is too large",
            with(&format!("x-large: {}", "x".repeat(600 * 1024))),
            "431 `request_head_too_large`",
            nothing,
        ),
        row(
            "does not speak HTTP",
            "EHLO test\r\n\r\n".into(),
            BAD_REQUEST,
            nothing,
        ),
    ]
}

#[tokio::test]
async fn client_faults() {
    each(rows(), check).await;
}

async fn check(row: Row) {
    let lab = Lab::start(row.settings).await;
    lab.warm_up().await;
    match row.end {
        End::DisconnectBeforeResponse => lab.upstream.script(vec![Step::WaitForDisconnect]),
        End::DisconnectInResponse => {
            let start = Step::send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
            lab.upstream.script(vec![start, Step::WaitForDisconnect]);
        }
        _ => {}
    }
    let seen = row.run(&lab).await;
    assert_eq!(seen, row.client, "the client {}", row.fault);
    lab.check(row.fault, row.upstream).await;
}

impl Row {
    /// Runs the row and returns what the client sees.
    async fn run(&self, lab: &Lab) -> String {
        let mut stream = BufReader::new(connect(lab.address()).await);
        self.send(&mut stream).await;
        if !self.rest.is_empty() {
            lab.upstream.head().await;
            stream.write_all(self.rest.as_bytes()).await.unwrap();
        }
        match self.end {
            End::Read(count) => {
                let mut seen = Vec::new();
                for _ in 0..count {
                    let response = match self.pace {
                        Pace::Dripping => drip(&mut stream, &lab.upstream_link).await,
                        _ => response_on(&mut stream, &lab.upstream_link).await,
                    };
                    seen.push(client_sees(response));
                }
                return seen.join(", then ");
            }
            End::Disconnect => {}
            End::Reset => stream.get_ref().set_zero_linger().unwrap(),
            End::DisconnectInBody => drop(lab.upstream.head().await),
            // The upstream must have received all of it.
            End::DisconnectBeforeResponse => {
                until("a request", async || lab.upstream.has_request().await).await;
            }
            End::DisconnectInResponse => drop(stream.read_u8().await.unwrap()),
        }
        drop(stream);
        if matches!(
            self.end,
            End::DisconnectBeforeResponse | End::DisconnectInResponse
        ) {
            lab.upstream.wait_for_disconnect().await;
        }
        DISCONNECTED.to_owned()
    }

    async fn send(&self, stream: &mut BufReader<TcpStream>) {
        let request = self.request.as_bytes();
        let step = match self.pace {
            Pace::ByteByByte => 1,
            _ => request.len(),
        };
        for piece in request.chunks(step) {
            // A server that has responded already may have closed its side.
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Sends a byte of the body at a time, until there is a response.
async fn drip(stream: &mut BufReader<TcpStream>, link: &Link) -> Option<Response> {
    loop {
        tokio::select! {
            biased;
            _ = stream.get_ref().readable() => break,
            () = sleep(Duration::from_millis(20)) => {}
        }
        if stream.write_all(b"x").await.is_err() {
            break;
        }
    }
    response_on(stream, link).await
}
