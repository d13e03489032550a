//! Part heads, line by line, and the headers that a `model` part may have.

use super::*;

/// Returns a `model` part with another header.
fn model_with(header: &str) -> String {
    form(&[(&format!("{}\r\n{header}", MODEL.0), MODEL.1), FILE])
}

/// Returns a file with another header, then a model.
fn file_with(header: &str) -> String {
    form(&[(&format!("{}\r\n{header}", FILE.0), FILE.1), MODEL])
}

#[test]
fn other_headers_are_accepted() {
    for header in [
        "X-Anything: \"; name=model",
        "X:y",
        "Content-ID: <a@b>",
        "a:\tb\tc",
    ] {
        assert_model(file_with(header), "whisper-1");
        assert_model(model_with(header), "whisper-1");
    }
}

#[test]
fn header_without_a_value_is_rejected() {
    for header in [
        "X:",
        "Content-Type: ",
        "Content-Length:\t",
        "Content-Transfer-Encoding:",
    ] {
        let form = file_with(header);
        let offset = form.find(&format!("{header}\r\n")).unwrap() + header.len();
        assert_invalid(form, Reason::HeaderSyntax, offset);
    }
}

#[test]
fn disposition_may_follow_other_headers() {
    let head = format!("Content-Type: text/plain\r\n{}\r\nX: y", MODEL.0);
    assert_model(form(&[FILE, (&head, "whisper-1")]), "whisper-1");
}

#[test]
fn part_without_a_disposition_is_rejected() {
    assert_invalid("--XyZ\r\n\r\nabc\r\n--XyZ--", Reason::MissingDisposition, 7);
    let form = form(&[("X: y", "abc"), MODEL]);
    assert_invalid(form, Reason::MissingDisposition, 13);
}

#[test]
fn headers_given_twice_are_rejected() {
    for header in [
        "content-disposition: form-data; name=\"x\"",
        "Content-disposition: form-data; name=\"model\"",
    ] {
        assert_invalid_at(model_with(header), Reason::RepeatedHeader, header);
    }
    assert_invalid_at(
        file_with("Content-type: a/b"),
        Reason::RepeatedHeader,
        "Content-type",
    );
    let lengths = file_with("Content-Length: 1\r\nContent-length: 1");
    assert_invalid_at(lengths, Reason::RepeatedHeader, "Content-length");
}

#[test]
fn disposition_or_type_within_another_header_is_rejected() {
    // Rack searches the whole head for them.
    for header in [
        "X: Content-Disposition: form-data; name=\"model\"",
        "X-content-disposition: form-data; name=\"model\"",
        "X: content-type: text/plain; charset=utf-16",
        "X-Content-Type: text/plain; charset=utf-16",
    ] {
        assert_invalid_at(file_with(header), Reason::RepeatedHeader, header);
    }
}

#[test]
fn folded_header_is_rejected() {
    for fold in [" ", "\t"] {
        let folded = format!("X: y\r\n{fold}; name=model");
        assert_invalid_at(file_with(&folded), Reason::FoldedHeader, &folded[6..]);
    }
    let first = form(&[(" Content-Disposition: form-data; name=model", "x")]);
    assert_invalid(first, Reason::FoldedHeader, 7);
    let blank = form(&[(&format!("{}\r\n ", MODEL.0), "x")]);
    assert_invalid_at(blank, Reason::FoldedHeader, " \r\n\r\n");
}

#[test]
fn bare_line_ends_in_a_head_are_rejected() {
    // Go and Werkzeug end the line at an LF, Werkzeug at a CR, python-multipart at neither.
    for (header, at) in [
        ("X: y\nZ: z", "\nZ"),
        ("X: y\rZ: z", "\rZ"),
        ("X: y\r", "\r\r\n"),
    ] {
        assert_invalid_at(file_with(header), Reason::BareLineEnd, at);
    }
    let form = file_with("X: y").replace("X: y\r\n\r\n", "X: y\n\n");
    assert_invalid_at(form, Reason::BareLineEnd, "\n\nID3");
    let form = file_with("X: y").replace("X: y\r\n\r\n", "X: y\r\n\n");
    let offset = form.find("\nID3").unwrap();
    assert_invalid(form, Reason::BareLineEnd, offset);
}

