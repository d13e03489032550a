//! A naive reader of whole forms.

use percent_encoding::percent_decode_str;

/// Returns the span of the model in a form that must be accepted; `Err` for one that must be
/// rejected.
pub(super) fn model(boundary: &str, form: &[u8]) -> Result<Option<(u64, u64)>, ()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "()+_-./:?".contains(c);
    ensure((1..=70).contains(&boundary.len()) && boundary.chars().all(allowed))?;
    ensure(boundary.chars().any(|c| c != '-'))?;
    let delimiter = format!("--{boundary}");
    let preamble = if form.starts_with(b"\r\n") { 2 } else { 0 };
    let mut pieces = split(form, delimiter.as_bytes());
    let (_, first) = pieces.remove(0);
    let Some((_, last)) = pieces.pop() else {
        return Err(());
    };
    ensure(first == &form[..preamble])?;
    ensure(last == b"--" || last == b"--\r\n")?;
    let mut found = None;
    for (at, piece) in pieces {
        let Some((is_model, content, length)) = part(piece, boundary.as_bytes()) else {
            return Err(());
        };
        ensure(length.is_none_or(|l| l == content.len()))?;
        ensure(!has_lookalike(content, boundary.as_bytes(), is_model))?;
        ensure(!has_broken_delimiter(content, boundary.as_bytes()))?;
        if is_model {
            ensure(found.is_none() && content.len() <= 65536)?;
            let end = (at + piece.len() - 2) as u64;
            found = Some((end - content.len() as u64, end));
        }
    }
    Ok(found)
}

fn ensure(holds: bool) -> Result<(), ()> {
    if holds { Ok(()) } else { Err(()) }
}

/// Returns the pieces between the separators, with their offsets.
fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<(usize, &'a [u8])> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i..].starts_with(separator) {
            pieces.push((start, &bytes[start..i]));
            i += separator.len();
            start = i;
        } else {
            i += 1;
        }
    }
    pieces.push((start, &bytes[start..]));
    pieces
}

/// Returns whether a reader that looks for the boundary without dashes could find a part in this
/// content.
fn has_lookalike(content: &[u8], boundary: &[u8], is_model: bool) -> bool {
    let begins_line = content
        .split(|byte| b"\r\n".contains(byte))
        .any(|line| line.starts_with(boundary));
    let pieces = split(content, boundary);
    let after = pieces.get(1).map_or(content.len(), |piece| piece.0);
    let after = content[after..].to_ascii_lowercase();
    let splits_model = is_model && boundary.len() > 1 && pieces.len() > 1;
    begins_line || splits_model || split(&after, b"content-disposition").len() > 1
}

/// Returns whether the delimiter is in this content for a reader that overlooks a CR or an LF by
/// itself.
fn has_broken_delimiter(content: &[u8], boundary: &[u8]) -> bool {
    let delimiter = [b"--", boundary].concat();
    split(content, b"\r\n").into_iter().any(|(_, line)| {
        let is_other = |byte: &u8| !b"\r\n".contains(byte);
        let line: Vec<u8> = line.iter().copied().filter(is_other).collect();
        split(&line, &delimiter).len() > 1
    })
}

/// Reads a part between two delimiters: CRLF, the head, an empty line, the content, CRLF.
fn part<'a>(piece: &'a [u8], boundary: &[u8]) -> Option<(bool, &'a [u8], Option<usize>)> {
    let piece = piece.strip_prefix(b"\r\n")?;
    let lines = split(piece, b"\r\n");
    let empty = lines.iter().position(|(_, line)| line.is_empty())?;
    let content_at = lines.get(empty + 1)?.0;
    let content = piece[content_at..].strip_suffix(b"\r\n")?;
    if content_at > 4096 || empty > 8 {
        return None;
    }
    let mut headers = Vec::new();
    for (_, line) in &lines[..empty] {
        if has_lookalike(line, boundary, true) {
            return None;
        }
        let line = std::str::from_utf8(line).ok()?;
        let is_control = |c: char| (c < ' ' && c != '\t') || ('\u{7f}'..='\u{9f}').contains(&c);
        if line.contains(is_control) || line.contains(['\u{2028}', '\u{2029}']) {
            return None;
        }
        let (name, value) = line.split_once(':')?;
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        {
            return None;
        }
        let has_capital = name.split('-').any(|word| {
            let mut rest = word.chars().skip(1);
            rest.any(|c| c.is_ascii_uppercase())
        });
        let name = name.to_ascii_lowercase();
        if name == "content-disposition" && has_capital {
            return None;
        }
        let value = match name.as_str() {
            "content-disposition" => value,
            "content-length" => value.trim_start_matches([' ', '\t']),
            _ => value.trim_matches([' ', '\t']),
        };
        if value.is_empty() {
            return None;
        }
        headers.push((name, value));
    }
    let (is_model, length) = head(&headers)?;
    Some((is_model, content, length))
}

