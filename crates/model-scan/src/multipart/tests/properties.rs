//! Random forms, valid and mutated, cut anywhere: the scanner agrees with the oracle.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

const BOUNDARIES: [&str; 8] = [
    "XyZ",
    "a",
    "-",
    "--",
    "a--",
    "ab'ab",
    "----WebKitFormBoundary0Az",
    "a a",
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
        "form-data; filename=\"a\\\"b;c\"; name=file; filename*=utf-8''a",
        "form-data; name=\"language\"",
        "form-data; name=\"prompt\"",
        "form-data; name=\"a[]\"",
        "form-data; name=\"Model\"",
        "form-data; name=\"mod%65l\"",
        "form-data; name=\"x\"; name=\"model\"",
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
        "Content-Type: application/octet-stream",
        "Content-Type: multipart/mixed",
        "Content-Transfer-Encoding: binary",
        "Content-Transfer-Encoding: base64",
        "Content-Length: 3",
        "X: y",
        "X: gr\u{f6}\u{df}e",
        " folded",
        "Content-Disposition: form-data; name=\"x\"",
    ])
}

/// Content with line ends, dashes and pieces of the boundary.
fn content(boundary: &'static str) -> impl Strategy<Value = String> {
    let near = format!("\r\n--{boundary}");
    let piece = prop_oneof![
        6 => select(vec!["\r", "\n", "\r\n", "-", "--", "abc", "\0", "x", "a", "ab", "\r\n--"])
            .prop_map(str::to_owned),
        4 => (0..near.len()).prop_map(move |len| near[..len].to_owned()),
        1 => Just("y".repeat(300)),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn part(boundary: &'static str) -> impl Strategy<Value = String> {
    let headers = prop::collection::vec(header(), 0..2);
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
        let parts = prop::collection::vec(part(boundary), 0..4);
        (preamble, parts, end).prop_map(move |(preamble, parts, end)| Form {
            boundary,
            bytes: format!("{preamble}{}--{boundary}--{end}", parts.concat()).into_bytes(),
        })
    })
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, u8),
    Delete(Index, usize),
    Truncate(Index),
    /// Copies a stretch to another place.
    Copy(Index, usize, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || prop_oneof![select(b"\r\n- \t\";:=\\'*mM%\0".to_vec()), any::<u8>()];
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(i, b)| Mutation::Set(i, b)),
        (any::<Index>(), byte()).prop_map(|(i, b)| Mutation::Insert(i, b)),
        (any::<Index>(), 1..9_usize).prop_map(|(i, n)| Mutation::Delete(i, n)),
        any::<Index>().prop_map(Mutation::Truncate),
        (any::<Index>(), 1..40_usize, any::<Index>())
            .prop_map(|(i, n, to)| Mutation::Copy(i, n, to)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let end = |i: usize, n: usize| (i + n).min(bytes.len());
    match mutation {
        Mutation::Set(i, b) => *i.get_mut(bytes) = *b,
        Mutation::Insert(i, b) => bytes.insert(i.index(bytes.len()), *b),
        Mutation::Delete(i, n) => {
            let i = i.index(bytes.len());
            bytes.drain(i..end(i, *n));
        }
        Mutation::Truncate(i) => bytes.truncate(i.index(bytes.len())),
        Mutation::Copy(i, n, to) => {
            let (i, to) = (i.index(bytes.len()), to.index(bytes.len()));
            let stretch = bytes[i..end(i, *n)].to_vec();
            bytes.splice(to..to, stretch);
        }
    }
}

/// Returns the frames between these cuts.
fn frames<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1000)
    })]

    #[test]
    fn forms_match_the_oracle(
        form in form(),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        check(form.boundary, &form.bytes, &frames(&form.bytes, &cuts));
    }

    #[test]
    fn mutated_forms_match_the_oracle(
        mut form in form(),
        mutations in prop::collection::vec(mutation(), 1..4),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        for mutation in &mutations {
            mutate(&mut form.bytes, mutation);
        }
        check(form.boundary, &form.bytes, &frames(&form.bytes, &cuts));
    }

    #[test]
    fn contents_without_the_boundary_are_found(
        before in content("XyZ"),
        value in content("XyZ"),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let bytes = super::form(&[(FILE.0, &before), (MODEL.0, &value), FILE]).into_bytes();
        let (start, end) = scan_frames(BOUNDARY, frames(&bytes, &cuts)).unwrap().unwrap();
        prop_assert_eq!(&bytes[start as usize..end as usize], value.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_match_the_oracle(
        bytes in prop::collection::vec(select(b"\r\n-a:; =\"n".to_vec()), 0..40),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        check("a", &bytes, &frames(&bytes, &cuts));
    }
}
