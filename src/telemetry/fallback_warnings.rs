//! Limits the warnings about fallbacks to one a second for each name.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const PERIOD: Duration = Duration::from_secs(1);
/// The number of names that are counted separately, limited because clients choose them. The
/// remaining ones share one count.
const MAX_NAMES: usize = 256;

/// The last warning about each requested name.
#[derive(Debug, Default)]
pub(crate) struct FallbackWarnings(Mutex<HashMap<Box<str>, LastWarning>>);

#[derive(Debug)]
struct LastWarning {
    at: Instant,
    left_out: u64,
}

impl FallbackWarnings {
    /// Counts a fallback. Returns the number of warnings about this name that were left out since
    /// the last one, or `None` if this one is left out too.
    pub(crate) fn count(&self, name: &str, now: Instant) -> Option<u64> {
        let mut warnings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |last: &LastWarning| now.saturating_duration_since(last.at) >= PERIOD;
        if !warnings.contains_key(name) && warnings.len() >= MAX_NAMES {
            warnings.retain(|_, last| !is_due(last));
        }
        let is_counted = warnings.contains_key(name) || warnings.len() < MAX_NAMES;
        let name = if is_counted { name } else { "" };
        match warnings.get_mut(name) {
            Some(last) if !is_due(last) => {
                last.left_out += 1;
                None
            }
            last => {
                let left_out = last.map_or(0, |last| last.left_out);
                let warning = LastWarning {
                    at: now,
                    left_out: 0,
                };
                warnings.insert(name.into(), warning);
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_warns_once_a_second_and_counts_the_rest() {
        let warnings = FallbackWarnings::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for (name, millis, expected) in [
            ("a", 0, Some(0)),
            ("a", 1, None),
            ("b", 2, Some(0)),
            ("a", 999, None),
            ("a", 1000, Some(2)),
            ("a", 1999, None),
            ("b", 1999, Some(0)),
            ("a", 2000, Some(1)),
        ] {
            assert_eq!(
                warnings.count(name, at(millis)),
                expected,
                "{name} {millis}"
            );
        }
    }

    #[test]
    fn names_past_the_limit_share_a_count() {
        let warnings = FallbackWarnings::default();
        let start = Instant::now();
        for n in 0..MAX_NAMES {
            assert_eq!(warnings.count(&n.to_string(), start), Some(0));
        }
        assert_eq!(warnings.count("x", start), Some(0));
        assert_eq!(warnings.count("y", start), None);
        assert_eq!(warnings.count("7", start), None);
        assert_eq!(warnings.0.lock().unwrap().len(), MAX_NAMES + 1);
        // Names whose second is over make room.
        assert_eq!(warnings.count("y", start + PERIOD), Some(0));
        assert_eq!(warnings.0.lock().unwrap().len(), 1);
    }
}
