//! Reading: from memory who keeps up, from disk who is behind.
//!
//! From disk a read copies a bounded number of records out of a short transaction: nothing of a handler ever runs inside of
//! one, so no reader keeps pages from being used again for longer than a moment.

use busway_event::{Filter, Topic};
use heed::RoTxn;

use crate::append::Position;
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::layout::chunk_key;
use crate::lmdb::Db;
use crate::record::{self, Copies, Place, Record};
use crate::records::{self, Records};
use crate::segment::Segment;
use crate::shared::{Partition, Shared};
use crate::tail::StoredEvent;

/// How much one read copies at most. It goes on by at least one event where there is one. What is in memory is shared, not copied:
/// there the bytes do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Events. Default 256.
    pub events: usize,
    /// Bytes that are copied for them: of their payloads, or of the pages that they lie in together. Default 1 MiB.
    pub bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { events: 256, bytes: 1 << 20 }
    }
}

/// What a read found.
#[derive(Debug, Default)]
pub struct Page {
    /// Events, in the order of their offsets.
    pub events: Vec<StoredEvent>,
    /// Where the next read goes on: everything before it is in `events`, or was not wanted.
    pub next: u64,
}

impl Shared {
    /// Reads events of a partition from an offset on, those whose topic the filter matches.
    pub(crate) fn read(
        &self,
        partition: u32,
        from: u64,
        filter: Option<&Filter>,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        let mut page = Page { events: Vec::new(), next: from };
        let Some(here) = self.reaching(partition, from)? else { return Ok(page) };
        if here.tail.lock().read(from, limits.events.max(1), &mut page.events) {
            page.next = page.events.last().map_or(from, |event| event.offset + 1);
            if let Some(filter) = filter {
                page.events.retain(|event| filter.matches(event.event.topic()));
            }
            return Ok(page);
        }
        self.read_from_disk(partition, filter, limits, &mut page)?;
        Ok(page)
    }

    /// A partition whose log has something at this offset or behind it; `None` when it ends before.
    fn reaching(&self, partition: u32, from: u64) -> Result<Option<&Partition>, ReadError> {
        let here = self.partition(partition).ok_or(ReadError::UnknownPartition { partition })?;
        let (first, next) = here.bounds();
        still_there(from, first)?;
        Ok((from < next).then_some(here))
    }

    /// Reads single events, wherever they lie. What became of each comes in the order of the places.
    pub(crate) fn read_each(&self, places: &[Position]) -> Vec<Found> {
        let mut found: Vec<Option<Found>> = places.iter().map(|&place| self.read_in_memory(place)).collect();
        let mut on_disk: Vec<(Position, &mut Option<Found>)> =
            places.iter().copied().zip(&mut found).filter(|(_, found)| found.is_none()).collect();
        on_disk.sort_unstable_by_key(|(place, _)| *place);
        for of_partition in on_disk.chunk_by_mut(|(one, _), (other, _)| one.partition == other.partition) {
            self.read_each_of(of_partition);
        }
        found.into_iter().map(|found| found.unwrap_or(Ok(None))).collect()
    }

    /// `None`: it has to be looked for on disk.
    fn read_in_memory(&self, Position { partition, offset }: Position) -> Option<Found> {
        let here = match self.reaching(partition, offset) {
            Ok(Some(here)) => here,
            Ok(None) => return Some(Ok(None)),
            Err(error) => return Some(Err(error)),
        };
        let mut events = Vec::new();
        let is_there = here.tail.lock().read(offset, 1, &mut events);
        is_there.then(|| Ok(events.pop().filter(|event| event.offset == offset)))
    }

    /// Reads events of one partition, in one transaction.
    fn read_each_of(&self, places: &mut [(Position, &mut Option<Found>)]) {
        let Some(&(Position { partition, offset }, _)) = places.first() else { return };
        let view = match self.view(partition) {
            Ok(view) => view,
            Err(error) => return places.iter_mut().for_each(|(_, found)| **found = Some(Err(error.clone()))),
        };
        let mut scan = Scan::new(self, &view, partition, (None, ReadLimits::default()), offset);
        for (place, found) in places {
            **found = Some(scan.one(&view.segments, place.offset));
        }
    }

    /// The same from disk, whatever is in memory.
    pub(crate) fn read_stored(
        &self,
        partition: u32,
        from: u64,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        let mut page = Page { events: Vec::new(), next: from };
        self.read_from_disk(partition, None, limits, &mut page)?;
        Ok(page)
    }

    fn read_from_disk(
        &self,
        partition: u32,
        filter: Option<&Filter>,
        limits: ReadLimits,
        page: &mut Page,
    ) -> Result<(), ReadError> {
        let view = self.view(partition)?;
        let from = page.next;
        still_there(from, first_of(&view.segments))?;
        let mut scan = Scan::new(self, &view, partition, (filter, limits), from);
        for segment in view.segments.iter().filter(|segment| segment.next > from) {
            if !scan.segment(segment, page)? {
                break;
            }
        }
        Ok(())
    }
}

/// A read under way.
struct Scan<'a> {
    shared: &'a Shared,
    txn: &'a RoTxn<'a>,
    partition: u32,
    wanted: Wanted<'a>,
    limits: ReadLimits,
    copies: Copies,
    /// Of records in chunks, which are copied as a whole.
    chunk_bytes: usize,
    scanned: usize,
    /// Where the read began.
    from: u64,
}

/// What became of the reading of one event: `None` when nothing lies there.
pub(crate) type Found = Result<Option<StoredEvent>, ReadError>;

