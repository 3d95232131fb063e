//! Making an entry: everything that can be done without the writer, on the publisher's thread.

use busway_event::codec::PAYLOAD_BYTES_MAX;
use busway_event::{AnyEvent, Timestamp, Topic};

use crate::append::Entry;
use crate::audit::Hash;
use crate::error::EntryError;
use crate::find::is_out_of_time;
use crate::memo::{self, Known};
use crate::record::{self, NameIds, Recorded};
use crate::shared::Shared;
use crate::stream::partition_of;

impl Shared {
    /// The stream that captures a topic: its number and name.
    pub(crate) fn capturing(&self, topic: &Topic) -> Option<(u32, &str)> {
        let mut streams = (0..).zip(&self.streams);
        let (number, stream) = streams
            .find(|(_, stream)| stream.declared.as_ref().is_some_and(|declared| declared.captures(topic)))?;
        Some((number, &stream.name))
    }

    /// See [`Store::entry`](crate::Store::entry).
    pub(crate) fn entry(
        &self,
        event: AnyEvent,
        given: bool,
        now: Timestamp,
        payload_bytes_max: usize,
    ) -> Result<Entry, Box<(AnyEvent, EntryError)>> {
        let Prepared { stream, partition, recorded, given, hash } =
            match self.prepare(&event, given, now, payload_bytes_max) {
                Ok(prepared) => prepared,
                Err(error) => return Err(Box::new((event, error))),
            };
        let is_out_of_time = given.is_none() && is_out_of_time(event.id(), now);
        Ok(Entry {
            opening: self.opening,
            stream,
            partition,
            event,
            appended: now,
            recorded,
            wait: None,
            given,
            is_out_of_time,
            hash,
            offset: 0,
            outdated: None,
            first_place: None,
            first_due: None,
        })
    }

    fn prepare(
        &self,
        event: &AnyEvent,
        given: bool,
        now: Timestamp,
        payload_bytes_max: usize,
    ) -> Result<Prepared, EntryError> {
        let unknown = || EntryError::UnknownStream { stream: event.topic().to_string() };
        let Known { ids, stream } = memo::known(self.opening, event, || {
            let (stream, _) = self.capturing(event.topic()).ok_or_else(unknown)?;
            let names = &self.names;
            let ids = NameIds {
                topic: names.number_of(event.topic().as_str()),
                type_name: names.number_of(event.type_name()),
                producer: names.number_of(event.metadata().producer()),
            };
            Ok::<_, EntryError>(Known { ids, stream })
        })?;
        let stored = usize::try_from(stream).ok().and_then(|at| self.streams.get(at)).ok_or_else(unknown)?;
        let partition = match event.key() {
            _ if stored.partitions == 1 => 0,
            Some(key) => partition_of(key, stored.partitions),
            None => {
                u16::try_from(event.id().as_uuid().as_u128() % u128::from(stored.partitions)).unwrap_or(0)
            }
        };
        let value_max = self.value_bytes_max;
        let limit = payload_bytes_max.min(PAYLOAD_BYTES_MAX);
        let recorded = record::encode(event, limit, ids, now, given, value_max)?;
        let hash = || {
            Ok::<_, EntryError>(record::body_hash(
                &event.encoded(PAYLOAD_BYTES_MAX)?,
                event.topic(),
                event.key(),
            ))
        };
        let body = given.then(hash).transpose()?;
        let audited = stored.audited.as_ref();
        let hash = audited
            .map(|audited| Box::new(audited.hashing.record(event, recorded.value(), recorded.chunks())));
        let partition = stored.first + u32::from(partition);
        Ok(Prepared { stream, partition, recorded, given: body, hash })
    }
}

/// What an entry has beside its event.
struct Prepared {
    stream: u32,
    partition: u32,
    recorded: Recorded,
    given: Option<u64>,
    hash: Option<Box<Hash>>,
}
