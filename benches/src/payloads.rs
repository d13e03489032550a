//! Request bodies, the same in every run.

use fastrand::Rng;

/// Where the model is in a body.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    First,
    Last,
}

/// Bodies of one kind.
#[derive(Debug)]
pub struct Payload {
    pub name: &'static str,
    /// Many small ones, so that the branch predictor cannot learn them, or a few large ones.
    pub bodies: Vec<Vec<u8>>,
}

impl Payload {
    pub fn total_bytes(&self) -> usize {
        self.bodies.iter().map(Vec::len).sum()
    }

    pub fn mean_bytes(&self) -> usize {
        self.total_bytes() / self.bodies.len()
    }
}

/// Generates the members of a body without the model.
type Members = fn(&mut Rng) -> String;

/// The name of a kind, the number of bodies, and their members.
const KINDS: [(&str, usize, Members); 13] = [
    ("chat-500B", 256, |rng| chat(rng, 2, 150, prose)),
    ("chat-2KB", 256, |rng| chat(rng, 6, 270, prose)),
    ("prose-200KB", 4, |rng| chat(rng, 40, 5_000, prose)),
    ("cjk-200KB", 4, |rng| chat(rng, 40, 5_000, cjk)),
    ("base64-5MB", 1, |rng| image(rng, 5_000_000)),
    ("base64-20MB", 1, |rng| image(rng, 20_000_000)),
    ("integers-50k", 1, |rng| {
        format!("\"input\":[{}]", integers(rng, 50_000))
    }),
    ("nested-integers", 1, |rng| {
        let arrays = join(2_500, || {
            let len = rng.usize(10..30);
            format!("[{}]", integers(rng, len))
        });
        format!("\"input\":[{arrays}]")
    }),
    ("tools-compact", 2, |rng| tools(rng, false)),
    ("tools-pretty", 2, |rng| tools(rng, true)),
    ("escapes-200KB", 2, |rng| chat(rng, 40, 5_000, escapes)),
    ("logit-bias", 4, |rng| {
        let bias = join(1_000, || {
            format!("\"{}\":{}", rng.u32(..100_000), rng.i32(-100..100))
        });
        format!("\"logit_bias\":{{{bias}}}")
    }),
    ("minimal", 256, |rng| format!("\"n\":{}", rng.u32(1..9))),
];

/// Returns the names of all kinds; unless measuring, of the small ones.
pub fn names() -> impl Iterator<Item = &'static str> {
    let names = KINDS.iter().map(|(name, ..)| *name);
    names.filter(|name| is_affordable(name))
}

/// Returns whether to use this kind: without optimizations, large bodies take too long.
pub(crate) fn is_affordable(name: &str) -> bool {
    crate::is_measuring() || !name.starts_with("base64")
}

pub fn payload(name: &str, place: Place) -> Payload {
    let (name, count, members) = KINDS.iter().find(|kind| kind.0 == name).unwrap();
    let mut rng = Rng::with_seed(0x6d6f_6465_6c73);
    let body = |_| {
        let model = format!("\"model\":\"{}\"", pick(&mut rng, &MODELS));
        let members = members(&mut rng);
        let body = match place {
            Place::First => format!("{{{model},{members}}}"),
            Place::Last => format!("{{{members},{model}}}"),
        };
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        body.into_bytes()
    };
    let bodies = (0..*count).map(body).collect();
    Payload { name, bodies }
}

/// The models that the bodies name.
pub const MODELS: [&str; 5] = [
    "mistral-31-24b",
    "llama-3.3-70b",
    "venice-uncensored",
    "qwen3-235b",
    "hermes-3-llama-3.1-405b",
];

fn chat(rng: &mut Rng, messages: usize, len: usize, text: fn(&mut Rng, usize) -> String) -> String {
    let mut index = 0;
    let messages = join(messages, || {
        let role = match index {
            0 => "system",
            _ => ["assistant", "user"][index % 2],
        };
        index += 1;
        let len = len / 2 + rng.usize(..len);
        format!("{{\"role\":\"{role}\",\"content\":\"{}\"}}", text(rng, len))
    });
    let parameters = [
        format!("\"temperature\":0.{}", rng.u32(1..10)),
        format!("\"max_tokens\":{}", rng.u32(16..4096)),
        format!("\"stream\":{}", rng.bool()),
        format!("\"user\":\"user-{}\"", rng.u32(..)),
        "\"stop\":null".to_owned(),
        format!("\"top_p\":{}", pick(rng, &["1", "0.95", "0.9"])),
        "\"stream_options\":{\"include_usage\":true}".to_owned(),
    ];
    let some: Vec<_> = parameters
        .into_iter()
        .filter(|_| rng.u32(..10) < 7)
        .collect();
    let messages = format!("\"messages\":[{messages}]");
    match some.is_empty() {
        true => messages,
        false => format!("{messages},{}", some.join(",")),
    }
}

