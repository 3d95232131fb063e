//! The bytes of rows of keys.
//!
//! Keys of a settlement have much in common with the one before: ids of one millisecond and thread differ in two or three bytes of sixteen, times by a microsecond. So each is
//! written as what it has not: six bytes an id, and a digest, which has nothing in common with any other, is two bytes longer than itself and its time as a rule. Nothing is lost: keys and
//! times are read as they were given, to the bit.
//!
//! Rows of version 1, 24 bytes a key, were written before there was version 2. They are read for ever, and go as their keys run out.

use busway_event::Timestamp;

use super::DoneKey;
use crate::corrupt::Corrupt;
use crate::row;

/// A row of version 2: how many keys there are (8 bytes), the latest of their times (8), and each key, all numbers little endian. A key is
///
/// * a byte: how many bytes at its beginning it has in common with the one before (the upper half), and how many at its end (the lower one), 15 in all at most;
/// * the bytes between;
/// * its time less that of the one before, as a signed number in the way of Protocol Buffers' `sint64`: zigzag, seven bits a byte, the lowest first.
///
/// What comes before the first are 16 bytes of zeros, and the latest time.
pub(super) fn to_row(at: &[u8], keys: &[DoneKey]) -> Vec<u8> {
    let latest = keys.iter().map(|done| done.until.as_nanos()).max().unwrap_or_default();
    row::written(at, NEWEST, HEAD_BYTES + keys.len() * KEY_BYTES_MOST, |body| {
        body.extend((keys.len() as u64).to_le_bytes());
        body.extend(latest.to_le_bytes());
        keys.iter().fold((0, latest), |before, done| {
            let this = (u128::from_be_bytes(done.key), done.until.as_nanos());
            write(body, before, this);
            this
        });
    })
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "two halves of a byte, and the seven lowest bits")]
fn write(body: &mut Vec<u8>, (key_before, before): (u128, i64), (key, until): (u128, i64)) {
    let differs = key ^ key_before;
    let start = (differs.leading_zeros() / 8).min(COMMON_MAX);
    let end = (differs.trailing_zeros() / 8).min(COMMON_MAX - start);
    let between = KEY_BYTES - start - end;
    let bytes = (key << (start * 8)).to_be_bytes();
    body.push((start << 4 | end) as u8);
    body.extend_from_slice(bytes.get(..between as usize).unwrap_or_default());
    let step = until.wrapping_sub(before);
    let mut rest = ((step << 1) ^ (step >> 63)).cast_unsigned();
    while rest >= 0x80 {
        body.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    body.push(rest as u8);
}

/// The keys of a row, in the order in which they were done.
pub(super) fn from_row(at: &[u8], row: &[u8]) -> Result<Vec<DoneKey>, Corrupt> {
    let (NEWEST, body) = row::opened(KIND, at, row, NEWEST)? else { return from_row_1(at, row) };
    read_all(body).ok_or_else(|| row::corrupt(KIND, at, "its keys do not fill it".to_owned()))
}

fn from_row_1(at: &[u8], row: &[u8]) -> Result<Vec<DoneKey>, Corrupt> {
    let keys: Vec<(u128, i64)> = row::decode(KIND, at, row)?;
    let done =
        |(key, until): (u128, i64)| DoneKey { key: key.to_le_bytes(), until: Timestamp::from_nanos(until) };
    Ok(keys.into_iter().map(done).collect())
}

fn read_all(mut body: &[u8]) -> Option<Vec<DoneKey>> {
    let count = u64::from_le_bytes(take(&mut body)?);
    let mut before = (0, i64::from_le_bytes(take(&mut body)?));
    // As many as there can be: a count that is wrong asks for no more memory than that.
    let mut keys = Vec::with_capacity(usize::try_from(count).ok()?.min(body.len() / KEY_BYTES_LEAST));
    for _ in 0..count {
        before = read(&mut body, before)?;
        keys.push(DoneKey { key: before.0.to_be_bytes(), until: Timestamp::from_nanos(before.1) });
    }
    body.is_empty().then_some(keys)
}

fn read(body: &mut &[u8], (key_before, before): (u128, i64)) -> Option<(u128, i64)> {
    let [common] = take(body)?;
    let (start, end) = (u32::from(common >> 4), u32::from(common & 0xf));
    let between = KEY_BYTES.checked_sub(start + end).filter(|between| *between > 0)?;
    let (bytes, rest) = body.split_at_checked(between as usize)?;
    *body = rest;
    let bits = bytes.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let mask = u128::MAX >> ((KEY_BYTES - between) * 8) << (end * 8);
    let key = key_before & !mask | bits << (end * 8);
    let mut zigzag = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(body)?;
        zigzag |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            let step = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
            return Some((key, before.wrapping_add(step)));
        }
    }
    None
}

fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*head)
}

/// When all keys of a row have run out. A damaged one says nothing of its times, and stays: who reads it is told.
pub(super) fn kept_until(at: &[u8], row: &[u8]) -> Timestamp {
    let latest = match row::opened(KIND, at, row, NEWEST) {
        Ok((NEWEST, mut body)) => {
            take(&mut body).and_then(|_: [u8; 8]| take(&mut body)).map(i64::from_le_bytes)
        }
        _ => from_row(at, row).ok().map(|keys| {
            let times = keys.iter().map(|done| done.until.as_nanos());
            times.max().unwrap_or(i64::MIN)
        }),
    };
    Timestamp::from_nanos(latest.unwrap_or(i64::MAX))
}

/// How many keys a row has, by its beginning. Not looked into further: no more than it could have.
pub(super) fn keys_of(row: &[u8]) -> u64 {
    let count = row
        .get(row::HEAD_BYTES..)
        .and_then(|body| body.first_chunk())
        .map_or(0, |count| u64::from_le_bytes(*count));
    count.min((row.len() / KEY_BYTES_LEAST) as u64)
}

const KIND: &str = "done keys";
/// The version that is written.
const NEWEST: u8 = 2;
/// How many keys there are, and the latest of their times.
const HEAD_BYTES: usize = 8 + 8;
/// A key.
const KEY_BYTES: u32 = 16;
/// So much of a key is in common with the one before at most: a byte of it is written in any case.
const COMMON_MAX: u32 = 15;
/// A byte of what is in common, one of the key, one of the time.
const KEY_BYTES_LEAST: usize = 3;
/// What is in common, all of a key, and three bytes of a time, which are two milliseconds. It may be more: then the row is moved while it is written.
const KEY_BYTES_MOST: usize = 1 + 16 + 3;

#[cfg(test)]
mod tests;
