//! The rules for top-level keys, naively.

use super::super::{JsonErrorKind, key::is_dropped};

/// Returns whether a key names the model, or the reason why it is rejected. `spelling` is the key
/// as it is in the document.
pub(super) fn is_model(key: &str, spelling: &str) -> Result<bool, JsonErrorKind> {
    match has_escaped_ascii(spelling) || (key != "model" && is_ambiguous(key)) {
        true => Err(JsonErrorKind::AmbiguousModel),
        false => Ok(key == "model"),
    }
}

fn has_escaped_ascii(spelling: &str) -> bool {
    // An escaped backslash is none that escapes.
    let spelling = spelling.replace("\\\\", "  ");
    spelling.split("\\u").skip(1).any(|escape| {
        let unit = u16::from_str_radix(&escape[..4], 16);
        unit.is_ok_and(|unit| (0x20..0x7f).contains(&unit))
    })
}

fn is_ambiguous(key: &str) -> bool {
    let kept = |key: &str| -> String { key.chars().filter(|&c| !is_dropped(c)).collect() };
    let is_similar = |key: &str| kept(key).to_lowercase() == "model";
    let up_to_nul = key
        .match_indices('\0')
        .any(|(nul, _)| is_similar(&key[..nul]));
    is_similar(key)
        || up_to_nul
        || ["<<", "__proto__", "$id", "$ref"].contains(&key)
        || has_hash_of_model(key)
}

fn has_hash_of_model(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let jsoniter = |key: &str| {
        let bytes = key.bytes();
        bytes.fold(0x811c_9dc5, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0193)
        })
    };
    let fastjson = |key: &str| {
        let units = key.encode_utf16();
        units.fold(0xcbf2_9ce4_8422_2325, |hash: u64, unit| {
            (hash ^ u64::from(unit)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let is_fastjson = |key: &str| {
        let hash = fastjson(key);
        hash == fastjson("model") || hash == 0x006c_6564_6f6d || hash == 0x006d_6f64_656c
    };
    [key, &lower].map(jsoniter).contains(&jsoniter("model"))
        || is_fastjson(key)
        || is_fastjson(&lower.replace(['_', '-'], ""))
        || is_fastjson(&lower.replace(['_', '-', ' '], ""))
}
