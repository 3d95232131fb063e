//! Verifying the chain of a partition: link by link, in short transactions.
//!
//! Every record is hashed again. A run whose link does not follow from the one before it and from its records has been touched; the
//! marks beside the link tell which records. Then the check goes on from the link that is stored, so that one change does not
//! hide another and is not told of twice.

use std::collections::HashSet;
use std::ops::Bound;

use busway_event::Timestamp;

use super::chain::{Hash, add_to_run, mark};
use super::head::AuditHead;
use super::opening::Audited;
use super::rows::{self, FloorRow, HeadRow, LinkRow, corrupt, key, offset_of};
use super::start::before_start;
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::layout::chunk_key;
use crate::record::{Place, Record};
use crate::records;
use crate::row;
use crate::shared::Shared;
use crate::stored::Unreadable;
use crate::view::View;

/// What was verified of a partition of an audit stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAudit {
    /// The stream.
    pub stream: String,
    /// The partition in it.
    pub partition: u16,
    /// The first record whose chain was followed: the first that is there, or where the audit began.
    pub from: u64,
    /// The offset behind the last one.
    pub to: u64,
    /// Whether the chain has a key. Without one, only heads that are kept elsewhere speak against somebody who made all of it anew.
    pub keyed: bool,
    /// `false`: it has a key, and the program did not bring it. Nothing of it was verified.
    pub checked: bool,
    /// Heads that were kept elsewhere and fit.
    pub heads: u64,
    /// Heads that were kept elsewhere and speak of what retention has removed: they say nothing any longer.
    pub heads_outdated: u64,
}

/// A check under way.
#[derive(Debug)]
pub(crate) struct ChainCheck {
    partition: u32,
    next: u64,
    has_begun: bool,
    /// The chain before `next`. `None`: what would tell is gone, and was told of.
    previous: Option<Hash>,
    /// Heads of the partition that were kept elsewhere.
    heads: Vec<AuditHead>,
    /// Records that are told of already.
    told: HashSet<u64>,
    pub(crate) verified: VerifiedAudit,
}

impl ChainCheck {
    /// Of a partition of an audit stream, with those of the heads that speak of it. `None` when it is none.
    pub(crate) fn begin(
        shared: &Shared,
        partition: u32,
        heads: &[AuditHead],
        told: HashSet<u64>,
    ) -> Option<Self> {
        let audited = shared.audited(partition)?;
        let (stream, index) = (shared.stream_name(partition), shared.index_in_stream(partition));
        let heads: Vec<_> =
            heads.iter().filter(|head| head.stream == stream && head.partition == index).cloned().collect();
        let verified = VerifiedAudit {
            stream: stream.to_owned(),
            partition: index,
            from: 0,
            to: 0,
            keyed: audited.hashing.is_keyed() || !audited.has_its_key,
            checked: audited.has_its_key,
            heads: 0,
            heads_outdated: 0,
        };
        Some(Self { partition, next: 0, has_begun: false, previous: None, heads, told, verified })
    }

    pub(crate) const fn partition(&self) -> u32 {
        self.partition
    }

    /// Checks some thousand records. `false` when all are checked.
    pub(crate) fn step(
        &mut self,
        shared: &Shared,
        note: &mut impl FnMut(Corrupt),
    ) -> Result<bool, ReadError> {
        let Some(audited) = shared.audited(self.partition).filter(|audited| audited.has_its_key) else {
            return Ok(false);
        };
        let view = shared.whole_view(self.partition)?;
        let first = view.segments.first().map_or(0, |segment| segment.first);
        let end = view.segments.last().map_or(0, |segment| segment.next);
        let start = audited.start_of(shared, self.partition).max(first);
        // At the beginning, and where retention was quicker.
        if !self.has_begun || self.next < start {
            if !std::mem::replace(&mut self.has_begun, true)
                && let Some(moved) = audited.disproved_start(shared, &view, self.partition, end)?
            {
                note(moved);
            }
            self.previous = self.base(shared, &view, audited, first, note)?;
            self.verified.from = if self.verified.to == 0 { start } else { self.verified.from };
            self.next = start;
        }
        let mut scanned = 0;
        let range = (key(self.partition, self.next), key(self.partition, u64::MAX));
        let range = (Bound::Included(&range.0[..]), Bound::Included(&range.1[..]));
        let links = shared.databases.links.range(&view, &range).map_err(|error| shared.storage(&error))?;
        for link in links {
            let (place, value) = link.map_err(|error| shared.storage(&error))?;
            let last = offset_of(place).unwrap_or(u64::MAX);
            match row::decode::<LinkRow>("link", place, value) {
                Ok(_) if last >= end => {
                    note(corrupt(self.run(end.max(self.next), last), "gone, while their link is there"));
                    self.next = last.saturating_add(1);
                }
                Ok(link) => self.link(shared, &view, audited, (last, &link), note)?,
                Err(damaged) => {
                    note(damaged);
                    (self.previous, self.next) = (None, last.saturating_add(1));
                }
            }
            scanned += 1 + value.len() / 8;
            if scanned >= SCANNED_MAX {
                return Ok(true);
            }
        }
        if self.next < end {
            note(corrupt(self.run(self.next, end - 1), "not part of the chain: their link is not there"));
        }
        self.verified.to = end;
        self.stored_heads(shared, &view, audited, first, note)?;
        self.kept_heads(shared, &view, audited, first, note)?;
        Ok(false)
    }

