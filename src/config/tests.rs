//! Tests of the settings: defaults, environment, bounds.

use std::{future::pending, time::Duration};

use super::*;
use crate::{
    registry::{Catalog, FetchFuture, ModelEntry, RegistryPolicy, RegistrySource},
    resolve::{MissingModel, UnknownModel},
};

struct Nowhere;

impl RegistrySource for Nowhere {
    fn fetch<'a>(&'a self, _: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(pending())
    }

    fn location(&self) -> String {
        "nowhere".into()
    }
}

/// Returns the config that these variables make.
fn from(variables: &[(&str, &str)]) -> Result<RoutingConfig, ConfigError> {
    let get = |name: &'static str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, value)| (*value).to_owned()))
    };
    let builder = RoutingConfigBuilder::from_variables(get)?;
    let has_url = variables
        .iter()
        .any(|(name, _)| *name == "ACTIVE_MODELS_URL");
    if has_url {
        builder
    } else {
        builder.source(Nowhere)
    }
    .build()
}

fn build(
    configure: impl FnOnce(RoutingConfigBuilder) -> RoutingConfigBuilder,
) -> Result<RoutingConfig, ConfigError> {
    configure(RoutingConfig::builder().source(Nowhere)).build()
}

/// Returns the setting that the error names, in its field and in its message.
fn setting_in_error(result: Result<RoutingConfig, ConfigError>) -> &'static str {
    let error = result.unwrap_err();
    assert!(error.to_string().starts_with(error.setting()), "{error}");
    error.setting()
}

const FALLBACKS: [(&str, Endpoint, &str); 4] = [
    ("DEFAULT_FALLBACK_MODEL", Endpoint::Llm, "mistral-31-24b"),
    (
        "DEFAULT_FALLBACK_EMBEDDINGS_MODEL",
        Endpoint::Embedding,
        "text-embedding-bge-m3",
    ),
    ("DEFAULT_FALLBACK_TTS_MODEL", Endpoint::Tts, "tts-kokoro"),
    ("DEFAULT_FALLBACK_STT_MODEL", Endpoint::Stt, "whisper-1"),
];

#[test]
fn defaults() {
    for config in [from(&[]).unwrap(), build(|config| config).unwrap()] {
        let policy = config.registry().policy();
        assert_eq!(policy.ttl, Duration::from_secs(300));
        assert_eq!(policy.fetch_timeout, Duration::from_secs(10));
        assert_eq!(policy.miss_refresh, Duration::from_secs(10));
        assert_eq!(policy.max_refresh_wait, Duration::from_secs(2));
        assert_eq!(policy.max_stale, None);
        assert_eq!(config.policy.unknown, UnknownModel::Suggest);
        assert_eq!(config.policy.missing, MissingModel::Fallback);
        assert_eq!(config.other_paths, OtherPaths::Inspect);
        assert_eq!(config.max_held_bytes, 64 * 1024 * 1024);
        assert_eq!(config.max_total_held_bytes, 512 * 1024 * 1024);
        assert_eq!(config.held_timeout, Some(Duration::from_secs(30)));
        assert_eq!((config.id_header, config.response_headers), (None, false));
        assert_eq!(config.response_model, ResponseModel::Unchanged);
    }
}

#[cfg(feature = "reqwest")]
#[test]
fn a_url_has_default_fallbacks() {
    let url = "https://host.example/list";
    for config in [
        RoutingConfig::builder().build(),
        RoutingConfig::builder().models_url(url).build(),
        from(&[("ACTIVE_MODELS_URL", url)]),
    ] {
        let config = config.unwrap();
        for (_, endpoint, fallback) in FALLBACKS {
            assert_eq!(config.fallback(endpoint), Some(fallback));
        }
        assert_eq!(config.fallback(Endpoint::Other), None);
    }
}

#[test]
fn a_source_or_registry_has_only_the_fallbacks_that_are_named() {
    let registry = Registry::builder(Nowhere).build().unwrap();
    for builder in [
        RoutingConfig::builder().source(Nowhere),
        RoutingConfig::builder().registry(registry),
    ] {
        let config = builder.fallback(Endpoint::Tts, "a").build().unwrap();
        let found = FALLBACKS.map(|(_, endpoint, _)| config.fallback(endpoint));
        assert_eq!(found, [None, None, Some("a"), None]);
    }
}

