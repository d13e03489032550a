//! The access log: a line for each request.

use crate::observe::{End, Observed};

/// The longest name of a client in a line.
const MAX_NAME_CHARS: usize = 128;

/// Logs a request whose response has ended.
pub(crate) fn log(observed: &Observed) {
    let routed = observed.routed.as_ref();
    let requested = routed.and_then(|routed| routed.requested());
    let requested = requested.map(|name| name.chars().take(MAX_NAME_CHARS).collect::<String>());
    tracing::info!(
        model = requested,
        served = routed.map(|routed| routed.name()),
        status = observed.status.map(|status| status.as_u16()),
        bytes = observed.bytes,
        first_byte_seconds = observed.first_byte.map(|it| it.as_secs_f64()),
        seconds = observed.start.elapsed().as_secs_f64(),
        complete = observed.end == End::Complete,
        rejection = observed.rejection.as_ref().map(ToString::to_string),
        "access"
    );
}
