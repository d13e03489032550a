//! Tests of the registry with a scripted source and a paused clock.

mod failures;
mod freshness;
mod logs;
mod misses;
mod overdue;
mod tasks;
mod updates;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::*;
use crate::registry::{
    FetchFuture, Fetched, Refreshed, Registry, RegistryHealth, RegistryPolicy, RegistrySource,
    SourceError, sync::Mutex,
};

const SECOND: Duration = Duration::from_secs(1);
const FETCH: Duration = Duration::from_millis(240);

/// The outcome of a fetch.
#[derive(Clone)]
enum Outcome {
    Document(&'static str),
    Tagged(&'static str, &'static str),
    Bytes(&'static [u8]),
    Parsed(Arc<Catalog>, &'static str),
    NotModified,
    Fail,
    Panic,
}

struct FakeSource {
    script: Mutex<Script>,
    running: AtomicUsize,
    dropped: AtomicUsize,
}

struct Script {
    takes: Duration,
    outcome: Outcome,
    /// The start of each fetch, and the ETag it sent.
    fetches: Vec<(Instant, Option<String>)>,
}

impl FakeSource {
    fn new(outcome: Outcome) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Script {
                takes: FETCH,
                outcome,
                fetches: Vec::new(),
            }),
            running: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
        })
    }

    fn returns(&self, outcome: Outcome) {
        self.script.lock().unwrap().outcome = outcome;
    }

    fn takes(&self, takes: Duration) {
        self.script.lock().unwrap().takes = takes;
    }

    fn fetches(&self) -> usize {
        self.script.lock().unwrap().fetches.len()
    }

    fn fetch_times(&self) -> Vec<Instant> {
        let script = self.script.lock().unwrap();
        script.fetches.iter().map(|(at, _)| *at).collect()
    }

    fn last_sent_etag(&self) -> Option<String> {
        let script = self.script.lock().unwrap();
        script.fetches.last().unwrap().1.clone()
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

impl RegistrySource for FakeSource {
    fn fetch<'a>(&'a self, etag: Option<&'a str>) -> FetchFuture<'a> {
        let (takes, outcome) = {
            let mut script = self.script.lock().unwrap();
            script
                .fetches
                .push((Instant::now(), etag.map(str::to_owned)));
            (script.takes, script.outcome.clone())
        };
        let running = self.running.fetch_add(1, Ordering::SeqCst);
        assert_eq!(running, 0, "two fetches in flight");
        let mut guard = DropCounter {
            source: self,
            ended: false,
        };
        Box::pin(async move {
            let guard = &mut guard;
            if !takes.is_zero() {
                sleep(takes).await;
            }
            guard.ended = true;
            match outcome {
                Outcome::Document(name) => Ok(Fetched::document(document(name))),
                Outcome::Tagged(name, etag) => {
                    Ok(Fetched::document(document(name)).with_etag(etag))
                }
                Outcome::Bytes(bytes) => Ok(Fetched::document(bytes)),
                Outcome::Parsed(catalog, etag) => Ok(Fetched::catalog(catalog).with_etag(etag)),
                Outcome::NotModified => Ok(Fetched::NotModified),
                Outcome::Fail => {
                    let cause = std::io::Error::other("the cable is cut");
                    Err(SourceError::new("no response").with_source(cause))
                }
                Outcome::Panic => panic!("the source panics"),
            }
        })
    }

    fn location(&self) -> String {
        "fake://models".to_owned()
    }
}

struct DropCounter<'a> {
    source: &'a FakeSource,
    ended: bool,
}

impl Drop for DropCounter<'_> {
    fn drop(&mut self) {
        self.source.running.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.source.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn document(name: &str) -> Vec<u8> {
    format!(r#"{{"models":[{{"Id":"0x1","Name":"{name}"}}]}}"#).into_bytes()
}

fn parsed(name: &str) -> Arc<Catalog> {
    Arc::new(Catalog::parse(&document(name)).unwrap())
}

fn cold(source: &Arc<FakeSource>) -> Registry {
    Registry::builder(source.clone()).build().unwrap()
}

fn seeded(source: &Arc<FakeSource>, name: &str) -> Registry {
    let builder = Registry::builder(source.clone());
    builder.initial_catalog(parsed(name)).build().unwrap()
}

/// Returns a registry with a short TTL, which the builder might reject.
fn with_ttl(source: &Arc<FakeSource>, ttl: Duration) -> Registry {
    let policy = RegistryPolicy {
        ttl,
        ..RegistryPolicy::default()
    };
    Registry::from_parts(source.clone(), policy, None)
}

/// Returns a registry that has just fetched the catalog `a`.
async fn warm() -> (Arc<FakeSource>, Registry) {
    let source = FakeSource::new(Outcome::Document("a"));
    let registry = cold(&source);
    registry.refresh().await.unwrap();
    (source, registry)
}

/// Returns the one name in the catalog.
fn name(catalog: &Catalog) -> String {
    catalog.entries().next().unwrap().name().to_owned()
}

/// Returns what a request gets, and how long it waits.
async fn request(registry: &Registry) -> (Result<String, Unavailable>, Duration) {
    let before = Instant::now();
    let result = registry.catalog().await.map(|catalog| name(&catalog));
    (result, before.elapsed())
}

/// Returns the catalog that a request gets, and how long it waits.
async fn served(registry: &Registry) -> (String, Duration) {
    let (result, waited) = request(registry).await;
    (result.unwrap(), waited)
}

/// Returns the catalog that a request gets without waiting.
#[track_caller]
fn ready(registry: &Registry) -> String {
    match registry.look_up() {
        CatalogLookup::Ready(catalog) => name(&catalog),
        CatalogLookup::Wait(_) => panic!("the request waits"),
        CatalogLookup::Unavailable(error) => panic!("{error}"),
    }
}

/// Returns the catalog that a miss waits for, and how long it waits.
async fn miss(registry: &Registry) -> Option<(String, Duration)> {
    let before = Instant::now();
    let catalog = registry.revalidate_for_miss()?.await;
    Some((name(&catalog), before.elapsed()))
}

fn last_error(registry: &Registry) -> String {
    registry.stats().last_error.unwrap().report().to_string()
}

fn a() -> String {
    "a".to_owned()
}

fn b() -> String {
    "b".to_owned()
}
