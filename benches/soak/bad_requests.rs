//! Requests that the proxy must reject.

use crate::{
    catalogs::{Kind, MODELS},
    plan::{Connection, Delivery, End, Plan, Routed, filler},
};

/// A body that must be rejected.
struct Invalid {
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: &'static str,
    rejection: (u16, &'static str),
}

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data; boundary=b";
const MODEL_PART: &str =
    "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";

const INVALID: [Invalid; 12] = [
    json(
        r#"{"model":"glm-4.6","model":"kimi-k2"}"#,
        "duplicate_model",
    ),
    json(
        r#"{"model":"glm-4.6","mod\u0065l":"glm-4.6"}"#,
        "ambiguous_model",
    ),
    json(
        r#"{"model":"glm-4.6","Model":"kimi-k2"}"#,
        "ambiguous_model",
    ),
    json(r#"{"model":"glm-4.6""#, "invalid_json"),
    json(r#"{"model":"glm-4.6"} x"#, "invalid_json"),
    json(r#"{/* */"model":"glm-4.6"}"#, "invalid_json"),
    json("\u{feff}{\"model\":\"glm-4.6\"}", "invalid_json"),
    json(r#"{"model":7}"#, "invalid_model"),
    json(
        r#"{"model":"text-embedding-3-small"}"#,
        "model_type_mismatch",
    ),
    Invalid {
        content_type: "text/plain",
        rejection: (415, "unsupported_media_type"),
        ..json(r#"{"model":"glm-4.6"}"#, "")
    },
    Invalid {
        encoding: Some("compress"),
        rejection: (415, "unsupported_content_encoding"),
        ..json(r#"{"model":"glm-4.6"}"#, "")
    },
    Invalid {
        encoding: Some("gzip"),
        ..json(r#"{"model":"glm-4.6"}"#, "invalid_json")
    },
];

const fn json(body: &'static str, code: &'static str) -> Invalid {
    Invalid {
        content_type: JSON,
        encoding: None,
        body,
        rejection: (400, code),
    }
}

/// Gives a request a body that must be rejected.
pub(crate) fn make_invalid(plan: &mut Plan, rng: &mut fastrand::Rng) {
    plan.may_be_complete = false;
    plan.routed = None;
    plan.path = "/v1/chat/completions".into();
    // The proxy may close a connection after a rejection, while it is used again.
    if plan.connection == Connection::Pooled {
        plan.connection = Connection::Own;
    }
    match rng.usize(..INVALID.len() + 2) {
        // The upstream has received a long part before.
        0 => {
            plan.reject(JSON, (400, "duplicate_model"));
            let before = r#"{"model":""#;
            let after = format!(r#"","a":"{}","model":"glm-4.6"}}"#, filler(400_000));
            plan.body = format!("{before}kimi-k2{after}").into();
            plan.delivery = Delivery::Chunks(16 * 1024);
            plan.routed = Some(Routed {
                requested: MODELS.iter().position(|model| model.name == "kimi-k2"),
                kind: Kind::Llm,
                before: before.into(),
                after: after.into(),
            });
        }
        1 => {
            plan.reject(FORM, (400, "invalid_multipart"));
            plan.path = "/v1/audio/transcriptions".into();
            plan.body = MODEL_PART.into();
        }
        other => {
            let invalid = &INVALID[other - 2];
            plan.reject(invalid.content_type, invalid.rejection);
            plan.body = invalid.body.into();
            if let Some(encoding) = invalid.encoding {
                plan.headers.push(("content-encoding", encoding.to_owned()));
            }
        }
    }
}

impl Plan {
    fn reject(&mut self, content_type: &str, (status, code): (u16, &'static str)) {
        self.headers = vec![("content-type", content_type.to_owned())];
        self.end = End::Rejected(status, code);
    }
}
