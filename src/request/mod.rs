//! Requests: which of them are inspected, and their bodies on the way to the inner service.

mod body;
mod endpoints;
mod inspect;
mod prefix_buffer;
mod progress_timeout;
mod reader;

pub use body::RoutedBody;
pub(crate) use endpoints::{EndpointTable, Target, normalize};
pub(crate) use inspect::{BodyFormat, Inspection, inspect};
pub(crate) use prefix_buffer::BufferBudget;
pub(crate) use reader::{ModelReader, Requested};
