//! Bodies with parts that proxies may change, and the comparison with what arrives.

use benches::openai::MODELS;

use crate::{
    raw_json::{members, text_at},
    upstream::Received,
};

/// A body, and which part of it is compared.
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    pub(crate) body: String,
    pub(crate) is_chunked: bool,
    part: Part,
}

#[derive(Clone, Copy)]
enum Part {
    /// All bytes but those of the model.
    Bytes,
    /// The order of the top-level keys.
    Order,
    /// The text of the value at this path.
    Text(&'static [&'static str]),
    /// The top-level models.
    Models,
    /// `Content-Length`.
    Length,
}

const USUAL: &str = r#"{"model":"venice-uncensored","messages":[{"role":"user","content":"Hi"}],"temperature":0.5}"#;

const PRETTY: &str = r#"{
  "model": "venice-uncensored",
  "messages": [
    {"role": "user", "content": "Hi"}
  ]
}"#;

pub(crate) fn all() -> Vec<Probe> {
    let with = |name, members: &str, part| {
        let messages = r#""messages":[{"role":"user","content":"Hi"}]"#;
        Probe::new(name, &format!("{{{members},{messages}}}"), part)
    };
    let mut chunked = Probe::new("a body in chunks", USUAL, Part::Length);
    chunked.is_chunked = true;
    vec![
        Probe::new("an ordinary body, all but the model", USUAL, Part::Bytes),
        Probe::new(
            "white space: the same of a pretty-printed body",
            PRETTY,
            Part::Bytes,
        ),
        Probe::new("a body with `Content-Length`", USUAL, Part::Length),
        chunked,
        with(
            "order of keys: `top_p`, `temperature`, `model`, `max_tokens`, `n`, `messages`",
            r#""top_p":0.9,"temperature":0.5,"model":"venice-uncensored","max_tokens":9,"n":1"#,
            Part::Order,
        ),
        with(
            r#"an unknown field: `{"c":1,"a":2,"d":3,"b":4}`"#,
            r#""model":"venice-uncensored","x_unknown":{"c":1,"a":2,"d":3,"b":4}"#,
            Part::Text(&["x_unknown"]),
        ),
        Probe::value("`1e400`", "1e400"),
        Probe::value("`12345678901234567890123`", "12345678901234567890123"),
        Probe::value("`1234567890123456789`", "1234567890123456789"),
        Probe::value("`[1.0,0.10,1E2]`", "[1.0,0.10,1E2]"),
        Probe::value("`[]`", "[]"),
        Probe::value(r#"`"\u00e9\/é/"`"#, r#""\u00e9\/é/""#),
        Probe::value(r#"half a surrogate pair: `"\ud83d"`"#, r#""\ud83d""#),
        Probe::value(
            r#"nested: `{"model":"venice-uncensored"}`"#,
            r#"{"model":"venice-uncensored"}"#,
        ),
        with(
            r#"`"mod\u0065l"`"#,
            r#""mod\u0065l":"venice-uncensored""#,
            Part::Models,
        ),
        with(
            r#"`"venice\u002duncensored"`"#,
            r#""model":"venice\u002duncensored""#,
            Part::Models,
        ),
        with(
            "two different `model`",
            r#""model":"venice-uncensored","model":"mistral-31-24b""#,
            Part::Models,
        ),
        with(
            "`model` and a different `Model`",
            r#""model":"venice-uncensored","Model":"mistral-31-24b""#,
            Part::Models,
        ),
    ]
}

impl Probe {
    fn new(name: &'static str, body: &str, part: Part) -> Self {
        Self {
            name,
            body: body.to_owned(),
            is_chunked: false,
            part,
        }
    }

    /// Returns a body with a value in a tool's schema, which a proxy has no reason to change.
    fn value(name: &'static str, value: &str) -> Self {
        let body = format!(
            r#"{{"model":"venice-uncensored","messages":[{{"role":"user","content":"Hi"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{{"x":{value}}}}}}}]}}"#
        );
        let path = &["tools", "0", "function", "parameters", "x"];
        Self::new(name, &body, Part::Text(path))
    }

    /// Compares the received body with the sent one.
    pub(crate) fn compare(&self, received: &Received) -> String {
        let Ok(text) = std::str::from_utf8(&received.body) else {
            return "not UTF-8".to_owned();
        };
        let (Some(sent), Some(received_members)) = (members(&self.body), members(text)) else {
            return "not JSON".to_owned();
        };
        match self.part {
            // A script that fails may let the request pass.
            Part::Bytes | Part::Order | Part::Text(_) if !is_routed(&received_members) => {
                "not routed".to_owned()
            }
            Part::Bytes => self.bytes(text),
            Part::Order => {
                let received = keys(&received_members);
                kept_or(keys(&sent) == received, received)
            }
            Part::Text(path) => match text_at(text, path) {
                Some(text) => kept_or(text_at(&self.body, path) == Some(text), format!("`{text}`")),
                None => "left out".to_owned(),
            },
            Part::Models => models(&sent, &received_members),
            // With a wrong one the body would not have been received.
            Part::Length => match received.has_content_length {
                true => "`Content-Length`".to_owned(),
                false => "chunks".to_owned(),
            },
        }
    }

    fn bytes(&self, text: &str) -> String {
        let (name, id) = MODELS[0];
        let expected = self.body.replacen(name, id, 1);
        let sorted = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.sort_unstable();
            bytes
        };
        match text {
            _ if text == expected => "kept".to_owned(),
            _ if sorted(text) == sorted(&expected) => "in another order".to_owned(),
            _ => format!("{} bytes become {}", expected.len(), text.len()),
        }
    }
}

/// Returns whether the model was replaced by its ID.
fn is_routed(received: &[(String, String)]) -> bool {
    let id = format!("\"{}\"", MODELS[0].1);
    received.contains(&("model".to_owned(), id))
}

/// Describes the top-level models that were received.
fn models(sent: &[(String, String)], received: &[(String, String)]) -> String {
    let models = |members: &[(String, String)]| -> Vec<(String, String)> {
        let is_model = |(key, _): &&(String, String)| key.eq_ignore_ascii_case("model");
        members.iter().filter(is_model).cloned().collect()
    };
    let id = |index: usize| format!("\"{}\"", MODELS[index].1);
    let is_id = |model: &str| (0..MODELS.len()).any(|index| model == id(index));
    match models(received).as_slice() {
        [(_, model)] if *model == id(0) && models(sent).len() == 1 => "routed".to_owned(),
        [(_, model)] if *model == id(0) => "the first".to_owned(),
        [(_, model)] if *model == id(1) => "the second".to_owned(),
        models => {
            let shown = models.iter().map(|(key, model)| {
                format!(
                    "`{key}`: {}",
                    if is_id(model) { "an ID" } else { "the name" }
                )
            });
            shown.collect::<Vec<_>>().join(", ")
        }
    }
}

fn keys(members: &[(String, String)]) -> String {
    let keys: Vec<String> = members.iter().map(|(key, _)| format!("`{key}`")).collect();
    keys.join(", ")
}

fn kept_or(is_kept: bool, other: String) -> String {
    match is_kept {
        true => "kept".to_owned(),
        false => other,
    }
}
