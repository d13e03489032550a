//! `GET /v1/models` as clients of OpenAI's and Anthropic's APIs expect it.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower_service::Service;

use crate::{
    endpoint::Endpoint,
    registry::{Catalog, ModelEntry, Registry, hex},
    resolve::{Aliases, not_found},
    response::{Dialect, ErrorObject, ModelListBody, Rejection, RejectionHook, error_response_in},
};

/// A service for `GET …/models`, the models of the catalog, and `GET …/models/{name}`, one of them.
///
/// It reads the catalog that requests are routed by, and refreshes it as they do. Responses have an
/// `ETag` and can be revalidated by `If-None-Match`; `HEAD` works too. A name may be an ID or an
/// alias, and may contain slashes. An unknown name is a 404 with suggestions, a missing catalog a
/// 503, another method a 405, all with OpenAI's error object, or with Anthropic's if the request has
/// an `anthropic-version`. The first two are [`Rejection`]s, in the response's extensions too;
/// [`rejection_response`](Self::rejection_response) sets how they are shown.
///
/// The list and its items have the fields of OpenAI's API, those of Anthropic's (`type`,
/// `display_name`, `created_at`; `has_more`, `first_id`, `last_id`; all models are on one page), and
/// `blockchainID`, `tags` and `modelType`. The SDKs of OpenAI and Anthropic have typed items. That of
/// Mistral, which knows no `type` but its own, lists them as `UnknownModelListData`, with the fields
/// in `raw`. A date after the year 9999 has no `created_at`.
///
/// # Examples
///
/// ```
/// use axum::Router;
/// use tower_model_routing::{ModelRoutingLayer, RoutingConfig};
///
/// # fn app() -> Result<Router, tower_model_routing::ConfigError> {
/// let layer = ModelRoutingLayer::new(RoutingConfig::from_env()?);
/// let models = layer.model_list();
/// let app: Router = Router::new()
///     .route_service("/v1/models", models.clone())
///     .route_service("/v1/models/{*name}", models)
///     .layer(layer);
/// # Ok(app)
/// # }
/// ```
#[derive(Clone)]
pub struct ModelListService {
    registry: Registry,
    aliases: Arc<Aliases>,
    rejection_hook: Option<RejectionHook>,
    rendered: Arc<Mutex<Option<Rendered>>>,
}

/// The model list of the last catalog that was rendered.
struct Rendered {
    catalog: Arc<Catalog>,
    list: Bytes,
    etag: String,
}

impl ModelListService {
    /// Returns a service over this registry.
    ///
    /// [`ModelRoutingLayer::model_list`](crate::ModelRoutingLayer::model_list) returns one that
    /// lists the layer's aliases, too, and shows its rejections as the layer does.
    pub fn new(registry: Registry) -> Self {
        Self::with_settings(registry, Aliases::default(), None)
    }

    pub(crate) fn with_settings(
        registry: Registry,
        aliases: Aliases,
        rejection_hook: Option<RejectionHook>,
    ) -> Self {
        Self {
            registry,
            aliases: Arc::new(aliases),
            rejection_hook,
            rendered: Arc::default(),
        }
    }

    /// Sets how a rejection is shown: see
    /// [`RoutingConfigBuilder::rejection_response`](crate::RoutingConfigBuilder::rejection_response).
    pub fn rejection_response(
        mut self,
        hook: impl Fn(&Rejection, &Uri) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.rejection_hook = Some(RejectionHook::new(hook));
        self
    }

