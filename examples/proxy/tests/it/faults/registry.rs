//! Faults of the registry and the network to it, before and after the first catalog.

use super::*;
use test_support::{MODELS, registry_server::Reply};

pub(super) struct Row {
    pub(super) fault: &'static str,
    link: Fault,
    reply: Option<Reply>,
    /// Whether the catalog arrives nevertheless.
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

    /// Returns what the client and the upstream see, as in the table.
    pub(super) fn shown(&self) -> (&'static str, &'static str) {
        match self.arrives {
            true => ("200", "the request, once"),
            false => (
                "200 (503 before the first catalog)",
                "the request, once (nothing before the first catalog)",
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
        row("closes new connections").link(Fault::Close),
        row("closes instead of responding").link(Fault::Cut(0)),
        row("resets instead of responding").link(Fault::Reset(0)),
        row("never responds").link(Fault::Stall(0)),
        row("stops in the body").link(Fault::Stall(200)),
        row("closes in the body").link(Fault::Cut(200)),
        row("resets in the body").link(Fault::Reset(200)),
        row("responds byte by byte")
            .link(Fault::ByteByByte)
            .arrives(),
        row("responds slowly but steadily")
            .link(Fault::Throttle)
            .arrives(),
        row("has a bit flipped in the head").link(Fault::Corrupt(9)),
        row("responds with 500").reply(Reply::status(500)),
        row("responds with HTML").reply(Reply::new(200, "<html>maintenance</html>")),
        row("responds with half a catalog").reply(Reply::new(200, &MODELS[..MODELS.len() / 2])),
        row("responds with an empty catalog").reply(Reply::new(200, r#"{"models":[]}"#)),
        row("sends a length that is too large")
            .reply(good_reply().header("content-length", "99999")),
        row("sends two lengths").reply(
            good_reply()
                .header("content-length", "2")
                .header("content-length", "3"),
        ),
        row("sends an invalid chunk size")
            .reply(Reply::new(200, "zz\r\n{}\r\n").header("transfer-encoding", "chunked")),
        row("redirects to itself").reply(Reply::redirect(302, RegistryServer::PATH)),
    ]
}

#[tokio::test]
async fn registry_faults_before_the_first_catalog() {
    each(rows(), check_cold).await;
}

#[tokio::test]
async fn registry_faults_after_the_first_catalog() {
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
    let response = post(lab.address(), CHAT, BODY).await;
    let retry_after = response.header("retry-after").map(str::to_owned);
    let seen = client_sees(Some(response));
    if row.arrives {
        assert_eq!(seen, "200", "the registry {fault}");
        return lab.check(fault, Sees::Complete(1)).await;
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
        let health = health.json();
        let service = &health["model_service"];
        assert_eq!(service["model_count"], 11, "{fault}");
        let is_degraded = health["status"] == "degraded";
        let last_error = &service["cache_info"]["last_error"];
        assert_eq!(last_error.is_string(), is_degraded, "{fault}: {health}");
        match row.arrives {
            true => lab.registry.requests().len() > fetched + 1,
            false => is_degraded,
        }
    })
    .await;
    let response = post(lab.address(), CHAT, BODY).await;
    assert_eq!(response.header("x-model-id"), Some(VENICE), "{fault}");
    assert_eq!(client_sees(Some(response)), "200", "{fault}");
    lab.check(fault, Sees::Complete(1)).await;

    lab.registry_link.fault(Fault::None);
    lab.registry.reply(good_reply());
    until(fault, async || {
        get(lab.address(), "/health").await.json()["status"] == "healthy"
    })
    .await;
}