#[test]
fn other_paths_have_no_fallback() {
    let config = build(|config| config.fallback(Endpoint::Other, "a"));
    assert_eq!(setting_in_error(config), "fallback");
    assert!(build(|config| config.without_fallback(Endpoint::Other)).is_ok());
}

#[test]
fn variables_set_fallbacks_and_empty_ones_remove_them() {
    for (variable, endpoint, _) in FALLBACKS {
        let config = from(&[(variable, " my model ")]).unwrap();
        assert_eq!(config.fallback(endpoint), Some("my model"));
        for (_, other, _) in FALLBACKS {
            if other != endpoint {
                assert_eq!(config.fallback(other), None);
            }
        }
        for empty in ["", "  "] {
            assert_eq!(from(&[(variable, empty)]).unwrap().fallback(endpoint), None);
        }
    }
}

#[test]
fn policies_parse_what_they_display() {
    for policy in UnknownModel::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    for policy in MissingModel::ALL {
        assert_eq!(format!(" {policy:>9} ").to_uppercase().parse(), Ok(policy));
    }
    for model in ResponseModel::ALL {
        assert_eq!(model.to_string().parse(), Ok(model));
    }
    let error = "suggest".parse::<MissingModel>().unwrap_err().to_string();
    let expected = r#"missing_model is "suggest"; it must be one of fallback, reject, forward"#;
    assert_eq!(error, expected);
}

#[test]
fn variables_set_the_policies() {
    let policies = |variable, text| {
        let config = from(&[(variable, text)])?;
        Ok::<_, ConfigError>((config.policy.unknown, config.policy.missing))
    };
    let (unknown, missing) = (UnknownModel::default(), MissingModel::default());
    for (text, policy) in [
        ("fallback", UnknownModel::Fallback),
        ("suggest", UnknownModel::Suggest),
        (" Reject ", UnknownModel::Reject),
        ("forward", UnknownModel::Forward),
        ("", unknown),
    ] {
        assert_eq!(policies("UNKNOWN_MODEL", text), Ok((policy, missing)));
    }
    for (text, policy) in [
        ("fallback", MissingModel::Fallback),
        ("reject", MissingModel::Reject),
        ("FORWARD", MissingModel::Forward),
        (" ", missing),
    ] {
        assert_eq!(policies("MISSING_MODEL", text), Ok((unknown, policy)));
    }
    for (variable, allowed) in [
        ("UNKNOWN_MODEL", "fallback, suggest, reject, forward"),
        ("MISSING_MODEL", "fallback, reject, forward"),
    ] {
        let message = policies(variable, "sometimes").unwrap_err().to_string();
        let expected = format!("{variable} is \"sometimes\"; it must be one of {allowed}");
        assert_eq!(message, expected);
    }
}

#[test]
fn without_fallback_removes_what_an_empty_name_does_not() {
    for (_, endpoint, _) in FALLBACKS {
        let config = build(|config| config.fallback(endpoint, "a").without_fallback(endpoint));
        let config = config.unwrap();
        assert_eq!(config.fallback(endpoint), None);
        let config = build(|config| config.fallback(endpoint, " "));
        assert_eq!(setting_in_error(config), "fallback");
    }
}

#[test]
fn variables_set_durations_in_seconds_with_decimals() {
    type Get = fn(&RegistryPolicy) -> Duration;
    let variables: [(&str, Get); 3] = [
        ("MODELS_TTL_SECONDS", |policy| policy.ttl),
        ("MODELS_FETCH_TIMEOUT_SECONDS", |policy| {
            policy.fetch_timeout
        }),
        ("MODELS_MISS_REFRESH_SECONDS", |policy| policy.miss_refresh),
    ];
    for (variable, get) in variables {
        for (text, millis) in [
            ("60", 60_000),
            (" 0.5 ", 500),
            ("0.001", 1),
            ("1e2", 100_000),
        ] {
            let config = from(&[(variable, text)]).unwrap();
            let duration = get(config.registry().policy());
            assert_eq!(duration, Duration::from_millis(millis), "{variable}={text}");
        }
        for bad in [
            "", "x", "-1", "NaN", "inf", "1e300", "31536001", "5s", "1,5",
        ] {
            let setting = setting_in_error(from(&[(variable, bad)]));
            assert_eq!(setting, variable, "{bad}");
        }
        let zero = from(&[(variable, "0")]);
        if variable == "MODELS_MISS_REFRESH_SECONDS" {
            assert!(zero.is_ok());
        } else {
            assert_eq!(setting_in_error(zero), variable);
        }
    }
}

