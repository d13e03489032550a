//! What the registry publishes. Lists are numbered, and each gives every model
//! another ID, which tells the list and the model: so a single request at the
//! upstream tells what the proxy knew when it passed it on.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Lists that must never be believed have numbers from here on.
pub(crate) const FALSE_LIST: u64 = 1 << 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Llm,
    Embedding,
    Tts,
    Stt,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    alias: Option<&'static str>,
    /// Whether some lists lack it.
    pub(crate) comes_and_goes: bool,
}

/// A model in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) list: u64,
    pub(crate) model: usize,
}

pub(crate) const MODELS: [Model; 24] = [
    // The proxy's fallbacks, which no list lacks.
    model("mistral-31-24b", Kind::Llm),
    model("text-embedding-bge-m3", Kind::Embedding),
    model("tts-kokoro", Kind::Tts),
    model("whisper-1", Kind::Stt),
    model("venice-uncensored", Kind::Llm).alias("dolphin-mistral-24b"),
    model("Hermes 3 Llama 3.1", Kind::Llm),
    model("meta-llama/Llama-3.2-3B-Instruct", Kind::Llm).alias("llama-3.2-3b"),
    model("qwen3-235b", Kind::Llm).alias("qwen3-235b-a22b-instruct"),
    model("LMR-ClaudeAI-Sonnet", Kind::Llm),
    model("glm-4.6", Kind::Llm),
    model("gpt-oss-120b", Kind::Llm),
    model("kimi-k2", Kind::Llm),
    model("text-embedding-3-small", Kind::Embedding),
    model("tts-1-hd", Kind::Tts),
    model("whisper-large-v3", Kind::Stt),
    model("guest-a", Kind::Llm).comes_and_goes(),
    model("guest-b", Kind::Llm).comes_and_goes(),
    model("guest-c", Kind::Llm).comes_and_goes(),
    model("Guest D", Kind::Llm).comes_and_goes(),
    model("guest-e", Kind::Llm).comes_and_goes(),
    model("guest-embedding", Kind::Embedding).comes_and_goes(),
    model("guest-tts", Kind::Tts).comes_and_goes(),
    model("guest-stt", Kind::Stt).comes_and_goes(),
    model("guest-stt-b", Kind::Stt).comes_and_goes(),
];

const fn model(name: &'static str, kind: Kind) -> Model {
    Model {
        name,
        kind,
        alias: None,
        comes_and_goes: false,
    }
}

impl Model {
    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn comes_and_goes(mut self) -> Self {
        self.comes_and_goes = true;
        self
    }

    /// A way to ask for it.
    pub(crate) fn spelling(&self, rng: &mut fastrand::Rng) -> String {
        match (rng.u8(..6), self.alias) {
            (0, _) => self.name.to_uppercase(),
            (1, _) => self.name.to_lowercase().replace(' ', "-"),
            (2 | 3, Some(alias)) => alias.to_owned(),
            _ => self.name.to_owned(),
        }
    }
}

impl Kind {
    /// What serves names that the list does not have.
    pub(crate) fn fallback(self) -> usize {
        self as usize
    }

    fn model_type(self) -> &'static str {
        match self {
            Self::Llm => "LLM",
            Self::Embedding => "EMBEDDING",
            Self::Tts => "TTS",
            Self::Stt => "STT",
        }
    }
}

impl Served {
    /// What a list makes of a model, or of a name that is none.
    pub(crate) fn by(list: u64, asked: Option<usize>, kind: Kind) -> Self {
        let found = asked.filter(|&model| has(list, model));
        Self {
            list,
            model: found.unwrap_or(kind.fallback()),
        }
    }

    pub(crate) fn id(self) -> String {
        let Self { list, model } = self;
        let check = Sha256::digest(format!("{list} {model}"));
        let check = u128::from_be_bytes(std::array::from_fn(|index| check[index]));
        format!("0x{list:016x}{model:016x}{check:032x}")
    }

    /// From its ID; `None` if that is nobody's.
    pub(crate) fn from_id(id: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(id).ok()?.strip_prefix("0x")?;
        let this = Self {
            list: u64::from_str_radix(digits.get(..16)?, 16).ok()?,
            model: usize::from_str_radix(digits.get(16..32)?, 16).ok()?,
        };
        (this.model < MODELS.len() && this.id().as_bytes() == id).then_some(this)
    }

    pub(crate) fn name(self) -> &'static str {
        MODELS[self.model].name
    }
}

/// Whether a list has a model.
pub(crate) fn has(list: u64, model: usize) -> bool {
    // Any seven lists have and lack each guest.
    !MODELS[model].comes_and_goes || (list as usize * 3 + model * 5) % 7 < 4
}

/// The models of a list.
pub(crate) fn models(list: u64) -> impl Iterator<Item = Served> {
    (0..MODELS.len())
        .filter(move |&model| has(list, model))
        .map(move |model| Served { list, model })
}

/// The list as a document.
pub(crate) fn document(list: u64) -> String {
    let mut text = format!(r#"{{"list":{list},"models":["#);
    for served in models(list) {
        let model = &MODELS[served.model];
        let _ = write!(
            text,
            r#"{{"Id":"{}","IpfsCID":"bafkrei","Name":"{}","ModelType":"{}","Tags":["soak"],"IsDeleted":false,"CreatedAt":1764201600"#,
            served.id(),
            model.name,
            model.kind.model_type(),
        );
        if let Some(alias) = model.alias {
            let _ = write!(text, r#","enrichment":{{"veniceId":"{alias}"}}"#);
        }
        text += "},";
    }
    // Entries that spoil nothing.
    text += r#"{"Name":"no-id"},{"Id":"0x1","Name":"deleted","IsDeleted":true},7]}"#;
    text
}

/// The SHA-256 of a document, as health pages show it.
pub(crate) fn hash(document: &str) -> String {
    let mut hash = String::new();
    for byte in Sha256::digest(document) {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}
