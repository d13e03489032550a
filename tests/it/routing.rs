//! The model, the body and the head of an inspected request.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::Full;
use tower_model_routing::{
    MissingModel, RoutedModel, UnknownModel,
    registry::{ModelType, ResolvedBy},
};

use crate::support::{
    body::{ScriptedBody, Step, data, trailers},
    gateway::{CHAT, Gateway, post},
    source::{Outcome, ScriptedSource},
};

const OTHER: &str = "/v1/other";

async fn assert_served(gateway: &Gateway, path: &str, sent: &str, served: &str) {
    let (code, body) = gateway.post(path, sent.to_owned()).await;
    let found = (code, body.as_deref());
    assert_eq!(found, ("ok", Some(served)), "{path} {sent}");
}

async fn assert_rejected(gateway: &Gateway, path: &str, sent: &str, code: &str) {
    let found = gateway.post(path, sent.to_owned()).await;
    assert_eq!(found, (code, None), "{path} {sent}");
}

#[tokio::test]
async fn replaces_only_the_top_level_model() {
    let gateway = Gateway::new();
    for (sent, served) in [
        (
            r#" { "z":1e400 , "model" : "Venice-UNCENSORED" , "a":[{"model":"x"}], "z":2 } "#,
            r#" { "z":1e400 , "model" : "0xb603" , "a":[{"model":"x"}], "z":2 } "#,
        ),
        (
            r#"{"x":{"model":"a"},"s":"\"model\":\"b\"","model":"\u006d"}"#,
            concat!(
                r#"{"x":{"model":"a"},"s":"\"model\":\"b\"","model":"#,
                r#""0x000000000000000000000000000000000000000000000000000000000000abcd"}"#
            ),
        ),
        (r#"{"model":"picture_ maker"}"#, r#"{"model":"0x10"}"#),
        (r#"{"model":"0XB603"}"#, r#"{"model":"0xb603"}"#),
        (
            r#"{"models":1,"mode":2,"model":"FLUX"}"#,
            r#"{"models":1,"mode":2,"model":"0x10"}"#,
        ),
    ] {
        assert_served(&gateway, CHAT, sent, served).await;
        assert_served(&gateway, OTHER, sent, served).await;
    }
}

#[tokio::test]
async fn missing_model_becomes_the_fallback_on_inference_endpoints_only() {
    let gateway = Gateway::new();
    for (sent, served) in [
        ("{}", r#"{"model":"0x0a"}"#),
        (" { \n} ", " {\"model\":\"0x0a\" \n} "),
        (r#"{"a":1}"#, r#"{"model":"0x0a","a":1}"#),
        (
            r#"{ "a":{"model":"m"}}"#,
            r#"{"model":"0x0a", "a":{"model":"m"}}"#,
        ),
        (r#"{"model":null}"#, r#"{"model":"0x0a"}"#),
        (
            r#"{"a":1,"model": null ,"b":2}"#,
            r#"{"a":1,"model": "0x0a" ,"b":2}"#,
        ),
        (r#"{"model":""}"#, r#"{"model":"0x0a"}"#),
        (r#"{"model":" \t\u00a0"}"#, r#"{"model":"0x0a"}"#),
    ] {
        assert_served(&gateway, CHAT, sent, served).await;
        for path in [OTHER, "/v1/images/edits", "/v1/responses"] {
            assert_served(&gateway, path, sent, sent).await;
        }
    }
    for (path, id) in [
        ("/v1/completions", "0x0a"),
        ("/v1/messages", "0x0a"),
        ("/messages", "0x0a"),
        ("/v1/embeddings", "0x0b"),
        ("/api/embed", "0x0b"),
        ("/v1/embed", "0x0b"),
        ("/v2/embed", "0x0b"),
        ("/v1/audio/speech", "0x0c"),
        ("/v1/audio/transcriptions", "0x0d"),
        ("/v1/audio/translations", "0x0d"),
    ] {
        assert_served(&gateway, path, "{}", &format!(r#"{{"model":"{id}"}}"#)).await;
    }
}

#[tokio::test]
async fn missing_model_is_left_missing_where_it_may_be_elsewhere() {
    for policy in [
        MissingModel::Fallback,
        MissingModel::Reject,
        MissingModel::Forward,
    ] {
        let gateway = Gateway::with(|config| config.missing_model(policy));
        for path in [
            "/v1/messages/count_tokens",
            "/v1/responses",
            "/openai/responses",
            "/responses",
            "/v1/responses/input_tokens",
            "/v1/responses/compact",
            "/api/chat",
            "/api/generate",
            "/v1/chat",
            "/v2/chat",
            "/v1/images/edits",
            "/v1/images/variations",
            "/v1/videos",
            "/v1/agents/completions",
            "/v1/threads/t/messages",
            "/api/v1/chat-history/chats/7/messages",
        ] {
            for sent in ["{}", r#"{"model":null}"#, r#"{"model":" "}"#] {
                assert_served(&gateway, path, sent, sent).await;
            }
        }
        // Unlike other names.
        let named = r#"{"model":"gpt-9"}"#;
        assert_served(&gateway, "/v1/responses", named, r#"{"model":"0x0a"}"#).await;
        assert_rejected(&gateway, "/v1/responses", "", "invalid_json").await;
    }
}

#[tokio::test]
async fn model_of_another_json_type_is_rejected_on_inference_endpoints_only() {
    // No registry is needed.
    let source = || ScriptedSource::new(Outcome::Failure);
    let gateway = Gateway::with_source(source(), |config| config);
    let objects = ["[]", "[\"m\"]", "{}", "{\"model\":\"m\"}"];
    for value in ["1", "-0.5e1", "true", "false"].iter().chain(&objects) {
        let sent = format!(r#"{{"a":1,"model":{value},"b":2}}"#);
        for path in [CHAT, "/v1/responses"] {
            assert_rejected(&gateway, path, &sent, "invalid_model").await;
        }
        for path in [OTHER, "/v1/videos"] {
            assert_served(&gateway, path, &sent, &sent).await;
        }
    }
    assert_eq!(gateway.source.fetches(), 0);
}

#[tokio::test]
async fn ambiguous_and_invalid_json_is_rejected_where_it_must_be_valid() {
    let gateway = Gateway::new();
    for (sent, code) in [
        (r#"{"model":"m","model":"m"}"#, "duplicate_model"),
        (r#"{"model":null,"mod\u0065l":"m"}"#, "ambiguous_model"),
        (r#"{"Model":"m"}"#, "ambiguous_model"),
        (r#"{"model":"m","\u004dODEL":1}"#, "ambiguous_model"),
        (r#"{"model\u0000":"m"}"#, "ambiguous_model"),
        (r#"{"_model":"m"}"#, "ambiguous_model"),
        (r#"{"<<":{"model":"m"}}"#, "ambiguous_model"),
        (r#"{"model":"m","a":[1 [],"model":"x"]}"#, "invalid_json"),
        (r#"[{"model":"m"}]"#, "invalid_json"),
        (r#"{"model":"m"}{}"#, "invalid_json"),
        (r#"{"model":"m",}"#, "invalid_json"),
        (r#"{"model":"m","a":[}"#, "invalid_json"),
        (r#"{"model":"m","a":[/**/]}"#, "invalid_json"),
        (r#"{"model":"m","a":[NaN]}"#, "invalid_json"),
        (r#"{model:"m"}"#, "invalid_json"),
        (r#"{'model':"m"}"#, "invalid_json"),
        ("\u{feff}{\"model\":\"m\"}", "invalid_json"),
        ("{\"model\":\"m\n\"}", "invalid_json"),
        (r#"{"model":"\ud800"}"#, "invalid_json"),
        (r#"{"model":"m""#, "invalid_json"),
        (" ", "invalid_json"),
    ] {
        for path in [CHAT, "/v1/images/edits"] {
            assert_rejected(&gateway, path, sent, code).await;
        }
    }
    let nested = |levels| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"model":"m","a":{open}{close}}}"#)
    };
    assert_eq!(gateway.post(CHAT, nested(1_023)).await.0, "ok");
    assert_rejected(&gateway, CHAT, &nested(1_024), "invalid_json").await;
}

#[tokio::test]
async fn empty_body_is_rejected_on_inference_endpoints_only() {
    let gateway = Gateway::new();
    assert_rejected(&gateway, CHAT, "", "invalid_json").await;
    for path in ["/v1/batches/7/cancel", "/v1/videos"] {
        assert_served(&gateway, path, "", "").await;
        let mut request = post(path, ScriptedBody::new([data("")]).reports_end(false));
        let length = HeaderValue::from_static("0");
        request.headers_mut().insert("content-length", length);
        assert_eq!(gateway.send(request).await.0.code(), "ok");
    }
}

#[tokio::test]
async fn name_is_limited_to_2_mib() {
    let gateway = Gateway::new();
    let name = |len| format!(r#"{{"model":"{}"}}"#, "x".repeat(len));
    assert_rejected(&gateway, CHAT, &name(3 << 20), "invalid_model").await;
    // The quotes count.
    assert_rejected(&gateway, CHAT, &name((2 << 20) - 1), "invalid_model").await;
    assert_eq!(gateway.post(CHAT, name((2 << 20) - 2)).await.0, "ok");
}

#[tokio::test]
async fn digests_are_removed_only_when_the_body_changes() {
    const DIGESTS: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];

    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Forward));
    let mut digests = HeaderMap::new();
    for name in DIGESTS {
        digests.append(name, HeaderValue::from_static("x"));
        digests.append(name, HeaderValue::from_static("y"));
    }
    for (path, sent, changes) in [
        (CHAT, [r#"{"model":"flux""#, "}"], true),
        (CHAT, ["{", "}"], true),
        // Of the same length.
        (CHAT, [r#"{"model":"FLUX""#, "}"], true),
        (CHAT, [r#"{"model":"0xB603""#, "}"], true),
        (CHAT, [r#"{"model":"0xb603""#, "}"], false),
        (CHAT, [r#"{"model":"unknown model""#, "}"], false),
        (OTHER, ["{", "}"], false),
        (OTHER, [r#"{"model":7"#, "}"], false),
    ] {
        let mut with_digests = trailers();
        with_digests.extend(digests.clone());
        let trailers_in = Step::Trailers(with_digests.clone());
        let steps = sent.iter().map(data).chain([trailers_in]);
        let mut request = post(path, ScriptedBody::new(steps));
        request.headers_mut().extend(digests.clone());
        let x_digest = HeaderValue::from_static("x");
        request.headers_mut().insert("x-digest", x_digest);
        let (_, received) = gateway.send(request).await;
        let received = received.unwrap();
        assert_eq!(received.text() != sent.concat(), changes, "{sent:?}");
        for name in DIGESTS {
            let count = received.head.headers.get_all(name).iter().count();
            assert_eq!(count, if changes { 0 } else { 2 }, "{sent:?} {name}");
        }
        assert_eq!(received.header("x-digest"), Some("x"));
        let expected = if changes { trailers() } else { with_digests };
        assert_eq!(received.trailers, Some(expected), "{sent:?}");
    }
}

#[tokio::test]
async fn routed_model_is_in_both_extensions() {
    use ResolvedBy::{Alias, Fallback, Id, Name, Slug};

    let gateway = Gateway::new();
    let mistral = "mistral-31-24b";
    for (sent, requested, name, by) in [
        (r#"{"model":"m"}"#, Some("m"), "m", Name),
        (r#"{"model":" M\u0020"}"#, Some(" M "), "m", Name),
        (
            r#"{"model":"0XB603"}"#,
            Some("0XB603"),
            "venice-uncensored",
            Id,
        ),
        (r#"{"model":"flux"}"#, Some("flux"), "Picture Maker", Alias),
        (
            r#"{"model":"mistral_31 24b"}"#,
            Some("mistral_31 24b"),
            mistral,
            Slug,
        ),
        (r#"{"model":"gpt-9"}"#, Some("gpt-9"), mistral, Fallback),
        (r#"{}"#, None, mistral, Fallback),
        (r#"{"model":""}"#, None, mistral, Fallback),
    ] {
        let request = post(CHAT, Full::<Bytes>::from(sent));
        let (response, received) = gateway.send(request).await;
        let received = received.unwrap();
        for extensions in [&received.head.extensions, &response.head.extensions] {
            let routed = extensions.get::<RoutedModel>().unwrap();
            assert_eq!(routed.requested(), requested, "{sent}");
            assert_eq!((routed.name(), routed.resolved_by()), (name, by), "{sent}");
            assert_eq!(routed.is_fallback(), by == Fallback);
            assert!(received.text().contains(routed.id()));
            let image = routed.model_type() == &ModelType::Other("IMAGE".into());
            assert_eq!(image, name == "Picture Maker");
            assert_eq!(routed.entry().name(), name);
        }
    }
    let request = post(OTHER, Full::<Bytes>::from("{}"));
    let (response, received) = gateway.send(request).await;
    let received = received.unwrap();
    assert!(received.head.extensions.get::<RoutedModel>().is_none());
    assert!(response.head.extensions.get::<RoutedModel>().is_none());
}

#[tokio::test]
async fn id_header_cannot_be_forged() {
    let forged = |request: Request<()>, body: &'static str| {
        let mut request = request.map(|()| Full::<Bytes>::from(body));
        let headers = request.headers_mut();
        headers.append("model_id", HeaderValue::from_static("0xevil"));
        headers.append("Model_ID", HeaderValue::from_static("0xworse"));
        request
    };
    let gateway = Gateway::with(|config| {
        config
            .id_header(HeaderName::from_static("model_id"))
            .unknown_model(UnknownModel::Forward)
    });
    for (request, body, id) in [
        (post(CHAT, ()), r#"{"model":"flux"}"#, Some("0x10")),
        (post(CHAT, ()), r#"{"model":"0x10"}"#, Some("0x10")),
        (post(CHAT, ()), "{}", Some("0x0a")),
        (post(CHAT, ()), r#"{"model":"unknown model"}"#, None),
        (post(OTHER, ()), "{}", None),
        (Request::get(CHAT).body(()).unwrap(), "", None),
        (Request::post("/v1/files").body(()).unwrap(), "", None),
    ] {
        let (_, received) = gateway.send(forged(request, body)).await;
        let headers = received.unwrap().head.headers;
        let ids: Vec<_> = headers.get_all("model_id").iter().collect();
        assert_eq!(ids, Vec::from_iter(id), "{body}");
    }
    let (_, received) = Gateway::new().send(forged(post(CHAT, ()), "{}")).await;
    let received = received.unwrap();
    assert_eq!(
        received.header("model_id"),
        Some("0xevil"),
        "off by default"
    );
}

#[tokio::test]
async fn name_header_has_the_served_name_and_no_copy_is_left_in_trailers() {
    let gateway = Gateway::warm(|config| {
        config
            .id_header(HeaderName::from_static("model_id"))
            .name_header(HeaderName::from_static("x-model"))
    })
    .await;
    for (path, body, name) in [
        (CHAT, r#"{"model":"flux"}"#, Some("Picture Maker")),
        (CHAT, r#"{"model":"no such model"}"#, Some("mistral-31-24b")),
        ("/v1/files", "{}", None),
    ] {
        let forged = ["model-id", "x_model", "X-Model", "x-other"];
        let mut trailers = HeaderMap::new();
        for name in forged {
            let name = HeaderName::try_from(name).unwrap();
            trailers.append(name, HeaderValue::from_static("evil"));
        }
        let body = ScriptedBody::new([data(body), Step::Trailers(trailers.clone())]);
        let mut request = post(path, body);
        request.headers_mut().extend(trailers);
        let (_, received) = gateway.send(request).await;
        let received = received.unwrap();
        assert_eq!(received.header("x-model"), name);
        assert_eq!(received.header("x_model"), None);
        assert_eq!(received.header("x-other"), Some("evil"));
        let trailers = received.trailers.unwrap();
        let left: Vec<_> = trailers.keys().collect();
        assert_eq!(left, ["x-other"], "{path}");
    }
}

#[tokio::test]
async fn response_headers_name_the_model_when_enabled() {
    let names = ["x-model-id", "x-model-name", "x-model-fallback"];
    let on = Gateway::with(|config| config.response_headers(true));
    let off = Gateway::new();
    for (path, sent, expected) in [
        (
            CHAT,
            r#"{"model":"flux"}"#,
            [Some("0x10"), Some("Picture Maker"), None],
        ),
        (
            CHAT,
            r#"{"model":"gpt-9"}"#,
            [Some("0x0a"), Some("mistral-31-24b"), Some("true")],
        ),
        (OTHER, "{}", [None; 3]),
        (CHAT, "[]", [None; 3]),
    ] {
        for (gateway, expected) in [(&on, expected), (&off, [None; 3])] {
            let request = post(path, Full::<Bytes>::from(sent));
            let (response, _) = gateway.send(request).await;
            let found = names.map(|name| response.header(name));
            assert_eq!(found, expected, "{sent}");
        }
    }
}
