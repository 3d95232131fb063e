//! From an event to the bytes of its record.

use std::io::Write as _;

use bytes::{Buf, BufMut};

use busway_event::codec::Bounded;
use busway_event::{AnyEvent, Timestamp, TraceContext};

use super::head::{FIXED_LEN, Fixed, HEAD_LEN_MAX, Head, Tail};
use crate::error::EntryError;

use super::{CHUNK_PREFIX_LEN, CHUNKED, FORMAT_VERSION, GIVEN_ID, PREFIX_LEN, Place, checksum, spare};

/// The numbers under which the store knows an event's names. 0 = it does not: the record brings the text along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NameIds {
    /// Of the topic.
    pub(crate) topic: u32,
    /// Of the payload's type.
    pub(crate) type_name: u32,
    /// Of the producer.
    pub(crate) producer: u32,
}

/// An event that is too large for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event has {len} bytes with all that it carries, a record takes {limit}: send a reference to its content"
)]
pub(crate) struct RecordTooLarge {
    /// Bytes of payload and head.
    pub(crate) len: usize,
    /// The most that a record takes in a store of this page size.
    pub(crate) limit: usize,
}

/// The values of a record: what is stored, but for its place.
///
/// Checksums hold for the place that was sealed last; before the first [`seal`](Self::seal) they hold for none.
#[derive(Debug)]
pub(crate) struct Recorded {
    value: Vec<u8>,
    /// Of `value`, without the place.
    checksum: u32,
    /// Apart, because most have none and every record is moved some times before it is stored.
    chunks: Option<Box<Chunks>>,
}

#[derive(Debug)]
struct Chunks {
    /// Their values one behind the other, each but the last of `value_len` bytes.
    values: Vec<u8>,
    value_len: usize,
    /// Of each chunk, without the place.
    checksums: Vec<u32>,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        spare::put(std::mem::take(&mut self.value));
    }
}

impl Recorded {
    /// Makes the checksums hold for `place`. May be called again with another: the bytes are not hashed again.
    pub(crate) fn seal(&mut self, place: Place) {
        checksum::write_record(&mut self.value, checksum::placed(self.checksum, place));
        let Some(chunks) = self.chunks.as_deref_mut() else { return };
        let chunks = chunks.values.chunks_mut(chunks.value_len).zip(&chunks.checksums);
        for ((chunk, checksum), number) in chunks.zip(0..) {
            checksum::write_chunk(chunk, checksum::placed_chunk(*checksum, place, number));
        }
    }

    /// Appends the value as it is sealed at `place`. For a record without chunks.
    pub(crate) fn seal_into(&self, place: Place, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.value);
        let checksum = checksum::placed(self.checksum, place);
        checksum::write_record(out.get_mut(start..).unwrap_or_default(), checksum);
    }

    /// What is stored under the offset.
    pub(crate) fn value(&self) -> &[u8] {
        &self.value
    }

    /// Whether parts of it lie in chunks.
    pub(crate) const fn has_chunks(&self) -> bool {
        self.chunks.is_some()
    }

    /// What is stored under the offset and the chunk's number, from 0.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().flat_map(|chunks| chunks.values.chunks(chunks.value_len))
    }

    /// Bytes of all values together.
    pub(crate) fn len(&self) -> usize {
        self.value.len().saturating_add(self.chunks.as_ref().map_or(0, |chunks| chunks.values.len()))
    }
}

