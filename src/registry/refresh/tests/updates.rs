//! The effect of responses on the catalog.

use super::*;

#[tokio::test(start_paused = true)]
async fn etag_and_hash_decide_whether_the_catalog_changed() {
    use Refreshed::{Changed, Unchanged};

    const ONE: &str = "W/\"1\"";
    let c = parsed("c");
    let source = FakeSource::new(Outcome::NotModified);
    let registry = cold(&source);
    for (outcome, refreshed, sent_etag, etag) in [
        (Outcome::Tagged("a", ONE), Changed, None, Some(ONE)),
        (Outcome::NotModified, Unchanged, Some(ONE), Some(ONE)),
        (Outcome::Tagged("a", "2"), Unchanged, Some(ONE), Some("2")),
        (Outcome::Document("a"), Unchanged, Some("2"), None),
        (
            Outcome::Parsed(parsed("a"), "3"),
            Unchanged,
            None,
            Some("3"),
        ),
        (Outcome::Tagged("b", "4"), Changed, Some("3"), Some("4")),
        (
            Outcome::Parsed(c.clone(), "5"),
            Changed,
            Some("4"),
            Some("5"),
        ),
        (Outcome::NotModified, Unchanged, Some("5"), Some("5")),
    ] {
        let before = registry.snapshot();
        source.returns(outcome);
        sleep(100 * SECOND).await;
        assert_eq!(registry.refresh().await.unwrap(), refreshed);
        assert_eq!(source.last_sent_etag().as_deref(), sent_etag);
        if refreshed == Unchanged {
            assert!(Arc::ptr_eq(&before.unwrap(), &registry.snapshot().unwrap()));
        }
        let stats = registry.stats();
        assert_eq!(stats.etag.as_deref(), etag);
        assert_eq!(stats.age, Some(Duration::ZERO));
        assert_eq!(stats.expires_in, Some(300 * SECOND));
    }
    assert!(Arc::ptr_eq(&c, &registry.snapshot().unwrap()));
    let stats = registry.stats();
    let refreshes = (stats.refreshes_changed, stats.refreshes_unchanged);
    assert_eq!((stats.fetches, refreshes), (8, (3, 5)));
}

#[tokio::test(start_paused = true)]
async fn unexpected_304_is_a_failure() {
    let source = FakeSource::new(Outcome::NotModified);
    let registry = cold(&source);
    registry.refresh().await.unwrap_err();
    assert!(registry.snapshot().is_none());
    source.returns(Outcome::Document("a"));
    registry.refresh().await.unwrap();
    // There is a catalog, but it has no ETag.
    source.returns(Outcome::NotModified);
    registry.refresh().await.unwrap_err();
    assert_eq!(registry.stats().refreshes_failed, 2);
}

#[tokio::test(start_paused = true)]
async fn unusable_etags_are_ignored() {
    let long: &'static str = Box::leak(format!("\"{}\"", "x".repeat(1023)).into_boxed_str());
    for etag in ["", "\"a\nb\"", long] {
        let source = FakeSource::new(Outcome::Tagged("a", etag));
        let registry = cold(&source);
        registry.refresh().await.unwrap();
        assert_eq!(registry.stats().etag, None);
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_catalog_changes_nothing() {
    let source = FakeSource::new(Outcome::Tagged("a", "\"1\""));
    let registry = cold(&source);
    registry.refresh().await.unwrap();
    for bytes in [
        &b""[..],
        b"<!DOCTYPE html><html>",
        br#"{"models":[]}"#,
        br#"{"data":[]}"#,
        br#"[{"Id":"0x1","Name":"a"}]"#,
        br#"{"models":[{"Id":"0x1","Na"#,
    ] {
        source.returns(Outcome::Bytes(bytes));
        sleep(SECOND).await;
        let error = registry.refresh().await.unwrap_err();
        assert!(error.is_invalid_catalog());
        assert_eq!(name(&registry.snapshot().unwrap()), "a");
        assert_eq!(registry.stats().etag.as_deref(), Some("\"1\""));
        let report = error.report().to_string();
        assert_eq!(report.contains("HTML or XML"), bytes.starts_with(b"<"));
        assert!(!report.contains("DOCTYPE"), "{report}");
    }
    assert!(registry.stats().age > Some(6 * SECOND));
}

/// Returns a usable document of this length.
fn padded(len: usize) -> &'static [u8] {
    let mut document = document("m").to_vec();
    document.resize(len, b' ');
    document.leak()
}

#[test]
fn long_document_is_parsed_on_a_blocking_thread() {
    for (len, threads) in [(64 << 10, 0), ((64 << 10) + 1, 1)] {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&started);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .on_thread_start(move || {
                counter.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .unwrap();
        let source = FakeSource::new(Outcome::Bytes(padded(len)));
        source.takes(Duration::ZERO);
        let registry = Registry::builder(source).build().unwrap();
        let refreshed = runtime.block_on(registry.refresh());
        assert_eq!(refreshed.unwrap(), Refreshed::Changed);
        assert_eq!(started.load(Ordering::SeqCst), threads, "{len} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn document_past_max_catalog_bytes_is_a_failure() {
    let source = FakeSource::new(Outcome::Bytes(padded(1000)));
    let registry = Registry::builder(Arc::clone(&source)).max_catalog_bytes(1000);
    let registry = registry.build().unwrap();
    registry.refresh().await.unwrap();
    source.returns(Outcome::Bytes(padded(1001)));
    let error = registry.refresh().await.unwrap_err().report().to_string();
    assert!(error.contains("larger than 1000 bytes"), "{error}");
    assert!(registry.snapshot().is_some());
}
