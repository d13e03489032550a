//! The registry, which fails in one way or another every few seconds.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    history::{History, SLOW},
    lists::{FALSE_LIST, document},
    support::{
        fault::{Fault, Link},
        registry_server::{RegistryServer, Reply},
    },
};

/// A way to behave.
struct Manner {
    name: &'static str,
    fault: Fault,
    reply: Option<fn(u64) -> Reply>,
}

/// How it serves the list.
const GOOD: [Manner; 4] = [
    replies("serves", tagged),
    replies("serves without ETag", untagged),
    Manner {
        fault: Fault::Delay(SLOW),
        ..replies("slow", tagged)
    },
    Manner {
        fault: Fault::ByteByByte,
        ..replies("byte by byte", tagged)
    },
];

/// How it does not. What could be taken for a list has IDs that must never be
/// seen.
const BAD: [Manner; 13] = [
    fails("down", Fault::Close),
    fails("reset", Fault::Reset(0)),
    fails("silent", Fault::Stall(0)),
    fails("stops in the head", Fault::Stall(20)),
    fails("bad head", Fault::Corrupt(3)),
    replies("500", |list| misleading(list).with_status(500)),
    replies("404", |list| misleading(list).with_status(404)),
    replies("cut off", |list| misleading(list).truncated()),
    replies("cut by reset", |list| misleading(list).reset()),
    replies("half a list", |list| {
        let text = document(FALSE_LIST + list);
        Reply::new(200, &text.as_bytes()[..text.len() / 2])
    }),
    replies("a web page", |_| {
        Reply::new(200, "<!doctype html><title>We'll be back</title>")
    }),
    replies("an empty list", |_| Reply::new(200, r#"{"models":[]}"#)),
    replies("redirects", |_| Reply::redirect(302, RegistryServer::PATH)),
];

const fn replies(name: &'static str, reply: fn(u64) -> Reply) -> Manner {
    Manner {
        name,
        fault: Fault::None,
        reply: Some(reply),
    }
}

/// The reply stays what it was: a connection may be there already on which
/// nothing goes wrong.
const fn fails(name: &'static str, fault: Fault) -> Manner {
    Manner {
        name,
        fault,
        reply: None,
    }
}

fn tagged(list: u64) -> Reply {
    untagged(list).etag(&format!("\"list-{list}\""))
}

fn untagged(list: u64) -> Reply {
    Reply::new(200, document(list))
}

fn misleading(list: u64) -> Reply {
    untagged(FALSE_LIST + list)
}

pub(crate) struct Registry {
    server: RegistryServer,
    link: Link,
    history: Arc<History>,
    rng: fastrand::Rng,
    list: u64,
}

impl Registry {
    /// It is down at first.
    pub(crate) async fn start(history: Arc<History>, rng: fastrand::Rng) -> Self {
        let server = RegistryServer::start(Reply::status(503)).await;
        let link = Link::to(server.address(), Fault::Close).await;
        let mut this = Self {
            server,
            link,
            history,
            rng,
            list: 0,
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

    /// Serves a new list, and goes on doing so; which one.
    pub(crate) fn recover(&mut self) -> u64 {
        self.behave(&GOOD[0], true);
        self.list
    }

    /// Good times and bad ones until it is dropped. `pace` is the length of the
    /// shortest.
    pub(crate) async fn flap(&mut self, pace: Duration) {
        loop {
            // A new list now and then; between them nothing changes.
            for _ in 0..self.rng.u32(1..5) {
                let manner = &GOOD[self.rng.usize(..GOOD.len())];
                self.behave(manner, true);
                sleep(pace.mul_f64(1.0 + self.rng.f64())).await;
            }
            for _ in 0..self.rng.u32(1..4) {
                let manner = &BAD[self.rng.usize(..BAD.len())];
                self.behave(manner, false);
                sleep(pace.mul_f64(1.0 + self.rng.f64())).await;
            }
        }
    }

    fn behave(&mut self, manner: &Manner, is_good: bool) {
        // Published, whether it can be had or not.
        self.list += 1;
        if let Some(reply) = manner.reply {
            self.server.reply(reply(self.list));
        }
        self.link.fault(manner.fault);
        let list = is_good.then_some(self.list);
        self.history.begin(manner.name, list);
    }
}
