//! The statistics of the registry as JSON, under the keys that dashboards know.

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tower_model_routing::registry::RegistryStats;

/// The last second that RFC 3339 can name: the end of the year 9999.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// Returns the object `cache_stats` of `/health/models`.
pub(crate) fn json(stats: &RegistryStats) -> Value {
    json!({
        "cached_models": stats.models,
        "cached_blockchain_ids": stats.ids,
        "cache_expiry": stats.expires_at.and_then(rfc3339),
        "seconds_until_expiry": stats.expires_in.map(|left| left.as_secs_f64()),
        "age_seconds": stats.age.map(|age| age.as_secs_f64()),
        "last_hash": stats.sha256.map(hex),
        "last_etag": stats.etag,
        "cache_duration": stats.ttl.as_secs_f64(),
        "fetches": stats.fetches,
        "refreshes_changed": stats.refreshes_changed,
        "refreshes_unchanged": stats.refreshes_unchanged,
        "refreshes_failed": stats.refreshes_failed,
        "last_error": stats.last_error.as_ref().map(|error| error.report().to_string()),
        "ambiguous_names": stats.ambiguous_names,
    })
}

fn rfc3339(time: SystemTime) -> Option<String> {
    let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
    // `humantime` fails on later times.
    (since_epoch <= LAST_SECOND).then(|| humantime::format_rfc3339_millis(time).to_string())
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tower_model_routing::registry::{
        FetchFuture, Fetched, Registry, RegistrySource, SourceError,
    };

    use super::*;

    /// Returns these results, the last one first.
    struct Script(Mutex<Vec<Result<Fetched, SourceError>>>);

    impl RegistrySource for Script {
        fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
            let result = self.0.lock().unwrap().pop().unwrap();
            Box::pin(async { result })
        }

        fn location(&self) -> String {
            "a script".to_owned()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stats_have_all_keys() {
        let document = r#"{"models":[{"Id":"0x1","Name":"a"},{"Id":"0x2","Name":"a"}]}"#;
        let good = Fetched::document(document).with_etag("\"1\"");
        let failed = SourceError::new("for a test");
        let script = Script(Mutex::new(vec![Ok(good), Err(failed)]));
        let registry = Registry::builder(script).build().unwrap();
        let mut expected = json!({
            "cached_models": 0,
            "cached_blockchain_ids": 0,
            "cache_expiry": null,
            "seconds_until_expiry": null,
            "age_seconds": null,
            "last_hash": null,
            "last_etag": null,
            "cache_duration": 300.0,
            "fetches": 0,
            "refreshes_changed": 0,
            "refreshes_unchanged": 0,
            "refreshes_failed": 0,
            "last_error": null,
            "ambiguous_names": 0,
        });
        assert_eq!(json(&registry.stats()), expected);

        registry.refresh().await.unwrap_err();
        let stats = json(&registry.stats());
        let error = stats["last_error"].as_str().unwrap();
        assert!(error.contains("for a test"), "{error}");
        expected["fetches"] = 1.into();
        expected["refreshes_failed"] = 1.into();
        expected["last_error"] = error.into();
        assert_eq!(stats, expected);

        registry.refresh().await.unwrap();
        let stats = json(&registry.stats());
        for (key, value) in [
            ("cached_models", json!(2)),
            ("cached_blockchain_ids", json!(2)),
            ("seconds_until_expiry", json!(300.0)),
            ("age_seconds", json!(0.0)),
            ("last_etag", json!("\"1\"")),
            ("fetches", json!(2)),
            ("refreshes_changed", json!(1)),
            ("refreshes_unchanged", json!(0)),
            ("refreshes_failed", json!(1)),
            ("last_error", Value::Null),
            ("ambiguous_names", json!(1)),
        ] {
            assert_eq!(stats[key], value, "{key}");
        }
        assert_eq!(stats.as_object().unwrap().len(), 14);
        assert!(stats["cache_expiry"].is_string() && stats["last_hash"].is_string());
    }

    #[test]
    fn times_are_rfc3339_in_milliseconds_up_to_its_last_year() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs_f64(seconds));
        assert_eq!(at(0.5).as_deref(), Some("1970-01-01T00:00:00.500Z"));
        assert!(at(LAST_SECOND.as_secs_f64()).is_some());
        assert_eq!(at(LAST_SECOND.as_secs_f64() + 1.0), None);
    }

    #[test]
    fn hashes_are_64_hex_digits() {
        assert_eq!(hex([0x0a; 32]), "0a".repeat(32));
    }
}