    /// The chain before the first record that is there.
    fn base(
        &self,
        shared: &Shared,
        view: &View<'_>,
        audited: &Audited,
        first: u64,
        note: &mut impl FnMut(Corrupt),
    ) -> Result<Option<Hash>, ReadError> {
        let start = audited.start_of(shared, self.partition);
        let genesis =
            || audited.hashing.genesis(shared.store_id, &self.verified.stream, self.partition, start);
        if first <= start {
            return Ok(Some(genesis()));
        }
        let place = self.partition.to_be_bytes();
        let floor: Option<FloorRow> = find(shared, view, Rows::Heads, &place, note)?;
        if floor != Some(audited.floor(shared, self.partition, first)) {
            note(corrupt(self.run(start, first - 1), "gone, and it was not retention that removed them"));
        }
        let link: Option<LinkRow> = find(shared, view, Rows::Links, &key(self.partition, first - 1), note)?;
        if link.is_none() {
            note(corrupt(self.record(first - 1), "gone with its link, which what follows begins with"));
        }
        Ok(link.map(|link| link.chain))
    }

    /// Checks the run that a link closes.
    fn link(
        &mut self,
        shared: &Shared,
        view: &View<'_>,
        audited: &Audited,
        (last, link): (u64, &LinkRow),
        note: &mut impl FnMut(Corrupt),
    ) -> Result<(), ReadError> {
        // The run is as long as its link says: where it begins behind the last one, or before its end, a link is gone or one too many.
        let from = last.saturating_add(1).saturating_sub(link.marks.len() as u64);
        if from > self.next {
            note(corrupt(self.run(self.next, from - 1), "not part of the chain: their link is not there"));
        } else if from < self.next {
            note(corrupt(self.run(from, last), "linked twice"));
        }
        let previous = self.previous.filter(|_| from == self.next);
        let (mut places, mut altered, mut is_told) = (Vec::new(), Vec::new(), false);
        for (offset, stored) in (from..=last).zip(&link.marks) {
            match self.hash(shared, view, audited, offset)? {
                Ok(hash) => {
                    add_to_run(&mut places, self.partition, offset, &hash);
                    if mark(&hash) != *stored {
                        altered.push(offset);
                    }
                }
                Err(damaged) => {
                    is_told = true;
                    if self.told.insert(offset) {
                        note(damaged);
                    }
                }
            }
        }
        for offset in &altered {
            note(corrupt(self.record(*offset), "not the record that was written there: altered, or moved"));
        }
        let follows = previous.is_none_or(|previous| audited.hashing.link(&previous, &places) == link.chain);
        if !follows && altered.is_empty() && !is_told {
            let reason = "not what their link was made of, or that link does not follow the one before";
            note(corrupt(self.run(from, last), reason));
        }
        (self.previous, self.next) = (Some(link.chain), last.saturating_add(1));
        Ok(())
    }

