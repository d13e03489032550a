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
    let mut responses = each(&|document, lengths| {
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
    });
    responses.extend(ERRORS.iter().map(|error| error.as_bytes().to_vec()));
    write("rewrite", responses)?;
    let mut requests = each(&|document, lengths| {
        let kind = document.len() as u8;
        [&[kind], &lengths[..], REQUEST.as_bytes(), document].concat()
    });
    requests.extend(REQUESTS.iter().map(|request| request.as_bytes().to_vec()));
    write("request", requests)?;
    write("catalog", CATALOGS)?;
    write("names", NAMES)?;
    write("uri", URIS)?;
    write("aliases", ALIASES)?;
    let mut encoded = each(&|document, lengths| {
        let coding = document.len() as u8 & 3;
        [&[4 | coding, lengths[1], 0], &lengths[..], document].concat()
    });
    encoded.extend(ENCODED.iter().map(|body| body.to_vec()));
    write("decode", encoded)?;
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

const ERRORS: &[&str] = &[
    "\x05\0\0\0\0{\"error\":{\"message\":\"no n0, \\\"n0\\\" or \\u0027n0\\u0027\\nn0\"}}",
    "\x06\x01\0\0\0n0: an0, n0-1\\n0",
];

const URIS: &[&str] = &[
    "\0POST /openai/deployments/venice-uncensored/chat/completions?api-version=1\nVenice-Uncensored",
    "\x01POST /v1/engines/a%2Fb:c%20d/completions\nm",
    "\x02PUT http://host:8/x/OpenAI//Deployments/x/../m;p/embeddings/\nmistral-31-24b",
    "\0POST /openai/deployments/whisper-1/audio/transcriptions.json\n",
    "\0POST /openai/deployments/m/images/edits\nx",
    "\0POST /v1beta/models/a%2Fb%3Ac+d%3AgenerateContent?model=x\nm",
    "\x01POST /v1/projects/p/models/m:predict",
    "\0POST /models/text-embedding-bge-m3:batchEmbedContents",
    "\0GET /v1/realtime?a=b;mod%65l=Venice-Uncensored&x",
    "\0GET /realtime?model=a&model=b",
    "\x01POST /model/no-such-model/converse",
    "\0POST /engines/x/..%2Fm/completions",
    "\0POST /engines%2Fm\\completions\nm",
];

const ALIASES: &[&str] = &[
    "claude-sonnet-4\nclaude-*=venice-uncensored\n*[1m]=m\nclaude-opus-*=0X0A\nclaude-opus-4=flux",
    "gpt-4o\nGPT-4o=whisper-1\ngpt-4O=untyped\n*=gone\ng*o=mystery\n*4o=gpt-4o",
    "x\na*b*=m\n =m",
    "m\nm=mistral-31-24b\n*=venice-uncensored",
];

const ENCODED: &[&[u8]] = &[
    b"\x04\x10\0\x03\0\0\0{\"messages\":[],\"model\":\"venice-uncensored\"}",
    b"\x07\x08\0\x01\0\0\0{\"messages\":[],\"model\":\"venice-uncensored\"}",
    b"\x05\0\0\x05\0\0\0{\"model\":\"x\",\"model\":\"y\"}",
    b"\x06\0\x02\0\0\0\0{\"model\":\"tts-kokoro\"}",
    b"\x03\0\0\0\0\0\0\x50\x2a\x4d\x18\x03\0\0\0abc",
    b"\x02\0\0\0\0\0\0\x11\x1e\0\0",
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
