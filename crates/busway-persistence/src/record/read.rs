//! From the bytes of a record back to its event.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use busway_event::{
    AnyEvent, CodecId, Encoded, EventId, Metadata, MetadataDraft, Parts, Priority, Timestamp, Topic,
    TraceContext, TypeName,
};

use super::head::{FIXED_LEN, Fixed, Tail};
use super::{CHUNK_PREFIX_LEN, CHUNKED, FORMAT_VERSION, GIVEN_ID, PREFIX_LEN, Place, checksum};
use crate::corrupt::Corrupt;

/// A record whose own value is intact and whose lengths agree. Nothing of it is copied yet.
///
/// What it holds is what was written, but for a mistake of the writer: [`decode`](Self::decode) finds those.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    place: Place,
    flags: u8,
    head_len: usize,
    fixed: Fixed,
    /// Head and payload, as far as they are in this value.
    body: &'a [u8],
}

/// What can be told of a record without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peek {
    /// The event's identity.
    pub(crate) id: EventId,
    /// When the store took it.
    pub(crate) appended: Timestamp,
    /// When it happened.
    pub(crate) time: Timestamp,
    /// Its topic's number among the store's names; 0 when only decoding tells the topic.
    pub(crate) topic: u32,
    /// Whether the publisher gave the id.
    pub(crate) given_id: bool,
}

/// A name of the store: the text behind a number.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// The text.
    pub(crate) text: Arc<str>,
    /// The topic of this name, if it is one.
    pub(crate) topic: Option<Topic>,
    /// Metadata of this producer and nothing else, shared by all events that have no more. Made for the first of them; `None` when no producer can
    /// be called so.
    metadata: OnceLock<Option<Metadata>>,
}

impl Name {
    pub(crate) fn of(text: &str) -> Self {
        Self { text: text.into(), topic: Topic::new(text).ok(), metadata: OnceLock::new() }
    }

    /// What an event carries that names this producer and nothing else. The version comes with the payload.
    fn metadata(&self) -> Option<&Metadata> {
        self.metadata.get_or_init(|| Metadata::draft(&self.text, 1).build().ok()).as_ref()
    }
}

/// An event, with what the store knows about it.
#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    /// The event as it was published.
    pub(crate) event: AnyEvent,
    /// When the store took it.
    pub(crate) appended: Timestamp,
    /// Whether the publisher gave the id.
    pub(crate) given_id: bool,
}

impl<'a> Record<'a> {
    /// Checks the checksum of `value` at its place, its version, flags and lengths.
    ///
    /// # Errors
    /// [`Corrupt`] says what does not fit. A newer format version is told apart in the text.
    pub(crate) fn check(place: Place, value: &'a [u8]) -> Result<Self, Corrupt> {
        let Some((prefix, body)) = value.split_first_chunk::<PREFIX_LEN>() else {
            return Err(place.corrupt(format!("it has {} bytes, fewer than {PREFIX_LEN}", value.len())));
        };
        let [version, flags, c0, c1, c2, c3, h0, h1] = *prefix;
        let stored = u32::from_le_bytes([c0, c1, c2, c3]);
        let found = checksum::placed(checksum::of_record(value), place);
        if stored != found {
            let reason = format!("its checksum is {stored:08x}, its bytes and place make {found:08x}");
            return Err(place.corrupt(reason));
        }
        check_version(version).and_then(|()| check_flags(flags)).map_err(|reason| place.corrupt(reason))?;
        let head_len = usize::from(u16::from_le_bytes([h0, h1]));
        let Some(fixed) = Fixed::read(body).filter(|_| head_len >= FIXED_LEN) else {
            let (head, body) = (head_len, body.len());
            let reason =
                format!("its head has {head} bytes, of {body} in all: it needs {FIXED_LEN} at least");
            return Err(place.corrupt(reason));
        };
        let record = Self { place, flags, head_len, fixed, body };
        record.check_lengths().map_err(|reason| place.corrupt(reason))?;
        Ok(record)
    }

    /// What can be told without decoding.
    #[inline]
    pub(crate) fn peek(&self) -> Peek {
        Peek {
            id: EventId::new(Uuid::from_bytes(self.fixed.id)),
            appended: Timestamp::from_nanos(self.fixed.appended),
            time: Timestamp::from_nanos(self.fixed.time),
            topic: self.fixed.topic,
            given_id: self.flags & GIVEN_ID != 0,
        }
    }

    /// How many chunks belong to the record, under the keys right behind its own.
    pub(crate) fn chunks(&self) -> u16 {
        self.fixed.chunks
    }

