//! Records as wholes: what was stored once, what is stored by chance, and what is damaged.

mod damage;
mod golden;
mod pack;
mod properties;

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use busway_event::{
    AnyEvent, CodecId, Encoded, EventId, Metadata, Parts, Priority, Timestamp, Topic, TraceContext,
};

use super::head::Fixed;
use super::*;
use crate::corrupt::Corrupt;

/// Where the records of these tests lie.
const PLACE: Place = Place { partition: 3, offset: 17 };

/// An event, and how it is stored.
#[derive(Debug, Clone)]
struct Case {
    event: AnyEvent,
    ids: NameIds,
    appended: Timestamp,
    given_id: bool,
    inline_max: usize,
}

impl Case {
    fn encoded(&self) -> Encoded {
        self.event.encoded(usize::MAX).unwrap()
    }

    fn recorded(&self, place: Place) -> Recorded {
        let Self { event, ids, appended, given_id, inline_max } = self;
        let mut recorded = encode(event, 1 << 30, *ids, *appended, *given_id, *inline_max).unwrap();
        recorded.seal(place);
        recorded
    }

    fn values(&self) -> Values {
        Values::of(&self.recorded(PLACE))
    }

    /// The store's names, as far as this event is stored by their numbers.
    fn names(&self) -> Vec<Name> {
        let encoded = self.encoded();
        let topic = self.event.topic();
        vec![
            Name::of(topic.as_str()),
            Name::of(&encoded.type_name),
            Name::of(self.event.metadata().producer()),
        ]
    }

    fn is(&self, stored: &StoredEvent) -> bool {
        self.event.header() == stored.event.header()
            && self.encoded() == stored.event.encoded(usize::MAX).unwrap()
            && (self.appended, self.given_id) == (stored.appended, stored.given_id)
    }
}

/// What lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Values {
    value: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

impl Values {
    fn of(recorded: &Recorded) -> Self {
        let chunks = recorded.chunks().map(<[u8]>::to_vec).collect();
        Self { value: recorded.value().to_vec(), chunks }
    }

    fn decode(&self, place: Place, names: &[Name]) -> Result<StoredEvent, Corrupt> {
        let chunks: Vec<&[u8]> = self.chunks.iter().map(Vec::as_slice).collect();
        let record = Record::check(place, &self.value)?;
        record.decode(&chunks, |id| names.get(usize::try_from(id).unwrap().checked_sub(1)?))
    }

    /// All values, the record's own first.
    fn each(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        std::iter::once(&mut self.value).chain(&mut self.chunks)
    }

    /// The value after a change, with the checksum that its writer would have given it.
    fn resealed(value: &[u8]) -> Self {
        let mut value = value.to_vec();
        let checksum = checksum::placed(checksum::of_record(&value), PLACE);
        checksum::write_record(&mut value, checksum);
        Self { value, chunks: Vec::new() }
    }
}

fn parts(topic: &str) -> Parts {
    let id: EventId = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1".parse().unwrap();
    let time = Timestamp::from_nanos(1_760_000_000_000_000_000);
    Parts::new(id, time, Topic::new(topic).unwrap(), Metadata::draft("shop", 1))
}

fn encoded(codec: CodecId, version: u16, bytes: impl Into<Bytes>) -> Encoded {
    Encoded { type_name: "order".into(), version, codec, bytes: bytes.into() }
}

fn case(event: AnyEvent) -> Case {
    Case {
        event,
        ids: NameIds { topic: 1, type_name: 2, producer: 3 },
        appended: Timestamp::from_nanos(1_760_000_000_001_500_000),
        given_id: false,
        inline_max: 4_080,
    }
}

/// An event that says nothing but what it must, all of its names known to the store.
fn minimal() -> Case {
    case(AnyEvent::receive(parts("orders.created"), encoded(CodecId::Json, 1, "{\"id\":7}")).unwrap())
}

/// An event with everything that one can have, none of its names known to the store.
fn full() -> Case {
    let mut parts = parts("orders.created.us-east");
    parts.origin_id = Some("A-1/7".to_owned());
    parts.key = Some("Käufer 7".into());
    parts.priority = Priority::P0;
    parts.ttl = Some(Duration::new(1, 2));
    parts.metadata.set("biz-id", "B-9");
    parts.metadata.set("note", "zwei\nZeilen");
    let trace =
        TraceContext::new(*b"\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6\xa3\xce\x92\x9d\x0e\x0e\x47\x36", [7; 8], 3);
    parts.metadata.set_trace(trace.unwrap().with_state("a=1,b=2"));
    let event = AnyEvent::receive(parts, encoded(CodecId::Bincode, 9, &b"\0\x01\xff"[..])).unwrap();
    Case { ids: NameIds::default(), given_id: true, ..case(event) }
}

/// An event whose payload needs chunks, in a store of small pages.
fn chunked() -> Case {
    let payload: Vec<u8> = (0..600_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let event = AnyEvent::receive(parts("orders.created"), encoded(CodecId::Raw, 1, payload)).unwrap();
    Case { inline_max: 240, ..case(event) }
}

/// An event whose head alone needs chunks, in a store of small pages.
fn chunked_head() -> Case {
    let mut parts = parts("orders.created");
    parts.metadata.set("long", &"x".repeat(400));
    let event = AnyEvent::receive(parts, encoded(CodecId::Json, 1, "{\"id\":7}")).unwrap();
    Case { inline_max: 240, ..case(event) }
}
