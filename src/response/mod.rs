//! Responses: those that the layer makes itself, and what it adds to the inner service's.

mod body;
mod list;
mod rejection;
mod rewrite;
mod rewriting;

pub use body::ResponseBody;
pub use list::ModelListBody;
pub(crate) use rejection::RejectionHook;
pub use rejection::{Rejection, RejectionCode};
pub(crate) use rewrite::ResponseRewrite;