    /// The event, with everything checked again by the rules of `busway_event`. `chunks` are the values of the record's
    /// chunks in their order; `names` finds a name by its number.
    ///
    /// # Errors
    /// [`Corrupt`], for the first thing that does not fit.
    pub(crate) fn decode<'n>(
        &self,
        chunks: &[&[u8]],
        names: impl Fn(u32) -> Option<&'n Name>,
    ) -> Result<StoredEvent, Corrupt> {
        self.decode_with(chunks, names, Bytes::copy_from_slice)
    }

    /// The same; `copy` copies a payload that lies in the record's own value.
    pub(crate) fn decode_with<'n>(
        &self,
        chunks: &[&[u8]],
        names: impl Fn(u32) -> Option<&'n Name>,
        copy: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<StoredEvent, Corrupt> {
        let event = self.event(chunks, names, copy).map_err(|reason| self.place.corrupt(reason))?;
        let Peek { appended, given_id, .. } = self.peek();
        Ok(StoredEvent { event, appended, given_id })
    }

    fn event<'n>(
        &self,
        chunks: &[&[u8]],
        names: impl Fn(u32) -> Option<&'n Name>,
        copy: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<AnyEvent, String> {
        let joined = self.join(chunks)?;
        let body = joined.as_deref().unwrap_or(self.body);
        let (head, payload) = body.split_at_checked(self.head_len).unwrap_or((body, &[]));
        let tail = Tail::read(head.get(FIXED_LEN..).unwrap_or_default())?;
        let payload = match &joined {
            Some(joined) => joined.slice_ref(payload),
            None => copy(payload),
        };
        let Fixed { topic, type_name, producer, .. } = self.fixed;
        let topic = Found::of("topic", topic, tail.topic, &names)?.topic()?;
        let type_name = Found::of("type", type_name, tail.type_name, &names)?.type_name();
        let producer = Found::of("producer", producer, tail.producer, &names)?;
        let Peek { id, time, .. } = self.peek();
        let shared_metadata = producer.name.filter(|_| tail.is_plain()).and_then(Name::metadata);
        let draft = match shared_metadata {
            Some(_) => MetadataDraft::default(),
            None => metadata(producer.text, &tail)?,
        };
        let mut parts = Parts::new(id, time, topic, draft);
        parts.shared_metadata = shared_metadata.cloned();
        // It was let in under a limit that may have been another one.
        parts.payload_bytes_max = payload.len();
        parts.origin_id = tail.origin_id.map(str::to_owned);
        parts.key = tail.key.map(Arc::from);
        parts.ttl = tail.ttl.map(Duration::from_nanos);
        let Fixed { version, codec, priority, .. } = self.fixed;
        parts.priority = Priority::from_index(usize::from(priority))
            .ok_or_else(|| format!("its priority is {priority}, and there are four"))?;
        let codec = CodecId::from_u8(codec).ok_or_else(|| {
            format!("its payload is of the codec {codec}, which this program does not know")
        })?;
        let encoded = Encoded { type_name, version, codec, bytes: payload };
        AnyEvent::receive(parts, encoded).map_err(|broken| format!("what it holds is no event: {broken}"))
    }

    /// Head and payload in one piece, when they are in chunks.
    fn join(&self, chunks: &[&[u8]]) -> Result<Option<Bytes>, String> {
        let expected = self.fixed.chunks;
        if chunks.len() != usize::from(expected) {
            return Err(format!("it has {} chunks, and should have {expected}", chunks.len()));
        }
        if expected == 0 {
            return Ok(None);
        }
        let in_chunks = chunks.iter().map(|chunk| chunk.len().saturating_sub(CHUNK_PREFIX_LEN));
        let len = in_chunks.fold(self.body.len(), usize::saturating_add);
        if len != self.body_len() {
            return Err(format!("it has {len} bytes with its chunks, and should have {}", self.body_len()));
        }
        let mut body = Vec::with_capacity(len);
        body.extend_from_slice(self.body);
        for (chunk, number) in chunks.iter().zip(0_u16..) {
            body.extend_from_slice(self.check_chunk(chunk, number)?);
        }
        Ok(Some(body.into()))
    }

    fn check_chunk<'c>(&self, chunk: &'c [u8], number: u16) -> Result<&'c [u8], String> {
        let Some((stored, part)) = chunk.split_first_chunk::<CHUNK_PREFIX_LEN>() else {
            return Err(format!("its chunk {number} has {} bytes: no checksum", chunk.len()));
        };
        let stored = u32::from_le_bytes(*stored);
        let found = checksum::placed_chunk(checksum::of_chunk(part), self.place, number);
        if stored == found {
            return Ok(part);
        }
        Err(format!(
            "the checksum of its chunk {number} is {stored:08x}, the chunk's bytes and place make {found:08x}"
        ))
    }

    fn check_lengths(&self) -> Result<(), String> {
        let Fixed { chunks, .. } = self.fixed;
        if (self.flags & CHUNKED != 0) != (chunks > 0) {
            return Err(format!("its flags are {:08b}, and it says that it has {chunks} chunks", self.flags));
        }
        let (found, expected) = (self.body.len(), self.body_len());
        if chunks == 0 && found != expected {
            return Err(format!("its head and payload have {found} bytes, and should have {expected}"));
        }
        if chunks > 0 && found >= expected {
            return Err(format!("its head and payload have {expected} bytes, and leave none for chunks"));
        }
        Ok(())
    }

    /// Bytes of head and payload, chunks included.
    fn body_len(&self) -> usize {
        let payload = usize::try_from(self.fixed.payload_len).unwrap_or(usize::MAX);
        self.head_len.saturating_add(payload)
    }
}

