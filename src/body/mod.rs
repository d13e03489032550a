//! Bodies: the frames that are held until the model is known, and what the
//! inner service and the client get to read.

mod held;
mod list;
mod patience;
mod reader;
mod response;
mod restoring;
mod routed;

pub(crate) use held::HeldBudget;
pub use list::ModelListBody;
pub(crate) use reader::{ModelReader, Requested};
pub use response::ResponseBody;
pub use routed::RoutedBody;

use bytes::{Buf, Bytes};
use http_body::Frame;

/// Any error, as tower, axum and hyper take it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The frame with its data as `Bytes`, which copies nothing when it is one
/// already. Frames that are neither data nor trailers stay what they are.
fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}
