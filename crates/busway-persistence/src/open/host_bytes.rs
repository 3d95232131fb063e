//! Numbers as LMDB stores them: in the byte order of the machine.
//!
//! Every format of busway names its byte order. LMDB's does not have one: it writes its structs as they lie in
//! memory, so that its files belong to machines of one byte order. What it wrote is read here, and only here, in the
//! order of the host; a file from the other kind of machine shows by a magic number that is back to front.

/// The `u16` at `at`, if it lies within `bytes`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(if BIG_ENDIAN { u16::from_be_bytes } else { u16::from_le_bytes })
}

/// The `u32` at `at`, if it lies within `bytes`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(if BIG_ENDIAN { u32::from_be_bytes } else { u32::from_le_bytes })
}

/// The `u64` at `at`, if it lies within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(if BIG_ENDIAN { u64::from_be_bytes } else { u64::from_le_bytes })
}

const BIG_ENDIAN: bool = cfg!(target_endian = "big");

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_the_order_of_the_host() {
        let mut bytes = vec![0xFF];
        if BIG_ENDIAN {
            bytes.extend_from_slice(&0x0102_0304_0506_0708_u64.to_be_bytes());
            assert_eq!(u16_at(&bytes, 1), Some(0x0102));
            assert_eq!(u32_at(&bytes, 1), Some(0x0102_0304));
        } else {
            bytes.extend_from_slice(&0x0102_0304_0506_0708_u64.to_le_bytes());
            assert_eq!(u16_at(&bytes, 1), Some(0x0708));
            assert_eq!(u32_at(&bytes, 1), Some(0x0506_0708));
        }
        assert_eq!(u64_at(&bytes, 1), Some(0x0102_0304_0506_0708));
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        assert_eq!(u16_at(&[0; 8], 7), None);
        assert_eq!(u32_at(&[0; 8], 5), None);
        assert_eq!(u64_at(&[0; 8], 1), None);
        assert_eq!(u64_at(&[0; 8], usize::MAX), None);
    }
}
