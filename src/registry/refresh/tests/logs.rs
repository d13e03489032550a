//! The events that refreshes log.

use super::*;
use crate::registry::hex;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }

    /// Takes the log, which must have all these parts.
    #[track_caller]
    fn expect(&self, parts: &[&str]) -> String {
        let text = self.take();
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        text
    }
}

const AMBIGUOUS: &[u8] = br#"{"models":[{"Id":"0x1","Name":"a"},{"Id":"0x2","Name":"a"}]}"#;

#[tokio::test(start_paused = true)]
async fn refreshes_are_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // A callsite that another test registers at the same time may miss this subscriber. So all of
    // them are registered first and then asked again.
    let source = FakeSource::new(Outcome::Fail);
    let registry = cold(&source);
    for outcome in [
        Outcome::Fail,
        Outcome::Document("a"),
        Outcome::Document("a"),
        Outcome::Bytes(AMBIGUOUS),
    ] {
        source.returns(outcome);
        let _ = registry.refresh().await;
    }
    tracing::callsite::rebuild_interest_cache();
    log.take();

    let (source, registry) = warm().await;
    let hash = &hex(&registry.stats().sha256.unwrap())[..12];
    let text = log.expect(&[
        "INFO",
        "catalog changed",
        "models=1",
        hash,
        "registry=\"fake://models\"",
    ]);
    assert!(!text.contains("WARN"), "{text}");

    registry.refresh().await.unwrap();
    log.expect(&["DEBUG", "catalog unchanged"]);

    source.returns(Outcome::Fail);
    for failures in ["failures=1", "failures=2"] {
        registry.refresh().await.unwrap_err();
        log.expect(&["WARN", failures, "the cable is cut", "retry_in="]);
    }

    source.returns(Outcome::Bytes(AMBIGUOUS));
    registry.refresh().await.unwrap();
    log.expect(&["WARN", "ambiguous_names=1"]);
    assert_eq!(registry.stats().ambiguous_names, 1);
}
