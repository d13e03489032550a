//! The edits: of a model that is there, and of a form without one.

use super::*;
use crate::edit::Edit;

/// Returns the form with its model replaced, or inserted.
fn edited(boundary: &str, form: &str, value: &str) -> Option<String> {
    let mut scanner = MultipartScanner::new(boundary.as_bytes()).unwrap();
    scanner.feed(form.as_bytes()).unwrap();
    let mut form = form.to_owned();
    for Edit { span, bytes } in scanner.edits(value)?.into_iter().flatten() {
        let new = str::from_utf8(&bytes).unwrap();
        form.replace_range(span.start as usize..span.end as usize, new);
    }
    Some(form)
}

#[test]
fn inserted_part_is_the_model() {
    for form in [
        form(&[FILE]),
        form(&[]),
        format!("\r\n{}", form(&[FILE, FILE])),
        "--XyZ--".to_owned(),
    ] {
        let form = edited(BOUNDARY, &form, "0x12ab").unwrap();
        assert_model(form, "0x12ab");
    }
}

#[test]
fn replaced_model_has_its_new_length() {
    let head = format!("{}\r\nContent-Length: 9", MODEL.0);
    let before = form(&[FILE, (&head, "whisper-1")]);
    let after = form(&[FILE, (&head.replace('9', "12"), "a longer one")]);
    assert_eq!(edited(BOUNDARY, &before, "a longer one"), Some(after));
}

#[test]
fn model_in_progress_is_not_edited() {
    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    scanner
        .feed(form(&[MODEL]).split_once("-1").unwrap().0.as_bytes())
        .unwrap();
    assert_eq!(scanner.edits("a"), Some([None, None]));
}

#[test]
fn insertion_is_known_with_the_first_boundary() {
    for (preamble, offset) in [("", 0), ("\r\n", 2)] {
        let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
        scanner.feed(format!("{preamble}--Xy").as_bytes()).unwrap();
        assert_eq!(scanner.edits("a"), Some([None, None]));
        scanner.feed(b"Z").unwrap();
        assert_eq!(scanner.insertion(), Some(offset));
    }
}

#[test]
fn value_with_a_control_character_or_the_boundary_is_unsafe() {
    for value in ["0x12ab", "", "a model", "--", "Xy", "\u{4f60}\u{597d}"] {
        let form = edited(BOUNDARY, &form(&[FILE]), value).unwrap();
        assert_model(form, value);
    }
    for value in ["a\r\nb", "a\n", "\r", "a\0", "a--XyZ", "XyZ", "aXyZb"] {
        assert_eq!(edited(BOUNDARY, &form(&[MODEL]), value), None, "{value:?}");
    }
}