#[cfg(feature = "reqwest")]
#[test]
fn errors_name_the_url_variable_without_its_secrets() {
    let url = "ACTIVE_MODELS_URL";
    let config = from(&[(url, "http://user:secret@host.example/list?key=secret")]).unwrap();
    let debug = format!("{config:?}");
    assert!(debug.contains("http://host.example/list"), "{debug}");
    assert!(!debug.contains("secret"), "{debug}");
    for bad in ["", "nonsense", "ftp://host/list", "https://u:secret@"] {
        let result = from(&[(url, bad)]);
        let message = result.as_ref().unwrap_err().to_string();
        assert!(!message.contains("secret"), "{message}");
        assert_eq!(setting_in_error(result), url, "{bad}");
    }
    let builder = RoutingConfig::builder().models_url("nonsense");
    assert_eq!(setting_in_error(builder.build()), "models_url");
}

#[test]
fn errors_name_a_variable_that_is_not_utf8() {
    let get = |name| match name {
        "DEFAULT_FALLBACK_TTS_MODEL" => Err(ConfigError::new(name, "is not UTF-8")),
        _ => Ok(None),
    };
    let error = RoutingConfigBuilder::from_variables(get).unwrap_err();
    assert_eq!(error.setting(), "DEFAULT_FALLBACK_TTS_MODEL");
}

#[test]
fn durations_are_bounded() {
    let (zero, short) = (Duration::ZERO, Duration::from_millis(1));
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let held = |timeout: Option<Duration>| build(|config| config.held_timeout(timeout));
    assert_eq!(setting_in_error(held(Some(zero))), "held_timeout");
    assert_eq!(setting_in_error(held(Some(year + short))), "held_timeout");
    assert!(held(Some(short)).is_ok());
    assert_eq!(held(None).unwrap().held_timeout, None);
    // The registry's builder has the bounds of its own settings, and their tests.
    for (setting, config) in [
        ("ttl", build(|config| config.ttl(zero))),
        ("fetch_timeout", build(|config| config.fetch_timeout(zero))),
        (
            "miss_refresh",
            build(|config| config.miss_refresh(year * 2)),
        ),
        (
            "max_refresh_wait",
            build(|config| config.max_refresh_wait(year * 2)),
        ),
        ("max_stale", build(|config| config.max_stale(short))),
    ] {
        assert_eq!(setting_in_error(config), setting);
    }
}

#[test]
fn endpoints_are_path_endings_or_whole_paths() {
    for bad in [
        "", "/", "rerank", "/ask?x", "/ask#x", "/rerank/", "//", "=", "=/", "=ask", "==/ask",
        "/=/..",
    ] {
        let config = build(|config| config.add_endpoint(bad, Endpoint::Llm));
        assert_eq!(setting_in_error(config), "add_endpoint", "{bad}");
    }
    let config = build(|config| {
        let config = config.add_endpoint("/v2/rerank", Endpoint::Tts);
        config.add_endpoint("=/ask", Endpoint::Stt)
    });
    let endpoints = config.unwrap().endpoints;
    for (path, endpoint) in [
        ("/x/v2/rerank", Endpoint::Tts),
        ("/ask", Endpoint::Stt),
        ("/x/ask", Endpoint::Other),
    ] {
        assert_eq!(endpoints.find(path).endpoint, endpoint, "{path}");
    }
}

#[test]
fn one_request_holds_no_more_than_all_together() {
    let config = build(|config| config.max_held_bytes(9).max_total_held_bytes(5)).unwrap();
    assert_eq!((config.max_held_bytes, config.max_total_held_bytes), (5, 5));
}

