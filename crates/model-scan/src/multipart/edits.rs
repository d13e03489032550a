//! The edits after which a form names another model.

use bytes::Bytes;
use memchr::memmem;

use super::{Model, MultipartScanner};
use crate::edit::{Edit, Edits};

/// The head of a `model` part that is inserted.
const HEAD: &[u8] = b"Content-Disposition: form-data; name=\"model\"";

impl MultipartScanner {
    /// Returns the edits after which the model is `value`; `None` if a server could read more or
    /// less than `value` in a part with that content.
    pub(crate) fn edits(&self, value: &str) -> Option<Edits> {
        if !self.is_safe_content(value) {
            return None;
        }
        Some(match self.model() {
            Model::Unseen if self.lookalikes.split(HEAD).is_some() => return None,
            Model::Unseen => [self.insertion().map(|at| self.insert_part(at, value)), None],
            Model::Pending => [None, None],
            Model::Value { start, end } => {
                let length = self.model_length().map(|(start, end)| Edit {
                    span: start..end,
                    bytes: value.len().to_string().into(),
                });
                let content = Edit {
                    span: start..end,
                    bytes: Bytes::copy_from_slice(value.as_bytes()),
                };
                [Some(content), length]
            }
        })
    }

    /// Returns a whole `model` part: delimiter line, head, content, CRLF.
    fn insert_part(&self, at: u64, value: &str) -> Edit {
        let part = [
            self.delimiter.needle(),
            b"\r\n",
            HEAD,
            b"\r\n\r\n",
            value.as_bytes(),
            b"\r\n",
        ];
        Edit {
            span: at..at,
            bytes: part.concat().into(),
        }
    }

    /// Returns whether the value has no control character, and nothing that ends it early.
    fn is_safe_content(&self, value: &str) -> bool {
        !value.chars().any(char::is_control)
            && memmem::find(value.as_bytes(), self.delimiter.needle()).is_none()
            && self.lookalikes.split(value.as_bytes()).is_none()
    }
}
