//! Ways to a service behind a gateway, and the requests to take them with.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_model_routing::{Catalog, ModelEntry, ModelRouting, ModelRoutingLayer, RoutingConfig};

use super::{
    feed::{Feed, feed},
    json::{Model, Scanner},
    payloads::{MODELS, Payload},
};

/// The payloads that requests carry, by size.
pub(crate) const PAYLOADS: [&str; 4] = ["chat-500B", "chat-2KB", "prose-200KB", "base64-5MB"];

/// What a server reads at a time.
pub(crate) const FRAME_LEN: usize = 16 * 1024;

/// The three ways, in the order in which tables show them.
pub(crate) const ROUTES: [&str; 3] = ["bare", "layer", "naive"];

/// Two more, for what no layer can beat: one that does the least, and one that
/// only looks at each byte for two that aren't there.
pub(crate) const LIMITS: [&str; 2] = ["least", "memchr2"];

/// An inner service, by itself and behind the others.
#[derive(Debug)]
pub(crate) struct Gateway<S> {
    bare: S,
    layered: ModelRouting<S>,
    naive: Naive<S>,
    least: Least<S>,
}

impl<S: Clone> Gateway<S> {
    pub(crate) fn new(inner: S) -> Self {
        let document = feed(100, &MODELS);
        let config = RoutingConfig::builder()
            .source(Feed::new([document.clone()]))
            .initial_catalog(Catalog::parse(&document).unwrap())
            .build()
            .unwrap();
        let layer = ModelRoutingLayer::new(config);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        // Otherwise the first request would do it.
        runtime.block_on(layer.registry().refresh()).unwrap();
        let catalog = layer.registry().snapshot().unwrap();
        let entry = Arc::clone(catalog.find(MODELS[0]).unwrap().0);
        Self {
            bare: inner.clone(),
            layered: layer.layer(inner.clone()),
            least: Least {
                inner: inner.clone(),
                literal: format!("\"{}\"", entry.id()).into(),
                entry,
            },
            naive: Naive { inner, catalog },
        }
    }

    /// Sends the request by this one of [`ROUTES`] and then [`LIMITS`]; whether
    /// it was answered.
    pub(crate) fn send(&mut self, route: usize, request: Request<Frames>) -> bool
    where
        S: Inner,
    {
        match route {
            0 => answers(Service::call(&mut self.bare, request)),
            1 => answers(self.layered.call(request)),
            2 => answers(self.naive.call(request)),
            3 => answers(self.least.call(request)),
            _ => {
                for frame in request.body().frames.as_slice() {
                    assert_eq!(memchr::memchr2(0, 1, black_box(frame)), None);
                }
                answers(Service::call(&mut self.bare, request))
            }
        }
    }
}

/// What both ways of being called come to.
pub(crate) trait Inner:
    Service<Request<Frames>, Response = Response<Empty<Bytes>>, Error = Infallible>
    + Service<
        Request<tower_model_routing::RoutedBody<Frames>>,
        Response = Response<Empty<Bytes>>,
        Error = Infallible,
    > + Service<Request<Full<Bytes>>, Response = Response<Empty<Bytes>>, Error = Infallible>
    + Clone
{
}

impl<S> Inner for S where
    S: Service<Request<Frames>, Response = Response<Empty<Bytes>>, Error = Infallible>
        + Service<
            Request<tower_model_routing::RoutedBody<Frames>>,
            Response = Response<Empty<Bytes>>,
            Error = Infallible,
        > + Service<Request<Full<Bytes>>, Response = Response<Empty<Bytes>>, Error = Infallible>
        + Clone
{
}

fn answers(response: impl Future) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(response).poll(&mut context) {
        Poll::Ready(response) => {
            black_box(response);
            true
        }
        Poll::Pending => false,
    }
}

/// An inner service that reads the body and answers.
#[derive(Clone, Debug)]
pub(crate) struct Reading;

impl<B: Body<Data = Bytes>> Service<Request<B>> for Reading {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = ReadAll<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ReadAll<B> {
        ReadAll { request }
    }
}

pin_project! {
    #[derive(Debug)]
    pub(crate) struct ReadAll<B> {
        #[pin]
        request: Request<B>,
    }
}

