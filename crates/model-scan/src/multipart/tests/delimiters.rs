//! Boundaries, delimiter lines, preamble and epilogue (RFC 2046, section 5.1.1).

use super::*;

#[track_caller]
fn assert_bad_boundary(boundary: &[u8], offset: u64) {
    let error = MultipartScanner::new(boundary).unwrap_err();
    assert_eq!(error, MultipartError::invalid(Reason::Boundary, offset));
}

#[test]
fn boundary_may_have_seventy_bchars() {
    let all = "()+_-./:?09azAZ";
    let form = form(&[FILE, MODEL]).replace(BOUNDARY, all);
    assert!(scan_with(all, form).unwrap().is_some());
    assert!(MultipartScanner::new(&[b'x'; 70]).is_ok());
    assert_bad_boundary(&[b'x'; 71], 70);
}

#[test]
fn other_boundaries_are_rejected() {
    assert_bad_boundary(b"", 0);
    assert_bad_boundary(b"ab\r\n", 2);
    for bad in [
        "a b", "a ", "a,b", "a'b", "a=b", "a\0", "a\"", "a\\", "a;", "a*", "a@", "a[", "a\t",
        "a\u{e9}",
    ] {
        assert_bad_boundary(bad.as_bytes(), 1);
    }
}

#[test]
fn boundary_may_have_dashes_but_not_only() {
    for boundary in ["a--", "--a", "--a--", "a-a"] {
        let form = form(&[MODEL, FILE]).replace(BOUNDARY, boundary);
        let form = form.replace("\r\n--\r\n--Xy", "");
        let form = form.replace("whisper", "tts").replace("sound", "");
        assert!(scan_with(boundary, form).unwrap().is_some(), "{boundary}");
    }
    // Sanic splits at the first two dashes of `----`.
    for boundary in ["-", "--", "-----"] {
        assert_bad_boundary(boundary.as_bytes(), 0);
    }
}

#[test]
fn one_empty_line_may_come_before_the_first_delimiter() {
    assert_model(format!("\r\n{}", form(&[FILE, MODEL])), "whisper-1");
}

#[test]
fn any_other_preamble_is_rejected() {
    let form = form(&[MODEL]);
    for (preamble, offset) in [
        ("\n", 0),
        ("\r", 1),
        ("\r\n\r\n", 2),
        (" ", 0),
        (
            "This is a message with multiple parts in MIME format.\r\n",
            0,
        ),
        ("--other\r\n", 2),
        ("-", 2),
        ("\u{feff}", 0),
    ] {
        assert_invalid(format!("{preamble}{form}"), Reason::Preamble, offset);
    }
}

#[test]
fn delimiter_line_that_ends_in_a_bare_line_end_is_rejected() {
    // Werkzeug accepts all of these, Go an LF-only form.
    let form = form(&[MODEL, FILE]);
    assert_invalid(
        form.replacen("XyZ\r\n", "XyZ\n", 1),
        Reason::DelimiterLine,
        5,
    );
    assert_invalid(
        form.replacen("XyZ\r\n", "XyZ\r", 1),
        Reason::DelimiterLine,
        6,
    );
    assert_invalid(form.replace("\r\n", "\n"), Reason::DelimiterLine, 5);
    let second = form.replacen("\r\n--XyZ\r\n", "\r\n--XyZ\n", 1);
    let offset = second.find("--XyZ\n").unwrap() + 5;
    assert_invalid(second, Reason::DelimiterLine, offset);
}

#[test]
fn padding_after_a_delimiter_is_rejected() {
    // A delimiter for Go and Werkzeug, content for busboy and formidable.
    for padding in [" ", "\t", "  \t"] {
        let form = form(&[MODEL, FILE]);
        let first = form.replacen("XyZ", &format!("XyZ{padding}"), 1);
        assert_invalid(first, Reason::DelimiterPadding, 5);
        let close = form.replace("XyZ--", &format!("XyZ{padding}--"));
        let offset = close.rfind("XyZ").unwrap() + 3;
        assert_invalid(close, Reason::DelimiterPadding, offset);
    }
}

