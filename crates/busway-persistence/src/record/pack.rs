//! A pack: records that follow each other, in one value.
//!
//! | from | bytes | what |
//! |---|---|---|
//! | 0 | 1 | [`PACK_VERSION`]: 0x81; of a single record this byte is below 0x80 |
//! | 1 | 1 | flags: none |
//! | 2 | 4 | checksum of the other bytes before the records, and of the [`Place`] of the last record |
//! | 6 | 2 | how many records: 2 at least |
//! | 8 | 2 each | where each record ends, from the start of the value |
//! | – | – | the records' values, one behind the other, as each would be by itself |
//!
//! `docs/design/format.md` says the same for readers without this code. What a store pays for a value (a search for its place, a node, a share of a page's
//! head) it pays once for a page of records. Each keeps its own checksum: one that is damaged costs its neighbours nothing.
//!
//! A pack lies under the offset of its *last* record, as each record by itself does. So the last key of a database says where its log ends, whatever has
//! become of the value, and the first key from an offset on is that of the value that holds it.

use super::{Place, checksum};
use crate::corrupt::Corrupt;

/// Bytes of the records in a value that is no chunk. Not looked into further.
pub(crate) fn records_bytes(value: &[u8]) -> usize {
    match value.split_first_chunk::<HEAD_LEN>() {
        Some((&[version, .., n0, n1], behind)) if version & PACK != 0 => {
            behind.len().saturating_sub(usize::from(u16::from_le_bytes([n0, n1])) * END_LEN)
        }
        _ => value.len(),
    }
}

/// A value of a log: one record, or several. Of a pack the head is intact; the records are still to be checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a> {
    value: &'a [u8],
    /// Where each record ends, 2 bytes each. Empty: the value is a single record.
    ends: &'a [u8],
    /// The offset of the first record.
    first: u64,
    /// The offset of the last record.
    last: u64,
}

impl<'a> Held<'a> {
    /// Reads what lies under the offset of `last`.
    ///
    /// # Errors
    /// What does not fit in the head of a pack. A single record is not looked into.
    pub(crate) fn read(last: Place, value: &'a [u8]) -> Result<Self, String> {
        match value.first() {
            Some(&version) if version & PACK != 0 => Self::pack(last, value, version),
            _ => Ok(Self { value, ends: &[], first: last.offset, last: last.offset }),
        }
    }

    fn pack(last: Place, value: &'a [u8], version: u8) -> Result<Self, String> {
        let Some((&[_, flags, c0, c1, c2, c3, n0, n1], behind)) = value.split_first_chunk::<HEAD_LEN>()
        else {
            return Err(format!("it has {} bytes, fewer than {HEAD_LEN}", value.len()));
        };
        let count = u16::from_le_bytes([n0, n1]);
        let Some(ends) = behind.get(..usize::from(count) * END_LEN) else {
            return Err(format!("it has {} bytes, too few for {count} records", value.len()));
        };
        let stored = u32::from_le_bytes([c0, c1, c2, c3]);
        let head = value.get(..HEAD_LEN + ends.len()).unwrap_or_default();
        let found = checksum::placed(checksum::of_record(head), last);
        if stored != found {
            return Err(format!("its checksum is {stored:08x}, its head and place make {found:08x}"));
        }
        if version != PACK_VERSION || flags != 0 {
            return Err(format!(
                "it is of the version {version:#x} with the flags {flags:08b}, which this program does not know"
            ));
        }
        match last.offset.checked_sub(u64::from(count).saturating_sub(1)) {
            Some(first) if count >= 2 => Ok(Self { value, ends, first, last: last.offset }),
            _ => Err(format!("it says that it has {count} records")),
        }
    }

    /// The offset of the first record.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The value of the record at an offset; `None` when it is not one of these, or does not lie within the value.
    #[inline]
    pub(crate) fn record(&self, offset: u64) -> Option<&'a [u8]> {
        let at = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        if offset > self.last {
            return None;
        }
        if self.ends.is_empty() {
            return Some(self.value);
        }
        let end = |at: usize| {
            let end = self.ends.get(at * END_LEN..)?.first_chunk()?;
            Some(usize::from(u16::from_le_bytes(*end)))
        };
        let start = match at.checked_sub(1) {
            Some(before) => end(before)?,
            None => HEAD_LEN + self.ends.len(),
        };
        self.value.get(start..end(at)?)
    }
}

/// What a damaged pack is called: by the record in it that was asked for.
pub(crate) fn damaged(place: Place, reason: &str) -> Corrupt {
    place.corrupt(format!("the pack that holds it cannot be read: {reason}"))
}

