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
        // As .NET sends it; Mojolicious finds no name in it.
        "form-data; name=model",
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
    ] {
        assert_disposition(value, Reason::NameNotFirst, key);
    }
}

#[test]
fn name_is_not_empty() {
    // Rack would take the file name for it.
    for value in [
        "form-data; name=\"\"",
        "form-data; name=\"\"; filename=\"model\"",
    ] {
        let offset = "--XyZ\r\nContent-Disposition: form-data; name=\"".len();
        assert_invalid(disposition(value), Reason::EmptyName, offset);
    }
}

#[test]
fn name_comes_first() {
    // formidable would take the one in the file name.
    for value in [
        "form-data; filename=\"a\"; name=\"file\"",
        "form-data; filename=\"name=model\"; name=\"file\"",
        "form-data; filename=\"model\"",
        "form-data; filename*=utf-8''a; name=\"file\"",
    ] {
        assert_disposition(value, Reason::NameNotFirst, "filename");
    }
    assert_disposition("form-data", Reason::NameNotFirst, "");
}

#[test]
fn words_of_the_header_name_may_be_capitalized() {
    let form = |name| form(&[(&format!("{name}: form-data; name=\"model\""), "whisper-1")]);
    for name in [
        "content-disposition",
        "Content-disposition",
        "content-Disposition",
    ] {
        assert_model(form(name), "whisper-1");
    }
    for name in [
        "CONTENT-DISPOSITION",
        "ConTent-Disposition",
        "Content-DispositioN",
    ] {
        assert_invalid_at(form(name), Reason::DispositionSyntax, name);
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
        "model.x",
        "Model[0]",
        "[model]",
        "(model)",
        "model.",
        "utf-8''model",
        "utf-8'en'model",
        "model;i",
        "a;model",
        "model=a",
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
}

#[test]
fn encoded_and_continued_parameters_are_rejected() {
    for (value, place) in [
        ("form-data; name*=utf-8''model", "name*"),
        ("form-data; name=\"x\"; name*=utf-8''model", "name*"),
        ("form-data; name=\"x\"; Name*=utf-8''file", "Name*"),
        ("form-data; name*0=\"mod\"; name*1=\"el\"", "name*0"),
        ("form-data; name*0*=\"mod\"", "name*0"),
        ("form-data; name=\"x\"; name*0=\"model\"", "name*0"),
        ("form-data; name=\"x\"; filename*0=\"a\"", "filename*"),
        ("form-data; name=\"x\"; filename*0*=\"a\"", "filename*"),
        ("form-data; name=\"x\"; FileName*=utf-8''a", "FileName*"),
        ("form-data; name=\"x\"; filename*=utf-16''a", "filename*"),
        ("form-data; name=\"x\"; filename*=utf-8'en'a", "filename*"),
        ("form-data; name=\"x\"; size*=utf-8''1", "size*"),
    ] {
        assert_disposition(value, Reason::EncodedParameter, place);
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
        "filename=\"name=\\\"model\\\".mp3\"",
        "filename=\"my-name=%22model%22.mp3\"",
        // `a"; name="model` and `a"; name="model"; b.mp3`, escaped as clients do.
        "filename=\"a%22; name=%22model\"",
        "filename=\"a%22; name=%22model%22; b.mp3\"",
        "filename=\"a\\\"; name=\\\"model\"",
        "filename=\"a\\\"; name=\\\"model\\\"; b.mp3\"",
        // .NET and Jersey.
        "filename=a.mp3; filename*=utf-8''a.mp3",
        "filename=\"a.mp3\"; modification-date=\"Sat, 28 Nov 2026 03:21:00 GMT\"; size=3",
    ] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; {file}");
        assert_model(form(&[(&head, "x"), MODEL]), "whisper-1");
    }
}

#[test]
fn second_name_that_is_the_model_is_rejected() {
    // Ruby's CGI, Rack and blacksheep do not heed the quotes around it.
    for text in [
        "; name=model",
        " name=model; x",
        "x; NAME=model",
        "a;name = model ;x",
        "a;\tname=Model",
        "a; name=model[x]",
        "a; name=model\\\"",
    ] {
        let value = format!("form-data; name=\"file\"; filename=\"{text}\"");
        assert_disposition(&value, Reason::HiddenModel, text);
        let value = format!("form-data; name=\"{text}\"");
        assert_disposition(&value, Reason::HiddenModel, text);
    }
}

#[test]
fn other_second_names_are_accepted() {
    for text in [
        "_name=model",
        "surname=model",
        "name=model",
        "names =model",
        "a name",
        "a; name=x",
        "a; name=model.mp3",
        "a; name=; x",
        "a; name*=utf-8''model",
    ] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{text}\"");
        assert_model(form(&[(&head, ""), MODEL]), "whisper-1");
    }
}

#[test]
fn parameters_given_twice_are_rejected() {
    let value = "form-data; name=\"a\"; NAME=\"model\"";
    assert_disposition(value, Reason::RepeatedParameter, "NAME");
    let value = "form-data; name=\"x\"; filename=a; FileName=b";
    assert_disposition(value, Reason::RepeatedParameter, "FileName");
}

#[test]
fn model_with_other_parameters_is_rejected() {
    for (value, key) in [
        ("form-data; name=\"model\"; filename=\"a\"", "filename"),
        ("form-data; name=\"model\"; filename*=utf-8''a", "filename"),
        ("form-data; name=\"model\"; size=3", "size"),
        ("form-data; name=model; x=\"; filename=a\"", "x="),
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
        ("form-data;name=model", "name"),
        ("form-data;  name=model", " name"),
        ("form-data; name=model;", ""),
        ("form-data; name=\"a\";; filename=\"b\"", "; file"),
        ("form-data; name=\"a\";filename=\"b\"", "filename"),
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
fn one_space_follows_the_colon() {
    // Sanic skips one byte, whatever it is.
    for (spaces, reason) in [
        ("", Reason::DispositionSyntax),
        ("\t", Reason::DispositionSyntax),
        ("  ", Reason::NotFormData),
    ] {
        let head = format!("Content-Disposition:{spaces}form-data; name=\"model\"");
        let offset = "--XyZ\r\nContent-Disposition:".len() + spaces.len() / 2;
        assert_invalid(form(&[(&head, "m")]), reason, offset);
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
