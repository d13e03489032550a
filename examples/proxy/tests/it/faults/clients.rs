//! What clients, or the network to them, do wrong.

use tokio::io::AsyncReadExt;

use super::*;

pub(super) struct Row {
    pub(super) fault: &'static str,
    request: String,
    /// Sent once the upstream has the head of the request.
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
    /// With a byte more, again and again, until there is an answer.
    Dripping,
}

/// What the client does when it has sent it.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Reads so many answers.
    Read(usize),
    HangUp,
    Reset,
    /// Hangs up once the upstream has the head of the request.
    HangUpInBody,
    /// Hangs up once the upstream has the request, and is at work.
    HangUpAtWork,
    /// Hangs up in the middle of the answer.
    HangUpInAnswer,
}

const BAD_REQUEST: &str = "400";
const TIMED_OUT: &str = "408 `request_timeout`";
const BROKEN: &str = "400 `invalid_request_body`";
const GONE: &str = "(it has gone)";

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
    let once = Sees::Whole(1);
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
            Sees::BrokenOff,
        )
        .settings(&["--client-idle-timeout 1"]),
        row(
            "hangs up in the head",
            "POST /v1/chat".into(),
            GONE,
            nothing,
        )
        .end(End::HangUp),
        row("hangs up before the model", unknown(), GONE, nothing).end(End::HangUp),
        row("resets before the model", unknown(), GONE, nothing).end(End::Reset),
        row("hangs up after the model", known(), GONE, Sees::BrokenOff).end(End::HangUpInBody),
        row(
            "hangs up while the upstream works, whose call ends",
            request(BODY),
            GONE,
            once,
        )
        .end(End::HangUpAtWork),
        row(
            "hangs up in the answer, and the upstream's call ends",
            request(BODY),
            GONE,
            once,
        )
        .end(End::HangUpInAnswer),
        row(
            "pipelines a good request and a bad one",
            request(BODY) + &request("{"),
            "200, then 400 `invalid_json`",
            once,
        )
        .end(End::Read(2)),
        row(
            "pipelines two requests",
            request(BODY) + &request(BODY),
            "200, then 200",
            Sees::Whole(2),
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
            "hides a second request behind both",
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
            "sends a length that is none",
            head("content-length: +29") + BODY,
            BAD_REQUEST,
            nothing,
        ),
        row(
            "sends a transfer coding before which chunked comes",
            format!(
                "{}1d\r\n{BODY}\r\n0\r\n\r\n",
                head("transfer-encoding: chunked, gzip")
            ),
            BAD_REQUEST,
            nothing,
        ),
        row(
            "breaks its chunks before the model",
            chunked("1\r\n{\r\nzz\r\n"),
            BROKEN,
            nothing,
        ),
        row(
            "breaks its chunks after the model",
            chunked("10\r\n{\"model\":\"code\",\r\n"),
            BROKEN,
            Sees::BrokenOff,
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
            "sends too large a head",
            with(&format!("x-large: {}", "x".repeat(600 * 1024))),
            "431",
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
async fn faults_of_clients() {
    each(rows(), check).await;
}

async fn check(row: Row) {
    let lab = Lab::start(row.settings).await;
    lab.warm_up().await;
    match row.end {
        End::HangUpAtWork => lab.upstream.script(vec![Act::WaitUntilGone]),
        End::HangUpInAnswer => {
            let start = Act::send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
            lab.upstream.script(vec![start, Act::WaitUntilGone]);
        }
        _ => {}
    }
    let seen = row.play(&lab).await;
    assert_eq!(seen, row.client, "the client {}", row.fault);
    lab.check(row.fault, row.upstream).await;
}

impl Row {
    /// Does what the row says; what the client sees.
    async fn play(&self, lab: &Lab) -> String {
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
                    let answer = match self.pace {
                        Pace::Dripping => drip(&mut stream, &lab.upstream_link).await,
                        _ => answer_on(&mut stream, &lab.upstream_link).await,
                    };
                    seen.push(client_sees(answer));
                }
                return seen.join(", then ");
            }
            End::HangUp => {}
            End::Reset => stream.get_ref().set_zero_linger().unwrap(),
            End::HangUpInBody => drop(lab.upstream.head().await),
            // The upstream must have all of it, or would see another row.
            End::HangUpAtWork => {
                until("a request", async || lab.upstream.has_request().await).await;
            }
            End::HangUpInAnswer => drop(stream.read_u8().await.unwrap()),
        }
        drop(stream);
        if matches!(self.end, End::HangUpAtWork | End::HangUpInAnswer) {
            lab.upstream.until_gone().await;
        }
        GONE.to_owned()
    }

    async fn send(&self, stream: &mut BufReader<TcpStream>) {
        let request = self.request.as_bytes();
        let step = match self.pace {
            Pace::ByteByByte => 1,
            _ => request.len(),
        };
        for piece in request.chunks(step) {
            // The server may have closed its side: it has answered already.
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Sends a byte of the body now and then, until there is an answer.
async fn drip(stream: &mut BufReader<TcpStream>, link: &Link) -> Option<Answer> {
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
    answer_on(stream, link).await
}
