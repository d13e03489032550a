//! Replaces an ID by a name wherever it stands in a short text.

use std::{cmp::Ordering, ops::Range};

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// The format of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// JSON: the ID and the name are as in a string literal, without its quotes.
    Json,
    /// Plain text.
    Plain,
}

/// A rewriter that replaces an ID by a name wherever it stands as a word, for error messages.
///
/// The text is held back until it ends. One that is longer than
/// [`MAX_LEN`](Self::MAX_LEN) passes unchanged: what is held back goes on, and the rest as it
/// comes.
///
/// # Examples
///
/// ```
/// use model_scan::rewrite::{IdRewriter, TextFormat};
///
/// let mut rewriter = IdRewriter::new(TextFormat::Json, "0xb603".into(), "gpt-4o".into());
/// assert_eq!(rewriter.push("{\"error\":\"no capacity for 0xb".into()), "");
/// assert_eq!(rewriter.push("603.\"}".into()), "");
/// assert_eq!(rewriter.flush(), "{\"error\":\"no capacity for gpt-4o.\"}");
/// ```
#[derive(Debug)]
pub struct IdRewriter {
    format: TextFormat,
    id: Bytes,
    name: Bytes,
    held: BytesMut,
    passes: bool,
}

impl IdRewriter {
    /// The length of the longest text that is rewritten.
    pub const MAX_LEN: usize = 64 << 10;

    /// Creates a rewriter that replaces `id`, which is not empty, by `name`.
    pub fn new(format: TextFormat, id: Bytes, name: Bytes) -> Self {
        Self {
            format,
            id,
            name,
            held: BytesMut::new(),
            passes: false,
        }
    }

    /// Reads the next bytes of the text, and returns the bytes to send now.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        if self.passes {
            return bytes;
        }
        self.held.extend_from_slice(&bytes);
        if self.held.len() <= Self::MAX_LEN {
            return Bytes::new();
        }
        self.passes = true;
        self.held.split().freeze()
    }

    /// Returns whether no bytes are held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the bytes that are held back, rewritten. To be called when the text has ended, or is
    /// interrupted by trailers or an error.
    pub fn flush(&mut self) -> Bytes {
        self.passes = true;
        let text = self.held.split().freeze();
        let mut out = BytesMut::new();
        let mut copied = 0;
        for start in memmem::find_iter(&text, &self.id) {
            let end = start + self.id.len();
            if !self.is_word(&text, start..end) {
                continue;
            }
            out.extend_from_slice(&text[copied..start]);
            out.extend_from_slice(&self.name);
            copied = end;
        }
        if copied == 0 {
            return text;
        }
        out.extend_from_slice(&text[copied..]);
        out.freeze()
    }

    /// Returns whether no letter, digit, `_` or `-` is next to this part of the text.
    fn is_word(&self, text: &[u8], span: Range<usize>) -> bool {
        self.may_begin_word(&text[..span.start]) && !text.get(span.end).is_some_and(is_part)
    }

    /// Returns whether a word may begin behind this part of the text. An escape in JSON, such as
    /// `\n` or `\u0027`, is no part of a word, and none begins within it.
    fn may_begin_word(&self, before: &[u8]) -> bool {
        let follows_no_word = !before.last().is_some_and(is_part);
        let nearest = before.len().saturating_sub("\\u0027".len());
        let backslash = before[nearest..].iter().rposition(|byte| *byte == b'\\');
        let Some(at) = backslash.filter(|_| self.format == TextFormat::Json) else {
            return follows_no_word;
        };
        let at = nearest + at;
        let run = before[..=at]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\');
        if run.count().is_multiple_of(2) {
            // An escaped backslash.
            return follows_no_word;
        }
        let len = match before.get(at + 1) {
            Some(b'u') => "\\u0027".len(),
            _ => "\\n".len(),
        };
        match (before.len() - at).cmp(&len) {
            Ordering::Less => false,
            Ordering::Equal => true,
            Ordering::Greater => follows_no_word,
        }
    }
}

/// Returns whether a byte is part of a word.
fn is_part(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{random::cuts, rewrite::oracle::check_error};

    fn rewrite(format: TextFormat, text: &str) -> String {
        let run = |size: usize| {
            let mut rewriter = IdRewriter::new(format, "0xb603".into(), "gpt-4o".into());
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                out.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(piece)));
            }
            out.extend_from_slice(&rewriter.flush());
            assert!(rewriter.is_empty());
            String::from_utf8(out).unwrap()
        };
        let whole = run(text.len().max(1));
        assert_eq!(run(1), whole);
        whole
    }

    #[test]
    fn id_is_replaced_where_it_stands_as_a_word() {
        for format in [TextFormat::Json, TextFormat::Plain] {
            for text in [
                "@",
                "{\"model\":\"@\",\"message\":\"(@): '@' @. \\\"@\\\" é@é \"}",
                "/models/@:generate",
                "0xb6033, x0xb603, a-0xb603, 0xb603_1, 0xb60",
                "",
            ] {
                let rewritten = rewrite(format, &text.replace('@', "0xb603"));
                assert_eq!(rewritten, text.replace('@', "gpt-4o"));
            }
        }
    }

    #[test]
    fn escapes_are_no_part_of_a_word_in_json() {
        let text =
            r#"{"message":"a\n0xb603\\n0xb603\u00270xb603\u0027 \\u00270xb603 \u0027a0xb603"}"#;
        let expected =
            r#"{"message":"a\ngpt-4o\\n0xb603\u0027gpt-4o\u0027 \\u00270xb603 \u0027a0xb603"}"#;
        assert_eq!(rewrite(TextFormat::Json, text), expected);
        assert_eq!(rewrite(TextFormat::Plain, text), text);
    }

    #[test]
    fn no_word_begins_within_an_escape() {
        for (id, text) in [
            ("node", r#"{"message":"a\node"}"#),
            ("0027", r"\u0027 \u00270027-"),
        ] {
            let mut rewriter = IdRewriter::new(TextFormat::Json, id.into(), "gpt-4o".into());
            assert_eq!(rewriter.push(text.into()), "");
            assert_eq!(rewriter.flush(), text);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_texts_match_the_oracle(
            text in r#"(n0|\\|\\n|\\u00|\\u0027|0|a|é|\"| |-){0,12}"#,
            cuts in cuts(),
        ) {
            for format in [TextFormat::Json, TextFormat::Plain] {
                check_error(format, &cuts.frames(text.as_bytes()));
            }
        }
    }

    #[test]
    fn long_text_passes() {
        let padding = "x".repeat(IdRewriter::MAX_LEN - 7);
        let longest = format!("{padding} 0xb603");
        let expected = format!("{padding} gpt-4o");
        assert_eq!(rewrite(TextFormat::Plain, &longest), expected);
        let longer = format!("{longest} ");
        assert_eq!(rewrite(TextFormat::Plain, &longer), longer);
    }
}
