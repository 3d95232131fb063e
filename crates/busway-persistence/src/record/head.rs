//! The head of a record: all that an event carries beside its payload.
//!
//! Its bytes are those of bincode 2 in its `legacy()` configuration: fields one after another without gaps, numbers little
//! endian and at their full width, an option as a byte 0 or 1 before its value, a text or a list as its length (u64) before
//! its content. The fields of [`Fixed`] come first and are always at the same places.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian, legacy};
use serde::Deserialize;
#[cfg(test)]
use serde::Serialize;

use busway_event::{AnyEvent, Key, TraceContext};

use super::NameIds;

/// The head as it is written. It is read in two steps: [`Fixed::read`], [`Tail::read`].
#[derive(Debug)]
#[cfg_attr(test, derive(Serialize))]
pub(super) struct Head<'a> {
    pub(super) fixed: Fixed,
    pub(super) tail: Tail<'a>,
}

impl Head<'_> {
    /// Writes the head into `room`, which has its exact length. `None` when it has not.
    ///
    /// By hand, in the layout that bincode reads: each event passes through here, and an encoder of any structure takes several times as long.
    pub(super) fn write(&self, room: &mut [u8]) -> Option<()> {
        let (fixed, tail) = room.split_first_chunk_mut()?;
        self.fixed.write(fixed)?;
        self.tail.write(tail)?.is_empty().then_some(())
    }
}

/// The fields that are at the same place in each head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Serialize))]
pub(super) struct Fixed {
    /// A UUID, in the order in which it is written.
    pub(super) id: [u8; 16],
    /// When the store took the event, in nanoseconds since 1970, UTC.
    pub(super) appended: i64,
    /// When it happened, likewise.
    pub(super) time: i64,
    /// Its topic's number among the store's names; 0 when the text is in the tail. As the next two.
    pub(super) topic: u32,
    pub(super) type_name: u32,
    pub(super) producer: u32,
    pub(super) payload_len: u32,
    /// How many chunks follow the record.
    pub(super) chunks: u16,
    /// The schema version of the payload.
    pub(super) version: u16,
    /// The number of `CodecId`.
    pub(super) codec: u8,
    /// The index of `Priority`.
    pub(super) priority: u8,
}

impl Fixed {
    fn write(&self, room: &mut [u8; FIXED_LEN]) -> Option<()> {
        let Self {
            id,
            appended,
            time,
            topic,
            type_name,
            producer,
            payload_len,
            chunks,
            version,
            codec,
            priority,
        } = *self;
        let rest = &mut room[..];
        // Each length is known here, so that no check is left.
        put(rest, id)
            .and_then(|rest| put(rest, appended.to_le_bytes()))
            .and_then(|rest| put(rest, time.to_le_bytes()))
            .and_then(|rest| put(rest, topic.to_le_bytes()))
            .and_then(|rest| put(rest, type_name.to_le_bytes()))
            .and_then(|rest| put(rest, producer.to_le_bytes()))
            .and_then(|rest| put(rest, payload_len.to_le_bytes()))
            .and_then(|rest| put(rest, chunks.to_le_bytes()))
            .and_then(|rest| put(rest, version.to_le_bytes()))
            .and_then(|rest| put(rest, [codec, priority]))
            .map(drop)
    }

