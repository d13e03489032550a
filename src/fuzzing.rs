//! What the targets in `fuzz/` call, where it is private. No part of the API.

use crate::{json, multipart, restore};

/// See [`json::check::check`].
pub fn json(document: &[u8], frames: &[&[u8]]) {
    json::check::check(document, frames);
}

/// See [`multipart::check::check`].
pub fn multipart(boundary: &str, form: &[u8], frames: &[&[u8]]) {
    multipart::check::check(boundary, form, frames);
}

/// See [`restore::check::check`]. `parent` is that of events, if it is events.
pub fn restore(events: Option<Option<&'static str>>, frames: &[&[u8]]) {
    let format = match events {
        None => restore::AnswerFormat::Json,
        Some(parent) => restore::AnswerFormat::Events { parent },
    };
    restore::check::check(format, frames);
}
