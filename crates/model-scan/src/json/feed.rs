//! Feeds the scanner by the best available engine.

#[cfg(not(feature = "simd"))]
use super::engine::Bytewise;
#[cfg(feature = "simd")]
use super::simd;
use super::{error::JsonError, scanner::JsonScanner};

impl JsonScanner {
    /// Scans the next bytes of the document, however many.
    ///
    /// The error does not depend on how the document is cut, and every later call returns it again.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), JsonError> {
        #[cfg(feature = "simd")]
        return self.feed_with(bytes, simd::scan);
        #[cfg(not(feature = "simd"))]
        return self.feed_with(bytes, |scanner, bytes| scanner.scan(Bytewise, bytes));
    }
}