    /// From the start of a head; `None` when there are too few bytes. Reads at fixed places, without a decoder: whoever
    /// looks for some events among many passes through here for each.
    #[inline]
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        // The length is looked at once, here; the compiler drops all checks below.
        let rest = head.first_chunk::<FIXED_LEN>()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (appended, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (topic, rest) = rest.split_first_chunk()?;
        let (type_name, rest) = rest.split_first_chunk()?;
        let (producer, rest) = rest.split_first_chunk()?;
        let (payload_len, rest) = rest.split_first_chunk()?;
        let (chunks, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let &[codec, priority] = rest.first_chunk()?;
        Some(Self {
            id: *id,
            appended: i64::from_le_bytes(*appended),
            time: i64::from_le_bytes(*time),
            topic: u32::from_le_bytes(*topic),
            type_name: u32::from_le_bytes(*type_name),
            producer: u32::from_le_bytes(*producer),
            payload_len: u32::from_le_bytes(*payload_len),
            chunks: u16::from_le_bytes(*chunks),
            version: u16::from_le_bytes(*version),
            codec,
            priority,
        })
    }
}

/// The fields that most events do not have, borrowed from where they lie.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
pub(super) struct Tail<'a> {
    /// The text of a name whose number is 0, and of no other. As the next two.
    pub(super) topic: Option<&'a str>,
    pub(super) type_name: Option<&'a str>,
    pub(super) producer: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    /// In nanoseconds.
    pub(super) ttl: Option<u64>,
    pub(super) origin_id: Option<&'a str>,
    pub(super) traceparent: Option<&'a str>,
    pub(super) tracestate: Option<&'a str>,
    #[serde(borrow)]
    pub(super) pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Tail<'a> {
    /// What `event` carries. `traceparent` is the text of its trace.
    pub(super) fn of(event: &'a AnyEvent, ids: NameIds, traceparent: Option<&'a str>) -> Self {
        let inline = |id: u32, text: &'a str| (id == 0).then_some(text);
        let metadata = event.metadata();
        Self {
            topic: inline(ids.topic, event.topic().as_str()),
            type_name: inline(ids.type_name, event.type_name()),
            producer: inline(ids.producer, metadata.producer()),
            key: event.key().map(Key::as_str),
            // Whoever may wait for 584 years may wait for ever.
            ttl: event.ttl().map(|ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX)),
            origin_id: event.origin_id(),
            traceparent,
            tracestate: metadata.trace().and_then(TraceContext::state),
            pairs: metadata.iter().collect(),
        }
    }

    /// Writes the fields to the start of `room`, and gives what is left of it.
    fn write<'r>(&self, room: &'r mut [u8]) -> Option<&'r mut [u8]> {
        let mut rest = room;
        for text in [self.topic, self.type_name, self.producer, self.key] {
            rest = put_option(rest, text)?;
        }
        rest = match self.ttl {
            None => put(rest, [0])?,
            Some(ttl) => put(put(rest, [1])?, ttl.to_le_bytes())?,
        };
        for text in [self.origin_id, self.traceparent, self.tracestate] {
            rest = put_option(rest, text)?;
        }
        rest = put(rest, u64::try_from(self.pairs.len()).ok()?.to_le_bytes())?;
        for (name, value) in &self.pairs {
            rest = put_text(put_text(rest, name)?, value)?;
        }
        Some(rest)
    }

    /// From the bytes behind the fixed fields, all of them.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if let Some(tail) = Self::read_plain(bytes) {
            return Ok(tail);
        }
        let (tail, used) = bincode::serde::borrow_decode_from_slice(bytes, CONFIG)
            .map_err(|cause| format!("its head cannot be read: {cause}"))?;
        match bytes.len().saturating_sub(used) {
            0 => Ok(tail),
            extra => Err(format!("its head has {extra} bytes too many")),
        }
    }

    /// What most events have: a key, or nothing at all. By hand, as they are written; `None` when there is more, or something else.
    fn read_plain(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[0; 3])?;
        let (key, rest) = match rest.split_first()? {
            (0, rest) => (None, rest),
            (1, rest) => {
                let (len, rest) = rest.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
                (Some(str::from_utf8(text).ok()?), rest)
            }
            _ => return None,
        };
        // No time to live, no id of another system, no trace; no pairs.
        (*rest == [0; 1 + 3 + LEN_LEN]).then_some(Self {
            topic: None,
            type_name: None,
            producer: None,
            key,
            ttl: None,
            origin_id: None,
            traceparent: None,
            tracestate: None,
            pairs: Vec::new(),
        })
    }

    /// Whether it has nothing that belongs to an event's metadata.
    pub(super) const fn is_plain(&self) -> bool {
        self.traceparent.is_none() && self.tracestate.is_none() && self.pairs.is_empty()
    }

    /// Bytes that [`Head::write`] needs for it.
    pub(super) fn len(&self) -> usize {
        let text = |text: &str| LEN_LEN.saturating_add(text.len());
        let texts = [
            self.topic,
            self.type_name,
            self.producer,
            self.key,
            self.origin_id,
            self.traceparent,
            self.tracestate,
        ];
        let texts = texts.into_iter().map(|it| it.map_or(0, text).saturating_add(1));
        let pairs = self.pairs.iter().map(|(name, value)| text(name).saturating_add(text(value)));
        let ttl = if self.ttl.is_some() { 1 + size_of::<u64>() } else { 1 };
        texts.chain(pairs).fold(ttl + LEN_LEN, usize::saturating_add)
    }
}

/// Puts bytes at the start of `room`, and gives what is left of it.
#[inline]
fn put<const N: usize>(room: &mut [u8], bytes: [u8; N]) -> Option<&mut [u8]> {
    let (place, rest) = room.split_first_chunk_mut()?;
    *place = bytes;
    Some(rest)
}

/// The same with a text: its length, its content.
fn put_text<'r>(room: &'r mut [u8], text: &str) -> Option<&'r mut [u8]> {
    let room = put(room, u64::try_from(text.len()).ok()?.to_le_bytes())?;
    let (place, rest) = room.split_at_mut_checked(text.len())?;
    place.copy_from_slice(text.as_bytes());
    Some(rest)
}

fn put_option<'r>(room: &'r mut [u8], text: Option<&str>) -> Option<&'r mut [u8]> {
    match text {
        None => put(room, [0]),
        Some(text) => put_text(put(room, [1])?, text),
    }
}