    async fn respond(
        self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
    ) -> Response<ModelListBody> {
        if !matches!(method, Method::GET | Method::HEAD) {
            return method_not_allowed(&headers);
        }
        let catalog = match self.registry.catalog().await {
            Ok(catalog) => catalog,
            Err(unavailable) => return self.reject(&unavailable.into(), &uri, &headers),
        };
        let (list, etag) = self.list(&catalog);
        let body = match requested_name(uri.path()) {
            None => list,
            Some(name) => match self.find(&catalog, &name) {
                Some((id, entry)) => model(id, entry).to_string().into(),
                None => {
                    let error = not_found(&catalog, &self.aliases, &name);
                    let rejection = Rejection::unresolved(error, Some(&name), Endpoint::Other);
                    return self.reject(&rejection, &uri, &headers);
                }
            },
        };
        let unchanged = matches_etag(&headers, &etag);
        let mut response = Response::new(ModelListBody::new(Bytes::new()));
        let head = response.headers_mut();
        if let Ok(etag) = HeaderValue::try_from(etag) {
            head.insert(ETAG, etag);
        }
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            // HEAD: the server drops the body, but derives Content-Length from it
            // (RFC 9110, 9.3.2).
            *response.body_mut() = ModelListBody::new(body);
        }
        response
    }

    fn reject(
        &self,
        rejection: &Rejection,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Response<ModelListBody> {
        let response = match &self.rejection_hook {
            Some(hook) => hook.response(rejection, uri),
            None => rejection.response_in(dialect(headers)),
        };
        response.map(ModelListBody::new)
    }

    /// Returns the model of this name, and the name that it is shown by.
    fn find<'a>(&self, catalog: &'a Catalog, name: &'a str) -> Option<(&'a str, &'a ModelEntry)> {
        if let Some(found) = catalog.find(name) {
            return Some((found.entry.name(), found.entry));
        }
        let found = self.aliases.find(catalog, name)?;
        Some((name, found.entry))
    }

    /// Returns the model list, rendered once for each catalog, and the `ETag` of all that is
    /// rendered from the catalog and the aliases.
    fn list(&self, catalog: &Arc<Catalog>) -> (Bytes, String) {
        let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = &*rendered
            && Arc::ptr_eq(&rendered.catalog, catalog)
        {
            return (rendered.list.clone(), rendered.etag.clone());
        }
        let models = catalog
            .named_entries()
            .map(|entry| model(entry.name(), entry));
        let aliases = self.aliases.exact(catalog);
        let aliases = aliases.map(|(alias, found)| model(alias, found.entry));
        let data: Vec<_> = models.chain(aliases).collect();
        let id = |model: Option<&Value>| model.map(|model| model["id"].clone());
        let list = json!({
            "object": "list",
            "first_id": id(data.first()),
            "last_id": id(data.last()),
            "has_more": false,
            "data": data,
        });
        let list = Bytes::from(list.to_string());
        let etag = format!("\"{}\"", hex(&Sha256::digest(&list)[..16]));
        *rendered = Some(Rendered {
            catalog: Arc::clone(catalog),
            list: list.clone(),
            etag: etag.clone(),
        });
        (list, etag)
    }
}

impl fmt::Debug for ModelListService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelListService")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for ModelListService {
    type Response = Response<ModelListBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, _) = request.into_parts();
        let response = self.clone().respond(head.method, head.uri, head.headers);
        Box::pin(async move { Ok(response.await) })
    }
}

/// Returns a model as OpenAI's and Anthropic's APIs show it, with the fields that the marketplace
/// adds.
fn model(id: &str, entry: &ModelEntry) -> Value {
    json!({
        "id": id,
        "object": "model",
        "type": "model",
        "display_name": entry.name(),
        "created": entry.created_at(),
        "created_at": rfc3339(entry.created_at()),
        "owned_by": entry.owner().unwrap_or("unknown"),
        "blockchainID": entry.id(),
        "tags": entry.tags(),
        "modelType": entry.model_type().as_str(),
    })
}

/// Returns the time in seconds since the Unix epoch as RFC 3339 has it, which ends with the year
/// 9999.
///
/// By days of a year that begins in March: Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`. A crate for it would be one more in every user's build.
fn rfc3339(seconds: u64) -> Option<String> {
    const LAST_SECOND: u64 = 253_402_300_799;
    const DAYS_OF_400_YEARS: u64 = 146_097;

    let (days, time) = (seconds / 86_400, seconds % 86_400);
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * day + 2) / 153;
    let month = if march_based < 10 {
        march_based + 3
    } else {
        march_based - 9
    };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let day = day - (153 * march_based + 2) / 5 + 1;
    let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
    (seconds <= LAST_SECOND)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