/// Returns prose and code with about one escape in 60 bytes.
fn prose(rng: &mut Rng, len: usize) -> String {
    const WORDS: [&str; 24] = [
        "the",
        "of",
        "gateway",
        "request",
        "let",
        "match",
        "fn",
        "response",
        "a",
        "streaming",
        "model",
        "we",
        "should",
        "return",
        "is",
        "not",
        "value",
        "with",
        "tokens",
        "and",
        "parse",
        "buffer",
        "to",
        "upstream",
    ];
    let mut out = String::new();
    while out.len() < len {
        out.push_str(pick(rng, &WORDS));
        let next: &[&str] = match rng.u32(..11) {
            0 => &["\\n", "\\\"", "\\n\\n", "\\t", "\\\\"],
            1 => &[", ", ". ", "; ", "(", ") {", ": ", "[0] = "],
            _ => &[" "],
        };
        out.push_str(pick(rng, next));
    }
    out
}

fn cjk(rng: &mut Rng, len: usize) -> String {
    let mut out = String::new();
    while out.len() < len {
        for _ in 0..rng.usize(5..35) {
            out.push(rng.char('\u{4e00}'..'\u{9fff}'));
        }
        out.push_str(pick(rng, &["，", "。", "。", "\\n", "\\\""]));
    }
    out
}

/// Returns text in which every other character is an escape.
fn escapes(rng: &mut Rng, len: usize) -> String {
    let mut out = String::new();
    while out.len() < len {
        out.push_str(pick(rng, &["\\n", "\\\"", "\\\\", "\\t", "\\/"]));
        out.push(rng.alphabetic());
    }
    out
}

fn image(rng: &mut Rng, len: usize) -> String {
    let data: String = (0..len)
        .map(|_| match rng.u32(..64) {
            0 => '+',
            1 => '/',
            _ => rng.alphanumeric(),
        })
        .collect();
    format!(
        "\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"image_url\",\
         \"image_url\":{{\"url\":\"data:image/png;base64,{data}\"}}}}]}}]"
    )
}

fn integers(rng: &mut Rng, len: usize) -> String {
    join(len, || rng.u32(..100_000).to_string())
}

fn tools(rng: &mut Rng, pretty: bool) -> String {
    const KEYS: [&str; 12] = [
        "city", "id", "unit", "q", "limit", "path", "name", "lang", "from", "to", "tag", "date",
    ];
    const TYPES: [&str; 5] = ["string", "number", "integer", "boolean", "array"];
    let properties = |rng: &mut Rng| {
        let mut map = serde_json::Map::new();
        for _ in 0..rng.usize(2..6) {
            let len = rng.usize(10..40);
            let mut property = serde_json::json!({
                "type": pick(rng, &TYPES),
                "description": prose(rng, len).replace('\\', ""),
            });
            if rng.u32(..4) == 0 {
                property["enum"] = serde_json::json!(["a", "bc", rng.u32(..100)]);
            }
            map.insert(pick(rng, &KEYS).to_owned(), property);
        }
        map
    };
    let mut tools = Vec::new();
    let mut len = 0;
    while len < 100_000 {
        let tool = serde_json::json!({
            "type": "function",
            "function": {
                "name": format!("tool_{}", rng.u32(..1_000)),
                "strict": rng.bool(),
                "parameters": {
                    "type": "object",
                    "properties": properties(rng),
                    "required": ["id"],
                },
            },
        });
        len += tool.to_string().len();
        tools.push(tool);
    }
    match pretty {
        true => format!(
            "\"tools\": {}",
            serde_json::to_string_pretty(&tools).unwrap()
        ),
        false => format!("\"tools\":{}", serde_json::to_string(&tools).unwrap()),
    }
}

fn join(len: usize, mut item: impl FnMut() -> String) -> String {
    (0..len).map(|_| item()).collect::<Vec<_>>().join(",")
}

fn pick<'a>(rng: &mut Rng, items: &[&'a str]) -> &'a str {
    items[rng.usize(..items.len())]
}