/// Bytes of [`Fixed`].
pub(super) const FIXED_LEN: usize = 16 + 2 * 8 + 4 * 4 + 2 * 2 + 2;

/// Bytes of the length before a text or a list.
const LEN_LEN: usize = size_of::<u64>();

/// The length of a head is stored in two bytes. An event within the limits of `busway_event` needs less than 21 KiB.
pub(super) const HEAD_LEN_MAX: usize = 0xffff;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<HEAD_LEN_MAX>> = legacy().with_limit();

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> Fixed {
        Fixed {
            id: *b"0123456789abcdef",
            appended: -2,
            time: i64::MAX,
            topic: 1,
            type_name: 0x0203_0405,
            producer: u32::MAX,
            payload_len: 6,
            chunks: 0x0708,
            version: 9,
            codec: 10,
            priority: 11,
        }
    }

    fn tail() -> Tail<'static> {
        Tail {
            topic: Some("a.b"),
            type_name: None,
            producer: Some("shöp"),
            key: None,
            ttl: Some(7),
            origin_id: Some("x"),
            traceparent: None,
            tracestate: Some("a=1"),
            pairs: vec![("a", ""), ("b", "c")],
        }
    }

    #[test]
    fn a_head_is_read_back_as_it_was_written() {
        let mut bytes = vec![0; FIXED_LEN + tail().len()];
        Head { fixed: fixed(), tail: tail() }.write(&mut bytes).unwrap();
        assert_eq!(bytes[..16], *b"0123456789abcdef");
        let head = Head { fixed: fixed(), tail: tail() };
        assert_eq!(bytes, bincode::serde::encode_to_vec(&head, CONFIG).unwrap(), "as bincode writes it");
        assert_eq!(Fixed::read(&bytes), Some(fixed()));
        assert_eq!(Tail::read(&bytes[FIXED_LEN..]), Ok(tail()));
        assert_eq!(Fixed::read(&bytes[..FIXED_LEN - 1]), None);
    }

    #[test]
    fn a_head_fits_its_room_exactly_or_is_not_written() {
        let head = Head { fixed: fixed(), tail: tail() };
        let len = FIXED_LEN + tail().len();
        assert_eq!(
            [len - 1, len, len + 1].map(|len| head.write(&mut vec![0; len]).is_some()),
            [false, true, false]
        );
    }

    #[test]
    fn what_is_no_tail_is_an_error_that_says_so() {
        let mut bytes = vec![0; FIXED_LEN + tail().len()];
        Head { fixed: fixed(), tail: tail() }.write(&mut bytes).unwrap();
        bytes.push(0);
        let long = Tail::read(&bytes[FIXED_LEN..]).unwrap_err();
        assert_eq!(long, "its head has 1 bytes too many");
        let short = Tail::read(&bytes[FIXED_LEN..bytes.len() - 2]).unwrap_err();
        assert!(short.starts_with("its head cannot be read: "), "{short}");
        // The first byte of "shöp" that is no ASCII.
        let at = bytes.iter().position(|byte| !byte.is_ascii() && *byte == 0xc3).unwrap();
        bytes[at] = 0xff;
        let text = Tail::read(&bytes[FIXED_LEN..bytes.len() - 1]).unwrap_err();
        assert!(text.contains("Utf8"), "{text}");
    }

    #[test]
    fn what_most_events_have_is_read_as_bincode_reads_it() {
        let none = || {
            let without = Tail { topic: None, producer: None, ttl: None, origin_id: None, ..tail() };
            Tail { tracestate: None, pairs: Vec::new(), ..without }
        };
        let text = "k".repeat(255);
        for key in [None, Some(""), Some("shöp"), Some(&text)] {
            let tail = Tail { key, ..none() };
            let mut bytes = vec![0; tail.len()];
            assert!(tail.write(&mut bytes).is_some());
            assert_eq!(Tail::read_plain(&bytes), Some(tail));
            let (read, used): (Tail<'_>, usize) =
                bincode::serde::borrow_decode_from_slice(&bytes, CONFIG).unwrap();
            assert_eq!((Tail::read_plain(&bytes), bytes.len()), (Some(read), used));
            // Any other byte than those is for bincode to judge.
            for at in (0..bytes.len()).filter(|at| !(12..12 + key.map_or(0, str::len)).contains(at)) {
                let mut other = bytes.clone();
                other[at] ^= 0x41;
                assert_eq!(Tail::read_plain(&other), None, "{at}");
            }
            assert_eq!(Tail::read_plain(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_length_that_lies_costs_nothing() {
        let mut bytes = vec![0; 8];
        bytes.extend([0xff; 8]);
        let error = Tail::read(&bytes).unwrap_err();
        assert!(error.starts_with("its head cannot be read: "), "{error}");
    }
}
