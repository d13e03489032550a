//! Requests: which of them are inspected, and their bodies on the way to the inner service.

mod body;
mod content_type;
mod endpoints;
mod inspect;
mod prefix_buffer;
mod progress_timeout;
mod reader;
mod uri_template;

pub use self::body::RoutedBody;
pub(crate) use self::{
    endpoints::{EndpointTable, Target},
    inspect::{BodyFormat, Inspected, Inspection, inspect},
    prefix_buffer::{BufferBudget, Reservation},
    reader::{ModelReader, Requested},
    uri_template::{UriModel, UriTemplate, UriTemplates},
};