#[test]
fn control_characters_in_a_head_are_rejected() {
    for bad in [
        "\0", "\x0b", "\x0c", "\x1c", "\x1f", "\x7f", "\u{85}", "\u{2028}", "\u{2029}",
    ] {
        let form = file_with(&format!("X: a{bad}name: b"));
        assert_invalid_at(form, Reason::ControlCharacter, &format!("{bad}name"));
    }
}

#[test]
fn head_that_is_not_utf_8_is_rejected() {
    for bad in [b"mod\xffel".as_slice(), b"mod\xc3", b"\xed\xa0\x80"] {
        let form = file_with("X: @");
        let at = form.find('@').unwrap();
        let form = [&form.as_bytes()[..at], bad, &form.as_bytes()[at + 1..]].concat();
        let valid = std::str::from_utf8(bad).unwrap_err().valid_up_to();
        assert_invalid(form, Reason::HeadEncoding, at + valid);
    }
}

#[test]
fn line_that_is_not_a_header_is_rejected() {
    for (header, rest) in [
        ("nothing", 7),
        (": value", 0),
        ("X : y", 1),
        ("X y: z", 1),
        ("\"X\": y", 0),
        ("Content-Disposition : form-data; name=\"model\"", 19),
        ("X\u{e9}: y", 1),
        // multipart for Python reads no part after these.
        ("': y", 0),
        ("X.Y: z", 1),
        // blacksheep reads no part after these.
        ("--: y", 0),
        ("_X: y", 0),
    ] {
        let form = file_with(header);
        let offset = form.find(header).unwrap() + rest;
        assert_invalid(form, Reason::HeaderSyntax, offset);
    }
}

#[test]
fn head_is_limited_to_4_kib() {
    let fill = |len: usize| {
        let head = MODEL.0.len() + 2 + "X: ".len() + 4;
        model_with(&format!("X: {}", "y".repeat(len - head)))
    };
    const MAX_HEAD: usize = 4 * 1024;
    assert_model(fill(MAX_HEAD), "whisper-1");
    assert_invalid(fill(MAX_HEAD + 1), Reason::HeadTooLong, 7 + MAX_HEAD);
    assert_invalid(fill(MAX_HEAD + 2), Reason::HeadTooLong, 7 + MAX_HEAD);
    assert_invalid(fill(MAX_HEAD * 2), Reason::HeadTooLong, 7 + MAX_HEAD);
}

#[test]
fn head_is_limited_to_8_headers() {
    let headers = |count: usize| {
        (1..count)
            .map(|i| format!("X{i}:y\r\n"))
            .collect::<String>()
    };
    let form = |count| form(&[(&(headers(count) + MODEL.0), "whisper-1")]);
    assert_model(form(8), "whisper-1");
    assert_invalid_at(form(9), Reason::HeadTooLong, "Content-Disposition");
}

#[test]
fn model_may_be_plain_text_in_utf_8() {
    for kind in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "text/plain; charset=\"utf-8\"",
        "text/plain; Charset=US-ASCII",
        "text/plain; charset=utf8",
    ] {
        assert_model(model_with(&format!("Content-Type: {kind}")), "whisper-1");
    }
}

#[test]
fn model_of_any_other_type_is_rejected() {
    for kind in [
        "application/octet-stream",
        "application/json",
        "text/html",
        "text/plainer",
        "Text/plain",
        "text/plain; format=flowed",
        "text/plain;",
        "text/plain ; charset=utf-8",
        "text/plain; charset=utf-8; charset=utf-8",
        "text",
        "\"text/plain\"",
    ] {
        let form = model_with(&format!("Content-Type:{kind}"));
        let offset = form.find("Type:").unwrap() + 5;
        assert_invalid(form, Reason::ModelType, offset);
    }
}

