//! Content-Disposition: names that are the model, and names that some read as it (RFC 7578, 4.2).

use super::*;

fn disposition(value: &str) -> String {
    let head = format!("Content-Disposition: {value}");
    form(&[(&head, "whisper-1"), FILE])
}

#[track_caller]
fn assert_disposition(value: &str, reason: Reason, place: &str) {
    let offset = "--XyZ\r\nContent-Disposition: ".len() + value.find(place).unwrap();
    assert_invalid(disposition(value), reason, offset);
}

#[test]
fn name_may_be_quoted_or_a_token() {
    for value in [
        "form-data; name=\"model\"",
        "form-data; name=model",
        "form-data;name=\"model\"",
        "form-data;  name=\"model\"",
    ] {
        assert_model(disposition(value), "whisper-1");
    }
}

#[test]
fn name_key_is_lower_case() {
    // multer for Rust finds no name in these.
    for (value, key) in [
        ("form-data; Name=\"model\"", "Name"),
        ("form-data; nAme=model", "nAme"),
        ("form-data; filename=\"a\"; NAME=\"file\"", "NAME"),
    ] {
        assert_disposition(value, Reason::DispositionSyntax, key);
    }
}

#[test]
fn header_name_is_case_insensitive() {
    for name in ["content-disposition", "CONTENT-DISPOSITION"] {
        let head = format!("{name}:form-data; name=\"model\"");
        assert_model(form(&[(&head, "whisper-1")]), "whisper-1");
    }
}

#[test]
fn other_names_are_not_the_model() {
    for name in [
        "models",
        "model_",
        "_model",
        "mode",
        "model-1",
        "the model",
        "model name",
        "a[model]x",
        "a\\\"b",
        "%22model_name",
        "timestamp_granularities[]",
        "modell",
        "",
        "\u{4f60}\u{597d}",
    ] {
        let value = format!("form-data; name=\"{name}\"");
        assert_eq!(model(disposition(&value)), None, "{name}");
    }
}

#[test]
fn name_that_some_server_reads_as_model_is_ambiguous() {
    for name in [
        "Model",
        "MODEL",
        " model",
        "model ",
        "\u{a0}model",
        "\u{feff}model",
        "'model'",
        "\\\"model\\\"",
        "mod\\el",
        "\\model",
        "model\\\"x",
        "%6dodel",
        "mod%65L",
        "model%0D%0A",
        "%22model%22",
        "model[]",
        "model[x]",
        "Model[0]",
        "[model]",
        "(model)",
        "model.",
        "utf-8''model",
        "utf-8'en'model",
    ] {
        let form = disposition(&format!("form-data; name=\"{name}\""));
        let offset = form.find("name=\"").unwrap() + 6;
        assert_rejected(form, MultipartErrorKind::AmbiguousModel, offset);
    }
    let form = disposition("form-data; name=UTF-8''model");
    let offset = form.find("UTF").unwrap();
    assert_rejected(form, MultipartErrorKind::AmbiguousModel, offset);
}

#[test]
fn second_model_is_a_duplicate() {
    let form = form(&[MODEL, FILE, MODEL]);
    let offset = form.rfind("model").unwrap();
    assert_rejected(form, MultipartErrorKind::DuplicateModel, offset);
}

#[test]
fn charset_field_is_rejected() {
    for name in ["_charset_", "_Charset_", " _charset_"] {
        assert_disposition(
            &format!("form-data; name=\"{name}\""),
            Reason::CharsetField,
            name,
        );
    }
}

#[test]
fn encoded_names_are_rejected() {
    let b64 = "=?utf-8?B?bW9kZWw=?=";
    assert_disposition(
        &format!("form-data; name=\"{b64}\""),
        Reason::EncodedName,
        b64,
    );
    for value in [
        "form-data; name*=utf-8''model",
        "form-data; name=\"x\"; name*=utf-8''model",
        "form-data; Name*=utf-8''file; name=\"x\"",
        "form-data; name*0=\"mod\"; name*1=\"el\"",
        "form-data; name*0*=\"mod\"",
    ] {
        let place = value.to_lowercase().find("name*").unwrap();
        assert_disposition(value, Reason::EncodedName, &value[place..]);
    }
}

#[test]
fn file_names_are_not_restricted_as_names_are() {
    for file in [
        "filename=\"a\\\"b.mp3\"",
        "filename=\"C:\\\\a\\\\b.mp3\"",
        "filename=\"rename=1.mp3\"",
        "filename=\"model\"",
        "filename=model.mp3",
        "filename=\"a;b,c=d.mp3\"",
        "filename=\"%22%0D%0A.mp3\"",
        "filename=\"=?utf-8?B?YQ==?=\"",
        "FileName=\"\"",
        "filename=\"a.mp3\"; filename*=UTF-8''%e2%82%ac.mp3",
        "filename*0=\"a\"; filename*1=\".mp3\"",
    ] {
        let form = form(&[
            (
                &format!("Content-Disposition: form-data; name=\"file\"; {file}"),
                "x",
            ),
            (
                &format!("Content-Disposition: form-data; {file}; name=\"file\""),
                "x",
            ),
            MODEL,
        ]);
        assert_model(form, "whisper-1");
    }
}

