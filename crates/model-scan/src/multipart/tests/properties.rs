//! Random forms, valid and mutated, cut anywhere: the scanner agrees with the oracle.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::random::{cuts, mutated, mutations};

const BOUNDARIES: [&str; 8] = [
    "XyZ",
    "a",
    "-",
    "b--",
    "--b",
    "bb",
    "b+b",
    "----WebKitFormBoundary0Az",
];

#[derive(Clone, Debug)]
struct Form {
    boundary: &'static str,
    bytes: Vec<u8>,
}

fn disposition() -> impl Strategy<Value = &'static str> {
    select(vec![
        "form-data; name=\"model\"",
        "form-data; name=\"model\"",
        "form-data; name=model",
        "form-data; Name=\"model\"",
        "form-data; name=\"file\"; filename=\"a.mp3\"",
        "form-data; name=\"file\"; filename=\"a.mp3\"",
        "form-data; name=file; filename=\"a\\\"b;c\"; filename*=utf-8''a",
        "form-data; name=\"file\"; filename=\"a; name=model\"",
        "form-data; name=\"file\"; filename*0=a",
        "form-data;name=\"file\"",
        "form-data; name=\"language\"",
        "form-data; name=\"prompt\"",
        "form-data; name=\"a[]\"",
        "form-data; name=\"Model\"",
        "form-data; name=\"mod%65l\"",
        "form-data; name=\"model;x\"",
        "form-data; name=\"x\"; name=\"model\"",
        "form-data; name=\"\"; filename=\"model\"",
        "form-data; name=\"file\"; filename=\"a\\\"; name=\\\"model\"",
        "form-data; filename=\"; name=model\"; name=\"file\"",
        "form-data; name=\"model\"; filename=\"x\"",
        "form-data; name*=utf-8''model",
        "attachment; name=\"model\"",
        "form-data",
    ])
}

fn header() -> impl Strategy<Value = &'static str> {
    select(vec![
        "Content-Type: text/plain",
        "content-type: text/plain; charset=utf-8",
        "Content-Type: Text/plain",
        "Content-Type:",
        "Content-Type: application/octet-stream",
        "Content-Type: multipart/mixed",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: text/plain; charset=utf-16",
        "Content-Transfer-Encoding: binary",
        "Content-Transfer-Encoding: base64",
        "Content-Length: 3",
        "X: y",
        "X:",
        "X: gr\u{f6}\u{df}e",
        "X: y; filename=x",
        "X-Content-Type: y",
        " folded",
        "Content-Disposition: form-data; name=\"x\"",
    ])
}

/// Generates content with line ends, dashes and pieces of the boundary.
fn content(boundary: &'static str) -> impl Strategy<Value = String> {
    let near = format!("\r\n--{boundary}");
    let bare = format!("x{boundary}");
    let broken = format!("x--{}\r{}", &boundary[..1], &boundary[1..]);
    let piece = prop_oneof![
        1 => select(vec![bare, broken, "..Content-disposition:".to_owned()]),
        6 => select(vec!["\r", "\n", "\r\n", "-", "--", "abc", "\0", "x", "a", "ab", "\r\n--"])
            .prop_map(str::to_owned),
        4 => (0..near.len()).prop_map(move |len| near[..len].to_owned()),
        1 => Just("y".repeat(300)),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn part(boundary: &'static str) -> impl Strategy<Value = String> {
    let headers = vec(header(), 0..2);
    (
        disposition(),
        prop::option::weighted(0.3, headers),
        content(boundary),
    )
        .prop_map(move |(disposition, headers, content)| {
            let mut part = format!("--{boundary}\r\nContent-Disposition: {disposition}\r\n");
            for header in headers.into_iter().flatten() {
                part += &format!("{header}\r\n");
            }
            part + "\r\n" + &content + "\r\n"
        })
}

fn form() -> impl Strategy<Value = Form> {
    select(&BOUNDARIES).prop_flat_map(|boundary| {
        let preamble = select(vec!["", "", "", "\r\n"]);
        let end = select(vec!["\r\n", "\r\n", "", "\r\n\r\n"]);
        let parts = vec(part(boundary), 0..4);
        (preamble, parts, end).prop_map(move |(preamble, parts, end)| Form {
            boundary,
            bytes: format!("{preamble}{}--{boundary}--{end}", parts.concat()).into_bytes(),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn forms_match_the_oracle(
        form in form(),
        mutations in prop_oneof![
            Just(Vec::new()),
            mutations(b"\r\n- \t\";:=\\'*mM%\0"),
        ],
        cuts in cuts(),
    ) {
        let bytes = mutated(form.bytes, &mutations);
        check(form.boundary, &bytes, &cuts.frames(&bytes));
    }

    #[test]
    fn contents_without_the_boundary_are_found(
        before in content("Xy-"),
        value in content("Xy-"),
        cuts in cuts(),
    ) {
        let bytes = super::form(&[(FILE.0, &before), (MODEL.0, &value), FILE]).into_bytes();
        let (start, end) = scan_frames(BOUNDARY, cuts.frames(&bytes)).unwrap().unwrap();
        prop_assert_eq!(&bytes[start as usize..end as usize], value.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_match_the_oracle(
        bytes in vec(select(b"\r\n-a:; =\"n".to_vec()), 0..40),
        cuts in cuts(),
    ) {
        check("a", &bytes, &cuts.frames(&bytes));
    }
}
