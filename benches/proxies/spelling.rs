//! JSON as it is spelled.

use serde_json::value::RawValue;

use super::members::Members;

/// The text of the value at this path of keys and indices.
pub(crate) fn text_at<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    let Some((step, path)) = path.split_first() else {
        return Some(json);
    };
    let value = match step.parse::<usize>() {
        Ok(index) => *serde_json::from_str::<Vec<&RawValue>>(json)
            .ok()?
            .get(index)?,
        Err(_) => {
            let Members(members) = serde_json::from_str(json).ok()?;
            members.into_iter().find(|it| it.0 == *step)?.1
        }
    };
    text_at(value.get(), path)
}