/// Records that are gathered to become a value.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    /// Room for the head of a pack, then the records' values, sealed.
    bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    ends: Vec<usize>,
    /// Where the last one lies.
    last: Option<Place>,
}

impl Packing {
    /// Whether a record at `place` with a value of `len` bytes may be added to make a value of `value_max` bytes at most.
    pub(crate) fn takes(&self, place: Place, len: usize, value_max: usize) -> bool {
        let follows = self.last.is_some_and(|last| {
            last.partition == place.partition && last.offset.checked_add(1) == Some(place.offset)
        });
        let (count, records) = (self.ends.len() + 1, self.bytes.len().saturating_sub(HEAD_ROOM) + len);
        follows && count <= RECORDS_MAX && value_len(count, records) <= value_max.min(VALUE_MAX)
    }

    /// Adds the record at `place`: `write` appends its value, sealed.
    pub(crate) fn add(&mut self, place: Place, write: impl FnOnce(&mut Vec<u8>)) {
        if self.ends.is_empty() {
            self.bytes.resize(HEAD_ROOM, 0);
        }
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
        self.last = Some(place);
    }

    /// Cuts what was gathered into values and takes it all out: `put` is given the place and the bytes of each. What fills a page to a good part becomes
    /// one value; less is cut into parts of `shared_max` bytes, which lie in a page together.
    pub(crate) fn take<E>(
        &mut self,
        (shared_max, value_max): (usize, usize),
        mut put: impl FnMut(Place, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(last) = self.last.take() else { return Ok(()) };
        let Self { bytes, ends, .. } = self;
        let len = value_len(ends.len(), bytes.len().saturating_sub(HEAD_ROOM));
        let is_whole = len <= shared_max || len >= value_max / 4 * 3;
        let (mut start, mut left) = (HEAD_ROOM, ends.as_slice());
        while !left.is_empty() {
            let fits = |(at, end): &(usize, &usize)| value_len(at + 1, **end - start) <= shared_max;
            let fitting = || left.iter().enumerate().take_while(fits).count().max(1);
            let count = if is_whole { left.len() } else { fitting() };
            let Some((part, behind)) = left.split_at_checked(count) else { break };
            let end = part.last().copied().unwrap_or(start);
            let place = Place { offset: last.offset - behind.len() as u64, ..last };
            // Over what lies before: room, or records that are written.
            let head = write_head(bytes.get_mut(..start).unwrap_or_default(), part, place);
            put(place, bytes.get(start - head..end).unwrap_or_default())?;
            (start, left) = (end, behind);
        }
        bytes.clear();
        ends.clear();
        Ok(())
    }
}

/// Bytes of a value of so many records with so many bytes.
const fn value_len(count: usize, records: usize) -> usize {
    match count {
        0 | 1 => records,
        _ => records + HEAD_LEN + count * END_LEN,
    }
}

/// Writes the head of a pack to the end of `before`, behind which its records begin, and says how long it is: a single record has none.
fn write_head(before: &mut [u8], ends: &[usize], last: Place) -> usize {
    let (start, len) = (before.len(), HEAD_LEN + ends.len() * END_LEN);
    let Some(head) = start.checked_sub(len).filter(|_| ends.len() > 1).and_then(|at| before.get_mut(at..))
    else {
        return 0;
    };
    let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
    let [low, high] = short(ends.len());
    let fixed = [PACK_VERSION, 0, 0, 0, 0, 0, low, high];
    let ends = ends.iter().flat_map(|end| short(len + end - start));
    head.iter_mut().zip(fixed.into_iter().chain(ends)).for_each(|(place, byte)| *place = byte);
    let checksum = checksum::placed(checksum::of_record(head), last);
    checksum::write_record(head, checksum);
    len
}

/// Set in the first byte of a pack, and of no record.
const PACK: u8 = 0x80;
/// The version that is written, and the newest that is read.
const PACK_VERSION: u8 = PACK | 1;
/// Bytes before the ends of the records.
const HEAD_LEN: usize = 8;
/// Bytes of an end.
const END_LEN: usize = 2;
/// Records of a pack at most: a bound for the room before them. A page of 4 KiB has no more than 50.
const RECORDS_MAX: usize = 256;
const HEAD_ROOM: usize = HEAD_LEN + RECORDS_MAX * END_LEN;
/// Ends have 16 bits.
const VALUE_MAX: usize = u16::MAX as usize;
