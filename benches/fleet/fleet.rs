//! Instances behind a load balancer, on paused time.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use http::{Method, Request, Response, Uri};
use http_body_util::{Empty, Full};
use tokio::time::{Instant, sleep_until};
use tower::{Layer, ServiceExt, service_fn, util::ServiceFn};
use tower_model_routing::{
    BoxError, Endpoint, ModelRouting, ModelRoutingLayer, RoutedBody, RoutedModel, RoutingConfig,
    registry::{Registry, RegistryHealth},
};

use crate::origin::{Link, Origin};

pub(crate) const INSTANCES: usize = 1_000;
/// Requests arrive in steps of this length.
const STEP: Duration = Duration::from_millis(10);

/// The instances and the requests to them.
pub(crate) struct Fleet {
    pub(crate) origin: Origin,
    instances: Vec<Instance>,
    random: Rng,
    /// Requests per second to the whole fleet.
    rate: f64,
    started: Instant,
    /// When the next request comes, in seconds since the start.
    next_request: f64,
    counts: Arc<Mutex<Counts>>,
}

struct Instance {
    registry: Registry,
    service: ModelRouting<Upstream>,
    link: Link,
}

/// The service behind the layer, which responds at once.
type Upstream = ServiceFn<Respond>;
type Respond =
    fn(Request<RoutedBody<Full<Bytes>>>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>>;

/// The requests to the instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    /// Those that waited for a catalog.
    pub(crate) waited: u64,
    pub(crate) longest_wait: Duration,
    /// Those that got an error instead of a model.
    pub(crate) rejected: u64,
    /// Those that named the newest model and got the fallback.
    pub(crate) fallbacks: u64,
    /// The age of the oldest catalog that one was routed by.
    pub(crate) oldest_catalog: Duration,
}

/// The fleet over some time.
#[derive(Clone, Debug)]
pub(crate) struct Period {
    pub(crate) counts: Counts,
    /// The requests to the origin by second.
    pub(crate) fetches: Vec<u32>,
}

impl Fleet {
    /// Returns instances with empty caches, for this rate of requests per instance.
    pub(crate) fn new(rate: f64, jitter: bool) -> Result<Self, BoxError> {
        // The registries draw their jitter from the thread's generator.
        fastrand::seed(1);
        let origin = Origin::new(2, jitter);
        let instances = (0..INSTANCES)
            .map(|_| Instance::new(origin.link()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            started: Instant::now(),
            origin,
            instances,
            random: Rng::with_seed(3),
            rate: rate * INSTANCES as f64,
            next_request: 0.0,
            counts: Arc::default(),
        })
    }

    /// Runs the load for `time`, beginning this long after a deploy.
    pub(crate) async fn run_steady(
        rate: f64,
        after: Duration,
        time: Duration,
    ) -> Result<Period, BoxError> {
        let mut fleet = Self::new(rate, true)?;
        fleet.run(after, 0.0).await;
        Ok(fleet.run(time, 0.0).await)
    }

    /// Sends requests for this time. This share of them name the newest model.
    pub(crate) async fn run(&mut self, time: Duration, newest: f64) -> Period {
        let begin = self.started.elapsed();
        let end = begin + time;
        let name = self.origin.newest();
        let mut now = begin;
        while now < end {
            now += STEP;
            sleep_until(self.started + now).await;
            while self.next_request <= now.as_secs_f64() {
                // The sum of independent Poisson processes is one, and each event is any
                // instance's with the same probability.
                self.next_request -= (1.0 - self.random.f64()).ln() / self.rate;
                let instance = self.random.usize(..self.instances.len());
                if newest > 0.0 && self.random.f64() < newest {
                    self.request_model(instance, &name);
                } else {
                    self.request_known(instance, now);
                }
            }
        }
        Period {
            counts: mem::take(&mut *lock(&self.counts)),
            fetches: self.origin.requests(begin, end),
        }
    }

