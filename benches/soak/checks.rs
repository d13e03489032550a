//! The rules that must hold: how often each was checked, and what violated it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many violations of each rule are printed.
const MAX_DETAILS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Id,
    Bytes,
    IdHeaders,
    Once,
    Incomplete,
    Response,
    Compression,
    Headers,
    WebSocket,
    Status,
    Error5xx,
    Cold,
    Wait,
    Recovery,
    Health,
    Models,
    PublicHealth,
    AccessLog,
    Memory,
    Files,
    Tasks,
    Held,
    Upstream,
    Stop,
    Log,
}

impl Check {
    fn rule(self) -> &'static str {
        match self {
            Self::Id => "each ID at the upstream is that of the name, in a recent catalog",
            Self::Bytes => "no other byte of a request changes",
            Self::IdHeaders => "the upstream gets the ID and the name in headers, and no client's",
            Self::Once => "each request arrives at most once",
            Self::Incomplete => "rejected and aborted requests never arrive complete",
            Self::Response => "each client gets the response to its request, byte for byte",
            Self::Compression => {
                "responses are compressed for clients that accept it, but no events"
            }
            Self::Headers => "each response has its request's ID and the CORS headers",
            Self::WebSocket => "WebSockets echo each message, byte for byte, and close cleanly",
            Self::Status => "each status is the expected one",
            Self::Error5xx => "each 5xx is due to a failure of the upstream",
            Self::Cold => "before the first catalog, requests and /health get 503 at once",
            Self::Wait => "no request for a name in all catalogs waits for the registry",
            Self::Recovery => "once the registry is back, its catalog is fetched",
            Self::Health => "/health reports the actual state",
            Self::Models => "/v1/models is one catalog that was served",
            Self::PublicHealth => "/health has no details on the address for clients",
            Self::AccessLog => {
                "each response has one line in the access log, with status and model"
            }
            Self::Memory => "memory is flat",
            Self::Files => "open files and threads are flat",
            Self::Tasks => "no task is left",
            Self::Held => "no held bytes are left",
            Self::Upstream => "no request is left at the upstream",
            Self::Stop => "SIGTERM loses no request, and the process exits with 0",
            Self::Log => "no panic is in the log",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<BTreeMap<Check, Outcome>>);

#[derive(Debug, Default)]
struct Outcome {
    checked: u64,
    violations: u64,
    details: Vec<String>,
}

impl Checks {
    /// Records a check, and returns whether it holds.
    pub(crate) fn check(&self, check: Check, holds: bool, detail: impl FnOnce() -> String) -> bool {
        let mut all = self.lock();
        let outcome = all.entry(check).or_default();
        outcome.checked += 1;
        if !holds {
            outcome.violations += 1;
            if outcome.details.len() < MAX_DETAILS {
                outcome.details.push(detail());
            }
        }
        holds
    }

    /// Returns the number of violations so far.
    pub(crate) fn violations(&self) -> u64 {
        self.lock().values().map(|outcome| outcome.violations).sum()
    }

    /// Prints a table, and returns whether everything holds.
    pub(crate) fn print(&self) -> bool {
        let all = self.lock();
        println!("| rule | checked | violations |\n|---|---|---|");
        for (check, outcome) in &*all {
            let (checked, violations) = (outcome.checked, outcome.violations);
            println!("| {} | {checked} | {violations} |", check.rule());
        }
        println!();
        for (check, outcome) in &*all {
            for detail in &outcome.details {
                println!("violated: {}: {detail}", check.rule());
            }
        }
        all.values().all(|outcome| outcome.violations == 0)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Check, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
