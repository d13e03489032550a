//! Compares the proxy's access log with the responses that clients have got.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::checks::{Check, Checks};

/// A line of the access log.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) status: u16,
    pub(crate) served: Option<String>,
}

/// Checks that each response has one line, except `dropped` ones.
pub(crate) fn check(log: &str, mut expected: HashMap<u64, Line>, dropped: u64, checks: &Checks) {
    let mut seen = HashSet::new();
    for (nonce, line) in log.lines().filter_map(parse) {
        checks.check(Check::AccessLog, seen.insert(nonce), || {
            format!("request {nonce} has a second line: {line:?}")
        });
        // Clients that disconnect have not seen theirs.
        let Some(expected) = expected.remove(&nonce) else {
            continue;
        };
        let holds = match expected.status {
            ..400 => line == expected,
            // A rejection may have a model, and may not.
            _ => line.status == expected.status,
        };
        checks.check(Check::AccessLog, holds, || {
            format!("request {nonce}: {line:?} for {expected:?}")
        });
    }
    let missing = expected.len() as u64;
    checks.check(Check::AccessLog, missing <= dropped, || {
        format!("{missing} lines are missing, {dropped} were dropped: {expected:?}")
    });
}

/// Returns the nonce of a request of this program, and its line.
fn parse(line: &str) -> Option<(u64, Line)> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "access" {
        return None;
    }
    let id = line["spans"][0]["request_id"].as_str()?;
    let nonce = id.strip_prefix("soak-")?.parse().ok()?;
    let line = Line {
        status: line["status"].as_u64()?.try_into().ok()?,
        served: line["served"].as_str().map(str::to_owned),
    };
    Some((nonce, line))
}
