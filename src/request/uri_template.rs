//! Templates of URIs that name the model, and their match on a request's URI.

use std::{borrow::Cow, ops::Range};

use http::{Uri, uri::PathAndQuery};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use smallvec::SmallVec;

use super::Target;
use crate::{
    endpoint::{Endpoint, MODEL_VERBS},
    path,
};

/// The placeholder of the model's name in a template.
const MODEL: &str = "{model}";
/// The placeholder of any further segments, at least one, at the end of a template.
const REST: &str = "{*rest}";

/// What [`UriModel::replace`] encodes: all but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The templates of one layer, of which the first that fits decides.
#[derive(Clone, Debug)]
pub(crate) struct UriTemplates(Vec<UriTemplate>);

impl UriTemplates {
    /// Adds a template before all others.
    pub(crate) fn add(&mut self, template: UriTemplate) {
        self.0.insert(0, template);
    }

    /// Returns the template that fits this URI, and the model. Only the query of a request without
    /// a body names one.
    pub(crate) fn find(&self, uri: &Uri, has_body: bool) -> Option<(&UriTemplate, UriMatch)> {
        let (path, query) = (uri.path(), uri.query());
        // Others may hide a literal or a colon.
        let is_plain = path::is_plain(path);
        let has_colon = !is_plain || path.contains(':');
        let mut templates = self
            .0
            .iter()
            .filter(|template| match &template.place {
                Place::Segment { suffix, .. } => has_body && (suffix.is_empty() || has_colon),
                Place::Query { .. } => query.is_some(),
            })
            .filter(|template| !is_plain || template.has_literal_in(path))
            .peekable();
        // The segments are read for the few paths that a template may fit.
        templates.peek()?;
        let decoded_first = Path::parse(path, Order::DecodeFirst);
        let split_first = (!is_plain).then(|| Path::parse(path, Order::SplitFirst));
        templates
            .filter_map(|template| {
                let found = template.find(&decoded_first, query);
                let found = match &split_first {
                    Some(path) => UriMatch::of_readings(found, template.find(path, query)),
                    None => found,
                };
                Some((template, found?))
            })
            .min_by_key(|(_, found)| found.is_hidden())
    }
}

impl Default for UriTemplates {
    /// Returns the templates of Azure, of OpenAI's former engines, of Gemini and Vertex, and of
    /// Realtime. Without an endpoint, the table of paths decides it.
    fn default() -> Self {
        let verbs = MODEL_VERBS
            .iter()
            .map(|(verb, endpoint)| (format!("/models/{MODEL}:{verb}"), Some(*endpoint)));
        let templates = [
            (format!("/openai/deployments/{MODEL}/{REST}"), None),
            (format!("/engines/{MODEL}/{REST}"), None),
            (format!("/realtime?model={MODEL}"), Some(Endpoint::Other)),
        ]
        .into_iter()
        .chain(verbs)
        .flat_map(|(template, endpoint)| UriTemplate::parse(&template, endpoint));
        Self(templates.collect())
    }
}

/// A path, after any prefix, or a parameter of its query that names the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UriTemplate {
    /// The literal segments before the model, or before the query.
    before: Vec<String>,
    place: Place,
    /// The target of the URI, or `None` if the table of paths decides it.
    pub(crate) target: Option<Target>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// In a segment, which ends in `suffix`.
    Segment { suffix: String, after: After },
    /// The value of this parameter of the query.
    Query { parameter: String },
}

/// What follows the model's segment.
#[derive(Clone, Debug, PartialEq)]
enum After {
    /// These segments, and nothing else.
    Segments(Vec<String>),
    /// One segment or more.
    Rest,
}

/// The model in a URI.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UriModel {
    /// The decoded name.
    pub(crate) name: String,
    /// The encoded name within the path and query.
    span: Range<usize>,
}

impl UriModel {
    /// Returns `true` if the encoded name begins at this place in the path and query.
    pub(super) fn is_at(&self, start: usize) -> bool {
        self.span.start == start
    }

