//! Bad requests, which the proxy must refuse.

use crate::{
    lists::{Kind, MODELS},
    plan::{Connection, Delivery, End, Plan, Routed, filler},
};

/// A way to be bad.
struct Spoiled {
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: &'static str,
    refusal: (u16, &'static str),
}

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data; boundary=b";
const MODEL_PART: &str =
    "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";

const SPOILED: [Spoiled; 12] = [
    json(
        r#"{"model":"glm-4.6","model":"kimi-k2"}"#,
        "duplicate_model",
    ),
    json(
        r#"{"model":"glm-4.6","mod\u0065l":"glm-4.6"}"#,
        "duplicate_model",
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
    Spoiled {
        content_type: "text/plain",
        refusal: (415, "unsupported_media_type"),
        ..json(r#"{"model":"glm-4.6"}"#, "")
    },
    Spoiled {
        encoding: Some("compress"),
        refusal: (415, "unsupported_content_encoding"),
        ..json(r#"{"model":"glm-4.6"}"#, "")
    },
    Spoiled {
        encoding: Some("gzip"),
        ..json(r#"{"model":"glm-4.6"}"#, "invalid_request_body")
    },
];

const fn json(body: &'static str, code: &'static str) -> Spoiled {
    Spoiled {
        content_type: JSON,
        encoding: None,
        body,
        refusal: (400, code),
    }
}

/// Makes a request a bad one.
pub(crate) fn spoil(plan: &mut Plan, rng: &mut fastrand::Rng) {
    plan.may_be_whole = false;
    plan.routed = None;
    plan.path = "/v1/chat/completions";
    // The proxy may close the connection, just when it is used again.
    if plan.connection == Connection::Kept {
        plan.connection = Connection::Own;
    }
    match rng.usize(..SPOILED.len() + 2) {
        // After a long part that has gone on.
        0 => {
            plan.refuse(JSON, (400, "duplicate_model"));
            let before = r#"{"model":""#;
            let after = format!(r#"","a":"{}","model":"glm-4.6"}}"#, filler(400_000));
            plan.body = format!("{before}kimi-k2{after}").into();
            plan.delivery = Delivery::Chunks(16 * 1024);
            plan.routed = Some(Routed {
                asked: MODELS.iter().position(|model| model.name == "kimi-k2"),
                kind: Kind::Llm,
                before: before.into(),
                after: after.into(),
            });
        }
        1 => {
            plan.refuse(FORM, (400, "invalid_multipart"));
            plan.path = "/v1/audio/transcriptions";
            plan.body = MODEL_PART.into();
        }
        other => {
            let spoiled = &SPOILED[other - 2];
            plan.refuse(spoiled.content_type, spoiled.refusal);
            plan.body = spoiled.body.into();
            if let Some(encoding) = spoiled.encoding {
                plan.headers.push(("content-encoding", encoding.to_owned()));
            }
        }
    }
}

impl Plan {
    fn refuse(&mut self, content_type: &str, (status, code): (u16, &'static str)) {
        self.headers = vec![("content-type", content_type.to_owned())];
        self.end = End::Refused(status, code);
    }
}
