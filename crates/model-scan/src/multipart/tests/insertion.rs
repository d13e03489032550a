//! The part to insert into a form without a model.

use super::super::{is_safe_content, model_part};
use super::*;

#[test]
fn inserted_part_is_the_model() {
    for form in [
        form(&[FILE]),
        form(&[]),
        format!("\r\n{}", form(&[FILE, FILE])),
        "--XyZ--".to_owned(),
    ] {
        let mut scanner = Scanner::new(BOUNDARY.as_bytes()).unwrap();
        scanner.feed(form.as_bytes()).unwrap();
        let at = scanner.insertion().unwrap() as usize;
        let part = model_part(BOUNDARY.as_bytes(), "0x12ab");
        let form = [&form.as_bytes()[..at], &part, &form.as_bytes()[at..]].concat();
        assert_model(form, "0x12ab");
    }
}

#[test]
fn insertion_is_known_with_the_first_boundary() {
    for (preamble, offset) in [("", 0), ("\r\n", 2)] {
        let mut scanner = Scanner::new(BOUNDARY.as_bytes()).unwrap();
        scanner.feed(format!("{preamble}--Xy").as_bytes()).unwrap();
        assert_eq!(scanner.insertion(), None);
        scanner.feed(b"Z").unwrap();
        assert_eq!(scanner.insertion(), Some(offset));
    }
}

#[test]
fn value_with_a_line_end_or_the_boundary_is_not_safe() {
    for value in ["0x12ab", "", "a model", "--", "XyZ", "\u{4f60}\u{597d}"] {
        assert!(is_safe_content(b"XyZ", value), "{value}");
    }
    for value in ["a\r\nb", "a\n", "\r", "a\0", "a--XyZ", "--XyZ--"] {
        assert!(!is_safe_content(b"XyZ", value), "{value:?}");
    }
}

#[test]
#[should_panic(expected = "line end")]
fn model_part_panics_rather_than_end_the_line() {
    model_part(b"XyZ", "a\r\nX: b");
}
