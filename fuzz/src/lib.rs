//! The checks of the fuzz targets, each of which accepts any input.

mod aliases;
mod catalog;
mod decode;
pub mod gateway;
mod input;
mod names;
mod request;
mod uri;

use model_scan::{
    oracle,
    rewrite::{ResponseFormat, TextFormat},
};

use crate::input::frames;

/// Checks the JSON scanner, whole and cut, against `serde_json` and the rules for keys.
///
/// The input: lengths of frames, and the document.
pub fn scanner(input: &[u8]) {
    if let Some((document, frames)) = frames(input) {
        oracle::check_json(document, &frames);
    }
}

/// Checks the multipart scanner, whole and cut, against a naive reader.
///
/// The input: a byte that selects the boundary, lengths of frames, and the form.
pub fn multipart(input: &[u8]) {
    // Some are easily taken for something else.
    const BOUNDARIES: [&str; 4] = ["XyZ", "b", "--b", "----WebKitFormBoundary0Az"];

    let Some((&boundary, input)) = input.split_first() else {
        return;
    };
    if let Some((form, frames)) = frames(input) {
        let boundary = BOUNDARIES[usize::from(boundary) % BOUNDARIES.len()];
        oracle::check_multipart(boundary, form, &frames);
    }
}

/// Checks the rewrite of responses and error messages, whole and cut, against naive readers.
///
/// The input: a byte that selects the format, lengths of frames, and the response.
pub fn rewrite(input: &[u8]) {
    let Some((&format, input)) = input.split_first() else {
        return;
    };
    if let Some((_, frames)) = frames(input) {
        let format = match format % 7 {
            5 => return oracle::check_error(TextFormat::Json, &frames),
            6 => return oracle::check_error(TextFormat::Plain, &frames),
            0 => ResponseFormat::Json,
            4 => ResponseFormat::Lines,
            1 => ResponseFormat::Events { parent: None },
            2 => ResponseFormat::Events {
                parent: Some("response"),
            },
            _ => ResponseFormat::Events {
                parent: Some("message"),
            },
        };
        oracle::check_rewrite(format, &frames);
    }
}

/// Checks a request through the whole middleware.
pub fn request(input: &[u8]) {
    request::check(input);
}

/// Checks a catalog, and look-ups in it.
pub fn catalog(input: &[u8]) {
    catalog::check(input);
}

/// Checks names, IDs, tags and errors in statistics, headers, the model list and responses.
pub fn names(input: &[u8]) {
    names::check(input);
}

/// Checks the model in a URI.
pub fn uri(input: &[u8]) {
    uri::check(input);
}

/// Checks the operator's aliases, and names that are like them.
pub fn aliases(input: &[u8]) {
    aliases::check(input);
}

/// Checks an encoded request body.
pub fn decode(input: &[u8]) {
    decode::check(input);
}
