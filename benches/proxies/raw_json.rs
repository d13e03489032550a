//! JSON as it was written.

use sonic_rs::{LazyValue, PointerNode, to_object_iter};

/// Returns the members of an object in their order, with duplicates; `None` if it is not valid.
pub(crate) fn members(json: &str) -> Option<Vec<(String, String)>> {
    let member = |(key, value): (_, LazyValue<'_>)| {
        (ToString::to_string(&key), value.as_raw_str().to_owned())
    };
    to_object_iter(json).map(|it| it.ok().map(member)).collect()
}

/// Returns the text of the value at this path of keys and indices.
pub(crate) fn text_at<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    let path = path.iter().map(|step| match step.parse() {
        Ok(index) => PointerNode::Index(index),
        Err(_) => PointerNode::Key(step.to_string().into()),
    });
    let value = sonic_rs::get(json, path).ok()?;
    let start = value.as_raw_str().as_ptr() as usize - json.as_ptr() as usize;
    json.get(start..start + value.as_raw_str().len())
}
