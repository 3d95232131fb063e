//! Rows: small structures under a key of their own, in the same dress.
//!
//! A row is a version (1 byte; 1, but for rows that say otherwise), the checksum (CRC32C, 4 bytes, little endian) of version, key and body, and the body: bincode 2
//! in its `legacy()` layout. The key is part of the checksum, so that a row in the wrong place is seen.

use std::fmt::Write as _;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::corrupt::Corrupt;

/// The row of a value under `key`.
///
/// # Errors
/// It is larger than a row may be, which no caller of this crate lets happen.
pub(crate) fn encode<T: Serialize + ?Sized>(key: &[u8], value: &T) -> heed::Result<Vec<u8>> {
    let mut row = headed(VERSION, ROW_BYTES);
    bincode::serde::encode_into_std_write(value, &mut row, LAYOUT)
        .map_err(|error| heed::Error::Encoding(error.into()))?;
    let body = row.len() - HEAD_BYTES;
    if body > ROW_BYTES_MAX {
        return Err(heed::Error::Encoding(format!("a row of {body} bytes").into()));
    }
    Ok(sealed(key, VERSION, row))
}

/// A row of a version under `key` whose body, of so many bytes about, is written by hand.
pub(crate) fn written(
    key: &[u8],
    version: u8,
    body_bytes: usize,
    write: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut row = headed(version, body_bytes);
    write(&mut row);
    sealed(key, version, row)
}

/// The head of a row, whose body is about so many bytes.
fn headed(version: u8, body_bytes: usize) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEAD_BYTES + body_bytes);
    row.extend([version, 0, 0, 0, 0]);
    row
}

/// The row with its checksum.
fn sealed(key: &[u8], version: u8, mut row: Vec<u8>) -> Vec<u8> {
    if let Some((head, body)) = row.split_first_chunk_mut::<HEAD_BYTES>() {
        let [a, b, c, d] = checksum(version, key, body).to_le_bytes();
        *head = [version, a, b, c, d];
    }
    row
}

/// The value of a row under `key`; `kind` names it in the error.
pub(crate) fn decode<T: DeserializeOwned>(kind: &str, key: &[u8], row: &[u8]) -> Result<T, Corrupt> {
    let body = checked(kind, key, row)?;
    match bincode::serde::decode_from_slice(body, LAYOUT) {
        Ok((value, used)) if used == body.len() => Ok(value),
        Ok((_, used)) => Err(corrupt(kind, key, format!("{} bytes are left over", body.len() - used))),
        Err(error) => Err(corrupt(kind, key, error.to_string())),
    }
}

/// What is at the beginning of a row, borrowed from it; the rest is not looked at.
pub(crate) fn glance<'a, T: Deserialize<'a>>(kind: &str, key: &[u8], row: &'a [u8]) -> Result<T, Corrupt> {
    let glanced = bincode::serde::borrow_decode_from_slice(checked(kind, key, row)?, LAYOUT);
    glanced.map(|(value, _)| value).map_err(|error| corrupt(kind, key, error.to_string()))
}

pub(crate) fn corrupt(kind: &str, key: &[u8], reason: String) -> Corrupt {
    Corrupt { place: format!("{kind} under {}", hex(key)), reason }
}

/// The body of a row whose version and checksum are right.
fn checked<'a>(kind: &str, key: &[u8], row: &'a [u8]) -> Result<&'a [u8], Corrupt> {
    opened(kind, key, row, VERSION).map(|(_, body)| body)
}

/// Version and body of a row whose checksum is right, and whose version is no newer than that.
pub(crate) fn opened<'a>(
    kind: &str,
    key: &[u8],
    row: &'a [u8],
    newest: u8,
) -> Result<(u8, &'a [u8]), Corrupt> {
    let corrupt = |reason: String| corrupt(kind, key, reason);
    let Some((&[version, a, b, c, d], body)) = row.split_first_chunk::<HEAD_BYTES>() else {
        return Err(corrupt(format!("it has {} bytes, fewer than its head", row.len())));
    };
    if !(VERSION..=newest).contains(&version) {
        return Err(corrupt(format!("its version is {version}, this program reads {newest}")));
    }
    let (stored, made) = (u32::from_le_bytes([a, b, c, d]), checksum(version, key, body));
    if stored != made {
        return Err(corrupt(format!("its checksum is {stored:08x}, its bytes make {made:08x}")));
    }
    Ok((version, body))
}

fn checksum(version: u8, key: &[u8], body: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&[version]), key);
    crc32c::crc32c_append(head, body)
}

/// A key as people read it.
pub(crate) fn hex(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len() * 2);
    // Writing into a string does not fail.
    key.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    text
}

type Layout = Configuration<LittleEndian, Fixint, Limit<ROW_BYTES_MAX>>;
const LAYOUT: Layout = bincode::config::legacy().with_limit::<ROW_BYTES_MAX>();
/// The first, and the only one of most rows.
const VERSION: u8 = 1;
/// The newest of any row: that of [keys that are done](crate::done), and of [tables](crate::table).
pub(crate) const NEWEST: u8 = 2;
/// Version and checksum.
pub(crate) const HEAD_BYTES: usize = 5;
/// Bytes of a body that few are larger than.
const ROW_BYTES: usize = 128;
/// No row is larger; a length that is read from a damaged one asks for no more memory than this.
const ROW_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_and_any_change_of_it_or_of_its_key_is_seen() {
        let value = (7_u32, "filter".to_owned(), vec![1_u64, 2]);
        let row = encode(b"key", &value).unwrap();
        assert_eq!(decode::<(u32, String, Vec<u64>)>("row", b"key", &row).unwrap(), value);
        for bit in 0..row.len() * 8 {
            let mut damaged = row.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<(u32, String, Vec<u64>)>("row", b"key", &damaged).is_err(), "bit {bit}");
        }
        for len in 0..row.len() {
            assert!(decode::<(u32, String, Vec<u64>)>("row", b"key", &row[..len]).is_err());
        }
        let elsewhere = decode::<(u32, String, Vec<u64>)>("row", b"kez", &row).unwrap_err();
        assert!(
            elsewhere.to_string().starts_with("row under 6b657a is damaged: its checksum is"),
            "{elsewhere}"
        );
    }
}
