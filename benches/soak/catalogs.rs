//! The catalogs that the registry publishes. They are numbered, and each gives every model another
//! ID, which encodes the catalog and the model. So each request at the upstream tells which catalog
//! it was routed by.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The first number of catalogs that the proxy must never use.
pub(crate) const FALSE_CATALOG: u64 = 1 << 40;

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
    /// Whether some catalogs do not have it.
    pub(crate) is_temporary: bool,
}

/// The operator's aliases and the models that they name.
pub(crate) const ALIASES: [(&str, &str); 2] = [("gpt-4o", "glm-4.6"), ("claude-*", "kimi-k2")];

/// A model in a catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) catalog: u64,
    pub(crate) model: usize,
}

pub(crate) const MODELS: [Model; 24] = [
    // The proxy's fallbacks.
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
    model("guest-a", Kind::Llm).temporary(),
    model("guest-b", Kind::Llm).temporary(),
    model("guest-c", Kind::Llm).temporary(),
    model("Guest D", Kind::Llm).temporary(),
    model("guest-e", Kind::Llm).temporary(),
    model("guest-embedding", Kind::Embedding).temporary(),
    model("guest-tts", Kind::Tts).temporary(),
    model("guest-stt", Kind::Stt).temporary(),
    model("guest-stt-b", Kind::Stt).temporary(),
];

const fn model(name: &'static str, kind: Kind) -> Model {
    Model {
        name,
        kind,
        alias: None,
        is_temporary: false,
    }
}

impl Model {
    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn temporary(mut self) -> Self {
        self.is_temporary = true;
        self
    }

    /// Returns one of the names that resolve to it.
    pub(crate) fn any_name(&self, rng: &mut fastrand::Rng) -> String {
        let alias = ALIASES.iter().find(|alias| alias.1 == self.name);
        match (rng.u8(..6), self.alias.or(alias.map(|alias| alias.0))) {
            (0, _) => self.name.to_uppercase(),
            (1, _) => self.name.to_lowercase().replace(' ', "-"),
            (2 | 3, Some(alias)) => alias.replace('*', &rng.u16(..).to_string()),
            _ => self.name.to_owned(),
        }
    }
}

impl Kind {
    /// Returns the fallback for names that the catalog does not have.
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
    /// Returns the model or the fallback.
    pub(crate) fn by(catalog: u64, requested: Option<usize>, kind: Kind) -> Self {
        let found = requested.filter(|&model| has(catalog, model));
        Self {
            catalog,
            model: found.unwrap_or(kind.fallback()),
        }
    }

    pub(crate) fn id(self) -> String {
        let Self { catalog, model } = self;
        let check = Sha256::digest(format!("{catalog} {model}"));
        let check = u128::from_be_bytes(std::array::from_fn(|index| check[index]));
        format!("0x{catalog:016x}{model:016x}{check:032x}")
    }

    /// Decodes an ID. `None` if it is not of any catalog.
    pub(crate) fn from_id(id: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(id).ok()?.strip_prefix("0x")?;
        let this = Self {
            catalog: u64::from_str_radix(digits.get(..16)?, 16).ok()?,
            model: usize::from_str_radix(digits.get(16..32)?, 16).ok()?,
        };
        (this.model < MODELS.len() && this.id().as_bytes() == id).then_some(this)
    }

    pub(crate) fn name(self) -> &'static str {
        MODELS[self.model].name
    }
}

/// Returns whether a catalog has a model.
pub(crate) fn has(catalog: u64, model: usize) -> bool {
    // Of seven catalogs in a row four have it.
    !MODELS[model].is_temporary || (catalog as usize * 3 + model * 5) % 7 < 4
}

/// Returns the models of a catalog.
pub(crate) fn models(catalog: u64) -> impl Iterator<Item = Served> {
    (0..MODELS.len())
        .filter(move |&model| has(catalog, model))
        .map(move |model| Served { catalog, model })
}

/// Returns the catalog as a document.
pub(crate) fn document(catalog: u64) -> String {
    let mut text = format!(r#"{{"catalog":{catalog},"models":["#);
    for served in models(catalog) {
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
    // Entries that are left out.
    text += r#"{"Name":"no-id"},{"Id":"0x1","Name":"deleted","IsDeleted":true},7]}"#;
    text
}

/// Returns the SHA-256 of a document, as health pages show it.
pub(crate) fn hash(document: &str) -> String {
    let mut hash = String::new();
    for byte in Sha256::digest(document) {
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}