    /// The hash of a record as it lies there.
    fn hash(
        &self,
        shared: &Shared,
        view: &View<'_>,
        audited: &Audited,
        offset: u64,
    ) -> Result<Result<Hash, Corrupt>, ReadError> {
        let storage = |error| shared.storage(&error);
        let missing = || corrupt(self.record(offset), "it is not there");
        let segment = view.segments.iter().find(|segment| (segment.first..segment.next).contains(&offset));
        let Some(database) =
            segment.and_then(|segment| shared.databases.segment(self.partition, segment.slot))
        else {
            return Ok(Err(missing()));
        };
        let place = Place { partition: self.partition, offset };
        let value = match records::find(database, view, place) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(Err(missing())),
            Err(Unreadable::Corrupt(damaged)) => return Ok(Err(damaged)),
            Err(Unreadable::Storage(error)) => return Err(storage(error)),
        };
        let record = match Record::check(place, value) {
            Ok(record) => record,
            Err(damaged) => return Ok(Err(damaged)),
        };
        let mut chunks = Vec::new();
        for number in 0..record.chunks() {
            chunks.extend(database.get(view, &chunk_key(offset, number)).map_err(storage)?);
        }
        let names = shared.names.look();
        Ok(record
            .decode(&chunks, |number| names.get(number))
            .map(|stored| audited.hashing.record(&stored.event, value, chunks.iter().copied())))
    }

    /// Heads that lie in the store: each is the link that it speaks of.
    fn stored_heads(
        &self,
        shared: &Shared,
        view: &View<'_>,
        audited: &Audited,
        first: u64,
        note: &mut impl FnMut(Corrupt),
    ) -> Result<(), ReadError> {
        let heads = shared.databases.heads.prefix_iter(view, &self.partition.to_be_bytes());
        for head in heads.map_err(|error| shared.storage(&error))? {
            let (place, value) = head.map_err(|error| shared.storage(&error))?;
            let Some(offset) = offset_of(place) else { continue };
            let HeadRow { chain, time, proof } = match row::decode("head", place, value) {
                Ok(head) => head,
                Err(damaged) => {
                    note(damaged);
                    continue;
                }
            };
            let head = AuditHead {
                store: shared.store_id,
                stream: self.verified.stream.clone(),
                partition: self.verified.partition,
                offset,
                chain,
                time: Timestamp::from_nanos(time),
                proof,
            };
            self.head(shared, view, audited, (&head, first), note)?;
        }
        Ok(())
    }

    /// Heads that were kept elsewhere.
    fn kept_heads(
        &mut self,
        shared: &Shared,
        view: &View<'_>,
        audited: &Audited,
        first: u64,
        note: &mut impl FnMut(Corrupt),
    ) -> Result<(), ReadError> {
        let start = audited.start_of(shared, self.partition);
        for head in std::mem::take(&mut self.heads) {
            if head.store != shared.store_id {
                note(corrupt(
                    head_place(&head),
                    format!("made by store {}, and this is {}", head.store, shared.store_id),
                ));
            } else if head.offset < start {
                // Before all else: were it outdated, retention would hide that the beginning was moved.
                note(before_start(shared, self.partition, start, ("a head", head.offset)));
            } else if head.offset.saturating_add(1) < first && audited.term.is_some() {
                self.verified.heads_outdated += 1;
            } else if self.head(shared, view, audited, (&head, first), note)? {
                self.verified.heads += 1;
            }
        }
        Ok(())
    }

    /// Whether a head fits.
    fn head(
        &self,
        shared: &Shared,
        view: &View<'_>,
        audited: &Audited,
        (head, first): (&AuditHead, u64),
        note: &mut impl FnMut(Corrupt),
    ) -> Result<bool, ReadError> {
        if !head.is_proved_by(&audited.hashing) {
            note(corrupt(head_place(head), "not made by who has the key of the stream, or altered since"));
            return Ok(false);
        }
        let link: Option<LinkRow> = find(shared, view, Rows::Links, &key(self.partition, head.offset), note)?;
        let reason = match link {
            Some(link) if link.chain == head.chain => return Ok(true),
            Some(_) => {
                "not those that a head vouches for: one of them was altered, removed or moved, and the chain made anew"
            }
            None if head.offset < first => {
                "gone, while a head vouches for them and the stream keeps everything"
            }
            None => "not those that a head vouches for: the link that it speaks of is gone",
        };
        note(corrupt(self.run(first, head.offset.max(first)), reason));
        Ok(false)
    }

    fn record(&self, offset: u64) -> String {
        let VerifiedAudit { stream, partition, .. } = &self.verified;
        format!("record {offset} of partition {partition} of stream {stream}")
    }

    fn run(&self, from: u64, last: u64) -> String {
        let VerifiedAudit { stream, partition, .. } = &self.verified;
        match from == last {
            true => self.record(from),
            false => format!("records {from} to {last} of partition {partition} of stream {stream}"),
        }
    }
}

/// The row under a key; a damaged one is told of and is none.
fn find<T: serde::de::DeserializeOwned>(
    shared: &Shared,
    view: &View<'_>,
    kind: Rows,
    place: &[u8],
    note: &mut impl FnMut(Corrupt),
) -> Result<Option<T>, ReadError> {
    let (database, kind) = match kind {
        Rows::Links => (shared.databases.links, "link"),
        Rows::Heads => (shared.databases.heads, "floor"),
    };
    match rows::find(view, database, kind, place) {
        Ok(found) => Ok(found),
        Err(Unreadable::Corrupt(damaged)) => {
            note(damaged);
            Ok(None)
        }
        Err(error) => Err(shared.unreadable(error)),
    }
}

fn head_place(head: &AuditHead) -> String {
    format!("the head of {}/{}/{}", head.stream, head.partition, head.offset)
}

#[derive(Clone, Copy)]
enum Rows {
    Links,
    Heads,
}

/// Records that one transaction looks at.
const SCANNED_MAX: usize = 1 << 13;