impl<'a> Scan<'a> {
    fn new(
        shared: &'a Shared,
        txn: &'a RoTxn<'a>,
        partition: u32,
        (filter, limits): (Option<&'a Filter>, ReadLimits),
        from: u64,
    ) -> Self {
        let (wanted, copies) = (Wanted::new(filter), Copies::default());
        Self { shared, txn, partition, wanted, limits, copies, chunk_bytes: 0, scanned: 0, from }
    }

    /// Reads one event.
    fn one(&mut self, segments: &[Segment], offset: u64) -> Found {
        let Self { shared, txn, partition, .. } = *self;
        still_there(offset, first_of(segments))?;
        let segment = segments.iter().find(|segment| segment.next > offset);
        let database = segment.and_then(|segment| shared.databases.segment(partition, segment.slot));
        let Some(database) = database else { return Ok(None) };
        let place = Place { partition, offset };
        match records::find(database, txn, place).map_err(|error| shared.unreadable(error))? {
            Some(value) => self.record(database, offset, (value, value)),
            None => Err(lost(place)),
        }
    }

    /// Reads what is left of a segment; `false` when the page is full.
    fn segment(&mut self, segment: &Segment, page: &mut Page) -> Result<bool, ReadError> {
        let Self { shared, txn, partition, .. } = *self;
        let Some(database) = shared.databases.segment(partition, segment.slot) else { return Ok(false) };
        let from = Place { partition, offset: page.next };
        let mut records = Records::from(database, txn, from).map_err(|error| shared.storage(&error))?;
        let scanned = self.scanned;
        while let Some((offset, value)) = records.advance().map_err(|error| shared.storage(&error))? {
            self.scanned = scanned + records.passed();
            let is_full = page.events.len() >= self.limits.events || self.bytes() >= self.limits.bytes;
            if page.next > self.from && (is_full || self.scanned >= SCANNED_MAX) {
                return Ok(false);
            }
            if offset != page.next {
                break;
            }
            let found = value.map_err(ReadError::from);
            let found = found.and_then(|value| self.record(database, offset, (records.value(), value)));
            match found {
                Ok(Some(event)) => page.events.push(event),
                Ok(None) => {}
                // What lies before it is given first; the next read begins with the damaged one.
                Err(_) if page.next > self.from => return Ok(false),
                Err(error) => return Err(error),
            }
            page.next = offset + 1;
        }
        match page.next < segment.next {
            true if page.next > self.from => Ok(false),
            true => Err(lost(Place { partition, offset: page.next })),
            false => Ok(true),
        }
    }

    /// Bytes that were copied.
    const fn bytes(&self) -> usize {
        self.copies.copied() + self.chunk_bytes
    }

    fn record(
        &mut self,
        database: Db<'_>,
        offset: u64,
        (held, value): (&[u8], &[u8]),
    ) -> Result<Option<StoredEvent>, ReadError> {
        let Self { shared, txn, partition, .. } = *self;
        let record = Record::check(Place { partition, offset }, value)?;
        let peek = record.peek();
        if !self.wanted.topic(peek.topic, |number| shared.names.look().get(number)?.topic.clone()) {
            return Ok(None);
        }
        let mut chunks = Vec::new();
        for number in 0..record.chunks() {
            let chunk =
                database.get(txn, &chunk_key(offset, number)).map_err(|error| shared.storage(&error))?;
            // One that is missing is found when the record is put together.
            chunks.extend(chunk);
        }
        if !chunks.is_empty() {
            self.chunk_bytes += chunks.iter().fold(value.len(), |bytes, chunk| bytes + chunk.len());
        }
        let names = shared.names.look();
        let copy = |payload: &[u8]| self.copies.of(held, payload);
        let decoded = record.decode_with(&chunks, |number| names.get(number), copy)?;
        if peek.topic == 0 && self.wanted.filter.is_some_and(|filter| !filter.matches(decoded.event.topic()))
        {
            return Ok(None);
        }
        let record::StoredEvent { event, appended, given_id } = decoded;
        Ok(Some(StoredEvent { offset, appended, given_id, event }))
    }
}

fn first_of(segments: &[Segment]) -> u64 {
    segments.first().map_or(0, |segment| segment.first)
}

const fn still_there(from: u64, first: u64) -> Result<(), ReadError> {
    if from < first { Err(ReadError::BeforeStart { from, first }) } else { Ok(()) }
}

/// A record that is not where its segment says it is.
fn lost(place: Place) -> ReadError {
    Corrupt { place: place.to_string(), reason: "it is not there".to_owned() }.into()
}

/// Records and chunks that one transaction looks at, wanted or not: some ten milliseconds.
const SCANNED_MAX: usize = 1 << 15;

/// Which topics are wanted, by their numbers: a filter is asked once a topic.
struct Wanted<'a> {
    filter: Option<&'a Filter>,
    /// By number: 0 not asked yet, 1 wanted, 2 not.
    known: Vec<u8>,
}

impl<'a> Wanted<'a> {
    const fn new(filter: Option<&'a Filter>) -> Self {
        Self { filter, known: Vec::new() }
    }

    fn topic(&mut self, number: u32, topic_of: impl FnOnce(u32) -> Option<Topic>) -> bool {
        let Some(filter) = self.filter else { return true };
        // A topic without a number is in the record, which has to be decoded for it.
        let Ok(at) = usize::try_from(number) else { return true };
        if number == 0 {
            return true;
        }
        if self.known.len() <= at {
            self.known.resize(at + 1, 0);
        }
        let Some(known) = self.known.get_mut(at) else { return true };
        if *known == 0 {
            *known = match topic_of(number).is_none_or(|topic| filter.matches(&topic)) {
                true => 1,
                false => 2,
            };
        }
        *known == 1
    }
}
