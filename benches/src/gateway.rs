//! An inner service by itself, behind the layer, and behind other middleware.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_model_routing::{
    ModelRouting, ResponseModel, RoutedBody,
    registry::{Catalog, ModelEntry},
};

use crate::{
    catalogs::{document, layer},
    openai::sdk_request,
    payloads::{MODELS, Payload, is_affordable},
    scanners::ModelFinder,
};

/// Returns the names of the payloads that requests carry, by size; unless measuring, of the small
/// ones.
pub fn payload_names() -> impl Iterator<Item = &'static str> {
    let names = ["chat-500B", "chat-2KB", "prose-200KB", "base64-5MB"];
    names.into_iter().filter(|name| is_affordable(name))
}

/// The length of a server's reads.
pub const FRAME_LEN: usize = 16 * 1024;

/// The middleware in front of the inner service, in the order of tables.
pub const ROUTES: [&str; 3] = ["bare", "layer", "naive"];

/// Two more, which no layer can beat: one that does the least, and one that only compares each
/// byte with two that do not occur.
pub const LIMITS: [&str; 2] = ["least", "memchr2"];

/// An inner service behind each of [`ROUTES`] and [`LIMITS`].
#[derive(Debug)]
pub struct Gateway<S> {
    bare: S,
    layered: ModelRouting<S>,
    naive: Naive<S>,
    least: Least<S>,
}

impl<S: Clone> Gateway<S> {
    pub fn new(inner: S) -> Self {
        let layer = layer(document(100, &MODELS), ResponseModel::Unchanged).unwrap();
        let catalog = layer.registry().snapshot().unwrap();
        let entry = Arc::clone(catalog.find(MODELS[0]).unwrap().entry);
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

    /// Sends the request by one of [`ROUTES`] and then [`LIMITS`]. Returns whether there was a
    /// response.
    pub fn send(&mut self, route: usize, request: Request<Frames>) -> bool
    where
        S: Inner,
    {
        match route {
            0 => is_ready(Service::call(&mut self.bare, request)),
            1 => is_ready(self.layered.call(request)),
            2 => is_ready(self.naive.call(request)),
            3 => is_ready(self.least.call(request)),
            _ => {
                for frame in request.body().frames.as_slice() {
                    assert_eq!(memchr::memchr2(0, 1, black_box(frame)), None);
                }
                is_ready(Service::call(&mut self.bare, request))
            }
        }
    }
}

/// A service of requests with the body `B` that never fails.
pub trait Responds<B>:
    Service<Request<B>, Response = Response<Empty<Bytes>>, Error = Infallible>
{
}

impl<B, S> Responds<B> for S where
    S: Service<Request<B>, Response = Response<Empty<Bytes>>, Error = Infallible>
{
}

/// A service behind any of the routes.
pub trait Inner:
    Responds<Frames> + Responds<RoutedBody<Frames>> + Responds<Full<Bytes>> + Clone
{
}

impl<S> Inner for S where
    S: Responds<Frames> + Responds<RoutedBody<Frames>> + Responds<Full<Bytes>> + Clone
{
}

fn is_ready(response: impl Future) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    let response = pin!(response).poll(&mut context);
    black_box(response).is_ready()
}

/// An inner service that reads the body, and responds.
#[derive(Clone, Debug)]
pub struct Reading;

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
    pub struct ReadAll<B> {
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

/// An inner service that never responds. It drops the request when its future is dropped.
#[derive(Clone, Debug)]
pub struct Silent;

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
pub struct Forever<B> {
    _request: Request<B>,
}

impl<B> Future for Forever<B> {
    type Output = Result<Response<Empty<Bytes>>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

/// A middleware that parses the body, sets the model, and serializes everything.
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
        let found = self.catalog.find(value["model"].as_str().unwrap()).unwrap();
        value["model"] = found.entry.id().into();
        let body = serde_json::to_vec(&value).unwrap();
        head.headers.insert(CONTENT_LENGTH, body.len().into());
        let request = Request::from_parts(head, Full::from(body));
        self.inner.call(request).await.unwrap()
    }
}

/// The least that the layer must do when the model comes last: scan, splice, set the length, and
/// put the model into the extensions of request and response. It has no registry and no limits, and
/// does not inspect the head.
#[derive(Debug)]
struct Least<S> {
    inner: S,
    entry: Arc<ModelEntry>,
    literal: Bytes,
}

impl<S: Inner> Least<S> {
    async fn call(&mut self, request: Request<Frames>) -> Response<Empty<Bytes>> {
        let (mut head, mut body) = request.into_parts();
        let mut finder = ModelFinder::default();
        let mut held = Vec::with_capacity(body.frames.len());
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.into_data().unwrap();
            finder.feed(&data);
            held.push(data);
        }
        let model = finder.finish();
        let mut frames = Vec::with_capacity(held.len() + 2);
        let mut offset = 0;
        for data in held {
            let (start, end) = (offset, offset + data.len());
            offset = end;
            if end <= model.start || start >= model.end {
                frames.push(data);
                continue;
            }
            if start <= model.start {
                frames.push(data.slice(..model.start - start));
                frames.push(self.literal.clone());
            }
            if end >= model.end {
                frames.push(data.slice(model.end - start..));
            }
        }
        let body = Frames::new(frames);
        head.headers.insert(CONTENT_LENGTH, body.remaining.into());
        head.extensions.insert(Arc::clone(&self.entry));
        let request = Request::from_parts(head, body);
        let mut response = self.inner.call(request).await.unwrap();
        response.extensions_mut().insert(Arc::clone(&self.entry));
        response
    }
}

/// Returns a generator of requests with the bodies of a payload, as a server passes them on.
pub fn requests(payload: &Payload) -> impl Fn(usize) -> Request<Frames> + use<> {
    let bodies: Vec<Vec<Bytes>> = payload
        .bodies
        .iter()
        .map(|body| body.chunks(FRAME_LEN).map(shared).collect())
        .collect();
    move |index| {
        let body = Frames::new(bodies[index % bodies.len()].clone());
        let len = body.remaining;
        let mut request = sdk_request(body);
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
        headers.insert(CONTENT_LENGTH, len.into());
        request
    }
}

/// Returns a request that the layer passes, as an SDK sends it.
pub fn passing_request() -> Request<Frames> {
    let mut request = sdk_request(Frames::new(Vec::new()));
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_static("/v1/files/file-abc123/content");
    request
}

/// Returns bytes with a reference count, like those that a server splits off its read buffer.
fn shared(bytes: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(bytes);
    drop(bytes.clone());
    bytes
}

/// A body of known length, in frames.
#[derive(Debug)]
pub struct Frames {
    frames: std::vec::IntoIter<Bytes>,
    remaining: u64,
}

impl Frames {
    fn new(frames: Vec<Bytes>) -> Self {
        Self {
            remaining: frames.iter().map(|frame| frame.len() as u64).sum(),
            frames: frames.into_iter(),
        }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.frames.next();
        self.remaining -= frame.as_ref().map_or(0, |frame| frame.len() as u64);
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
