//! Many instances behind a load balancer, on paused time.

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
    BoxError, ModelRouting, ModelRoutingLayer, Registry, RegistryHealth, RoutedBody, RoutedModel,
    RoutingConfig,
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
    tally: Arc<Mutex<Tally>>,
}

struct Instance {
    registry: Registry,
    service: ModelRouting<Upstream>,
    link: Link,
}

/// The service behind the layer, which answers at once.
type Upstream = ServiceFn<Answer>;
type Answer =
    fn(Request<RoutedBody<Full<Bytes>>>) -> Ready<Result<Response<Empty<Bytes>>, Infallible>>;

/// What became of the requests to the instances.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// Those that waited for the list, and the longest that one did.
    pub(crate) waited: u64,
    pub(crate) longest_wait: Duration,
    /// Those that got an error instead of a model.
    pub(crate) refused: u64,
    /// Those for the newest model that the fallback served.
    pub(crate) fallbacks: u64,
    /// The age of the oldest list that one was routed by.
    pub(crate) stalest: Duration,
}

/// What the fleet did for a while.
#[derive(Clone, Debug)]
pub(crate) struct Period {
    pub(crate) tally: Tally,
    /// The requests to the origin in each second.
    pub(crate) fetches: Vec<u32>,
}

impl Fleet {
    /// Instances with empty caches, each of which gets so many requests a
    /// second.
    pub(crate) fn new(seed: u64, rate: f64, jitter: bool) -> Result<Self, BoxError> {
        // The registries draw their jitter from the thread's generator.
        fastrand::seed(seed);
        let origin = Origin::new(seed + 1, jitter);
        let instances = (0..INSTANCES)
            .map(|_| Instance::new(origin.link()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            started: Instant::now(),
            origin,
            instances,
            random: Rng::with_seed(seed + 2),
            rate: rate * INSTANCES as f64,
            next_request: 0.0,
            tally: Arc::default(),
        })
    }

    /// Lets requests come for so long, this share of them for the newest model.
    pub(crate) async fn run(&mut self, time: Duration, newest: f64) -> Period {
        let begin = self.started.elapsed();
        let end = begin + time;
        let name = self.origin.newest();
        let mut now = begin;
        while now < end {
            now += STEP;
            sleep_until(self.started + now).await;
            while self.next_request <= now.as_secs_f64() {
                // Independent Poisson processes are one, of which each event
                // falls to any of them alike.
                self.next_request -= (1.0 - self.random.f64()).ln() / self.rate;
                let instance = self.random.usize(..self.instances.len());
                if newest > 0.0 && self.random.f64() < newest {
                    self.ask_for(instance, &name);
                } else {
                    self.ask(instance, now);
                }
            }
        }
        Period {
            tally: mem::take(&mut *lock(&self.tally)),
            fetches: self.origin.requests(begin, end),
        }
    }

    /// One request for the newest model to each instance at once.
    pub(crate) fn ask_everywhere_for_newest(&mut self) {
        let name = self.origin.newest();
        for instance in 0..self.instances.len() {
            self.ask_for(instance, &name);
        }
    }

    /// How many instances have the newest model, and had no failure since.
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

    /// Whether the ages that are measured here are those that the registries
    /// tell.
    pub(crate) fn ages_agree(&self) -> bool {
        let now = self.started.elapsed();
        self.instances.iter().all(|instance| {
            let told = instance.registry.stats().age_seconds.unwrap_or(0.0);
            (told - instance.link.age(now).as_secs_f64()).abs() < 0.002
        })
    }

    /// A request for a model that has been there for long: the layer does for
    /// it what is done here, and waits for nothing else.
    fn ask(&self, instance: usize, since_start: Duration) {
        let Instance { registry, link, .. } = &self.instances[instance];
        let mut tally = lock(&self.tally);
        tally.requests += 1;
        match registry.catalog().now_or_never() {
            Some(Ok(_)) => tally.stalest = tally.stalest.max(link.age(since_start)),
            Some(Err(_)) => tally.refused += 1,
            None => {
                // It waits: the same again, in a task of its own.
                let (registry, tally) = (registry.clone(), Arc::clone(&self.tally));
                tokio::spawn(async move {
                    let begin = Instant::now();
                    let catalog = registry.catalog().await;
                    let mut tally = lock(&tally);
                    tally.count_wait(begin.elapsed());
                    tally.refused += u64::from(catalog.is_err());
                });
            }
        }
    }

    /// A request for this model, through the layer.
    fn ask_for(&self, instance: usize, name: &str) {
        let body = Full::from(format!(r#"{{"model":"{name}"}}"#));
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/v1/chat/completions");
        let response = self.instances[instance].service.clone().oneshot(request);
        let tally = Arc::clone(&self.tally);
        tokio::spawn(async move {
            let begin = Instant::now();
            let Ok(response) = response.await;
            let mut tally = lock(&tally);
            tally.requests += 1;
            if !begin.elapsed().is_zero() {
                tally.count_wait(begin.elapsed());
            }
            match response.extensions().get::<RoutedModel>() {
                Some(model) => tally.fallbacks += u64::from(model.is_fallback()),
                None => tally.refused += 1,
            }
        });
    }
}

impl Instance {
    fn new(link: Link) -> Result<Self, BoxError> {
        let config = RoutingConfig::builder().source(link.clone()).build()?;
        let layer = ModelRoutingLayer::new(config);
        let answer: Answer = |_| ready(Ok(Response::default()));
        Ok(Self {
            registry: layer.registry().clone(),
            service: layer.layer(service_fn(answer)),
            link,
        })
    }
}

impl Tally {
    fn count_wait(&mut self, wait: Duration) {
        self.waited += 1;
        self.longest_wait = self.longest_wait.max(wait);
    }
}

impl Period {
    /// Requests to the origin per second.
    pub(crate) fn mean(&self) -> f64 {
        let all: u64 = self.fetches.iter().map(|&count| u64::from(count)).sum();
        all as f64 / self.fetches.len() as f64
    }

    /// The most requests to the origin in one second.
    pub(crate) fn peak(&self) -> u32 {
        self.fetches.iter().copied().max().unwrap_or(0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