#[test]
fn part_may_have_an_identity_transfer_encoding() {
    for encoding in ["7bit", "8bit", "binary", "8BIT", " Binary "] {
        let header = format!("content-transfer-encoding: {encoding}");
        assert_model(model_with(&header), "whisper-1");
        assert_model(file_with(&header), "whisper-1");
    }
}

#[test]
fn other_transfer_encodings_are_rejected() {
    for encoding in ["quoted-printable", "Quoted-Printable", "base64", "x"] {
        let header = format!("Content-Transfer-Encoding: {encoding}");
        for form in [model_with(&header), file_with(&header)] {
            let offset = form.find("ncoding: ").unwrap() + 9;
            assert_invalid(form, Reason::TransferEncoding, offset);
        }
    }
}

#[test]
fn encoded_model_is_rejected() {
    for header in ["Content-Encoding: gzip", "Transfer-Encoding: chunked"] {
        let form = model_with(header);
        let offset = form.find("ncoding: ").unwrap() + 9;
        assert_invalid(form, Reason::ModelEncoding, offset);
    }
}

#[test]
fn model_with_a_file_name_in_another_header_is_rejected() {
    for value in [";filename=x", "a; FileName*=utf-8''x", "\"; filename=\""] {
        let header = format!("X: {value}");
        assert_invalid_at(model_with(&header), Reason::ModelParameter, value);
        assert_model(file_with(&header), "whisper-1");
    }
}

/// Returns a form with a part of this type, then a model.
fn typed(kind: &str) -> String {
    let head = format!("Content-Disposition: form-data; name=\"x\"\r\nContent-Type: {kind}");
    form(&[(&head, "&model=x&"), MODEL])
}

#[test]
fn part_that_readers_decode_is_rejected() {
    for kind in [
        "multipart/mixed; boundary=in",
        "Multipart/form-data",
        "message/rfc822",
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-URLEncoded; x=y",
        "\"multipart/mixed\"",
    ] {
        assert_invalid_at(typed(kind), Reason::DecodedType, kind);
    }
}

#[test]
fn part_with_a_charset_other_than_utf_8_is_rejected() {
    for kind in [
        "text/plain; charset=utf-16",
        "text/plain;charset=utf-7",
        "audio/mpeg; charset=ISO-8859-1",
        "text/plain; charset*=utf-8''utf-8",
        "text/plain; charset*0=utf-8",
        "text/plain; charset=utf-8; charset=utf-7",
        "text/plain;  charset=utf-8",
        "text/plain; charset = utf-8",
        "text/plain; charset=",
    ] {
        assert_invalid_at(typed(kind), Reason::PartCharset, kind);
    }
}

#[test]
fn part_may_have_any_other_type() {
    for kind in [
        "text/plain; charset=utf-8",
        "text/csv;header=present;charset=\"UTF-8\"",
        "audio/webm;codecs=opus",
        "application/json",
        "x",
    ] {
        assert_model(typed(kind), "whisper-1");
    }
}

#[test]
fn content_length_must_be_right() {
    let file = |length: &str| file_with(&format!("Content-Length: {length}"));
    let right = FILE.1.len().to_string();
    assert_model(file(&right), "whisper-1");
    for wrong in [
        &format!("0{right}"),
        &format!("{right} "),
        "0",
        "5",
        "100000",
        "-1",
        "+5",
        "5 5",
        "0x5",
        "99999999999999999999999",
    ] {
        let form = file(wrong);
        let offset = form.find("Length: ").unwrap() + 8;
        assert_invalid(form, Reason::ContentLength, offset);
    }
}

#[test]
fn content_length_of_the_model_is_reported() {
    let form = model_with("Content-Length: 9");
    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    let content = form.find("whisper").unwrap();
    scanner.feed(&form.as_bytes()[..content]).unwrap();
    let at = form.find("9\r\n").unwrap() as u64;
    assert_eq!(scanner.model(), Model::Pending);
    assert_eq!(scanner.model_length(), Some((at, at + 1)));

    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    scanner.feed(self::form(&[FILE, MODEL]).as_bytes()).unwrap();
    assert_eq!(scanner.model_length(), None);
}