/// Returns the name after `/models/`; `None` for the model list.
fn requested_name(path: &str) -> Option<String> {
    let (_, name) = path.split_once("/models/")?;
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// Returns whether the client has this version (weak comparison, RFC 9110, section 13.1.2).
fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

/// Returns the API of the client. Anthropic's has its models at the same path as OpenAI's, and its
/// clients send a version.
fn dialect(headers: &HeaderMap) -> Dialect {
    match headers.contains_key("anthropic-version") {
        true => Dialect::Anthropic,
        false => Dialect::OpenAi,
    }
}

fn method_not_allowed(headers: &HeaderMap) -> Response<ModelListBody> {
    let error = ErrorObject {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        param: None,
        message: "The model list is read-only. Use GET.",
        suggestions: &[],
    };
    let mut response = error_response_in(dialect(headers), &error);
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response.map(ModelListBody::new)
}

#[cfg(test)]
mod tests {
    use http_body::Body;
    use http_body_util::BodyExt;

    use super::*;
    use crate::registry::{FetchFuture, RegistrySource, SourceError};

    struct Dead;

    impl RegistrySource for Dead {
        fn fetch<'a>(&'a self, _: Option<&'a str>) -> FetchFuture<'a> {
            Box::pin(async { Err(SourceError::new("down")) })
        }

        fn location(&self) -> String {
            "nowhere".into()
        }
    }

    fn service(document: Option<&str>) -> ModelListService {
        let catalog = document.map(|text| Catalog::parse(text.as_bytes()).unwrap());
        let registry = Registry::builder(Dead);
        let registry = match catalog {
            Some(catalog) => registry.initial_catalog(catalog),
            None => registry,
        };
        ModelListService::new(registry.build().unwrap())
    }

    const DOCUMENT: &str = r#"{"models":[
        {"Id":"0x1","Name":"Llama 3.2 3B","CreatedAt":7,"Owner":"0xab","Tags":["t"],
         "ModelType":"LLM"},
        {"Id":"0x2","Name":"meta-llama/Llama-3"}
    ]}"#;

    async fn send(
        service: &ModelListService,
        method: &str,
        path: &str,
        if_none_match: Option<&str>,
    ) -> (Response<()>, Bytes) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(etag) = if_none_match {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = request.body(()).unwrap();
        let (head, body) = service.clone().call(request).await.unwrap().into_parts();
        let (length, is_end) = (body.size_hint().exact(), body.is_end_stream());
        let body = body.collect().await.unwrap().to_bytes();
        // Servers derive `Content-Length` from it.
        assert_eq!(length, Some(body.len() as u64));
        assert_eq!(is_end, body.is_empty());
        (Response::from_parts(head, ()), body)
    }

    #[tokio::test]
    async fn has_the_shape_that_openai_and_anthropic_clients_expect() {
        let (response, body) = send(&service(Some(DOCUMENT)), "GET", "/v1/models", None).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            serde_json::from_slice::<Value>(&body).unwrap(),
            json!({
                "object": "list",
                "first_id": "Llama 3.2 3B",
                "last_id": "meta-llama/Llama-3",
                "has_more": false,
                "data": [
                    {"id": "Llama 3.2 3B", "object": "model", "type": "model",
                     "display_name": "Llama 3.2 3B", "created": 7,
                     "created_at": "1970-01-01T00:00:07Z", "owned_by": "0xab",
                     "blockchainID": "0x1", "tags": ["t"], "modelType": "LLM"},
                    {"id": "meta-llama/Llama-3", "object": "model", "type": "model",
                     "display_name": "meta-llama/Llama-3", "created": 0,
                     "created_at": "1970-01-01T00:00:00Z", "owned_by": "unknown",
                     "blockchainID": "0x2", "tags": [], "modelType": "UNKNOWN"},
                ],
            })
        );
    }

    #[test]
    fn dates_have_leap_days_and_end_with_the_year_9999() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds).unwrap(), expected);
        }
        for seconds in [253_402_300_800, u64::MAX] {
            assert_eq!(rfc3339(seconds), None);
        }
    }

    #[tokio::test]
    async fn finds_one_model_by_name_alias_and_id() {
        let service = service(Some(DOCUMENT));
        for (path, id) in [
            ("/v1/models/Llama%203.2%203B", "0x1"),
            ("/v1/models/llama-3.2-3b", "0x1"),
            ("/api/v1/models/0X1", "0x1"),
            ("/v1/models/meta-llama/Llama-3", "0x2"),
            ("/v1/models/meta-llama%2Fllama-3", "0x2"),
        ] {
            let (response, body) = send(&service, "GET", path, None).await;
            assert_eq!(response.status(), 200, "{path}");
            let model: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(model["blockchainID"], id, "{path}");
        }
    }

    #[tokio::test]
    async fn exact_aliases_are_listed_and_patterns_found() {
        let mut aliases = Aliases::default();
        for (name, model) in [
            ("GPT-5", "llama-3.2-3b"),
            ("claude-*", "0x2"),
            ("0x1", "0x2"),
            ("gone", "no-such-model"),
        ] {
            aliases.add(name, model).unwrap();
        }
        let registry = service(Some(DOCUMENT)).registry;
        let service = ModelListService::with_settings(registry, aliases, None);
        let (response, body) = send(&service, "GET", "/v1/models", None).await;
        let (plain, _) = send(&self::service(Some(DOCUMENT)), "GET", "/v1/models", None).await;
        assert_ne!(response.headers()[ETAG], plain.headers()[ETAG]);
        let list: Value = serde_json::from_slice(&body).unwrap();
        let models: Vec<_> = list["data"].as_array().unwrap().iter().collect();
        assert_eq!(models.len(), 3);
        assert_eq!(models[2]["id"], "GPT-5");
        assert_eq!(models[2]["blockchainID"], "0x1");
        for (path, id) in [("gpt-5", "0x1"), ("claude-x", "0x2")] {
            let (_, body) = send(&service, "GET", &format!("/v1/models/{path}"), None).await;
            let model: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(model["id"], path);
            assert_eq!(model["blockchainID"], id);
        }
    }

    #[tokio::test]
    async fn an_unknown_model_is_a_404_with_suggestions() {
        let (response, body) = send(
            &service(Some(DOCUMENT)),
            "GET",
            "/v1/models/llama-3.2-3",
            None,
        )
        .await;
        assert_eq!(response.status(), 404);
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(error["error"]["code"], "model_not_found");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("Llama 3.2 3B"), "{message}");
    }

    #[tokio::test]
    async fn errors_have_anthropics_form_for_its_clients() {
        for (method, path, kind) in [
            ("GET", "/v1/models/x", "not_found_error"),
            ("POST", "/v1/models", "invalid_request_error"),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("anthropic-version", "2023-06-01");
            let request = request.body(()).unwrap();
            let response = service(Some(DOCUMENT)).call(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["type"], "error", "{method}");
            assert_eq!(body["error"]["type"], kind, "{method}");
        }
    }

    #[tokio::test]
    async fn rejections_are_shown_by_the_hook_and_typed() {
        for (document, path, code) in [
            (Some(DOCUMENT), "/v1/models/x", "model_not_found"),
            (None, "/v1/models", "model_registry_unavailable"),
        ] {
            let service = service(document).rejection_response(|rejection, uri| {
                let mut response = Response::new(format!("{} {uri}", rejection.code()).into());
                *response.status_mut() = StatusCode::IM_A_TEAPOT;
                response
            });
            let (response, body) = send(&service, "GET", path, None).await;
            assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
            assert_eq!(body, format!("{code} {path}"));
            let rejection = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(rejection.code().as_str(), code);
        }
    }

    #[tokio::test]
    async fn revalidates_by_etag() {
        let service = service(Some(DOCUMENT));
        let (response, _) = send(&service, "GET", "/v1/models", None).await;
        let etag = response.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".into(),
        ] {
            let (response, body) = send(&service, "GET", "/v1/models", Some(&known)).await;
            assert_eq!(response.status(), 304, "{known}");
            assert_eq!(response.headers()[ETAG], *etag);
            assert!(body.is_empty());
        }
        let other = self::service(Some(r#"{"models":[{"Id":"0x1","Name":"a"}]}"#));
        let (response, _) = send(&other, "GET", "/v1/models", Some(&etag)).await;
        assert_eq!(response.status(), 200);
    }

    #[tokio::test]
    async fn debug_output_of_the_body_has_no_bytes() {
        let request = Request::get("/v1/models").body(()).unwrap();
        let response = service(Some(DOCUMENT)).call(request).await.unwrap();
        let shown = format!("{:?}", response.body());
        assert_eq!(shown, "ModelListBody { .. }");
    }

    #[tokio::test]
    async fn other_methods_are_405() {
        let (response, _) = send(&service(Some(DOCUMENT)), "POST", "/v1/models", None).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        let (response, _) = send(&service(Some(DOCUMENT)), "HEAD", "/v1/models", None).await;
        assert_eq!(response.status(), 200);
    }

    #[tokio::test]
    async fn is_503_without_a_catalog() {
        let (response, body) = send(&service(None), "GET", "/v1/models", None).await;
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        let error: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(error["error"]["code"], "model_registry_unavailable");
    }
}