    /// Sends each instance a request that names the newest model.
    pub(crate) fn request_newest_everywhere(&mut self) {
        let name = self.origin.newest();
        for instance in 0..self.instances.len() {
            self.request_model(instance, &name);
        }
    }

    /// Returns how many instances have the newest model, and had no failure since.
    pub(crate) fn up_to_date(&self) -> usize {
        let name = self.origin.newest();
        let has_newest = |registry: &Registry| {
            let catalog = registry.snapshot();
            catalog.is_some_and(|catalog| catalog.find(&name).is_some())
        };
        self.instances
            .iter()
            .map(|instance| &instance.registry)
            .filter(|registry| registry.stats().health() == RegistryHealth::Healthy)
            .filter(|registry| has_newest(registry))
            .count()
    }

    /// Returns whether the registries report the ages that are measured here.
    pub(crate) fn ages_agree(&self) -> bool {
        let now = self.started.elapsed();
        self.instances.iter().all(|instance| {
            let reported = instance.registry.stats().age.unwrap_or_default();
            reported.abs_diff(instance.link.age(now)) < Duration::from_millis(2)
        })
    }

    /// Sends a request that names a model of every catalog. It waits only for what the layer waits
    /// for.
    fn request_known(&self, instance: usize, since_start: Duration) {
        let Instance { registry, link, .. } = &self.instances[instance];
        let mut counts = lock(&self.counts);
        counts.requests += 1;
        match registry.catalog().now_or_never() {
            Some(Ok(_)) => {
                counts.oldest_catalog = counts.oldest_catalog.max(link.age(since_start));
            }
            Some(Err(_)) => counts.rejected += 1,
            None => {
                // It waits, in a task of its own.
                let (registry, counts) = (registry.clone(), Arc::clone(&self.counts));
                tokio::spawn(async move {
                    let begin = Instant::now();
                    let catalog = registry.catalog().await;
                    let mut counts = lock(&counts);
                    counts.add_wait(begin.elapsed());
                    counts.rejected += u64::from(catalog.is_err());
                });
            }
        }
    }

    /// Sends a request that names this model through the layer.
    fn request_model(&self, instance: usize, name: &str) {
        let body = Full::from(format!(r#"{{"model":"{name}"}}"#));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/chat/completions");
        let response = self.instances[instance].service.clone().oneshot(request);
        let counts = Arc::clone(&self.counts);
        tokio::spawn(async move {
            let begin = Instant::now();
            let Ok(response) = response.await;
            let mut counts = lock(&counts);
            counts.requests += 1;
            if !begin.elapsed().is_zero() {
                counts.add_wait(begin.elapsed());
            }
            match response.extensions().get::<RoutedModel>() {
                Some(model) => counts.fallbacks += u64::from(model.is_fallback()),
                None => counts.rejected += 1,
            }
        });
    }
}

impl Instance {
    fn new(link: Link) -> Result<Self, BoxError> {
        let config = RoutingConfig::builder()
            .source(link.clone())
            .fallback(Endpoint::Llm, "mistral-31-24b")
            .build()?;
        let layer = ModelRoutingLayer::new(config);
        let respond: Respond = |_| ready(Ok(Response::default()));
        Ok(Self {
            registry: layer.registry().clone(),
            service: layer.layer(service_fn(respond)),
            link,
        })
    }
}

impl Counts {
    fn add_wait(&mut self, wait: Duration) {
        self.waited += 1;
        self.longest_wait = self.longest_wait.max(wait);
    }
}

impl Period {
    /// Returns the mean of requests to the origin per second.
    pub(crate) fn mean(&self) -> f64 {
        let all: u64 = self.fetches.iter().map(|&count| u64::from(count)).sum();
        all as f64 / self.fetches.len() as f64
    }

    /// Returns the most requests to the origin in one second.
    pub(crate) fn peak(&self) -> u32 {
        self.fetches.iter().copied().max().unwrap_or(0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
