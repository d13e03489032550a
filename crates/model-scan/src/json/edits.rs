//! The edit after which a document names another model.

use bytes::Bytes;

use super::{Insertion, JsonScanner, Model};
use crate::edit::Edit;

impl JsonScanner {
    /// Returns the edit after which the model is this string literal.
    pub(crate) fn edit(&self, literal: &Bytes) -> Option<Edit> {
        match self.model() {
            Model::Unseen => self.insertion().map(|at| insert_member(at, literal)),
            Model::Pending | Model::Other { .. } => None,
            Model::String { start, end, .. } | Model::Null { start, end } => Some(Edit {
                span: start..end,
                bytes: literal.clone(),
            }),
        }
    }
}

fn insert_member(
    Insertion {
        at,
        object_is_empty,
    }: Insertion,
    literal: &[u8],
) -> Edit {
    let comma: &[u8] = if object_is_empty { b"" } else { b"," };
    Edit {
        span: at..at,
        bytes: [b"\"model\":", literal, comma].concat().into(),
    }
}
