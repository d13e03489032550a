//! Cuts the input of a fuzz target into frames.

/// The lengths of frames.
pub(crate) type Lengths = [u8; 4];

/// Cuts bytes into frames of these lengths, over and over. A zero takes the rest.
pub(crate) fn cut<'a>(bytes: &'a [u8], lengths: &Lengths) -> Vec<&'a [u8]> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    for &length in lengths.iter().cycle() {
        let length = match usize::from(length) {
            0 => rest.len(),
            length => length.min(rest.len()),
        };
        let (frame, after) = rest.split_at(length);
        frames.push(frame);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    frames
}

/// Takes lengths of frames off the front of an input. Returns the rest, whole and cut into frames
/// of these lengths.
pub(crate) fn frames(input: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (lengths, bytes) = input.split_first_chunk()?;
    Some((bytes, cut(bytes, lengths)))
}
