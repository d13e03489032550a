//! Responses: those that the layer makes itself, and what it adds to the inner service's.

mod body;
mod list;
mod model;
mod rejection;
mod rewrite;
mod rewriting;

pub use body::ResponseBody;
pub use list::ModelListBody;
pub use model::ResponseModel;
pub(crate) use rejection::RejectionHook;
pub use rejection::{Rejection, RejectionCode};
pub(crate) use rewrite::Answer;
