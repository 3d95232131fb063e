//! Checksums of records and chunks: CRC-32C (Castagnoli; RFC 3720, appendix B.4).
//!
//! The place comes last, so that the bytes are hashed where the event is encoded, and the writer adds twelve more when it
//! knows the offset.

use crc32c::{crc32c, crc32c_append};

use super::Place;

/// Of a record's value without its checksum: bytes 0 and 1, then from 6 on. The place is still missing.
pub(super) fn of_record(value: &[u8]) -> u32 {
    let before = value.get(..CHECKSUM_AT).unwrap_or(value);
    let behind = value.get(CHECKSUM_AT + CHECKSUM_LEN..).unwrap_or_default();
    crc32c_append(crc32c(before), behind)
}

/// Of a part of a body in a chunk. The place is still missing.
pub(super) fn of_chunk(part: &[u8]) -> u32 {
    crc32c(part)
}

/// With the place of the record: partition and offset, big endian.
pub(super) fn placed(checksum: u32, place: Place) -> u32 {
    let checksum = crc32c_append(checksum, &place.partition.to_be_bytes());
    crc32c_append(checksum, &place.offset.to_be_bytes())
}

/// With the place of the chunk: that of its record, and its number, big endian.
pub(super) fn placed_chunk(checksum: u32, place: Place, number: u16) -> u32 {
    crc32c_append(placed(checksum, place), &number.to_be_bytes())
}

/// Puts the checksum of a record into its value.
pub(super) fn write_record(value: &mut [u8], checksum: u32) {
    write(value.get_mut(CHECKSUM_AT..), checksum);
}

/// Puts the checksum of a chunk into its value.
pub(super) fn write_chunk(value: &mut [u8], checksum: u32) {
    write(Some(value), checksum);
}

fn write(place: Option<&mut [u8]>, checksum: u32) {
    if let Some(bytes) = place.and_then(<[u8]>::first_chunk_mut) {
        *bytes = checksum.to_le_bytes();
    }
}

/// In every format version.
const CHECKSUM_AT: usize = 2;
const CHECKSUM_LEN: usize = 4;
