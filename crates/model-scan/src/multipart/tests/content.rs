//! Contents: the model's offsets, when it is known, and its length.

use super::*;

const MAX_MODEL: usize = 64 * 1024;

#[test]
fn model_is_found_before_and_after_a_file() {
    assert_model(form(&[MODEL, FILE]), "whisper-1");
    assert_model(form(&[FILE, MODEL]), "whisper-1");
    assert_eq!(model(form(&[FILE, FILE])), None);
}

#[test]
fn content_may_have_any_bytes() {
    for content in [
        "",
        "\r\n",
        "\r",
        "\n",
        "\r\n\r\n",
        "a\r\nb",
        "-",
        "--",
        "\r\n--",
        "\r\n--Xy",
        "--Xy",
        "\r\r\n--X\r",
        "\r\n--xyz\r\n",
        " whisper-1 ",
        "\0",
        "xyz",
        "\r\n-XyY",
    ] {
        assert_model(form(&[FILE, (MODEL.0, content), FILE]), content);
    }
}

#[test]
fn partial_delimiters_are_content() {
    let content = "\r\n--Xy\r\n--X\r\n--\r\r\n-Xy--XyYZ".repeat(500);
    let form = form(&[(FILE.0, &content), MODEL]);
    let (start, end) = scan_frames(BOUNDARY, [form.as_bytes()]).unwrap().unwrap();
    assert_eq!(&form[start as usize..end as usize], "whisper-1");
    for size in [1, 2, 3, 5, 7, 8, 11, 64] {
        let chunks = form.as_bytes().chunks(size);
        assert_eq!(scan_frames(BOUNDARY, chunks), Ok(Some((start, end))));
    }
}

#[test]
fn model_is_unseen_then_pending_then_found() {
    let form = form(&[FILE, MODEL, FILE]);
    let start = form.find("whisper").unwrap();
    let end = start + "whisper-1".len();
    let delimited = end + "\r\n--XyZ\r\n".len();
    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    for (i, byte) in form.bytes().enumerate() {
        let expected = if i < start {
            Model::Unseen
        } else if i < delimited {
            Model::Pending
        } else {
            let (start, end) = (start as u64, end as u64);
            Model::Value { start, end }
        };
        assert_eq!(scanner.model(), expected, "before byte {i}");
        scanner.feed(&[byte]).unwrap();
    }
}

#[test]
fn form_is_complete_with_its_close_delimiter() {
    let form = form(&[MODEL]);
    let closed = form.len() - 2;
    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    for (i, byte) in form.bytes().enumerate() {
        assert_eq!(scanner.is_complete(), i >= closed, "before byte {i}");
        scanner.feed(&[byte]).unwrap();
    }
}

#[test]
fn empty_frames_change_nothing() {
    let form = form(&[FILE, MODEL]);
    let empty: &[u8] = &[];
    let frames = form
        .as_bytes()
        .chunks(1)
        .flat_map(|byte| [empty, byte, empty]);
    assert_eq!(scan_frames(BOUNDARY, frames), scan(&form));
}

#[test]
fn errors_are_latched() {
    let form = form(&[MODEL, MODEL]);
    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    let error = scanner.feed(form.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), MultipartErrorKind::DuplicateModel);
    assert_eq!(error.offset(), form.rfind("model").unwrap() as u64);
    assert_eq!(scanner.feed(b"--XyZ--"), Err(error));
    assert_eq!(scanner.finish(), Err(error));

    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    let error = scanner.finish().unwrap_err();
    assert_eq!(scanner.feed(b"--XyZ--"), Err(error));
}

#[test]
fn model_is_limited_to_64_kib() {
    let limit = MAX_MODEL;
    let form = |len| form(&[FILE, (MODEL.0, &"x".repeat(len)), FILE]);
    assert!(scan(form(limit)).unwrap().is_some());
    for len in [limit + 1, limit + 2, limit + 10, limit * 2] {
        let form = form(len);
        let start = form.find("xxx").unwrap();
        assert_invalid(&form, Reason::ModelTooLong, start + limit);
        for size in [100, 4096, 65536] {
            let chunks = form.as_bytes().chunks(size);
            assert_eq!(
                scan_frames(BOUNDARY, chunks),
                scan_frames(BOUNDARY, [form.as_bytes()])
            );
        }
    }
}

#[test]
fn overlong_model_is_rejected_before_its_end() {
    let head = format!("--XyZ\r\n{}\r\n\r\n", MODEL.0);
    let limit = head.len() + MAX_MODEL;
    let late = "\r\n--XyZ".len();
    let form = head + &"x".repeat(MAX_MODEL + late);
    assert_invalid(
        &form[..limit + late - 1],
        Reason::Truncated,
        limit + late - 1,
    );
    assert_invalid(&form, Reason::ModelTooLong, limit);
}

#[test]
fn overlong_model_is_rejected_before_a_misplaced_boundary() {
    let content = format!("{}--XyZ", "x".repeat(MAX_MODEL + 3));
    let form = form(&[(MODEL.0, &content)]);
    let start = form.find("xxx").unwrap();
    assert_invalid(form, Reason::ModelTooLong, start + MAX_MODEL);
}

#[test]
fn large_file_takes_constant_memory() {
    let mut scanner = MultipartScanner::new(BOUNDARY.as_bytes()).unwrap();
    scanner
        .feed(format!("--XyZ\r\n{}\r\n\r\n", FILE.0).as_bytes())
        .unwrap();
    let frame = [b'\r'; 64 * 1024];
    for size in [1, 2, 3, 5, 6, 7, 100, 64 * 1024] {
        for _ in 0..400 {
            scanner.feed(&frame[..size]).unwrap();
            assert!(scanner.carried() <= "\r\n--".len() + BOUNDARY.len());
        }
    }
    scanner
        .feed(format!("\r\n{}", form(&[MODEL])).as_bytes())
        .unwrap();
    scanner.finish().unwrap();
    assert!(matches!(scanner.model(), Model::Value { .. }));
}

#[test]
fn errors_have_cause_offset_and_remedy() {
    let mut texts: Vec<String> = Reason::ALL
        .into_iter()
        .map(MultipartErrorKind::Invalid)
        .chain([
            MultipartErrorKind::DuplicateModel,
            MultipartErrorKind::AmbiguousModel,
        ])
        .map(|kind| MultipartError::new(kind, 17).to_string())
        .collect();
    for text in &texts {
        assert!(text.contains(" (byte 17 of the "), "{text}");
        assert!(text.contains("); "), "{text}");
    }
    let count = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count);
    assert_eq!(
        MultipartError::new(MultipartErrorKind::DuplicateModel, 17).to_string(),
        "the form has more than one `model` part (byte 17 of the form); send exactly one"
    );
    let boundary = MultipartError::invalid(Reason::Boundary, 17).to_string();
    assert!(boundary.contains("(byte 17 of the boundary)"), "{boundary}");
}
