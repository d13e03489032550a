//! Responses: the layer's own, and what it changes in those of the inner service.

mod body;
mod dialect;
mod error;
mod list;
mod model;
mod rejection;
mod rewrite;
mod rewriting;

pub use self::{
    body::ResponseBody,
    error::error_response,
    list::ModelListBody,
    model::ResponseModel,
    rejection::{Rejection, RejectionCode},
};
pub(crate) use self::{
    dialect::{Dialect, ErrorObject},
    error::error_response_in,
    rejection::RejectionHook,
    rewrite::{IdLookup, ResponseChanges, ResponseRewrite},
};
