//! Writes the inputs from which each target starts into `corpus/`.

use std::{fs, io, path::Path};

use model_scan::oracle::json_suite;

fn main() -> io::Result<()> {
    let documents: Vec<_> = json_suite().into_iter().map(|case| case.0).collect();
    let each = |make: &dyn Fn(&[u8], [u8; 4]) -> Vec<u8>| -> Vec<Vec<u8>> {
        let lengths = LENGTHS.iter().cycle();
        let pairs = documents.iter().zip(lengths);
        pairs
            .map(|(document, lengths)| make(document, *lengths))
            .collect()
    };
    write(
        "scanner",
        each(&|document, lengths| [&lengths[..], document].concat()),
    )?;
    write(
        "rewrite",
        each(&|document, lengths| {
            let line = document
                .split(|byte| b"\r\n".contains(byte))
                .collect::<Vec<_>>();
            let data = line.join(&b"\ndata: "[..]);
            match lengths {
                [0, ..] => [b"\x00", &lengths[..], document].concat(),
                [1, ..] => [
                    b"\x01",
                    &lengths[..],
                    b"data: ",
                    &data,
                    b"\n\ndata: [DONE]\n\n",
                ]
                .concat(),
                [3, ..] => [
                    b"\x04",
                    &lengths[..],
                    document,
                    b"\n{\"model\":\n\r\n",
                    &line.concat(),
                ]
                .concat(),
                _ => [
                    b"\x02",
                    &lengths[..],
                    b"\xef\xbb\xbfevent: response.created\r\ndata:{\"response\":",
                    &data,
                    b",\"model\":\"0x0a\"}\r\n\r\n: ping\r\rdata: {\"model\":\n\ndata:",
                    &data,
                    b"\n\n",
                ]
                .concat(),
            }
        }),
    )?;
    let mut requests = each(&|document, lengths| {
        let kind = document.len() as u8;
        [&[kind], &lengths[..], REQUEST.as_bytes(), document].concat()
    });
    requests.extend(REQUESTS.iter().map(|request| request.as_bytes().to_vec()));
    write("request", requests)?;
    write("catalog", CATALOGS)?;
    write("names", NAMES)?;
    let forms = FORMS
        .iter()
        .map(|form| [b"\0\0\0\0\0", form.replace('\n', "\r\n").as_bytes()].concat());
    write("multipart", forms)
}

/// Lengths of frames: the whole, each byte by itself, and others.
const LENGTHS: [[u8; 4]; 4] = [[0; 4], [1; 4], [3, 64, 1, 0], [200, 7, 0, 0]];

const REQUEST: &str = "POST /v1/chat/completions\ncontent-type: application/json\n\n";

const REQUESTS: &[&str] = &[
    "\0\0\0\0\0GET /v1/models\n\n",
    "\0\0\0\0\0POST /v1/chat/completions\n\n{\"model\":\"venice-uncensored\"}",
    "\x01\x05\0\0\0POST /v1/embeddings\ncontent-type: application/vnd.api+json; charset=\"UTF-8\"\ncontent-length: 12\ndigest: x\n\n{\"model\":\"\"}",
    "\x02\0\0\0\0POST /api/v1/audio/speech?a=b\ncontent-type: application/json; charset=utf-16\n\n{\"model\":\"tts-kokoro\"}",
    "\x03\0\0\0\0POST /v1/other\ncontent-type: application/json\ncontent-encoding: identity, gzip\n\n{\"model\":7}",
    "\x04\x10\0\0\0POST /v1/%63hat//./completions;x\ncontent-type: Application/JSON\nmodel_id: 0x0a\n\n{\"a\":[1e400,{\"model\":\"x\"}],\"model\":\"0XB603\",\"b\":{}}",
    "\x08\0\0\0\0POST /v1/audio/transcriptions\ncontent-type: multipart/form-data; boundary=XyZ\n\n--XyZ\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XyZ--\r\n",
    "\x18\x14\x03\0\0POST /v1/audio/translations\ncontent-type: multipart/form-data; boundary=\"XyZ\"\ncontent-length: 7\n\n--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\nID3\r\n--XyZ--\r\n",
    "\x20\0\0\0\0POST /v1/images/edits\ncontent-type: multipart/form-data;boundary=z\n\n--z\r\nContent-Disposition: form-data; name=model\r\nContent-Length: 4\r\n\r\nflux\r\n--z--",
    "\x20\0\0\0\0POST /v1/completions\ncontent-type: text/plain\n\n{}",
];

const CATALOGS: &[&str] = &[
    "Llama 3.2 3B\n{\"models\":[{\"Id\":\"0xAb01\",\"Name\":\"Llama_3.2  3B\",\"ModelType\":\"LLM\",\"Tags\":[\"a\"],\"CreatedAt\":7,\"Owner\":\"0x1\",\"enrichment\":{\"veniceId\":\"l\"}}]}",
    "l\n{\"models\":[{\"Id\":\"a\",\"Name\":\"A B\"},{\"Id\":\"b\",\"Name\":\"a_b\"},{\"Id\":\"c\",\"Name\":\"A B\",\"CreatedAt\":1},{\"Id\":\"0X1F\",\"Name\":\"0x1f\"},{\"Id\":\"0x1f\",\"Name\":\"d\",\"IsDeleted\":true}]}",
    "\n{\"models\":[{\"Id\":\"a\",\"Name\":\"a\",\"enrichment\":{\"veniceId\":\"x\"}},{\"Id\":\"b\",\"Name\":\"b\",\"enrichment\":{\"veniceId\":\"X\"}},{\"Id\":1e400,\"Name\":\"c\"},null,{\"Name\":\"\\ud800\"}]}",
    "\n{\"models\":{}}",
    "\n{\"models\":[]}",
    "\n<html></html>",
];

const NAMES: &[&str] = &[
    "\"etag\"\nan error\nvenice-uncensored\t0xb603\n",
    "W/\"\u{e9}\"\n\u{1b}[31m\nGr\u{f6}\u{df}e 100%\t0X0A\na\\\"b\\\\\tid\\u0001\u{1f600}\n",
    "\n\na\ta\nA\tb\na b\tc\na/b?c#d\td\n",
];

const FORMS: &[&str] = &[
    "--XyZ--\n",
    "--XyZ\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--XyZ--\n",
    "\n--XyZ\nContent-Disposition: form-data; name=model\nContent-Type: text/plain; charset=utf-8\nContent-Length: 9\n\nwhisper-1\n--XyZ--",
    "--XyZ\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\nContent-Type: audio/mpeg\n\nID3\n--Xy\n\n--XyZ\ncontent-disposition: form-data; name=\"model\"\nContent-Transfer-Encoding: 8bit\n\nm\n--XyZ--\n\n",
    "--XyZ\nContent-Disposition: form-data; name=\"file\"\n\na XyZ\nContent-Disposition: form-data; name=\"model\"\n\nm\n--\n--XyZ--",
    "--XyZ\nContent-Disposition: form-data; name=\"file\"\nContent-Type: text/csv; charset=utf-8\n\nXy\n--XyZ--",
    "--XyZ\nContent-Disposition: form-data; name=\"mod%65l\"; filename*=utf-8''model\n\n\n--XyZ--",
    "--XyZ\nContent-Disposition: form-data; nAme=\"model\"\n\nm\n--XyZ--",
];

fn write(target: &str, inputs: impl IntoIterator<Item = impl AsRef<[u8]>>) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    fs::create_dir_all(&directory)?;
    for (number, input) in inputs.into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{number}")), input)?;
    }
    Ok(())
}
