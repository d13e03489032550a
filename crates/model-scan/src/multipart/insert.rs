use memchr::memmem;

/// A whole `model` part (delimiter line, head, content, CRLF) to insert at
/// [`Scanner::insertion`](super::Scanner::insertion).
///
/// # Panics
///
/// When [`is_safe_content`] is not true of the value.
pub fn model_part(boundary: &[u8], value: &str) -> Vec<u8> {
    assert!(
        is_safe_content(boundary, value),
        "a model part's value has a line end or the form's boundary in it"
    );
    [
        b"--".as_slice(),
        boundary,
        b"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n",
        value.as_bytes(),
        b"\r\n",
    ]
    .concat()
}

/// Whether `value` can be the content of a part, inserted or put in the place of another, without
/// any server reading more or less than it: no control character, and no `--boundary`.
///
/// The client chooses the boundary: it must not be able to choose one that cuts an ID in two.
pub fn is_safe_content(boundary: &[u8], value: &str) -> bool {
    let dashed = [b"--", boundary].concat();
    !value.chars().any(char::is_control) && memmem::find(value.as_bytes(), &dashed).is_none()
}
