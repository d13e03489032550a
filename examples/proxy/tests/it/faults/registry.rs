//! What the registry, or the network to it, does wrong: before there is a list,
//! and later.

use super::*;
use test_support::{MODELS, registry_server::Reply};

pub(super) struct Row {
    pub(super) fault: &'static str,
    link: Fault,
    reply: Option<Reply>,
    /// Whether the list arrives all the same.
    arrives: bool,
}

const UNAVAILABLE: &str = "503 `model_registry_unavailable`";

fn row(fault: &'static str) -> Row {
    Row {
        fault,
        link: Fault::None,
        reply: None,
        arrives: false,
    }
}

impl Row {
    fn link(self, link: Fault) -> Self {
        Self { link, ..self }
    }

    fn reply(self, reply: Reply) -> Self {
        let reply = Some(reply);
        Self { reply, ..self }
    }

    fn arrives(self) -> Self {
        Self {
            arrives: true,
            ..self
        }
    }

    /// What the client and the upstream see, as the README shows it.
    pub(super) fn shown(&self) -> (&'static str, &'static str) {
        match self.arrives {
            true => ("200", "the request, once"),
            false => (
                "200 (503 without a list yet)",
                "the request, once (nothing without a list yet)",
            ),
        }
    }

    fn bad_reply(&self) -> Reply {
        self.reply.clone().unwrap_or_else(good_reply)
    }
}

fn good_reply() -> Reply {
    Reply::new(200, MODELS)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("takes the connection and closes it").link(Fault::Close),
        row("closes it instead of answering").link(Fault::Cut(0)),
        row("resets it instead of answering").link(Fault::Reset(0)),
        row("never answers").link(Fault::Stall(0)),
        row("stops in the body").link(Fault::Stall(200)),
        row("closes in the body").link(Fault::Cut(200)),
        row("resets in the body").link(Fault::Reset(200)),
        row("answers byte by byte")
            .link(Fault::ByteByByte)
            .arrives(),
        row("answers slowly but steadily")
            .link(Fault::Throttle)
            .arrives(),
        row("has a bit flipped in the head").link(Fault::Corrupt(9)),
        row("answers 500").reply(Reply::status(500)),
        row("answers with a web page").reply(Reply::new(200, "<html>hotel WiFi</html>")),
        row("answers with half a list").reply(Reply::new(200, &MODELS[..MODELS.len() / 2])),
        row("answers with an empty list").reply(Reply::new(200, r#"{"models":[]}"#)),
        row("names a length that is too long")
            .reply(good_reply().header("content-length", "99999")),
        row("names two lengths").reply(
            good_reply()
                .header("content-length", "2")
                .header("content-length", "3"),
        ),
        row("sends a chunk size that is none")
            .reply(Reply::new(200, "zz\r\n{}\r\n").header("transfer-encoding", "chunked")),
        row("redirects to itself").reply(Reply::redirect(302, RegistryServer::PATH)),
    ]
}

#[tokio::test]
async fn faults_of_the_registry_before_there_is_a_list() {
    each(rows(), check_cold).await;
}

#[tokio::test]
async fn faults_of_the_registry_when_there_is_a_list() {
    each(rows(), check_warm).await;
}

fn fetch_timeout(row: &Row) -> &'static str {
    match row.arrives {
        true => "MODELS_FETCH_TIMEOUT_SECONDS=60",
        false => "MODELS_FETCH_TIMEOUT_SECONDS=1",
    }
}

async fn check_cold(row: Row) {
    let fault = row.fault;
    let registry = RegistryServer::start(row.bad_reply()).await;
    let lab = Lab::with_registry(&[fetch_timeout(&row)], row.link, registry).await;
    lab.registry_link.allow();
    let answer = post(lab.address(), CHAT, BODY).await;
    let retry_after = answer.header("retry-after").map(str::to_owned);
    let seen = client_sees(Some(answer));
    if row.arrives {
        assert_eq!(seen, "200", "the registry {fault}");
        return lab.check(fault, Sees::Whole(1)).await;
    }
    assert_eq!(seen, UNAVAILABLE, "the registry {fault}");
    let seconds: u64 = retry_after.expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{fault}: {seconds}");
    lab.check(fault, Sees::Nothing).await;

    lab.registry_link.fault(Fault::None);
    lab.registry.reply(good_reply());
    until(fault, async || {
        post(lab.address(), CHAT, BODY).await.status() == 200
    })
    .await;
}

async fn check_warm(row: Row) {
    let fault = row.fault;
    let registry = RegistryServer::start(good_reply()).await;
    let settings = ["MODELS_TTL_SECONDS=0.2", fetch_timeout(&row)];
    let lab = Lab::with_registry(&settings, Fault::None, registry).await;
    lab.warm_up().await;
    lab.registry_link.fault(row.link);
    lab.registry.reply(row.bad_reply());
    lab.registry_link.allow();
    let fetched = lab.registry.requests().len();
    until(fault, async || {
        let health = get(lab.address(), "/health").await;
        assert_eq!(health.status(), 200, "{fault}");
        match row.arrives {
            true => lab.registry.requests().len() > fetched + 1,
            false => health.json()["status"] == "degraded",
        }
    })
    .await;
    let answer = post(lab.address(), CHAT, BODY).await;
    assert_eq!(answer.header("x-model-id"), Some(VENICE), "{fault}");
    assert_eq!(client_sees(Some(answer)), "200", "{fault}");
    lab.check(fault, Sees::Whole(1)).await;
}
