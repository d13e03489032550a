//! Who has sent what, and what has arrived of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    checks::{Check, Checks},
    history::History,
    lists::Served,
    plan::{End, Plan, Routed},
};

/// How long what has ended may still arrive.
const KEPT: Duration = Duration::from_secs(30);
/// Nothing takes this long unless it waits for something, or the machine is
/// busy with something else.
const PROMPT: Duration = Duration::from_millis(500);

pub(crate) struct Ledger {
    pub(crate) checks: Arc<Checks>,
    pub(crate) history: Arc<History>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<u64, Entry>,
    /// The newest list that has been seen in use.
    newest_seen: u64,
    ways: Vec<Way>,
    /// How many requests of each sort there were.
    sorts: BTreeMap<&'static str, u64>,
    /// The requests that may take their time, and did, from end to end.
    slow: u64,
}

struct Entry {
    plan: Arc<Plan>,
    started: Instant,
    /// The newest list that had been seen in use then.
    newest_seen: u64,
    arrived: bool,
    served: Option<Served>,
    ended: Option<Instant>,
}

/// A request's way from the client to the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) kind: WayKind,
    pub(crate) started: Instant,
    pub(crate) arrived: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WayKind {
    /// For a name that all lists have.
    Listed,
    /// For a name that may have to be looked for.
    Missed,
    /// None of the layer's business.
    Control,
}

impl Way {
    fn took(&self) -> Duration {
        self.arrived - self.started
    }
}

impl Ledger {
    pub(crate) fn new(checks: Arc<Checks>, history: Arc<History>) -> Self {
        Self {
            checks,
            history,
            inner: Mutex::default(),
        }
    }

    /// The client begins.
    pub(crate) fn begin(&self, plan: &Arc<Plan>) {
        let mut inner = self.inner();
        let entry = Entry {
            plan: Arc::clone(plan),
            started: Instant::now(),
            newest_seen: inner.newest_seen,
            arrived: false,
            served: None,
            ended: None,
        };
        inner.entries.insert(plan.nonce, entry);
    }

    /// The client has ended.
    pub(crate) fn end(&self, plan: &Plan) {
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get_mut(&plan.nonce) else {
            return;
        };
        entry.ended = Some(Instant::now());
        let is_slow = entry.started.elapsed() > PROMPT && !plan.is_prompt();
        inner.slow += u64::from(is_slow);
        *inner.sorts.entry(plan.sort).or_default() += 1;
    }

    /// Forgets what cannot arrive any more.
    pub(crate) fn forget(&self) {
        let is_due = |entry: &Entry| entry.ended.is_some_and(|ended| ended.elapsed() > KEPT);
        self.inner().entries.retain(|_, entry| !is_due(entry));
    }

    /// A request's head is at the upstream.
    pub(crate) fn arrived(&self, nonce: u64) -> Option<Arc<Plan>> {
        let arrived = Instant::now();
        let mut inner = self.inner();
        let entry = inner.entries.get_mut(&nonce);
        let is_first = entry.as_ref().is_some_and(|entry| !entry.arrived);
        self.checks.check(Check::Once, is_first, || {
            format!("request {nonce} is unknown, or there already")
        });
        let entry = entry?;
        entry.arrived = true;
        let (plan, started) = (Arc::clone(&entry.plan), entry.started);
        let kind = match &plan.routed {
            None if plan.method == "GET" => Some(WayKind::Control),
            Some(_) if plan.is_prompt() => Some(WayKind::Listed),
            Some(_) if plan.may_miss() && plan.end == End::Answered => Some(WayKind::Missed),
            _ => None,
        };
        inner.ways.extend(kind.map(|kind| Way {
            kind,
            started,
            arrived,
        }));
        Some(plan)
    }

    /// So much of a request's body has come to the upstream.
    pub(crate) fn received(&self, plan: &Plan, body: &[u8], is_whole: bool) {
        let of = || format!("request {} ({}, {:?})", plan.nonce, plan.sort, plan.end);
        if is_whole {
            self.checks.check(Check::Refused, plan.may_be_whole, of);
        }
        let Some(routed) = &plan.routed else {
            return;
        };
        let id_end = routed.before.len() + Served { list: 0, model: 0 }.id().len();
        let is_kept = match body.get(routed.before.len()..id_end) {
            None => {
                let front = body.len().min(routed.before.len());
                routed.before.starts_with(&body[..front]) && !is_whole
            }
            Some(id) => {
                self.check_id(plan, routed, id);
                let (before, after) = (&body[..routed.before.len()], &body[id_end..]);
                before == routed.before
                    && routed.after.starts_with(after)
                    && (after.len() == routed.after.len() || !is_whole)
            }
        };
        self.checks.check(Check::Bytes, is_kept, || {
            let start = String::from_utf8_lossy(&body[..body.len().min(200)]);
            format!("{} came as {start:?}", of())
        });
    }

    fn check_id(&self, plan: &Plan, routed: &Routed, id: &[u8]) {
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get_mut(&plan.nonce) else {
            return;
        };
        let served = Served::from_id(id);
        entry.served = served;
        let (started, newest_seen) = (entry.started, entry.newest_seen);
        let must_be_known = self.history.must_be_known(started).unwrap_or(0);
        let holds = served.is_some_and(|served| {
            self.history.has_served(served.list)
                && served == routed.served_by(served.list)
                && served.list >= newest_seen.max(must_be_known)
        });
        self.checks.check(Check::Id, holds, || {
            format!(
                "request {} for {:?} came as {served:?} ({}); list {newest_seen} had been used, \
                 {must_be_known} must be known",
                plan.nonce,
                routed.asked,
                String::from_utf8_lossy(id),
            )
        });
        if let (true, Some(served)) = (holds, served) {
            inner.newest_seen = inner.newest_seen.max(served.list);
        }
    }

    /// What a request was served by, as the upstream has seen.
    pub(crate) fn served(&self, plan: &Plan) -> Option<Served> {
        self.inner().entries.get(&plan.nonce)?.served
    }

    /// The newest list that has been seen in use.
    pub(crate) fn newest_seen(&self) -> u64 {
        self.inner().newest_seen
    }

    pub(crate) fn sorts(&self) -> BTreeMap<&'static str, u64> {
        self.inner().sorts.clone()
    }

    /// How many requests have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.inner().sorts.values().sum()
    }

    pub(crate) fn ways(&self) -> Vec<Way> {
        self.inner().ways.clone()
    }

    /// Checks that nothing for a listed name has waited, unless all else did at
    /// the same time. `layer_late`: so many have been in the layer for longer
    /// than is prompt, by the proxy's own account.
    pub(crate) fn check_waiting(&self, layer_late: u64) {
        let ways = self.ways();
        let of = |kind| ways.iter().filter(move |way| way.kind == kind);
        // One that begins in the middle of what holds all up is held up less.
        let late_controls: Vec<_> = of(WayKind::Control)
            .filter(|way| way.took() > PROMPT / 2)
            .collect();
        let mut excused = 0;
        for way in of(WayKind::Listed) {
            let overlaps = |it: &&Way| it.started < way.arrived && way.started < it.arrived;
            let is_late = way.took() > PROMPT;
            let is_excused = is_late && late_controls.iter().any(overlaps);
            excused += u64::from(is_excused);
            self.checks
                .check(Check::Waiting, !is_late || is_excused, || {
                    format!("it took {:?}", way.took())
                });
        }
        let slow = self.inner().slow;
        self.checks
            .check(Check::Waiting, layer_late <= slow + excused, || {
                format!("{layer_late} took long in the layer, and {slow} for their clients")
            });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