/// Makes a record of `event`. One allocation when all of it fits into one value and there are no metadata pairs: the payload
/// is encoded right where it is stored. `inline_max` bounds each value: the store's page size − 16.
///
/// # Errors
/// [`EntryError::Encode`], also above `limit` bytes of payload; [`EntryError::TooLarge`] when the chunks cannot be counted in 16
/// bits (beyond 255 MiB with pages of 4 KiB).
pub(crate) fn encode(
    event: &AnyEvent,
    limit: usize,
    ids: NameIds,
    appended: Timestamp,
    given_id: bool,
    inline_max: usize,
) -> Result<Recorded, EntryError> {
    let mut text = [0; TRACEPARENT_LEN];
    let traceparent = event.metadata().trace().and_then(|trace| traceparent(trace, &mut text));
    let tail = Tail::of(event, ids, traceparent);
    let before = PREFIX_LEN + FIXED_LEN + tail.len();
    let mut value = spare::take(before + event.weight().clamp(PAYLOAD_GUESS_MIN, PAYLOAD_GUESS_MAX));
    value.resize(before, 0);
    let mut out = Bounded::behind(value, limit);
    let (version, codec) = event.encode_to(&mut out)?;
    let value = out.into_bytes();
    let sizes = Sizes::of(tail.len(), value.len().saturating_sub(before), inline_max)?;
    let fixed = Fixed {
        id: *event.id().as_uuid().as_bytes(),
        appended: appended.as_nanos(),
        time: event.time().as_nanos(),
        topic: ids.topic,
        type_name: ids.type_name,
        producer: ids.producer,
        payload_len: sizes.payload_len,
        chunks: sizes.chunks,
        version,
        codec: codec.as_u8(),
        priority: u8::try_from(event.priority().index()).unwrap_or(u8::MAX),
    };
    Ok(sizes.lay_out(value, before, given_id, &Head { fixed, tail })?)
}

/// How a body is cut.
struct Sizes {
    head_len: u16,
    payload_len: u32,
    chunks: u16,
    /// Bytes of head and payload.
    body_len: usize,
    inline_max: usize,
}

impl Sizes {
    fn of(tail_len: usize, payload_len: usize, inline_max: usize) -> Result<Self, RecordTooLarge> {
        let head_len = FIXED_LEN.saturating_add(tail_len);
        let body_len = head_len.saturating_add(payload_len);
        let too_large = || RecordTooLarge { len: body_len, limit: body_len_max(inline_max) };
        let behind_the_first = body_len.saturating_sub(inline_max.saturating_sub(PREFIX_LEN));
        let chunks = match behind_the_first {
            0 => 0,
            _ if inline_max < INLINE_MIN => return Err(too_large()),
            len => len.div_ceil(inline_max.saturating_sub(CHUNK_PREFIX_LEN).max(1)),
        };
        Ok(Self {
            head_len: u16::try_from(head_len).map_err(|_| too_large())?,
            payload_len: u32::try_from(payload_len).map_err(|_| too_large())?,
            chunks: u16::try_from(chunks).map_err(|_| too_large())?,
            body_len,
            inline_max,
        })
    }

    fn too_large(&self) -> RecordTooLarge {
        RecordTooLarge { len: self.body_len, limit: body_len_max(self.inline_max) }
    }

    /// Bytes of the record's own value.
    fn first_value(&self) -> usize {
        PREFIX_LEN.saturating_add(self.body_len).min(self.inline_max)
    }

    /// Writes prefix and head before the payload, and puts what has no room in the first value into chunks.
    fn lay_out(
        &self,
        mut value: Vec<u8>,
        before: usize,
        given_id: bool,
        head: &Head<'_>,
    ) -> Result<Recorded, RecordTooLarge> {
        let given_id = if given_id { GIVEN_ID } else { 0 };
        let chunked = if self.chunks > 0 { CHUNKED } else { 0 };
        let room = value.get_mut(..before).unwrap_or_default();
        if let Some((prefix, room)) = room.split_first_chunk_mut::<PREFIX_LEN>() {
            let [low, high] = self.head_len.to_le_bytes();
            *prefix = [FORMAT_VERSION, given_id | chunked, 0, 0, 0, 0, low, high];
            head.write(room).ok_or_else(|| self.too_large())?;
        }
        let chunk_len = self.inline_max.max(1);
        if self.chunks == 0 {
            let checksum = checksum::of_record(&value);
            return Ok(Recorded { value, checksum, chunks: None });
        }
        let payload = value.split_off(before.min(value.len()));
        Ok(self.cut(value, &payload, chunk_len))
    }