#[test]
fn second_name_within_another_parameter_is_rejected() {
    // formidable reads the first match of /\bname=/, multer for Rust the first `name=` after a
    // blank or a semicolon.
    for text in [
        "; name=model",
        "name=model",
        "; NAME=model",
        "a;name =x",
        "a; name*=x",
        "-name=x",
        "\\\"; name=\\\"model",
        ";name*0=x",
    ] {
        let value = format!("form-data; filename=\"{text}\"; name=\"file\"");
        assert_disposition(&value, Reason::HiddenName, text);
        let value = format!("form-data; name=\"{text}\"");
        assert_disposition(&value, Reason::HiddenName, text);
    }
    for value in [
        "form-data; x-name=model; name=\"file\"",
        "form-data; file-name=a; name=\"file\"",
        "form-data; name=\"file\"; x-name=model",
    ] {
        let key = if value.contains("x-name") {
            "x-name"
        } else {
            "file-name"
        };
        assert_disposition(value, Reason::HiddenName, key);
    }
}

#[test]
fn name_within_a_longer_word_is_not_a_second_name() {
    for text in ["_name=x", "file_name=x", "surname=x", "4name=x"] {
        let head = format!("Content-Disposition: form-data; filename=\"{text}\"; name=\"file\"");
        assert_model(form(&[(&head, ""), MODEL]), "whisper-1");
    }
}

#[test]
fn parameters_given_twice_are_rejected() {
    let value = "form-data; name=\"a\"; NAME=\"model\"";
    assert_disposition(value, Reason::RepeatedParameter, "NAME");
    let value = "form-data; filename=a; name=\"x\"; FileName=b";
    assert_disposition(value, Reason::RepeatedParameter, "FileName");
}

#[test]
fn model_with_other_parameters_is_rejected() {
    for (value, key) in [
        ("form-data; name=\"model\"; filename=\"a\"", "filename"),
        ("form-data; filename=\"\"; name=\"model\"", "filename"),
        ("form-data; name=\"model\"; filename*=utf-8''a", "filename"),
        ("form-data; name=\"model\"; size=3", "size"),
        ("form-data; x=\"; filename=a\"; name=model", "x="),
    ] {
        assert_disposition(value, Reason::ModelParameter, key);
    }
}

#[test]
fn broken_parameters_are_rejected() {
    for (value, rest) in [
        ("form-data; name=\"model", ""),
        ("form-data; name=\"model\\\"", ""),
        ("form-data; name=\"model\\", ""),
        ("form-data; name=\"model\"x", "x"),
        ("form-data; name=\"model\" x", " x"),
        ("form-data; name=\"model\";", ""),
        ("form-data; name=\"model\"; ", ""),
        ("form-data; name=\"model\" ", " "),
        ("form-data; name=model\t", "\t"),
        ("form-data ; name=model", " ; n"),
        ("form-data; name=model ; x=y", " ; x"),
        ("form-data;; name=\"model\"", "; name"),
        ("form-data; name =\"model\"", " =\"model"),
        ("form-data; name= \"model\"", " \"model"),
        ("form-data; name=", ""),
        ("form-data; =model", "=model"),
        ("form-data; name", ""),
        ("form-data, name=model", ", name"),
        ("form-data name=model", " name"),
        ("form-data; name=mo/del", "/del"),
        ("form-data; name=m\u{f6}del", "\u{f6}del"),
        ("form-data;\tname=\"model\"", "\tname"),
    ] {
        let offset = "--XyZ\r\nContent-Disposition: ".len() + value.rfind(rest).unwrap();
        assert_invalid(disposition(value), Reason::DispositionSyntax, offset);
    }
}

#[test]
fn dispositions_other_than_form_data_are_rejected() {
    for value in [
        "attachment; name=\"model\"",
        "file; name=model",
        "Form-Data; name=model",
        "",
        "; name=x",
        "form-data2; name=model",
        "name=\"model\"",
        "\"form-data\"; name=model",
    ] {
        assert_disposition(value, Reason::NotFormData, "");
    }
}

#[test]
fn part_without_a_name_is_rejected() {
    assert_disposition("form-data", Reason::MissingName, "");
    assert_disposition("form-data; filename=\"model\"", Reason::MissingName, "");
}