#[test]
fn a_shared_registry_takes_no_settings_of_its_own() {
    let registry = || Registry::builder(Nowhere).build().unwrap();
    let shared = |configure: fn(RoutingConfigBuilder) -> RoutingConfigBuilder| {
        configure(RoutingConfig::builder().registry(registry())).build()
    };
    assert!(shared(|config| config.without_fallback(Endpoint::Llm)).is_ok());
    let ttl = shared(|config| config.ttl(Duration::from_secs(1)));
    assert_eq!(setting_in_error(ttl), "ttl");
    assert_eq!(
        setting_in_error(shared(|config| config.source(Nowhere))),
        "source"
    );
    let get = |name| Ok((name == "MODELS_TTL_SECONDS").then(|| "1".to_owned()));
    let builder = RoutingConfigBuilder::from_variables(get).unwrap();
    let config = builder.registry(registry()).build().unwrap();
    assert_eq!(config.registry().policy(), &RegistryPolicy::default());
}

#[test]
fn a_fixed_catalog_takes_no_settings_of_a_registry() {
    let catalog = || Catalog::from_entries([ModelEntry::new("a", "0x1")]).unwrap();
    let fixed = |configure: fn(RoutingConfigBuilder) -> RoutingConfigBuilder| {
        configure(RoutingConfig::builder().fixed_catalog(catalog())).build()
    };
    assert!(fixed(|config| config.without_fallback(Endpoint::Llm)).is_ok());
    for (setting, result) in [
        ("ttl", fixed(|config| config.ttl(Duration::from_secs(1)))),
        (
            "max_stale",
            fixed(|config| config.max_stale(Duration::from_secs(900))),
        ),
        (
            "max_catalog_bytes",
            fixed(|config| config.max_catalog_bytes(1)),
        ),
        ("source", fixed(|config| config.source(Nowhere))),
        (
            "initial_catalog",
            RoutingConfig::builder()
                .initial_catalog(catalog())
                .fixed_catalog(catalog())
                .build(),
        ),
        (
            "fixed_catalog",
            fixed(|config| config.registry(Registry::builder(Nowhere).build().unwrap())),
        ),
    ] {
        let message = result.as_ref().unwrap_err().to_string();
        assert!(message.contains("is set beside"), "{message}");
        assert_eq!(setting_in_error(result), setting);
    }
}

#[cfg(not(feature = "reqwest"))]
#[test]
fn a_source_is_required_without_reqwest() {
    assert_eq!(setting_in_error(RoutingConfig::builder().build()), "source");
}

#[test]
fn aliases_and_endpoints_are_lists() {
    let config = from(&[
        ("MODEL_ALIASES", " claude-*=venice, a = b=c ,"),
        ("MODEL_ENDPOINTS", "/rerank=Embedding, =/ask = llm"),
    ]);
    let config = config.unwrap();
    let endpoint = |path| config.endpoints.find(path).endpoint;
    assert_eq!(endpoint("/v1/rerank"), Endpoint::Embedding);
    assert_eq!(endpoint("/ask"), Endpoint::Llm);
    assert_eq!(endpoint("/v1/ask"), Endpoint::Other);
    let entries = ["venice", "b=c"].map(|name| ModelEntry::new(name, name));
    let catalog = Catalog::from_entries(entries).unwrap();
    for (name, model) in [("claude-x", "venice"), ("A", "b=c")] {
        let found = config.policy.find(&catalog, name).unwrap();
        assert_eq!(found.entry.name(), model);
    }
    for (variable, value) in [
        ("MODEL_ALIASES", "a"),
        ("MODEL_ALIASES", "a="),
        ("MODEL_ALIASES", "*a*=b"),
        ("MODEL_ENDPOINTS", "/ask"),
        ("MODEL_ENDPOINTS", "/ask=image"),
        ("MODEL_ENDPOINTS", "ask=llm"),
    ] {
        assert_eq!(
            setting_in_error(from(&[(variable, value)])),
            variable,
            "{value}"
        );
    }
    let built = build(|config| config.alias("*a*", "b"));
    assert_eq!(setting_in_error(built), "alias");
}