#[test]
fn longer_boundary_within_content_is_rejected() {
    for tail in ["X", "-X", "-\r\n", "\rX", "\0", "\r\r\n"] {
        let content = format!("abc\r\n--XyZ{tail} def");
        let form = form(&[(FILE.0, &content), MODEL]);
        let offset = form.find("abc").unwrap() + "abc\r\n--XyZ".len();
        let skipped = usize::from(tail.len() > 1);
        assert_invalid(form, Reason::DelimiterLine, offset + skipped);
    }
}

#[test]
fn boundary_within_content_that_is_not_a_line_of_its_own_is_rejected() {
    // Werkzeug accepts a bare CR or LF before it, PHP a bare LF, Django and Tornado anything.
    for before in [
        "abc\n",
        "abc\r",
        "abc",
        "abc ",
        "abc\r\n-",
        "abc\r\n\t",
        "\n",
        "\r",
    ] {
        for after in ["\r\n", "\n", "--", "X"] {
            let content = format!("{before}--XyZ{after}");
            let form = form(&[(FILE.0, &content), MODEL]);
            let offset = form.find(&content).unwrap() + before.len();
            assert_invalid(form, Reason::DelimiterInContent, offset);
        }
    }
}

#[test]
fn line_that_begins_with_the_boundary_is_rejected() {
    for (before, line) in [
        ("abc\r\n", "XyZ"),
        ("abc\r\n", "XyZ--\r\n"),
        ("abc\n", "XyZabc"),
        ("abc\r", "XyZ"),
        ("", "XyZ"),
        ("XyYXyZ\r\n", "XyZ"),
    ] {
        let form = form(&[(FILE.0, &format!("{before}{line}")), MODEL]);
        let offset = form.find("audio/mpeg\r\n\r\n").unwrap() + 14 + before.len();
        assert_invalid(form, Reason::DelimiterInContent, offset);
    }
    let head = form(&[(&format!("{}\r\nXyZ: a", FILE.0), ""), MODEL]);
    assert_invalid_at(head, Reason::DelimiterInHead, "XyZ: a");
}

#[test]
fn part_after_a_boundary_without_dashes_is_rejected() {
    // Sanic splits a form at the boundary alone.
    let part = "Content-Disposition: form-data; name=\"model\"\r\n\r\nother\r\n--";
    for (content, place) in [
        (
            format!("abcXyZ\r\n{part}"),
            "Content-Disposition: form-data; name=\"model\"\r\n\r\nother",
        ),
        (
            format!("abcXyZ..X: y\r\n{}", part.to_lowercase()),
            "content-disposition",
        ),
        (
            format!("abcXyZXyZ{}content-DISPOSITION", "x".repeat(300)),
            "content-DISPOSITION",
        ),
    ] {
        assert_invalid_at(
            form(&[(FILE.0, &content), MODEL]),
            Reason::DelimiterInContent,
            place,
        );
    }
}

#[test]
fn delimiter_with_line_ends_within_it_is_rejected() {
    // parse-multipart-data overlooks a CR or an LF by itself.
    for (head, content) in [
        (FILE.0, "--X\ryZb"),
        (MODEL.0, "gpt\r\nb--X\n\nyZb"),
        (FILE.0, "-\n\r-XyZb"),
        (
            FILE.0,
            "-\r-XyZb\r\nCon\rtent-Disposition: form-data; name=\"model\"",
        ),
    ] {
        let form = form(&[(head, content)]);
        assert_invalid_at(form, Reason::DelimiterInContent, "Zb");
    }
    for content in ["--X\r\nyZb", "--X\r\r\nyZb", "-X\nyZ", "--Xy\n"] {
        assert_model(form(&[(FILE.0, content), MODEL]), "whisper-1");
    }
}

#[test]
fn first_of_two_errors_that_overlap_is_reported_however_the_form_is_cut() {
    for (boundary, content, place) in [
        // A broken delimiter, and a delimiter within a line.
        ("b--", "x--b\r--b--", "-b--\r\n--b----"),
        // A line that begins with the boundary, and a delimiter within it.
        ("a--a", "x\na--a--a", "a--a--a"),
    ] {
        let form = form(&[(FILE.0, content)]).replace(BOUNDARY, boundary);
        let offset = form.find(place).unwrap() as u64;
        let error = MultipartError::invalid(Reason::DelimiterInContent, offset);
        assert_eq!(scan_with(boundary, form), Err(error));
    }
}

