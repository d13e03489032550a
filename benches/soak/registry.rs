//! The registry, which fails in one of 13 ways every few seconds.

use std::{sync::Arc, time::Duration};

use test_support::{
    fault::{Fault, Link},
    registry_server::{RegistryServer, Reply},
};
use tokio::time::sleep;

use crate::{
    catalogs::{FALSE_CATALOG, document},
    history::{History, SLOW},
};

struct Behavior {
    name: &'static str,
    fault: Fault,
    reply: Option<fn(u64) -> Reply>,
}

/// Ways to serve the catalog.
const GOOD: [Behavior; 4] = [
    replies("serves", tagged),
    replies("serves without ETag", untagged),
    Behavior {
        fault: Fault::Delay(SLOW),
        ..replies("slow", tagged)
    },
    Behavior {
        fault: Fault::ByteByByte,
        ..replies("byte by byte", tagged)
    },
];

/// Ways to fail. What could be taken for a catalog has IDs that must never be used.
const BAD: [Behavior; 13] = [
    fails("closes", Fault::Close),
    fails("reset", Fault::Reset(0)),
    fails("silent", Fault::Stall(0)),
    fails("stops in the head", Fault::Stall(20)),
    fails("bad head", Fault::Corrupt(3)),
    replies("500", |catalog| misleading(catalog).with_status(500)),
    replies("404", |catalog| misleading(catalog).with_status(404)),
    replies("cut off", |catalog| misleading(catalog).truncated()),
    replies("cut by reset", |catalog| misleading(catalog).reset()),
    replies("half a catalog", |catalog| {
        let text = document(FALSE_CATALOG + catalog);
        Reply::new(200, &text.as_bytes()[..text.len() / 2])
    }),
    replies("a web page", |_| {
        Reply::new(200, "<!doctype html><title>We'll be back</title>")
    }),
    replies("an empty catalog", |_| Reply::new(200, r#"{"models":[]}"#)),
    replies("redirects", |_| Reply::redirect(302, RegistryServer::PATH)),
];

const fn replies(name: &'static str, reply: fn(u64) -> Reply) -> Behavior {
    Behavior {
        name,
        fault: Fault::None,
        reply: Some(reply),
    }
}

/// The reply stays the same, for connections that were opened before.
const fn fails(name: &'static str, fault: Fault) -> Behavior {
    Behavior {
        name,
        fault,
        reply: None,
    }
}

fn tagged(catalog: u64) -> Reply {
    untagged(catalog).etag(&format!("\"catalog-{catalog}\""))
}

fn untagged(catalog: u64) -> Reply {
    Reply::new(200, document(catalog))
}

fn misleading(catalog: u64) -> Reply {
    untagged(FALSE_CATALOG + catalog)
}

pub(crate) struct Registry {
    server: RegistryServer,
    link: Link,
    history: Arc<History>,
    rng: fastrand::Rng,
    catalog: u64,
}

impl Registry {
    /// Starts it, closing connections at first.
    pub(crate) async fn start(history: Arc<History>, rng: fastrand::Rng) -> Self {
        let server = RegistryServer::start(Reply::status(503)).await;
        let link = Link::to(server.address(), Fault::Close).await;
        let mut this = Self {
            server,
            link,
            history,
            rng,
            catalog: 0,
        };
        this.behave(&BAD[0], false);
        this
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.link.address(), RegistryServer::PATH)
    }

    pub(crate) fn fetches(&self) -> usize {
        self.server.requests().len()
    }

    /// Serves a new catalog from now on, and returns its number.
    pub(crate) fn recover(&mut self) -> u64 {
        self.behave(&GOOD[0], true);
        self.catalog
    }

    /// Serves and fails alternately, for at least `pace` each.
    pub(crate) async fn flap(&mut self, pace: Duration) {
        loop {
            for _ in 0..self.rng.u32(1..5) {
                let behavior = &GOOD[self.rng.usize(..GOOD.len())];
                self.behave(behavior, true);
                sleep(pace.mul_f64(1.0 + self.rng.f64())).await;
            }
            for _ in 0..self.rng.u32(1..4) {
                let behavior = &BAD[self.rng.usize(..BAD.len())];
                self.behave(behavior, false);
                sleep(pace.mul_f64(1.0 + self.rng.f64())).await;
            }
        }
    }

    fn behave(&mut self, behavior: &Behavior, is_good: bool) {
        // A failing registry has a new one too.
        self.catalog += 1;
        if let Some(reply) = behavior.reply {
            self.server.reply(reply(self.catalog));
        }
        self.link.fault(behavior.fault);
        let catalog = is_good.then_some(self.catalog);
        self.history.begin(behavior.name, catalog);
    }
}
