//! What the engines that take a block of bytes at once could get wrong.

use super::super::{JsonError, JsonErrorKind, Reason};
use super::{SCANS, check, check_and_read, scan_with};

/// Frames of which the second begins within a nested value, and a block.
fn in_array(frame: &[u8]) -> Vec<&[u8]> {
    vec![b"{\"a\":[", frame]
}

#[test]
fn a_block_of_what_has_no_place_is_refused_at_its_first_byte() {
    for byte in [b'@', b'\\', b'\x0b', b'/', b'v', b'\x80', b'\xff'] {
        let block = [byte; 64];
        let kind = JsonErrorKind::Invalid(Reason::of_unexpected(byte));
        for &way in SCANS {
            let result = scan_with(way, &in_array(&block)).result;
            assert_eq!(result, Err(JsonError::new(kind, 6)), "{byte}");
        }
    }
}

#[test]
fn each_byte_is_in_the_alphabet_or_not_wherever_it_is_in_a_block() {
    for byte in 0..=u8::MAX {
        for place in [0, 1, 31, 32, 62, 63, 64, 127] {
            let mut frame = vec![b' '; 128];
            frame[place] = byte;
            let document = in_array(&frame).concat();
            check(&document, &in_array(&frame));
        }
    }
}

#[test]
fn an_escape_at_the_end_of_a_block_is_over_before_the_block_after_the_next() {
    for padding in 0..64 {
        let spaces = " ".repeat(padding);
        let digits = "1".repeat(128);
        let document = format!("{{\"a\":[{spaces}\"\\{digits}\",1],\"model\":\"x\"}}");
        check(document.as_bytes(), &[document.as_bytes()]);
    }
}

#[test]
fn brackets_within_strings_are_none() {
    for strings in ["\"[\",", "\"]\",", "\"{[\",\"}\","] {
        let strings = strings.repeat(100);
        let document = format!("{{\"a\":[{strings}1],\"model\":\"x\"}}");
        check(document.as_bytes(), &[document.as_bytes()]);
    }
}

#[test]
fn a_stranger_behind_a_string_is_found_wherever_in_a_block_the_string_ends() {
    for padding in 0..130 {
        let (text, rest) = ("x".repeat(padding), "1".repeat(64));
        for end in [r#"",@"#, r#"\"",@"#, r#"\\",@"#] {
            let document = format!("{{\"a\":[\"{text}{end}{rest}]}}");
            let verdict = check_and_read(document.as_bytes(), &[document.as_bytes()]);
            let (_, offset) = verdict.result.unwrap_err();
            assert_eq!(offset, document.find('@').unwrap(), "{document}");
        }
    }
}