    /// Returns the URI with this ID, percent-encoded, in place of the name.
    pub(crate) fn replace(&self, uri: &Uri, id: &str) -> Result<Uri, http::Error> {
        let mut parts = uri.clone().into_parts();
        if let Some(path_and_query) = &parts.path_and_query {
            let mut text = path_and_query.as_str().to_owned();
            let id = utf8_percent_encode(id, RESERVED).to_string();
            text.replace_range(self.span.clone(), &id);
            parts.path_and_query = Some(PathAndQuery::try_from(text)?);
        }
        Ok(Uri::from_parts(parts)?)
    }
}

/// The result of a template that fits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum UriMatch {
    Model(UriModel),
    /// The query has the parameter more than once, and servers differ in which one they read.
    Repeated,
    /// The path hides slashes, and servers differ in where they find the model.
    Hidden,
}

impl UriMatch {
    /// Returns `true` for the last choice of several.
    fn is_hidden(&self) -> bool {
        matches!(self, Self::Hidden)
    }

    /// Returns the match on a path by what servers find that decode it first, and those that split
    /// it first.
    fn of_readings(decoded_first: Option<Self>, split_first: Option<Self>) -> Option<Self> {
        match (decoded_first, split_first) {
            (Some(Self::Model(model)), Some(Self::Model(other))) if model.span != other.span => {
                Some(Self::Hidden)
            }
            (None, Some(_)) => Some(Self::Hidden),
            // Servers that split first have no such path.
            (found, _) => found,
        }
    }
}

impl UriTemplate {
    /// Parses `/literals/{model}:suffix/literals`, `/literals/{model}/{*rest}` or
    /// `/literals?parameter={model}`. The error says which rule is violated.
    pub(crate) fn parse(template: &str, endpoint: Option<Endpoint>) -> Result<Self, &'static str> {
        let (path, query) = match template.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (template, None),
        };
        let Some(path) = path.strip_prefix('/') else {
            return Err("must begin with '/'");
        };
        if template.matches(MODEL).count() != 1 {
            return Err("must contain {model} once");
        }
        let target = endpoint.map(|endpoint| Target::new(template, endpoint));
        let segments: Vec<_> = path.split('/').collect();
        let is_literal = |text: &str| !text.contains(['{', '}', '%', ';', '\\', '?', '#']);
        let literals = |segments: &[&str]| {
            segments
                .iter()
                .all(|segment| !matches!(*segment, "" | "." | "..") && is_literal(segment))
                .then(|| segments.iter().map(|&segment| segment.to_owned()).collect())
                .ok_or(
                    "must have no other placeholders, escapes, parameters, empty or dot segments, \
                     and no '/' at its end",
                )
        };
        if let Some(query) = query {
            let parameter = query
                .strip_suffix(MODEL)
                .and_then(|query| query.strip_suffix('='))
                .filter(|name| is_literal(name) && !name.is_empty() && !name.contains(['&', '=']))
                .ok_or("must have one parameter in its query, as in ?model={model}")?;
            return Ok(Self {
                before: literals(&segments)?,
                place: Place::Query {
                    parameter: parameter.to_owned(),
                },
                target,
            });
        }
        // One segment contains the placeholder, as the query does not.
        let at = segments
            .iter()
            .position(|segment| segment.contains(MODEL))
            .unwrap_or_default();
        let suffix = segments[at]
            .strip_prefix(MODEL)
            .filter(|suffix| suffix.is_empty() || suffix.starts_with(':') && is_literal(suffix))
            .ok_or(
                "must have nothing beside {model} in its segment but a verb, as in {model}:verb",
            )?;
        let after = match &segments[at + 1..] {
            [REST] => After::Rest,
            after => After::Segments(literals(after)?),
        };
        if at == 0 {
            return Err("must have a literal segment before {model}");
        }
        Ok(Self {
            before: literals(&segments[..at])?,
            place: Place::Segment {
                suffix: suffix.to_owned(),
                after,
            },
            target,
        })
    }

    /// Returns whether a plain path has the last literal segment of the template.
    fn has_literal_in(&self, path: &str) -> bool {
        self.before.last().is_none_or(|literal| {
            let mut segments = path.as_bytes().split(|byte| *byte == b'/');
            segments.any(|segment| segment.eq_ignore_ascii_case(literal.as_bytes()))
        })
    }

    /// Returns the model if the template fits the end of the path, or a part of it before
    /// `{*rest}`. A blank name is none.
    ///
    /// Literal segments are compared as [`normalize`](crate::path::normalize) leaves them, in any
    /// letter case.
    fn find(&self, path: &Path<'_>, query: Option<&str>) -> Option<UriMatch> {
        match &self.place {
            Place::Segment { suffix, after } => {
                let starts = 0..path.segments.len().saturating_sub(self.before.len());
                starts
                    .rev()
                    .filter_map(|start| self.find_at(path, start, suffix, after))
                    .min_by_key(UriMatch::is_hidden)
            }
            Place::Query { parameter } => {
                let start = path.segments.len().checked_sub(self.before.len())?;
                if !equal(&path.segments[start..], &self.before) {
                    return None;
                }
                let query = query?;
                let mut values =
                    parameters(query).filter(|(name, _)| form_decoded(name) == parameter.as_str());
                let (_, span) = values.next()?;
                if values.next().is_some() {
                    return Some(UriMatch::Repeated);
                }
                let name = form_decoded(query.get(span.clone())?);
                let offset = path.text.len() + 1;
                (!name.trim().is_empty()).then(|| {
                    UriMatch::Model(UriModel {
                        name: name.into_owned(),
                        span: span.start + offset..span.end + offset,
                    })
                })
            }
        }
    }

    fn find_at(
        &self,
        path: &Path<'_>,
        start: usize,
        suffix: &str,
        after: &After,
    ) -> Option<UriMatch> {
        let (before, from_model) = path.segments[start..].split_at(self.before.len());
        let model = from_model.first()?;
        if !equal(before, &self.before) {
            return None;
        }
        // An encoded slash may be part of a name.
        let len = from_model
            .iter()
            .take_while(|segment| segment.piece.start == model.piece.start)
            .count();
        let fits = match after {
            After::Segments(after) => equal(&from_model[len..], after),
            After::Rest => from_model.len() > len,
        };
        if !fits {
            return None;
        }
        let is_own = before.last()?.piece.start != model.piece.start;
        if !is_own || !is_whole(path.text.get(model.piece.clone())?, &from_model[..len]) {
            return Some(UriMatch::Hidden);
        }
        let span = strip_suffix(path.text, model.piece.clone(), suffix)?;
        let name = decoded(path.text.get(span.clone())?);
        (!name.trim().is_empty()).then(|| {
            UriMatch::Model(UriModel {
                name: name.into_owned(),
                span,
            })
        })
    }
}

