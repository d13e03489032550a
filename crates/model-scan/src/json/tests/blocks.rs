//! Edge cases of the engines that consume a block of bytes at once.

use super::super::{JsonError, JsonErrorKind, Reason};
use super::{SCANS, check, check_and_scan, scan_with};

/// Frames of which the second begins within a nested value, and a block.
fn in_array(frame: &[u8]) -> Vec<&[u8]> {
    vec![b"{\"a\":[", frame]
}

#[test]
fn blocks_of_invalid_bytes_are_rejected_at_their_first_byte() {
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
fn bytes_are_classified_anywhere_in_a_block() {
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
fn escapes_at_the_end_of_a_block_end_in_the_next() {
    for padding in 0..64 {
        let spaces = " ".repeat(padding);
        let digits = "1".repeat(128);
        let document = format!("{{\"a\":[{spaces}\"\\{digits}\",1],\"model\":\"x\"}}");
        check(document.as_bytes(), &[document.as_bytes()]);
    }
}

#[test]
fn unicode_escapes_have_four_digits_anywhere_in_a_block() {
    let rest = "1".repeat(64);
    for padding in 48..64 {
        let spaces = " ".repeat(padding);
        for digits in ["", "0", "00", "000", "0000"] {
            for next in ["", r"\n", r"\\", r"\u0022", r"\u", "\u{e9}"] {
                let frame = format!("{spaces}\"\\u{digits}{next}{rest}\",1],\"model\":\"x\"}}");
                let frames = in_array(frame.as_bytes());
                check(&frames.concat(), &frames);
            }
        }
    }
}

#[test]
fn brackets_in_strings_do_not_count() {
    for strings in ["\"[\",", "\"]\",", "\"{[\",\"}\","] {
        let strings = strings.repeat(100);
        let document = format!("{{\"a\":[{strings}1],\"model\":\"x\"}}");
        check(document.as_bytes(), &[document.as_bytes()]);
    }
}

#[test]
fn non_json_bytes_after_a_string_are_found_anywhere_in_a_block() {
    for padding in 0..130 {
        let (text, rest) = ("x".repeat(padding), "1".repeat(64));
        for end in [r#"",@"#, r#"\"",@"#, r#"\\",@"#] {
            let document = format!("{{\"a\":[\"{text}{end}{rest}]}}");
            let outcome = check_and_scan(document.as_bytes(), &[document.as_bytes()]);
            let offset = outcome.result.unwrap_err().offset() as usize;
            assert_eq!(offset, document.find('@').unwrap(), "{document}");
        }
    }
}
