//! The memory that decoding takes, by the window that the encoded data declares.

use super::decoder::{Coding, DecodeError};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The largest window of zstd as a content coding (RFC 9659).
pub(super) const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A window of 32 KiB, tables and state.
const FLATE: u64 = 64 * KIB;
/// The tables of a metablock with 256 trees of each kind, context maps and state.
const BROTLI_TABLES: u64 = 3 * MIB + 512 * KIB;
/// zstd's context.
const ZSTD_CONTEXT: u64 = 192 * KIB;
const ZSTD_MAX_BLOCK: u64 = 128 * KIB;

/// Returns an upper bound of the bytes that the decoder of the member that starts with `head`
/// allocates, or `None` if the head is too short to tell.
pub(super) fn member_memory(coding: Coding, head: &[u8]) -> Result<Option<usize>, DecodeError> {
    let bytes = match coding {
        Coding::Gzip | Coding::Deflate => Some(FLATE),
        Coding::Brotli => brotli_window(head)?.map(|window| window + BROTLI_TABLES),
        Coding::Zstd => {
            // The window, a block in, and two blocks out.
            let buffers = |window: u64| window + 3 * window.min(ZSTD_MAX_BLOCK);
            zstd_window(head)?.map(|window| buffers(window) + ZSTD_CONTEXT)
        }
    };
    Ok(bytes.map(|bytes| bytes as usize))
}

/// Reads WBITS (RFC 7932, 9.1).
fn brotli_window(head: &[u8]) -> Result<Option<u64>, DecodeError> {
    let Some(&first) = head.first() else {
        return Ok(None);
    };
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        // Invalid, and the mark of "large window" brotli, which the decoder supports: up to 1 GiB.
        (_, 0, 1) => return Err(DecodeError::WindowTooLarge("brotli", "16 MiB")),
        (_, 0, n) => 8 + n,
        (_, n, _) => 17 + n,
    };
    Ok(Some(1 << bits))
}

/// Reads the window size of a frame (RFC 8878, 3.1.1.1); 0 of a skippable one.
fn zstd_window(head: &[u8]) -> Result<Option<u64>, DecodeError> {
    const MAGIC: u32 = 0xfd2f_b528;
    const SKIPPABLE: u32 = 0x184d_2a50;

    let Some((magic, rest)) = head.split_first_chunk() else {
        return Ok(None);
    };
    let magic = u32::from_le_bytes(*magic);
    if magic & !0xf == SKIPPABLE {
        return Ok(Some(0));
    }
    if magic != MAGIC {
        // The library may also have been built to decode frames of old versions, whose windows
        // this does not read.
        return Err(DecodeError::Corrupt("it is not a zstd frame".into()));
    }
    let Some((&descriptor, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let is_single_segment = descriptor & 0x20 != 0;
    let window = if is_single_segment {
        let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = 1 << (descriptor >> 6);
        let Some(field) = rest.get(dictionary_id..dictionary_id + size) else {
            return Ok(None);
        };
        let mut content_size = [0; 8];
        content_size[..size].copy_from_slice(field);
        let offset = if size == 2 { 256 } else { 0 };
        u64::from_le_bytes(content_size).saturating_add(offset)
    } else {
        let Some(&window) = rest.first() else {
            return Ok(None);
        };
        let base = 1 << (10 + (window >> 3));
        base + base / 8 * u64::from(window & 7)
    };
    if window > 1 << ZSTD_WINDOW_LOG_MAX {
        return Err(DecodeError::WindowTooLarge("zstd", "8 MiB (RFC 9659)"));
    }
    Ok(Some(window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_window_is_read_from_the_first_byte() {
        // RFC 7932, 9.1: the bit patterns of all WBITS.
        for (pattern, bits) in [
            (0b010_0001, 10),
            (0b011_0001, 11),
            (0b100_0001, 12),
            (0b101_0001, 13),
            (0b110_0001, 14),
            (0b111_0001, 15),
            (0b0, 16),
            (0b000_0001, 17),
            (0b0011, 18),
            (0b0101, 19),
            (0b0111, 20),
            (0b1001, 21),
            (0b1011, 22),
            (0b1101, 23),
            (0b1111, 24),
        ] {
            let window = brotli_window(&[pattern | 0x80]).unwrap();
            assert_eq!(window, Some(1 << bits), "{pattern:b}");
        }
        assert_eq!(brotli_window(&[]).unwrap(), None);
        assert!(brotli_window(&[0b001_0001]).is_err());
    }

    #[test]
    fn zstd_window_is_read_from_the_frame_header() {
        const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

        for (header, window) in [
            // Window descriptors.
            (&[0, 0][..], Some(1 << 10)),
            (&[0, 11 << 3 | 5], Some((1 << 21) / 8 * 13)),
            (&[0, 13 << 3], Some(1 << 23)),
            (&[0, 13 << 3 | 1], None),
            (&[0, 0xff], None),
            // Content sizes of single segments, after dictionary IDs.
            (&[0x20, 7], Some(7)),
            (&[0x60, 1, 1], Some(0x101 + 256)),
            (&[0xa1, 9, 0, 0, 0x80, 0], Some(1 << 23)),
            (&[0xa2, 9, 9, 1, 0, 0x80, 0], None),
            (&[0xe3, 9, 9, 9, 9, 1, 2, 0, 0, 0, 0, 0, 0], Some(0x201)),
            (
                &[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                None,
            ),
        ] {
            let frame = [&MAGIC, header].concat();
            for cut in 0..frame.len() {
                assert_eq!(zstd_window(&frame[..cut]).unwrap(), None, "{header:x?}");
            }
            let read = zstd_window(&frame).ok();
            assert_eq!(read, window.map(Some), "{header:x?}");
        }
        assert_eq!(zstd_window(&[0x5f, 0x2a, 0x4d, 0x18]).unwrap(), Some(0));
        assert!(zstd_window(&[0x27, 0xb5, 0x2f, 0xfd]).is_err());
    }
}
