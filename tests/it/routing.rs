//! What becomes of the model, the body and the head of an inspected request.

use bytes::Bytes;
use http::{HeaderName, Request};
use http_body_util::Full;
use tower_model_routing::{ModelType, ResolvedBy, RoutedModel, UnknownModel};

use crate::support::{
    body::{Script, data},
    gateway::{CHAT, Gateway, post},
    source::{Answer, Source},
};

const OTHER: &str = "/v1/other";

async fn assert_served(gateway: &Gateway, path: &str, sent: &str, served: &str) {
    let (code, body) = gateway.post(path, sent.to_owned()).await;
    assert_eq!(
        (code, body.as_deref()),
        ("ok", Some(served)),
        "{path} {sent}"
    );
}

async fn assert_refused(gateway: &Gateway, path: &str, sent: &str, code: &str) {
    let (refused, body) = gateway.post(path, sent.to_owned()).await;
    assert_eq!((refused, body), (code, None), "{path} {sent}");
}

#[tokio::test]
async fn only_the_top_level_model_is_replaced_and_all_else_stays() {
    let gateway = Gateway::new();
    for (sent, served) in [
        (
            r#" { "z":1e400 , "model" : "Venice-UNCENSORED" , "a":[{"model":"x"}], "z":2 } "#,
            r#" { "z":1e400 , "model" : "0xb603" , "a":[{"model":"x"}], "z":2 } "#,
        ),
        (
            r#"{"x":{"model":"a"},"s":"\"model\":\"b\"","mod\u0065l":"\u006d"}"#,
            concat!(
                r#"{"x":{"model":"a"},"s":"\"model\":\"b\"","mod\u0065l":"#,
                r#""0x000000000000000000000000000000000000000000000000000000000000abcd"}"#
            ),
        ),
        (r#"{"model":" m-istral "}"#, r#"{"model":"0x0a"}"#),
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
async fn a_missing_null_or_blank_model_becomes_the_fallback_on_inference_endpoints_only() {
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
        assert_served(&gateway, OTHER, sent, sent).await;
    }
    for (path, id) in [
        ("/v1/completions", "0x0a"),
        ("/v1/responses", "0x0a"),
        ("/v1/messages", "0x0a"),
        ("/v1/embeddings", "0x0b"),
        ("/v1/audio/speech", "0x0c"),
        ("/v1/audio/transcriptions", "0x0d"),
        ("/v1/audio/translations", "0x0d"),
    ] {
        assert_served(&gateway, path, "{}", &format!(r#"{{"model":"{id}"}}"#)).await;
    }
}

#[tokio::test]
async fn a_model_that_is_not_a_string_is_refused_on_inference_endpoints_only() {
    let gateway = Gateway::new();
    for value in [
        "1",
        "-0.5e1",
        "true",
        "false",
        "[]",
        "[\"m\"]",
        "{}",
        "{\"model\":\"m\"}",
    ] {
        let sent = format!(r#"{{"a":1,"model":{value},"b":2}}"#);
        assert_refused(&gateway, CHAT, &sent, "invalid_model").await;
        assert_served(&gateway, OTHER, &sent, &sent).await;
    }
}

#[tokio::test]
async fn what_two_parsers_could_read_differently_is_refused_everywhere() {
    let gateway = Gateway::new();
    for (sent, code) in [
        (r#"{"model":"m","model":"m"}"#, "duplicate_model"),
        (r#"{"model":null,"mod\u0065l":"m"}"#, "duplicate_model"),
        (r#"{"Model":"m"}"#, "ambiguous_model"),
        (r#"{"model":"m","\u004dODEL":1}"#, "ambiguous_model"),
        (r#"{"model\u0000":"m"}"#, "invalid_json"),
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
    ] {
        for path in [CHAT, OTHER] {
            assert_refused(&gateway, path, sent, code).await;
        }
    }
    let deep = |levels| {
        format!(
            r#"{{"model":"m","a":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert_eq!(gateway.post(CHAT, deep(1_023)).await.0, "ok");
    assert_refused(&gateway, CHAT, &deep(1_024), "invalid_json").await;
}

#[tokio::test]
async fn no_body_at_all_is_refused_only_where_a_model_is_needed() {
    let gateway = Gateway::new();
    assert_refused(&gateway, CHAT, "", "invalid_json").await;
    assert_served(&gateway, "/v1/batches/7/cancel", "", "").await;
    let mut request = post(OTHER, Script::new([data("")]).knows_its_end(false));
    let none = "0".parse().unwrap();
    request.headers_mut().insert("content-length", none);
    assert_eq!(gateway.send(request).await.0.code(), "ok");
    assert_refused(&gateway, OTHER, " ", "invalid_json").await;
}

#[tokio::test]
async fn a_name_has_a_bound() {
    let gateway = Gateway::new();
    let name = |len| format!(r#"{{"model":"{}"}}"#, "x".repeat(len));
    assert_refused(&gateway, CHAT, &name(3 << 20), "invalid_model").await;
    // In the body, and with its quotes.
    assert_refused(&gateway, CHAT, &name((2 << 20) - 1), "invalid_model").await;
    assert_eq!(gateway.post(CHAT, name((2 << 20) - 2)).await.0, "ok");
}

#[tokio::test]
async fn the_content_length_is_rewritten_exactly_when_there() {
    let gateway = Gateway::new();
    for (sent, served) in [
        (r#"{"model":"m"}"#, 78),
        (r#"{"model":"venice-uncensored"}"#, 18),
        (r#"{"model":"0xb603"}"#, 18),
        ("{}", 16),
    ] {
        let mut request = post(CHAT, Full::<Bytes>::from(sent));
        request
            .headers_mut()
            .insert("content-length", sent.len().into());
        let (_, seen) = gateway.send(request).await;
        let seen = seen.unwrap();
        assert_eq!(seen.header("content-length"), Some(&*served.to_string()));
        assert_eq!(
            (seen.claimed, seen.text().len()),
            (Some(served), served as usize)
        );

        let (_, seen) = gateway.send(post(CHAT, Full::<Bytes>::from(sent))).await;
        assert_eq!(seen.unwrap().header("content-length"), None, "{sent}");
    }
}

#[tokio::test]
async fn digests_are_removed_when_and_only_when_the_body_changes() {
    const DIGESTS: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];
    let gateway = Gateway::with(|config| config.unknown_model(UnknownModel::Forward));
    for (path, sent, changes) in [
        (CHAT, r#"{"model":"flux"}"#, true),
        (CHAT, r#"{}"#, true),
        // As long as before.
        (CHAT, r#"{"model":"FLUX"}"#, true),
        (CHAT, r#"{"model":"0xB603"}"#, true),
        (CHAT, r#"{"model":"0xb603"}"#, false),
        (CHAT, r#"{"model":"heard of by none"}"#, false),
        (OTHER, r#"{}"#, false),
        (OTHER, r#"{"model":7}"#, false),
    ] {
        let mut request = post(path, Full::<Bytes>::from(sent));
        for digest in DIGESTS {
            request.headers_mut().append(digest, "x".parse().unwrap());
            request.headers_mut().append(digest, "y".parse().unwrap());
        }
        request
            .headers_mut()
            .insert("x-digest", "x".parse().unwrap());
        let (_, seen) = gateway.send(request).await;
        let seen = seen.unwrap();
        assert_eq!(seen.text() != sent, changes, "{sent}");
        for digest in DIGESTS {
            let count = seen.head.headers.get_all(digest).iter().count();
            assert_eq!(count, if changes { 0 } else { 2 }, "{sent} {digest}");
        }
        assert_eq!(seen.header("x-digest"), Some("x"));
    }
}

#[tokio::test]
async fn the_routed_model_is_in_both_extensions() {
    let gateway = Gateway::new();
    for (sent, requested, name, by) in [
        (r#"{"model":"m"}"#, Some("m"), "m", ResolvedBy::Name),
        (
            r#"{"model":" M\u0020"}"#,
            Some(" M "),
            "m",
            ResolvedBy::Name,
        ),
        (
            r#"{"model":"0XB603"}"#,
            Some("0XB603"),
            "venice-uncensored",
            ResolvedBy::Id,
        ),
        (
            r#"{"model":"flux"}"#,
            Some("flux"),
            "Picture Maker",
            ResolvedBy::Alias,
        ),
        (
            r#"{"model":"mistral_31 24b"}"#,
            Some("mistral_31 24b"),
            "mistral-31-24b",
            ResolvedBy::Slug,
        ),
        (
            r#"{"model":"gpt-9"}"#,
            Some("gpt-9"),
            "mistral-31-24b",
            ResolvedBy::Fallback,
        ),
        (r#"{}"#, None, "mistral-31-24b", ResolvedBy::Fallback),
        (
            r#"{"model":""}"#,
            None,
            "mistral-31-24b",
            ResolvedBy::Fallback,
        ),
    ] {
        let (answer, seen) = gateway.send(post(CHAT, Full::<Bytes>::from(sent))).await;
        let seen = seen.unwrap();
        for extensions in [&seen.head.extensions, &answer.head.extensions] {
            let routed = extensions.get::<RoutedModel>().unwrap();
            assert_eq!(routed.requested(), requested, "{sent}");
            assert_eq!((routed.name(), routed.resolved_by()), (name, by), "{sent}");
            assert_eq!(routed.is_fallback(), by == ResolvedBy::Fallback);
            assert!(seen.text().contains(routed.id()));
            let image = routed.model_type() == &ModelType::Other("IMAGE".into());
            assert_eq!(image, name == "Picture Maker");
            assert_eq!(routed.entry().name(), name);
        }
    }
    let (answer, seen) = gateway.send(post(OTHER, Full::<Bytes>::from("{}"))).await;
    assert!(seen.unwrap().head.extensions.get::<RoutedModel>().is_none());
    assert!(answer.head.extensions.get::<RoutedModel>().is_none());
}

#[tokio::test]
async fn the_id_header_is_the_layers_alone() {
    let with_header = |request: Request<()>, body: &'static str| {
        let mut request = request.map(|()| Full::<Bytes>::from(body));
        request
            .headers_mut()
            .append("model_id", "0xevil".parse().unwrap());
        request
            .headers_mut()
            .append("Model_ID", "0xworse".parse().unwrap());
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
        (post(CHAT, ()), r#"{"model":"heard of by none"}"#, None),
        (post(OTHER, ()), "{}", None),
        (Request::get(CHAT).body(()).unwrap(), "", None),
        (Request::post("/v1/files").body(()).unwrap(), "", None),
    ] {
        let (_, seen) = gateway.send(with_header(request, body)).await;
        let headers = seen.unwrap().head.headers;
        let ids: Vec<_> = headers.get_all("model_id").iter().collect();
        assert_eq!(ids, Vec::from_iter(id), "{body}");
    }
    let none = Gateway::new();
    let (_, seen) = none.send(with_header(post(CHAT, ()), "{}")).await;
    assert_eq!(
        seen.unwrap().header("model_id"),
        Some("0xevil"),
        "off by default"
    );
}

#[tokio::test]
async fn response_headers_tell_the_model_when_enabled() {
    let names = ["x-model-id", "x-model-name", "x-model-fallback"];
    let on = Gateway::with(|config| config.response_headers(true));
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
        let (answer, _) = on.send(post(path, Full::<Bytes>::from(sent))).await;
        assert_eq!(names.map(|name| answer.header(name)), expected, "{sent}");
        let off = Gateway::new();
        let (answer, _) = off.send(post(path, Full::<Bytes>::from(sent))).await;
        assert_eq!(names.map(|name| answer.header(name)), [None; 3]);
    }
}

#[tokio::test]
async fn what_needs_no_model_needs_no_registry() {
    let gateway = Gateway::of(Source::new(Answer::Fails), |config| config);
    for sent in ["{}", r#"{"model":null}"#, r#"{"model":7}"#] {
        assert_served(&gateway, OTHER, sent, sent).await;
    }
    assert_refused(&gateway, CHAT, r#"{"model":7}"#, "invalid_model").await;
    assert_eq!(gateway.source.fetches(), 0);
    assert_refused(
        &gateway,
        OTHER,
        r#"{"model":"m"}"#,
        "model_registry_unavailable",
    )
    .await;
}
