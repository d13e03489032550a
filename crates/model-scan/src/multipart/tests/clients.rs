//! Forms of clients that are not among those recorded in the middleware's `tests/it/forms`.

use super::*;

#[track_caller]
fn assert_client(boundary: &str, form: &str) {
    // Written with LF for legibility. The file has bytes that look like delimiters.
    let file = "ID3\r\n--\r\n----\x00\u{ff}\r";
    let form = form
        .trim_start()
        .replace('\n', "\r\n")
        .replace("<FILE>", file);
    let (start, end) = scan_with(boundary, &form).unwrap().unwrap();
    assert_eq!(&form[start as usize..end as usize], "whisper-1");
}

#[test]
fn chrome_and_safari_form_data() {
    assert_client(
        "----WebKitFormBoundaryePkpFF7tjBAqx29L",
        r#"
------WebKitFormBoundaryePkpFF7tjBAqx29L
Content-Disposition: form-data; name="model"

whisper-1
------WebKitFormBoundaryePkpFF7tjBAqx29L
Content-Disposition: form-data; name="file"; filename="say %22hi%22%0D%0A\.mp3"
Content-Type: audio/mpeg

<FILE>
------WebKitFormBoundaryePkpFF7tjBAqx29L--
"#,
    );
}

#[test]
fn firefox_form_data() {
    assert_client(
        "---------------------------9051914041544843365972754266",
        r#"
-----------------------------9051914041544843365972754266
Content-Disposition: form-data; name="file"; filename="größe ☃.mp3"
Content-Type: audio/mpeg

<FILE>
-----------------------------9051914041544843365972754266
Content-Disposition: form-data; name="model"

whisper-1
-----------------------------9051914041544843365972754266--
"#,
    );
}

#[test]
fn async_openai_over_reqwest() {
    assert_client(
        "b37cb4a8b1d0e0b9-3fb7b9e2d8a4f0c1-8a0a9a3a1c2b5d77-1f6c2a8d9e0b4c35",
        r#"
--b37cb4a8b1d0e0b9-3fb7b9e2d8a4f0c1-8a0a9a3a1c2b5d77-1f6c2a8d9e0b4c35
Content-Disposition: form-data; name="file"; filename="a.mp3"
Content-Type: application/octet-stream

<FILE>
--b37cb4a8b1d0e0b9-3fb7b9e2d8a4f0c1-8a0a9a3a1c2b5d77-1f6c2a8d9e0b4c35
Content-Disposition: form-data; name="model"

whisper-1
--b37cb4a8b1d0e0b9-3fb7b9e2d8a4f0c1-8a0a9a3a1c2b5d77-1f6c2a8d9e0b4c35--
"#,
    );
}

#[test]
fn dotnet_multipart_form_data_content() {
    // The type first, and names without quotes.
    assert_client(
        "5f0f6b0e-1c4b-4f0e-9b0a-3f1b2c4d5e6f",
        r#"
--5f0f6b0e-1c4b-4f0e-9b0a-3f1b2c4d5e6f
Content-Type: text/plain; charset=utf-8
Content-Disposition: form-data; name=model

whisper-1
--5f0f6b0e-1c4b-4f0e-9b0a-3f1b2c4d5e6f
Content-Type: audio/mpeg
Content-Disposition: form-data; name=file; filename=a.mp3; filename*=utf-8''a.mp3

<FILE>
--5f0f6b0e-1c4b-4f0e-9b0a-3f1b2c4d5e6f--
"#,
    );
}

#[test]
fn okhttp_and_ktor_with_content_length() {
    assert_client(
        "3d8f2a52-6a0b-44a5-8d3d-0d6bb0a2f3c1",
        r#"
--3d8f2a52-6a0b-44a5-8d3d-0d6bb0a2f3c1
Content-Disposition: form-data; name="model"
Content-Length: 9

whisper-1
--3d8f2a52-6a0b-44a5-8d3d-0d6bb0a2f3c1
Content-Disposition: form-data; name="file"; filename="a.mp3"
Content-Type: audio/mpeg
Content-Length: 17

<FILE>
--3d8f2a52-6a0b-44a5-8d3d-0d6bb0a2f3c1--
"#,
    );
}

#[test]
fn java_with_transfer_encodings() {
    assert_client(
        "Q1w2E3r4T5y6-_U7i8O9p0",
        r#"
--Q1w2E3r4T5y6-_U7i8O9p0
Content-Disposition: form-data; name="file"; filename="a.mp3"
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary

<FILE>
--Q1w2E3r4T5y6-_U7i8O9p0
Content-Disposition: form-data; name="model"
Content-Type: text/plain;charset=UTF-8
Content-Transfer-Encoding: 8bit

whisper-1
--Q1w2E3r4T5y6-_U7i8O9p0--
"#,
    );
}