fn head(headers: &[(String, &str)]) -> Option<(bool, Option<usize>)> {
    let all = |name: &str| {
        headers
            .iter()
            .filter(|h| h.0 == name)
            .map(|h| h.1)
            .collect::<Vec<_>>()
    };
    let known = [
        "content-disposition",
        "content-type",
        "content-transfer-encoding",
        "content-length",
    ];
    for (name, value) in headers {
        for hidden in ["content-disposition", "content-type"] {
            let contains = |text: &str| text.to_ascii_lowercase().contains(hidden);
            let is_other = name != "content-disposition" && name != hidden;
            if is_other && contains(name) || name != "content-disposition" && contains(value) {
                return None;
            }
        }
    }
    if known.iter().any(|name| all(name).len() > 1) {
        return None;
    }
    let rest = all("content-disposition")
        .first()?
        .strip_prefix(" form-data")?;
    let params = params(rest)?;
    let Some((&("name", name), extra)) = params.split_first() else {
        return None;
    };
    let mut keys: Vec<String> = params.iter().map(|p| p.0.to_ascii_lowercase()).collect();
    keys.sort();
    keys.dedup();
    let hidden = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.match_indices("name").any(|(i, word)| {
            let blank = [' ', '\t'];
            let rest = text[i + word.len()..].trim_start_matches(blank);
            let value = rest.strip_prefix('=').unwrap_or("");
            let rest = value.trim_start_matches(blank).strip_prefix("model");
            text[..i].ends_with([' ', '\t', ';'])
                && rest.is_some_and(|rest| !rest.chars().next().is_some_and(is_token_char))
        })
    };
    let encoded = |(key, value): &(&str, &str)| {
        let utf_8 = value.to_ascii_lowercase().starts_with("utf-8''");
        key.contains('*') && !(*key == "filename*" && utf_8)
    };
    if keys.len() < params.len()
        || params.iter().any(encoded)
        || params.iter().any(|(_, value)| hidden(value))
        || name.is_empty()
        || name.contains("=?")
    {
        return None;
    }
    let raw_kind = all("content-type").first().copied().unwrap_or_default();
    let kind = raw_kind.to_ascii_lowercase();
    let is_utf_8 = |part: &str| {
        ["utf-8", "utf8", "us-ascii"].iter().any(|known| {
            let plain = format!("charset={known}");
            let quoted = format!("charset=\"{known}\"");
            [&plain, &quoted]
                .iter()
                .any(|p| part == **p || part == format!(" {p}"))
        })
    };
    let decoded = ["urlencoded", "multipart/", "message/"];
    if decoded.iter().any(|t| kind.contains(t))
        || kind
            .split(';')
            .any(|part| part.contains("charset") && !is_utf_8(part))
    {
        return None;
    }
    let length = match all("content-length").first() {
        None => None,
        Some(text) => {
            let length: usize = text.parse().ok()?;
            ensure(*text == length.to_string()).ok()?;
            Some(length)
        }
    };
    let encodings = all("content-transfer-encoding");
    let is_identity = |e: &&str| ["7bit", "8bit", "binary"].contains(&&*e.to_ascii_lowercase());
    if !encodings.iter().all(is_identity) {
        return None;
    }
    if name == "model" {
        let plain = raw_kind.is_empty()
            || raw_kind == "text/plain"
            || raw_kind.starts_with("text/plain;") && is_utf_8(&kind["text/plain;".len()..]);
        let coded = headers
            .iter()
            .any(|h| h.0 == "content-encoding" || h.0 == "transfer-encoding");
        let is_file = headers
            .iter()
            .any(|h| !known.contains(&&*h.0) && h.1.to_ascii_lowercase().contains("filename"));
        return (extra.is_empty() && plain && !coded && !is_file).then_some((true, length));
    }
    let near = |name: &str| {
        let plain = name.replace('\\', "");
        let plain = percent_decode_str(&plain).decode_utf8_lossy();
        let plain = plain.to_ascii_lowercase();
        let trimmed = plain.trim_matches(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
        trimmed == "model"
            || trimmed.starts_with("model[")
            || trimmed.starts_with("model.")
            || trimmed == "_charset_"
    };
    let near = near(name) || name.split(['"', '\'', ';', '=']).any(near);
    (!near).then_some((false, length))
}

/// Reads `; key=value` repeatedly. An empty rest has none.
fn params(mut rest: &str) -> Option<Vec<(&str, &str)>> {
    let mut params = Vec::new();
    loop {
        if rest.is_empty() {
            return Some(params);
        }
        let (key, after) = rest.strip_prefix("; ")?.split_once('=')?;
        let value;
        if let Some(text) = after.strip_prefix('"') {
            let mut escaped = false;
            let end = text.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })?;
            (value, rest) = (&text[..end], &text[end + 1..]);
        } else {
            let end = after.find([' ', ';']).unwrap_or(after.len());
            (value, rest) = after.split_at(end);
            if !is_token(value) {
                return None;
            }
        }
        if !is_token(key) {
            return None;
        }
        params.push((key, value));
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    let separators = "()<>@,;:\\\"/[]?={}";
    ('!'..='~').contains(&c) && !separators.contains(c)
}
