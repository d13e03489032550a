//! The requests that were sent, and the checks of what arrives.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    access_log::Line,
    catalogs::Served,
    checks::{Check, Checks},
    history::History,
    plan::{End, Plan, Routed},
};

/// How long a request that has ended may still arrive.
const KEPT: Duration = Duration::from_secs(30);
/// The limit of a request that waits for nothing, on a machine that is not busy.
const PROMPT: Duration = Duration::from_millis(500);

pub(crate) struct RequestLog {
    pub(crate) checks: Arc<Checks>,
    pub(crate) history: Arc<History>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<u64, Entry>,
    /// The newest catalog that was used so far.
    newest_seen: u64,
    transits: Vec<Transit>,
    categories: BTreeMap<&'static str, u64>,
    /// The number of slow requests that may be slow.
    slow: u64,
    /// The lines that the access log must have, by nonce.
    lines: HashMap<u64, Line>,
}

struct Entry {
    plan: Arc<Plan>,
    started: Instant,
    /// The newest catalog that was used before.
    newest_seen: u64,
    arrived: bool,
    served: Option<Served>,
    ended: Option<Instant>,
}

/// The time of a request between the client and the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transit {
    pub(crate) kind: TransitKind,
    pub(crate) started: Instant,
    pub(crate) arrived: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TransitKind {
    /// It names a model of all catalogs.
    Permanent,
    /// It names a model for which a refresh may be necessary.
    Temporary,
    /// It passes through the layer.
    Passed,
}

impl Transit {
    pub(crate) fn duration(&self) -> Duration {
        self.arrived - self.started
    }
}

impl RequestLog {
    pub(crate) fn new(checks: Arc<Checks>, history: Arc<History>) -> Self {
        Self {
            checks,
            history,
            inner: Mutex::default(),
        }
    }

    /// Records that the client begins.
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

    /// Records that the client has ended.
    pub(crate) fn end(&self, plan: &Plan) {
        let mut inner = self.inner();
        let Some(entry) = inner.entries.get_mut(&plan.nonce) else {
            return;
        };
        entry.ended = Some(Instant::now());
        let is_slow = entry.started.elapsed() > PROMPT && !plan.is_prompt();
        inner.slow += u64::from(is_slow);
        *inner.categories.entry(plan.category).or_default() += 1;
    }

    /// Removes requests that cannot arrive any more.
    pub(crate) fn forget(&self) {
        let is_due = |entry: &Entry| entry.ended.is_some_and(|ended| ended.elapsed() > KEPT);
        self.inner().entries.retain(|_, entry| !is_due(entry));
    }

    /// Records that a request's head has arrived at the upstream.
    pub(crate) fn arrived(&self, nonce: u64) -> Option<Arc<Plan>> {
        let arrived = Instant::now();
        let mut inner = self.inner();
        let entry = inner.entries.get_mut(&nonce);
        let is_first = entry.as_ref().is_some_and(|entry| !entry.arrived);
        self.checks.check(Check::Once, is_first, || {
            format!("request {nonce} is unknown, or has arrived before")
        });
        let entry = entry?;
        entry.arrived = true;
        let (plan, started) = (Arc::clone(&entry.plan), entry.started);
        let kind = match &plan.routed {
            None if plan.method == "GET" => Some(TransitKind::Passed),
            Some(_) if plan.is_prompt() => Some(TransitKind::Permanent),
            Some(_) if plan.may_miss() && plan.end == End::Responded => {
                Some(TransitKind::Temporary)
            }
            _ => None,
        };
        inner.transits.extend(kind.map(|kind| Transit {
            kind,
            started,
            arrived,
        }));
        Some(plan)
    }

