//! A scripted registry source.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_model_routing::registry::{FetchFuture, Fetched, RegistrySource, SourceError};

/// The outcome of a fetch.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// This catalog document.
    Catalog(String),
    Failure,
    /// The fetch never ends.
    Pending,
}

#[derive(Debug)]
struct State {
    outcome: Outcome,
    delay: Duration,
    fetches: usize,
}

/// A source whose outcome and delay can be changed. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct ScriptedSource(Arc<Mutex<State>>);

impl ScriptedSource {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self(Arc::new(Mutex::new(State {
            outcome,
            delay: Duration::ZERO,
            fetches: 0,
        })))
    }

    /// Returns a source that serves [`MODELS`].
    pub(crate) fn with_models() -> Self {
        Self::new(Outcome::Catalog(MODELS.into()))
    }

    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        self.0.lock().unwrap().outcome = outcome;
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.0.lock().unwrap().delay = delay;
    }

    /// Returns the number of fetches started.
    pub(crate) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches
    }
}

impl RegistrySource for ScriptedSource {
    fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
        let (outcome, delay) = {
            let mut state = self.0.lock().unwrap();
            state.fetches += 1;
            (state.outcome.clone(), state.delay)
        };
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            match outcome {
                Outcome::Catalog(document) => Ok(Fetched::document(document)),
                Outcome::Failure => Err(SourceError::new("the secret reason")),
                Outcome::Pending => std::future::pending().await,
            }
        })
    }

    fn location(&self) -> String {
        "a script".into()
    }
}

/// One model of each type, and the default fallbacks.
pub(crate) const MODELS: &str = r#"{"models":[
    {"Id":"0xb603","Name":"venice-uncensored","ModelType":"LLM"},
    {"Id":"0x0a","Name":"mistral-31-24b","ModelType":"LLM"},
    {"Id":"0x0b","Name":"text-embedding-bge-m3","ModelType":"EMBEDDING"},
    {"Id":"0x0c","Name":"tts-kokoro","ModelType":"TTS"},
    {"Id":"0x0d","Name":"whisper-1","ModelType":"STT"},
    {"Id":"0x0e","Name":"mystery","ModelType":"UNKNOWN"},
    {"Id":"0x0f","Name":"untyped"},
    {"Id":"0x10","Name":"Picture Maker","ModelType":"IMAGE","enrichment":{"veniceId":"flux"}},
    {"Id":"0x000000000000000000000000000000000000000000000000000000000000abcd","Name":"m"}
]}"#;

/// Returns [`MODELS`] with one more LLM of this name and ID.
pub(crate) fn models_and(name: &str, id: &str) -> String {
    MODELS.replace(
        "\"models\":[",
        &format!(r#""models":[{{"Id":"{id}","Name":"{name}","ModelType":"LLM"}},"#),
    )
}