#[test]
fn boundary_within_a_line_is_content() {
    for content in [
        "abcXyZ",
        " XyZ\r\n-XyZ",
        "content-disposition: XyZ content-type:",
    ] {
        assert_model(
            form(&[(FILE.0, content), MODEL, (FILE.0, "Content-Disposition:")]),
            "whisper-1",
        );
    }
}

#[test]
fn boundary_within_the_model_is_rejected() {
    // Sanic would end the model there.
    let model = (MODEL.0, "gpt-4-XyZ-mini");
    assert_invalid_at(form(&[model, FILE]), Reason::DelimiterInContent, "XyZ-mini");
    // One character is in most IDs.
    let form = form(&[model]).replace("--XyZ", "--4");
    assert!(scan_with("4", form).unwrap().is_some());
}

#[test]
fn delimiter_right_after_a_head_is_rejected() {
    // Go and Werkzeug read an empty part.
    for after in ["\r\n", "--\r\n"] {
        let form = format!("--XyZ\r\n{}\r\n\r\n--XyZ{after}", MODEL.0);
        assert_invalid(
            &form,
            Reason::DelimiterInContent,
            form.rfind("--XyZ").unwrap(),
        );
    }
}

#[test]
fn delimiter_within_a_head_is_rejected() {
    let form = form(&[
        ("Content-Disposition: form-data; name=\"a--XyZb\"", ""),
        MODEL,
    ]);
    assert_invalid_at(form, Reason::DelimiterInHead, "--XyZb");
    let twice = format!("--XyZ\r\n{}", self::form(&[MODEL]));
    assert_invalid(twice, Reason::DelimiterInHead, 7);
}

#[test]
fn boundary_within_a_head_is_rejected() {
    // Sanic splits the form there.
    for header in ["X: aXyZb", "aXyZ: b"] {
        for part in [FILE, MODEL] {
            let form = form(&[(&format!("{}\r\n{header}", part.0), part.1)]);
            let offset = form.find(header).unwrap() + header.find("XyZ").unwrap();
            assert_invalid(form, Reason::DelimiterInHead, offset);
        }
    }
    // One character is in every head.
    let form = form(&[MODEL]).replace("--XyZ", "--o");
    assert!(scan_with("o", form).unwrap().is_some());
}

#[test]
fn form_without_parts_is_accepted() {
    assert_eq!(scan("--XyZ--"), Ok(None));
    assert_eq!(scan("--XyZ--\r\n"), Ok(None));
    assert_eq!(scan("\r\n--XyZ--\r\n"), Ok(None));
}

#[test]
fn form_that_ends_before_its_close_delimiter_is_rejected() {
    let form = form(&[FILE, MODEL]);
    let complete = form.len() - 2;
    for end in 0..complete {
        assert_invalid(&form[..end], Reason::Truncated, end);
    }
    assert!(scan(&form[..complete]).is_ok());
    assert_invalid(&form[..complete + 1], Reason::Truncated, complete + 1);
}

#[test]
fn only_a_line_end_may_follow_the_close_delimiter() {
    let form = form(&[MODEL]);
    let form = form.trim_end();
    for tail in ["-", "x", " \r\n", "\t", "\n", "\0", "--XyZ--"] {
        assert_invalid(format!("{form}{tail}"), Reason::AfterClose, form.len());
    }
    assert_invalid(format!("{form}\r\r"), Reason::AfterClose, form.len() + 1);
}

#[test]
fn any_other_epilogue_is_rejected() {
    // Django would read a part without a delimiter, Tornado looks for the last close delimiter.
    let form = form(&[MODEL]);
    for epilogue in [
        "Content-Disposition: form-data; name=\"model\"\r\n\r\nother",
        "--XyZ--",
        "bye",
        " ",
        "\0",
        // streaming-form-data reads no field.
        "\r\n",
        "\n",
    ] {
        assert_invalid(format!("{form}{epilogue}"), Reason::AfterClose, form.len());
    }
}