/// A name of a record: from the store's names or from the record itself.
struct Found<'a> {
    text: &'a str,
    /// Among the store's names.
    name: Option<&'a Name>,
}

impl<'a> Found<'a> {
    fn of<'n: 'a>(
        what: &str,
        id: u32,
        inline: Option<&'a str>,
        names: impl Fn(u32) -> Option<&'n Name>,
    ) -> Result<Self, String> {
        match (id, inline) {
            (0, Some(text)) => Ok(Self { text, name: None }),
            (0, None) => Err(format!("the name of its {what} is missing")),
            (id, Some(_)) => Err(format!("its {what} is named twice, by the number {id} and as text")),
            (id, None) => match names(id) {
                Some(name) => Ok(Self { text: &name.text, name: Some(name) }),
                None => Err(format!("its {what} is the name {id}, which the store does not know")),
            },
        }
    }

    fn topic(&self) -> Result<Topic, String> {
        match self.name.and_then(|name| name.topic.as_ref()) {
            Some(topic) => Ok(topic.clone()),
            None => Topic::new(self.text).map_err(|broken| format!("what it holds is no event: {broken}")),
        }
    }

    fn type_name(&self) -> TypeName {
        match self.name {
            Some(name) => Arc::clone(&name.text).into(),
            None => self.text.into(),
        }
    }
}

/// Producer, trace and pairs. A draft forgives what a publisher may write twice or wrongly; a record was written once, from
/// valid metadata, so here the same is damage.
fn metadata(producer: &str, tail: &Tail<'_>) -> Result<MetadataDraft, String> {
    // The version comes with the payload.
    let mut draft = Metadata::draft(producer, 0);
    for (name, value) in &tail.pairs {
        if FIXED_NAMES.contains(name) || draft.get(name).is_some() {
            return Err(format!("its metadata holds \"{}\" twice", name.escape_debug()));
        }
        draft.set(name, value);
    }
    match (tail.traceparent, tail.tracestate) {
        (None, None) => {}
        (None, Some(_)) => return Err("it has a tracestate without a traceparent".to_owned()),
        (Some(parent), state) => draft.set_trace(trace(parent, state)?),
    }
    Ok(draft)
}

fn trace(parent: &str, state: Option<&str>) -> Result<TraceContext, String> {
    let mut trace: TraceContext = parent.parse().map_err(|broken| format!("{broken}"))?;
    // What is read leniently from strangers would come back as something else than what is stored.
    let ours = parent.starts_with("00-")
        && parent.ends_with(['0', '1', '2', '3'])
        && parent.get(53..54) == Some("0");
    if !ours {
        return Err(format!("its traceparent \"{}\" is not of version 00", parent.escape_debug()));
    }
    if let Some(state) = state {
        trace = trace.with_state(state);
        if trace.state() != Some(state) {
            return Err("its tracestate breaks the rules of W3C Trace Context".to_owned());
        }
    }
    Ok(trace)
}

fn check_version(version: u8) -> Result<(), String> {
    match version {
        FORMAT_VERSION => Ok(()),
        newer if newer > FORMAT_VERSION => Err(format!(
            "it is of the format version {newer}, and this program knows up to {FORMAT_VERSION}: open the store with the \
             release that wrote it, or a newer one"
        )),
        never => Err(format!("it is of the format version {never}, which there never was")),
    }
}

fn check_flags(flags: u8) -> Result<(), String> {
    match flags & !(GIVEN_ID | CHUNKED) {
        0 => Ok(()),
        unknown => Err(format!("its flags {unknown:08b} have no meaning in format version {FORMAT_VERSION}")),
    }
}

/// Names of metadata that have fields of their own in the head.
const FIXED_NAMES: [&str; 3] = ["producer", "traceparent", "tracestate"];
