//! A registry source that does what a test tells it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_model_routing::{FetchFuture, Fetched, RegistrySource, SourceError};

/// What the source answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    List(String),
    Fails,
    Hangs,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    takes: Duration,
    fetches: usize,
}

/// A source whose answer, and the time it takes, can be changed.
///
/// Clones are one source.
#[derive(Clone, Debug)]
pub(crate) struct Source(Arc<Mutex<State>>);

impl Source {
    pub(crate) fn new(answer: Answer) -> Self {
        Self(Arc::new(Mutex::new(State {
            answer,
            takes: Duration::ZERO,
            fetches: 0,
        })))
    }

    /// A source that serves the models of [`MODELS`].
    pub(crate) fn of_models() -> Self {
        Self::new(Answer::List(MODELS.into()))
    }

    pub(crate) fn answers(&self, answer: Answer) {
        self.0.lock().unwrap().answer = answer;
    }

    pub(crate) fn takes(&self, time: Duration) {
        self.0.lock().unwrap().takes = time;
    }

    /// How often it was asked.
    pub(crate) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches
    }
}

impl RegistrySource for Source {
    fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
        let (answer, takes) = {
            let mut state = self.0.lock().unwrap();
            state.fetches += 1;
            (state.answer.clone(), state.takes)
        };
        Box::pin(async move {
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            match answer {
                Answer::List(list) => Ok(Fetched::document(list)),
                Answer::Fails => Err(SourceError::new("the secret reason")),
                Answer::Hangs => std::future::pending().await,
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

/// [`MODELS`] with one more LLM of this name and ID.
pub(crate) fn models_and(name: &str, id: &str) -> String {
    MODELS.replace(
        "\"models\":[",
        &format!(r#""models":[{{"Id":"{id}","Name":"{name}","ModelType":"LLM"}},"#),
    )
}
