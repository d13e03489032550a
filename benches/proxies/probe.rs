//! Bodies with something in them that proxies may change, and how to see it.

use super::{
    members::Members,
    spelling::text_at,
    upstream::{MODELS, Received},
};

/// A body, and what of it is looked at.
pub(crate) struct Probe {
    pub(crate) what: &'static str,
    pub(crate) body: String,
    pub(crate) is_chunked: bool,
    look: Look,
}

#[derive(Clone, Copy)]
enum Look {
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
    let with = |what, members: &str, look| {
        let messages = r#""messages":[{"role":"user","content":"Hi"}]"#;
        Probe::new(what, &format!("{{{members},{messages}}}"), look)
    };
    let mut chunked = Probe::new("a body in chunks", USUAL, Look::Length);
    chunked.is_chunked = true;
    vec![
        Probe::new("a usual body, all but the model", USUAL, Look::Bytes),
        Probe::new(
            "white space: the same of a pretty-printed body",
            PRETTY,
            Look::Bytes,
        ),
        Probe::new("a body with `Content-Length`", USUAL, Look::Length),
        chunked,
        with(
            "order of keys: `top_p`, `temperature`, `model`, `max_tokens`, `n`, `messages`",
            r#""top_p":0.9,"temperature":0.5,"model":"venice-uncensored","max_tokens":9,"n":1"#,
            Look::Order,
        ),
        with(
            r#"an unknown field: `{"c":1,"a":2,"d":3,"b":4}`"#,
            r#""model":"venice-uncensored","x_unknown":{"c":1,"a":2,"d":3,"b":4}"#,
            Look::Text(&["x_unknown"]),
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
            Look::Models,
        ),
        with(
            r#"`"venice\u002duncensored"`"#,
            r#""model":"venice\u002duncensored""#,
            Look::Models,
        ),
        with(
            "two different `model`",
            r#""model":"venice-uncensored","model":"mistral-31-24b""#,
            Look::Models,
        ),
        with(
            "`model` and a different `Model`",
            r#""model":"venice-uncensored","Model":"mistral-31-24b""#,
            Look::Models,
        ),
    ]
}

impl Probe {
    fn new(what: &'static str, body: &str, look: Look) -> Self {
        Self {
            what,
            body: body.to_owned(),
            is_chunked: false,
            look,
        }
    }

    /// A value in a tool's schema, which a proxy has no reason to look at.
    fn value(what: &'static str, value: &str) -> Self {
        let body = format!(
            r#"{{"model":"venice-uncensored","messages":[{{"role":"user","content":"Hi"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{{"x":{value}}}}}}}]}}"#
        );
        let path = &["tools", "0", "function", "parameters", "x"];
        Self::new(what, &body, Look::Text(path))
    }

    /// What has become of it at the upstream.
    pub(crate) fn look_at(&self, received: &Received) -> String {
        let Ok(text) = std::str::from_utf8(&received.body) else {
            return "not UTF-8".to_owned();
        };
        let Ok(Members(members)) = serde_json::from_str(text) else {
            return "not JSON".to_owned();
        };
        match self.look {
            Look::Bytes => self.bytes(text),
            Look::Order => {
                let sent = serde_json::from_str(&self.body).map(keys);
                let received = keys(Members(members));
                kept_or(sent.is_ok_and(|sent| sent == received), received)
            }
            Look::Text(path) => match text_at(text, path) {
                Some(text) => kept_or(text_at(&self.body, path) == Some(text), format!("`{text}`")),
                None => "left out".to_owned(),
            },
            Look::Models => self.models(&members),
            // A wrong one would have come without the end, or not at all.
            Look::Length => match received.content_length {
                Some(_) => "`Content-Length`".to_owned(),
                None => "chunks".to_owned(),
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

    fn models(&self, members: &[(String, &serde_json::value::RawValue)]) -> String {
        let is_model = |key: &str| key.eq_ignore_ascii_case("model");
        let models: Vec<_> = members.iter().filter(|it| is_model(&it.0)).collect();
        let sent = serde_json::from_str(&self.body).map_or(0, |Members(sent)| {
            sent.iter().filter(|it| is_model(&it.0)).count()
        });
        let id = |index: usize| format!("\"{}\"", MODELS[index].1);
        match models.as_slice() {
            [(_, model)] if model.get() == id(0) && sent == 1 => "routed".to_owned(),
            [(_, model)] if model.get() == id(0) => "the first goes on".to_owned(),
            [(_, model)] if model.get() == id(1) => "the second goes on".to_owned(),
            models => {
                let shown = models.iter().map(|(key, model)| {
                    let is_id = (0..MODELS.len()).any(|index| model.get() == id(index));
                    format!("`{key}`: {}", if is_id { "an ID" } else { "the name" })
                });
                shown.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

fn keys(Members(members): Members<'_>) -> String {
    let keys: Vec<String> = members.iter().map(|it| format!("`{}`", it.0)).collect();
    keys.join(", ")
}

fn kept_or(is_kept: bool, other: String) -> String {
    match is_kept {
        true => "kept".to_owned(),
        false => other,
    }
}
