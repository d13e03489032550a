//! How the input of a fuzz target is read.

/// The lengths of frames.
pub(crate) type Lengths = [u8; 4];

/// Cuts bytes into frames of these lengths, over and over. A zero takes all
/// that is left.
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
