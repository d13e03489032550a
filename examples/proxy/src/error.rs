//! Errors with their causes.

use std::{error::Error, fmt, io, iter};

/// Iterates over an error and its causes.
pub(crate) fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// Finds an error of this type among an error, its causes, and what they wrap as `io::Error`.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let next = |error: &'a (dyn Error + 'static)| match error.downcast_ref::<io::Error>() {
        // Its source is the source of the wrapped error.
        Some(error) => error.get_ref().map(|wrapped| wrapped as _),
        None => error.source(),
    };
    iter::successors(Some(error), |&error| next(error)).find_map(|error| error.downcast_ref())
}

/// Displays an error and its causes on one line.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, error) in chain(self.0).enumerate() {
            let separator = if depth == 0 { "" } else { ": " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}