    /// Puts what has no room in the first value into chunks.
    fn cut(&self, mut value: Vec<u8>, payload: &[u8], chunk_len: usize) -> Recorded {
        let first_value = self.first_value();
        // What of the head has no room comes first in the chunks.
        let spilled = value.split_off(value.len().min(first_value));
        let mut body = spilled.chain(payload);
        let room = first_value.saturating_sub(value.len());
        value.put((&mut body).take(room));
        let count = usize::from(self.chunks);
        let mut values = Vec::with_capacity(body.remaining().saturating_add(count * CHUNK_PREFIX_LEN));
        let mut checksums = Vec::with_capacity(count);
        let part_len = chunk_len.saturating_sub(CHUNK_PREFIX_LEN).max(1);
        while body.has_remaining() {
            values.extend_from_slice(&[0; CHUNK_PREFIX_LEN]);
            let start = values.len();
            values.put((&mut body).take(part_len));
            checksums.push(checksum::of_chunk(values.get(start..).unwrap_or_default()));
        }
        let checksum = checksum::of_record(&value);
        let chunks = Chunks { values, value_len: chunk_len, checksums };
        Recorded { value, checksum, chunks: Some(Box::new(chunks)) }
    }
}

/// The longest body of a record whose values have at most `inline_max` bytes.
fn body_len_max(inline_max: usize) -> usize {
    let (first, part) = (inline_max.saturating_sub(PREFIX_LEN), inline_max.saturating_sub(CHUNK_PREFIX_LEN));
    if inline_max < INLINE_MIN {
        return first;
    }
    first.saturating_add(part.saturating_mul(usize::from(u16::MAX))).min(u32::MAX as usize)
}

/// The text of a trace, without an allocation.
fn traceparent<'a>(trace: &TraceContext, text: &'a mut [u8; TRACEPARENT_LEN]) -> Option<&'a str> {
    write!(text.as_mut_slice(), "{trace}").ok()?;
    str::from_utf8(text).ok()
}

/// Room that is made for a payload before its size is known: by what the event says that it weighs, within reason.
const PAYLOAD_GUESS_MIN: usize = 64;
const PAYLOAD_GUESS_MAX: usize = 4 << 10;

/// The fixed fields lie in the record's own value, whatever follows in chunks: they are read without those.
const INLINE_MIN: usize = PREFIX_LEN + FIXED_LEN;

/// `00-<32 hex>-<16 hex>-<2 hex>`.
const TRACEPARENT_LEN: usize = 55;

// The head's length is part of the prefix.
const _: () = assert!(HEAD_LEN_MAX == u16::MAX as usize);

#[cfg(test)]
mod tests {
    use busway_event::{CodecId, Encoded, EventId, Metadata, Parts, Topic};

    use super::*;

    #[test]
    fn a_small_event_is_one_allocation() {
        let (id, time) = (EventId::foreign("/shop", "7"), Timestamp::from_nanos(1));
        let parts = Parts::new(id, time, Topic::new("orders").unwrap(), Metadata::draft("shop", 1));
        for len in [2, PAYLOAD_GUESS_MIN, 200] {
            let bytes = vec![7; len].into();
            let encoded = Encoded { type_name: "order".into(), version: 1, codec: CodecId::Raw, bytes };
            let event = AnyEvent::receive(parts.clone(), encoded).unwrap();
            let recorded = encode(&event, 1_000, NameIds::default(), time, false, 4_080).unwrap();
            // What was set aside for the payload was enough: the bytes were never moved.
            let room = recorded.value.len() - len + event.weight().max(PAYLOAD_GUESS_MIN);
            assert_eq!(recorded.value.capacity(), room, "no buffer was at hand");
            assert!(recorded.chunks.is_none());
        }
    }
}
