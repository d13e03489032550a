//! A naive reader of whole responses.

use std::ops::Range;

use crate::{
    edit::ValueKind,
    json::{
        Model,
        oracle::{Verdict, read},
    },
    rewrite::ResponseFormat,
};

/// A string literal that names a model.
#[derive(Debug)]
pub(super) struct Literal {
    pub(super) span: Range<usize>,
    /// Whether it must be replaced. If the document is invalid further on, that depends on how it
    /// is cut.
    pub(super) must_change: bool,
}

/// Returns the literals of a response, in their order.
pub(super) fn literals(format: ResponseFormat, response: &[u8]) -> Vec<Literal> {
    documents(format, response)
        .iter()
        .flat_map(|document| {
            let found = models(format, &document.bytes).into_iter();
            found.filter_map(|(verdict, at, is_whole)| match verdict.model {
                Model::String { start, end, .. } => Some(Literal {
                    span: document.place(at + start)..document.place(at + end - 1) + 1,
                    must_change: is_whole,
                }),
                _ => None,
            })
        })
        .collect()
}

/// Returns whether a model has begun and is not complete at the end of this part of a response.
pub(super) fn is_pending(format: ResponseFormat, response: &[u8]) -> bool {
    let documents = documents(format, response);
    documents.last().is_some_and(|document| {
        let models = models(format, &document.bytes);
        models
            .iter()
            .any(|(verdict, ..)| verdict.model == Model::Pending)
    })
}

/// Returns the verdict on each model of a document, in their order, with the offset of the object
/// that it is in, and whether all that it depends on is valid.
fn models(format: ResponseFormat, document: &[u8]) -> Vec<(Verdict, u64, bool)> {
    let top = read(document, Some("model"));
    let mut found = vec![(top, 0, top.result.is_ok())];
    if let ResponseFormat::Events {
        parent: Some(parent),
    } = format
    {
        let outer = read(document, Some(parent));
        if let Model::Other {
            start,
            kind: ValueKind::Object,
        } = outer.model
        {
            let inner = read(&document[start as usize..], Some("model"));
            let is_whole = outer.result.is_ok() && inner.complete;
            found.push((inner, start, is_whole));
        }
    }
    found.sort_by_key(|(verdict, at, _)| match verdict.model {
        Model::String { start, .. } => at + start,
        _ => 0,
    });
    found
}

/// A document, and the offsets of its lines in the response.
#[derive(Default)]
struct Document {
    bytes: Vec<u8>,
    /// The offsets of each line in the document and in the response.
    lines: Vec<(usize, usize)>,
}

impl Document {
    fn push_line(&mut self, line: &[u8], at: usize) {
        if !self.lines.is_empty() {
            self.bytes.push(b'\n');
        }
        self.lines.push((self.bytes.len(), at));
        self.bytes.extend_from_slice(line);
    }

    /// Returns the offset in the response of an offset in the document.
    fn place(&self, offset: u64) -> usize {
        let offset = offset as usize;
        let before = self.lines.iter().rev().find(|(begin, _)| *begin <= offset);
        let (begin, at) = before.expect("the first line begins at 0");
        at + offset - begin
    }
}

/// Returns the documents of a response: the response itself, its lines, or the data of each event. The last
/// one is that at the end of the response; it may be empty.
fn documents(format: ResponseFormat, response: &[u8]) -> Vec<Document> {
    let mut documents = vec![Document::default()];
    if format == ResponseFormat::Json {
        documents[0].push_line(response, 0);
        return documents;
    }
    if format == ResponseFormat::Lines {
        let mut at = 0;
        for line in response.split(|&byte| byte == b'\n') {
            documents.push(Document::default());
            if let Some(document) = documents.last_mut() {
                document.push_line(line, at);
            }
            at += line.len() + 1;
        }
        return documents;
    }
    let has_bom = response.starts_with("\u{feff}".as_bytes());
    let mut at = if has_bom { 3 } else { 0 };
    while at < response.len() {
        let rest = &response[at..];
        let len = rest.iter().position(|b| b"\r\n".contains(b));
        let line = &rest[..len.unwrap_or(rest.len())];
        if let (Some(document), Some(value)) = (documents.last_mut(), line.strip_prefix(b"data:")) {
            let space = usize::from(value.starts_with(b" "));
            document.push_line(&value[space..], at + b"data:".len() + space);
        }
        if line.is_empty() {
            documents.push(Document::default());
        }
        at += line.len();
        at += if response[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
    }
    // A line that has ended leaves no model pending.
    if response.ends_with(b"\n") || response.ends_with(b"\r") {
        documents.push(Document::default());
    }
    documents
}