impl<B: Body<Data = Bytes>> Future for ReadAll<B> {
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut request = self.project().request;
        while let Some(frame) = ready!(request.as_mut().poll_frame(cx)) {
            black_box(frame.ok());
        }
        Poll::Ready(Ok(Response::default()))
    }
}

/// An inner service that is called, and that's it.
#[derive(Clone, Debug)]
pub(crate) struct Silent;

impl<B> Service<Request<B>> for Silent {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Forever<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Forever<B> {
        Forever { _request: request }
    }
}

#[derive(Debug)]
pub(crate) struct Forever<B> {
    _request: Request<B>,
}

impl<B> Future for Forever<B> {
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

/// The middleware that everybody writes first.
#[derive(Debug)]
struct Naive<S> {
    inner: S,
    catalog: Arc<Catalog>,
}

impl<S: Inner> Naive<S> {
    async fn call(&mut self, request: Request<Frames>) -> Response<Empty<Bytes>> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let (entry, _) = self.catalog.find(value["model"].as_str().unwrap()).unwrap();
        value["model"] = entry.id().into();
        let body = serde_json::to_vec(&value).unwrap();
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        let request = Request::from_parts(head, Full::from(body));
        self.inner.call(request).await.unwrap()
    }
}

/// The least that our layer must do when the model comes last: scan, splice, set
/// the length, and tell inner and outer services of the model. There is no
/// registry, no look at the head, and no bound.
#[derive(Debug)]
struct Least<S> {
    inner: S,
    entry: Arc<ModelEntry>,
    literal: Bytes,
}

impl<S: Inner> Least<S> {
    async fn call(&mut self, request: Request<Frames>) -> Response<Empty<Bytes>> {
        let (mut head, mut body) = request.into_parts();
        let mut scanner = Scanner::new();
        let mut held = Vec::with_capacity(body.frames.len());
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.into_data().unwrap();
            scanner.feed(&data).unwrap();
            held.push(data);
        }
        scanner.finish().unwrap();
        let Model::String { start, end, .. } = scanner.model() else {
            panic!("{scanner:?}");
        };
        let mut frames = Vec::with_capacity(held.len() + 2);
        let mut offset = 0;
        for data in held {
            let (from, to) = (offset, offset + data.len() as u64);
            offset = to;
            if to <= start || from >= end {
                frames.push(data);
                continue;
            }
            if from <= start {
                frames.push(data.slice(..(start - from) as usize));
                frames.push(self.literal.clone());
            }
            if to >= end {
                frames.push(data.slice((end - from) as usize..));
            }
        }
        let left: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
        let frames = frames.into_iter();
        head.headers.insert(CONTENT_LENGTH, left.into());
        head.extensions.insert(Arc::clone(&self.entry));
        let request = Request::from_parts(head, Frames { frames, left });
        let mut response = self.inner.call(request).await.unwrap();
        response.extensions_mut().insert(Arc::clone(&self.entry));
        response
    }
}

/// Requests with the bodies of a payload, as a server would hand them on.
pub(crate) fn requests(payload: &Payload) -> impl Fn(usize) -> Request<Frames> + use<> {
    let bodies: Vec<Vec<Bytes>> = payload
        .bodies
        .iter()
        .map(|body| body.chunks(FRAME_LEN).map(shared).collect())
        .collect();
    move |index| {
        let frames = bodies[index % bodies.len()].clone();
        let len: usize = frames.iter().map(Bytes::len).sum();
        Request::post("/v1/chat/completions")
            .header("host", "gateway.example")
            .header("user-agent", "OpenAI/Python 2.8.1")
            .header("accept", "application/json")
            .header("accept-encoding", "gzip, deflate")
            .header("authorization", "Bearer sk-0123456789abcdef")
            .header("content-type", "application/json")
            .header("content-length", len)
            .body(Frames {
                frames: frames.into_iter(),
                left: len as u64,
            })
            .unwrap()
    }
}

/// Bytes that are counted already, like those that a server cuts from its read
/// buffer.
fn shared(bytes: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(bytes);
    drop(bytes.clone());
    bytes
}

/// A body of known length, in frames.
#[derive(Debug)]
pub(crate) struct Frames {
    frames: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.next();
        self.left -= frame.as_ref().map_or(0, |frame| frame.len() as u64);
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