    /// Checks the part of a request's body that has arrived at the upstream.
    pub(crate) fn received(&self, plan: &Plan, body: &[u8], is_complete: bool) {
        let of = || format!("request {} ({}, {:?})", plan.nonce, plan.category, plan.end);
        if is_complete {
            self.checks
                .check(Check::Incomplete, plan.may_be_complete, of);
        }
        let Some(routed) = &plan.routed else {
            return;
        };
        let id_end = routed.before.len()
            + Served {
                catalog: 0,
                model: 0,
            }
            .id()
            .len();
        let is_unchanged = match body.get(routed.before.len()..id_end) {
            None => {
                let prefix = body.len().min(routed.before.len());
                routed.before.starts_with(&body[..prefix]) && !is_complete
            }
            Some(id) => {
                self.check_id(plan, routed, id);
                let (before, after) = (&body[..routed.before.len()], &body[id_end..]);
                before == routed.before
                    && routed.after.starts_with(after)
                    && (after.len() == routed.after.len() || !is_complete)
            }
        };
        self.checks.check(Check::Bytes, is_unchanged, || {
            let start = String::from_utf8_lossy(&body[..body.len().min(200)]);
            format!("{} arrived as {start:?}", of())
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
            self.history.has_served(served.catalog)
                && served == routed.served_by(served.catalog)
                && served.catalog >= newest_seen.max(must_be_known)
        });
        self.checks.check(Check::Id, holds, || {
            format!(
                "request {} for {:?} arrived as {served:?} ({}); catalog {newest_seen} was used \
                 before, {must_be_known} must be known",
                plan.nonce,
                routed.requested,
                String::from_utf8_lossy(id),
            )
        });
        if let (true, Some(served)) = (holds, served) {
            inner.newest_seen = inner.newest_seen.max(served.catalog);
        }
    }

    /// Returns the model whose ID has arrived with a request.
    pub(crate) fn served(&self, plan: &Plan) -> Option<Served> {
        self.inner().entries.get(&plan.nonce)?.served
    }

    /// Records that the client has got a response.
    pub(crate) fn responded(&self, plan: &Plan, status: u16) {
        let served = self.served(plan).map(|served| served.name().to_owned());
        self.inner()
            .lines
            .insert(plan.nonce, Line { status, served });
    }

    /// Takes the lines that the access log must have, by nonce.
    pub(crate) fn take_lines(&self) -> HashMap<u64, Line> {
        std::mem::take(&mut self.inner().lines)
    }

    /// Returns the newest catalog that was used so far.
    pub(crate) fn newest_seen(&self) -> u64 {
        self.inner().newest_seen
    }

    pub(crate) fn categories(&self) -> BTreeMap<&'static str, u64> {
        self.inner().categories.clone()
    }

    /// Returns how many requests have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.inner().categories.values().sum()
    }

    pub(crate) fn transits(&self) -> Vec<Transit> {
        self.inner().transits.clone()
    }

    /// Checks that no request for a permanent model has waited, unless requests that pass through
    /// did at the same time. `layer_late` is the number of requests that were in the layer for
    /// longer than [`PROMPT`], by the proxy's metrics.
    pub(crate) fn check_waits(&self, layer_late: u64) {
        let transits = self.transits();
        let of = |kind| transits.iter().filter(move |transit| transit.kind == kind);
        // One that begins in the middle of a disturbance is delayed less.
        let late_passed: Vec<_> = of(TransitKind::Passed)
            .filter(|transit| transit.duration() > PROMPT / 2)
            .collect();
        let mut excused = 0;
        for transit in of(TransitKind::Permanent) {
            let overlaps =
                |it: &&Transit| it.started < transit.arrived && transit.started < it.arrived;
            let is_late = transit.duration() > PROMPT;
            let is_excused = is_late && late_passed.iter().any(overlaps);
            excused += u64::from(is_excused);
            self.checks.check(Check::Wait, !is_late || is_excused, || {
                format!("it took {:?}", transit.duration())
            });
        }
        let slow = self.inner().slow;
        self.checks
            .check(Check::Wait, layer_late <= slow + excused, || {
                format!("{layer_late} were late in the layer, and {slow} at their clients")
            });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
