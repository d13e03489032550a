//! What must hold, how often that was looked at, and what did not.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// So many failures of each kind are told in full.
const TOLD: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    Id,
    Bytes,
    Once,
    Refused,
    Answer,
    Status,
    Error5xx,
    Cold,
    Waiting,
    Recovery,
    Health,
    Models,
    Memory,
    Files,
    Tasks,
    Held,
    Upstream,
    Stop,
    Log,
}

impl Check {
    fn promise(self) -> &'static str {
        match self {
            Self::Id => "each ID at the upstream is the name's, of a list recent enough",
            Self::Bytes => "no other byte of a request changes",
            Self::Once => "each request arrives at most once",
            Self::Refused => "what is refused or broken off never arrives whole",
            Self::Answer => "each client gets the answer to its own request, byte for byte",
            Self::Status => "each status is the one expected",
            Self::Error5xx => "each 5xx is explained by a fault",
            Self::Cold => "without a list yet, requests and /health are a prompt 503",
            Self::Waiting => "no request for a listed name waits for the registry",
            Self::Recovery => "once the registry is back, its list is found",
            Self::Health => "/health says what is so",
            Self::Models => "/v1/models is one list that was served",
            Self::Memory => "memory is flat",
            Self::Files => "open files and threads are flat",
            Self::Tasks => "no task is left",
            Self::Held => "no held bytes are left",
            Self::Upstream => "no request is left at the upstream",
            Self::Stop => "SIGTERM loses nothing, and the process ends with 0",
            Self::Log => "nothing in the log panicked",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Checks(Mutex<BTreeMap<Check, Outcome>>);

#[derive(Debug, Default)]
struct Outcome {
    tried: u64,
    failed: u64,
    told: Vec<String>,
}

impl Checks {
    /// Whether it holds, so that one can go on from there.
    pub(crate) fn check(
        &self,
        check: Check,
        holds: bool,
        complaint: impl FnOnce() -> String,
    ) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = all.entry(check).or_default();
        outcome.tried += 1;
        if !holds {
            outcome.failed += 1;
            if outcome.told.len() < TOLD {
                outcome.told.push(complaint());
            }
        }
        holds
    }

    /// How many looks have found something that does not hold.
    pub(crate) fn failed(&self) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().map(|outcome| outcome.failed).sum()
    }

    /// Prints a table, and whether all holds.
    pub(crate) fn print(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        println!("| what must hold | looked at | failed |\n|---|---|---|");
        for (check, outcome) in &*all {
            let Outcome { tried, failed, .. } = outcome;
            println!("| {} | {tried} | {failed} |", check.promise());
        }
        println!();
        for (check, outcome) in &*all {
            for complaint in &outcome.told {
                println!("not so: {}: {complaint}", check.promise());
            }
        }
        all.values().all(|outcome| outcome.failed == 0)
    }
}