/// What a server does first with a path.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    DecodeFirst,
    SplitFirst,
}

/// A path, split into segments as the most lenient server would.
#[derive(Debug)]
struct Path<'a> {
    text: &'a str,
    segments: SmallVec<[Segment<'a>; 8]>,
}

#[derive(Debug)]
struct Segment<'a> {
    /// Decoded, and without parameters.
    text: Cow<'a, str>,
    /// The text between two slashes of the path that it is in, without parameters. Segments that
    /// an encoded slash separates share one; that of a segment in parameters is empty.
    piece: Range<usize>,
}

impl<'a> Path<'a> {
    fn parse(path: &'a str, order: Order) -> Self {
        let mut segments = SmallVec::<[Segment<'a>; 8]>::new();
        let mut start = 0;
        for raw in path.split(['/', '\\']) {
            let (own, parameters) = raw.split_at(raw.find(';').unwrap_or(raw.len()));
            let end = start + own.len();
            let mut push = |text: Cow<'a, str>, piece| match &*text {
                "" | "." => {}
                ".." => drop(segments.pop()),
                _ => segments.push(Segment { text, piece }),
            };
            match decoded(own) {
                Cow::Owned(text) if order == Order::DecodeFirst => text
                    .split(['/', '\\'])
                    .for_each(|text| push(without_parameters(text).to_owned().into(), start..end)),
                text => push(text, start..end),
            }
            if order == Order::DecodeFirst {
                for text in decoded(parameters).split(['/', '\\']).skip(1) {
                    push(without_parameters(text).to_owned().into(), end..end);
                }
            }
            start += raw.len() + 1;
        }
        Self {
            text: path,
            segments,
        }
    }
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// Returns `false` if a dot segment has taken away a part of the piece that these segments are of.
fn is_whole(piece: &str, segments: &[Segment<'_>]) -> bool {
    let text = decoded(piece);
    let is_one = matches!(segments, [segment] if segment.text == text);
    is_one
        || text
            .split(['/', '\\'])
            .map(without_parameters)
            .filter(|text| !matches!(*text, "" | "."))
            .eq(segments.iter().map(|segment| &*segment.text))
}

fn equal(segments: &[Segment<'_>], literals: &[String]) -> bool {
    segments.len() == literals.len()
        && segments
            .iter()
            .zip(literals)
            .all(|(segment, literal)| segment.text.eq_ignore_ascii_case(literal))
}

/// Returns the range before the suffix, whose `:` may be encoded. Returns `None` if nothing is
/// before it.
fn strip_suffix(path: &str, piece: Range<usize>, suffix: &str) -> Option<Range<usize>> {
    let text = path.get(piece.clone())?;
    let len = match suffix.strip_prefix(':') {
        None => text.len(),
        Some(verb) => {
            let (name, found) = [":", "%3A", "%3a"]
                .into_iter()
                .filter_map(|colon| text.rsplit_once(colon))
                .max_by_key(|(name, _)| name.len())?;
            if !decoded(found).eq_ignore_ascii_case(verb) {
                return None;
            }
            name.len()
        }
    };
    (len > 0).then(|| piece.start..piece.start + len)
}

/// Returns the names in a query, encoded, and the ranges of their values.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut start = 0;
    query.split(['&', ';']).map(move |parameter| {
        let name = parameter.split('=').next().unwrap_or_default();
        let end = start + parameter.len();
        let value = (start + name.len() + 1).min(end)..end;
        start = end + 1;
        (name, value)
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Decodes a name or a value of a query, in which `+` is a space.
fn form_decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        Cow::Owned(decoded(&text.replace('+', " ")).into_owned())
    } else {
        decoded(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the name and the URI with `ID` in the name's place, or why there is none.
    fn replaced(template: &str, uri: &str) -> Option<(String, String)> {
        let templates = UriTemplates(vec![UriTemplate::parse(template, None).unwrap()]);
        let uri: Uri = uri.parse().unwrap();
        match templates.find(&uri, true)?.1 {
            UriMatch::Repeated => Some(("repeated".into(), String::new())),
            UriMatch::Hidden => Some(("hidden".into(), String::new())),
            UriMatch::Model(model) => {
                let replaced = model.replace(&uri, "0x/ü~").unwrap();
                let replaced = replaced.to_string().replace("0x%2F%C3%BC~", "ID");
                Some((model.name, replaced))
            }
        }
    }

    #[test]
    fn finds_and_replaces_the_name() {
        const AZURE: &str = "/openai/deployments/{model}/{*rest}";
        const GEMINI: &str = "/models/{model}:generateContent";
        const REALTIME: &str = "/realtime?model={model}";
        const BEDROCK: &str = "/model/{model}/converse";

        for (template, uri, name, expected) in [
            (
                AZURE,
                "/openai/deployments/m/chat/completions?api-version=1",
                "m",
                "/openai/deployments/ID/chat/completions?api-version=1",
            ),
            (
                AZURE,
                "/x/OpenAI//Deployments/m/y",
                "m",
                "/x/OpenAI//Deployments/ID/y",
            ),
            (
                AZURE,
                "/openai/deployments/a%2Fb/y",
                "a/b",
                "/openai/deployments/ID/y",
            ),
            (
                AZURE,
                "/openai%2Fdeployments/m/y",
                "m",
                "/openai%2Fdeployments/ID/y",
            ),
            (
                AZURE,
                "/openai/./deployments;v=1/m;p/y",
                "m",
                "/openai/./deployments;v=1/ID;p/y",
            ),
            (
                AZURE,
                "/openai/deployments/m;p%2Fq/y",
                "m",
                "/openai/deployments/ID;p%2Fq/y",
            ),
            (
                AZURE,
                "/openai/x/../deployments/m%20n/y",
                "m n",
                "/openai/x/../deployments/ID/y",
            ),
            (
                GEMINI,
                "/v1beta/models/m:generateContent",
                "m",
                "/v1beta/models/ID:generateContent",
            ),
            (
                GEMINI,
                "/v1/models/m:8b:generatecontent",
                "m:8b",
                "/v1/models/ID:generatecontent",
            ),
            (
                GEMINI,
                "/models/m%3AgenerateContent",
                "m",
                "/models/ID%3AgenerateContent",
            ),
            (
                GEMINI,
                "/models/a%2Fb:generateContent/",
                "a/b",
                "/models/ID:generateContent/",
            ),
            (
                REALTIME,
                "/v1/realtime?a=b&model=m",
                "m",
                "/v1/realtime?a=b&model=ID",
            ),
            (
                REALTIME,
                "/v1/realtime?mod%65l=a+b&x",
                "a b",
                "/v1/realtime?mod%65l=ID&x",
            ),
            (BEDROCK, "/model/m/converse", "m", "/model/ID/converse"),
        ] {
            let expected = Some((name.to_owned(), expected.to_owned()));
            assert_eq!(replaced(template, uri), expected, "{template} {uri}");
        }
        let twice = replaced(REALTIME, "/realtime?model=a&mod%65l=b").unwrap();
        assert_eq!(twice.0, "repeated");
    }

    #[test]
    fn model_that_only_some_servers_find_is_hidden() {
        const ENGINES: &str = "/engines/{model}/{*rest}";
        const GEMINI: &str = "/models/{model}:generateContent";

        for (template, uri) in [
            // Those that decode first.
            (ENGINES, "/v1/engines%2Fm/completions"),
            (ENGINES, "/v1/engines;p%2Fm/completions"),
            (ENGINES, "/v1/engines/;p%2Fm/completions"),
            (ENGINES, "/v1/engines/x%5C..%5Cm/completions"),
            (GEMINI, "/v1/models/;p%2Fm:generateContent"),
            // Those that split first.
            (ENGINES, "/v1/engines/m;p%2F../completions"),
            (GEMINI, "/v1/models/m:generateContent;p%2Fq"),
            // Either, but another one.
            (ENGINES, "/v1/engines/m/..%2Fz/completions"),
            (ENGINES, "/v1/engines/a%2Fb/../y"),
        ] {
            let found = replaced(template, uri).map(|found| found.0);
            assert_eq!(found.as_deref(), Some("hidden"), "{uri}");
        }
    }

    #[test]
    fn fits_no_other_uri() {
        for (template, uri) in [
            (
                "/openai/deployments/{model}/{*rest}",
                "/openai/deployments/m",
            ),
            ("/openai/deployments/{model}/{*rest}", "/openai/deployments"),
            (
                "/openai/deployments/{model}/{*rest}",
                "/deployments/m/chat/completions",
            ),
            ("/models/{model}:generateContent", "/v1/models/m"),
            (
                "/models/{model}:generateContent",
                "/v1/models/m:countTokens",
            ),
            (
                "/models/{model}:generateContent",
                "/v1/models/:generateContent",
            ),
            (
                "/models/{model}:generateContent",
                "/v1/models/m:generateContent/x",
            ),
            ("/realtime?model={model}", "/v1/realtime"),
            ("/realtime?model={model}", "/v1/realtime?model=+"),
            ("/model/{model}/converse", "/model/%20/converse"),
            ("/realtime?model={model}", "/v1/realtime?models=m"),
            ("/realtime?model={model}", "/v1/realtime/x?model=m"),
            ("/model/{model}/converse", "/model/m/converse-stream"),
            ("/model/{model}/converse", "/"),
        ] {
            assert_eq!(replaced(template, uri), None, "{template} {uri}");
        }
    }

    #[test]
    fn invalid_template_is_an_error() {
        for template in [
            "",
            "model/{model}",
            "/model",
            "/{model}/converse",
            "/model/{model}/{model}",
            "/model/{model}/{verb}",
            "/model/x{model}",
            "/model/{model}x",
            "/model//{model}",
            "/model/{model}/",
            "/mod%65l/{model}",
            "/realtime?{model}",
            "/realtime?a=b&model={model}",
            "/realtime?={model}",
            "/{*rest}/x/{model}",
        ] {
            assert!(UriTemplate::parse(template, None).is_err(), "{template}");
        }
    }
}
