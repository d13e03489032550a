//! When the inner service's readiness is taken, and what is held meanwhile.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, load_shed::error::Overloaded};
use tower_model_routing::{Rejection, RoutedBody};
use tower_test::mock;

use crate::support::{
    body::{ScriptedBody, Step, channel, data},
    gateway::{CHAT, layer, post, warm_layer},
    source::ScriptedSource,
};

const NAMED: &str = r#"{"model":"venice-uncensored"}"#;
const ROUTED: &str = r#"{"model":"0xb603"}"#;

/// How long the inner service takes.
const INNER_TIME: Duration = Duration::from_millis(100);

async fn inner(_: Request<RoutedBody<ScriptedBody>>) -> Result<Response<Full<Bytes>>, Infallible> {
    sleep(INNER_TIME).await;
    Ok(Response::default())
}

/// Returns a request of a client that withholds the model.
fn withholding() -> Request<ScriptedBody> {
    post(CHAT, ScriptedBody::new([data(r#"{"mod"#), Step::Hang]))
}

fn named() -> Request<ScriptedBody> {
    post(CHAT, ScriptedBody::new([data(NAMED)]))
}

fn get() -> Request<ScriptedBody> {
    Request::get("/").body(ScriptedBody::new([])).unwrap()
}

#[tokio::test(start_paused = true)]
async fn withheld_models_reserve_nothing_of_the_inner_service() {
    let service = ServiceBuilder::new()
        .layer(warm_layer().await)
        .buffer(4)
        .concurrency_limit(8)
        .service_fn(inner);
    for _ in 0..4 {
        let mut service = service.clone();
        tokio::spawn(async move {
            let call = service.ready().await.unwrap().call(withholding());
            call.await.unwrap()
        });
        tokio::task::yield_now().await;
    }
    for request in [named(), get()] {
        let start = Instant::now();
        let mut service = service.clone();
        let call = service.ready().await.unwrap().call(request);
        assert_eq!(call.await.unwrap().status(), 200);
        assert_eq!(start.elapsed(), INNER_TIME);
    }
}

#[tokio::test(start_paused = true)]
async fn load_shed_inside_counts_only_requests_whose_model_is_known() {
    let service = ServiceBuilder::new()
        .layer(warm_layer().await)
        .load_shed()
        .concurrency_limit(1)
        .service_fn(inner);
    let slow = tokio::spawn(service.clone().oneshot(withholding()));
    tokio::task::yield_now().await;
    let first = tokio::spawn(service.clone().oneshot(named()));
    tokio::task::yield_now().await;
    for request in [named(), get()] {
        let error = service.clone().oneshot(request).await.unwrap_err();
        assert!(error.is::<Overloaded>(), "{error}");
    }
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    slow.abort();
}

#[tokio::test]
async fn calls_the_inner_service_once_it_is_ready() {
    let (service, mut handle) = mock::pair::<Request<RoutedBody<ScriptedBody>>, Response<String>>();
    handle.allow(0);
    let mut service = mock::Spawn::new(warm_layer().await.layer(service));
    for (request, expected) in [(named(), ROUTED), (get(), "")] {
        assert_ready_ok!(service.poll_ready::<Request<ScriptedBody>>());
        let mut call = task::spawn(service.call(request));
        assert_pending!(call.poll());
        handle.allow(1);
        assert!(call.is_woken());
        assert_pending!(call.poll());
        let (request, respond) = handle.next_request().await.unwrap();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
        respond.send_response(Response::new("done".into()));
        assert_eq!(assert_ready_ok!(call.poll()).status(), 200);
    }
}

#[tokio::test]
async fn body_that_waits_for_readiness_reserves_budget() {
    let held = NAMED.len();
    let layer = layer(ScriptedSource::with_models(), |config| {
        config.max_total_held_bytes(2 * held)
    });
    layer.registry().refresh().await.unwrap();
    let (service, mut handle) = mock::pair::<Request<RoutedBody<ScriptedBody>>, Response<String>>();
    handle.allow(0);
    let service = layer.layer(service);
    let call = || task::spawn(service.clone().call(named()));

    let mut waiting = [call(), call(), call()];
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    // What is held is the prefix with the ID in it.
    assert_eq!(layer.held_bytes(), 3 * ROUTED.len());
    let on_images = post("/v1/images/edits", ScriptedBody::new([data(NAMED)]));
    for request in [named(), on_images] {
        let mut call = task::spawn(service.clone().call(request));
        let response = assert_ready_ok!(call.poll());
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.code().as_str(), "overloaded");
        assert!(response.headers().contains_key("retry-after"));
    }

    // Unread bodies hold nothing, and other paths are not rejected.
    let elsewhere = post("/v1/files", ScriptedBody::new([data(NAMED)]));
    for request in [get(), elsewhere] {
        let mut waiting = task::spawn(service.clone().call(request));
        assert_pending!(waiting.poll());
        assert_eq!(layer.held_bytes(), 3 * ROUTED.len());
    }
    drop(waiting);
    assert_eq!(layer.held_bytes(), 0);
}

#[tokio::test]
async fn reservation_of_a_prefix_is_kept_until_the_inner_service_reads_it() {
    let layer = warm_layer().await;
    let (service, mut handle) = mock::pair::<Request<RoutedBody<_>>, Response<String>>();
    handle.allow(0);
    let (sender, body) = channel();
    let mut call = task::spawn(layer.layer(service).call(post(CHAT, body)));
    let (first, second) = NAMED.split_at(20);
    sender.data(first);
    assert_pending!(call.poll());
    assert_eq!(layer.held_bytes(), first.len());
    sender.data(second);
    assert_pending!(call.poll());
    let held = layer.held_bytes();
    assert!(held >= ROUTED.len(), "{held}");
    handle.allow(1);
    assert_pending!(call.poll());
    let (request, _respond) = handle.next_request().await.unwrap();
    assert!(layer.held_bytes() >= ROUTED.len());
    drop(sender);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, ROUTED);
    assert_eq!(layer.held_bytes(), 0);
}

/// The outcome of polling a [`Scripted`] service's readiness.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Readiness {
    Ready,
    Fails,
    Never,
}

/// A service that returns `Pending` some times before the outcome of its readiness.
///
/// It panics if it is called without being ready, or polled after an error. A clone is not ready,
/// whatever the original is.
#[derive(Debug)]
struct Scripted {
    pending: usize,
    readiness: Readiness,
    polls: Arc<AtomicUsize>,
    // Its clones are the permits.
    permits: Arc<()>,
    polled: usize,
    permit: Option<Arc<()>>,
}

impl Clone for Scripted {
    fn clone(&self) -> Self {
        Self {
            polls: Arc::clone(&self.polls),
            permits: Arc::clone(&self.permits),
            polled: 0,
            permit: None,
            ..*self
        }
    }
}

impl Service<Request<RoutedBody<ScriptedBody>>> for Scripted {
    type Response = Response<Full<Bytes>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.polled += 1;
        if self.polled <= self.pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.readiness {
            Readiness::Ready => {
                self.permit = Some(Arc::clone(&self.permits));
                Poll::Ready(Ok(()))
            }
            Readiness::Fails => {
                assert_eq!(self.polled, self.pending + 1, "polled after an error");
                Poll::Ready(Err(io::Error::other("not ready")))
            }
            Readiness::Never => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<RoutedBody<ScriptedBody>>) -> Self::Future {
        let permit = self.permit.take().expect("called without being ready");
        Box::pin(async move {
            let body = request.into_body().collect().await;
            drop(permit);
            let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            Ok(Response::new(Full::new(body)))
        })
    }
}

/// The outcome of a request whose inner service becomes ready.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// The inner service receives this body.
    Forwarded(&'static str),
    Rejected,
    /// Rejected before or after the inner service is called, which depends on the frames.
    RejectedLate,
}

/// A path, a body, and what becomes of the request. The method is GET without a path.
const REQUESTS: [(&str, &str, Sent); 8] = [
    (CHAT, NAMED, Sent::Forwarded(ROUTED)),
    (CHAT, r#"{"model":"0xb603"}"#, Sent::Forwarded(ROUTED)),
    (CHAT, "{}", Sent::Forwarded(r#"{"model":"0x0a"}"#)),
    ("/v1/files", r#"{"a":[1]}"#, Sent::Forwarded(r#"{"a":[1]}"#)),
    ("", "as it is", Sent::Forwarded("as it is")),
    (CHAT, r#"{"model":"whisper-1"}"#, Sent::Rejected),
    (CHAT, "[1,2,3]", Sent::Rejected),
    (
        CHAT,
        r#"{"model":"m","a":[1,2,3],"model":"n"}"#,
        Sent::RejectedLate,
    ),
];

fn scripted_request(path: &str, body: &str, frame_len: usize) -> Request<ScriptedBody> {
    let frames: Vec<_> = body.as_bytes().chunks(frame_len).collect();
    let body = ScriptedBody::pending_between(&frames);
    match path {
        "" => Request::get("/").body(body).unwrap(),
        path => post(path, body),
    }
}

proptest! {
    #[test]
    fn never_calls_without_readiness_and_leaks_nothing(
        pending in 0..4_usize,
        readiness in prop::sample::select(vec![
            Readiness::Ready,
            Readiness::Fails,
            Readiness::Never,
        ]),
        (path, body, sent) in prop::sample::select(REQUESTS.to_vec()),
        frame_len in 1..40_usize,
        max_polls in prop_oneof![0..12_usize, Just(1_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let _entered = runtime.enter();
        let layer = runtime.block_on(warm_layer());
        let inner = Scripted {
            pending,
            readiness,
            polls: Arc::default(),
            permits: Arc::default(),
            polled: 0,
            permit: None,
        };
        let request = scripted_request(path, body, frame_len);
        let alive = request.body().alive();
        let mut service = layer.layer(inner.clone());
        let mut call = task::spawn(service.call(request));
        let outcome = (0..max_polls).find_map(|_| match call.poll() {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        });
        let polls = inner.polls.load(Ordering::Relaxed);
        let is_rejection = |response: &Response<_>| {
            response.extensions().get::<Rejection>().is_some()
        };
        match (sent, outcome) {
            (Sent::Forwarded(expected), Some(Ok(response))) => {
                prop_assert_eq!(readiness, Readiness::Ready);
                prop_assert_eq!(polls, pending + 1);
                let body = runtime.block_on(response.into_body().collect()).unwrap();
                prop_assert_eq!(body.to_bytes(), expected);
            }
            (_, Some(Ok(response))) => prop_assert!(is_rejection(&response)),
            (_, Some(Err(error))) => {
                let error: io::Error = error;
                prop_assert_eq!(readiness, Readiness::Fails);
                prop_assert_eq!(error.to_string(), "not ready");
            }
            (Sent::Rejected, None) => prop_assert!(max_polls < 1_000),
            (_, None) => prop_assert!(readiness == Readiness::Never || max_polls < 1_000),
        }
        if matches!(sent, Sent::Rejected) {
            prop_assert_eq!(polls, 0, "a rejection polls the inner service");
        }
        drop(call);
        prop_assert_eq!(layer.held_bytes(), 0);
        prop_assert!(alive.upgrade().is_none(), "the client's body is alive");
        drop(service);
        prop_assert_eq!(Arc::strong_count(&inner.permits), 1, "a permit is held");
    }
}
