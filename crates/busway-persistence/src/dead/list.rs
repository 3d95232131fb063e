//! Looking through dead letters: page by page, each out of a short transaction that looks at so many and no more, whatever a filter finds.
//!
//! What is told by a letter's own row (when, why) is looked at before its record is; of the record the topic's number is looked at before anything
//! is decoded.

use busway_event::{Filter, Timestamp};
use heed::RoTxn;
use serde::Deserialize;

use super::count::removed_name;
use super::keys::{LetterKey, NAME, REDRIVEN, own_key};
use super::letter::StoredLetter;
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::record::{Place, Record};
use crate::row;
use crate::settle::SubscriptionRow;
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::RECORD;

/// Which dead letters are wanted.
#[derive(Debug, Clone, Default)]
pub struct LetterQuery {
    /// Of these subscriptions; empty: of all.
    pub subscriptions: Vec<u32>,
    /// With a topic that matches. A letter whose record cannot be read has none.
    pub topics: Option<Filter>,
    /// With this text in their reason, which has the last error.
    pub text: Option<String>,
    /// Given up at this time or later.
    pub from: Option<Timestamp>,
    /// Given up before this time.
    pub until: Option<Timestamp>,
}

/// Dead letters, in the order in which they lie.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LetterPage {
    /// At most as many as were asked for; fewer, also none, when many had to be looked at, or they are large.
    pub letters: Vec<StoredLetter>,
    /// Letters whose own row is damaged.
    pub damaged: Vec<(LetterKey, Corrupt)>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<LetterKey>,
}

/// Which dead letters there are, in the order in which they lie.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LetterKeys {
    /// At most as many as were asked for; fewer, also none, when that many had to be looked at.
    pub keys: Vec<LetterKey>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<LetterKey>,
}

/// What becomes of a letter that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visited {
    Passed,
    /// It is for the next page.
    Left,
}

/// What is at the beginning of a letter's row.
#[derive(Deserialize)]
struct Glance<'a> {
    _offset: u64,
    at: Timestamp,
    reason: &'a str,
}

impl Store {
    /// A page of dead letters from a key on: at most 256, and 1 MiB of them with their events unless the first is larger.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn letters(
        &self,
        query: &LetterQuery,
        from: LetterKey,
        limit: usize,
    ) -> Result<LetterPage, ReadError> {
        self.shared.letters(query, from, limit)
    }

    /// Which dead letters there are from a key on, but for those that are on their way again. No event is decoded; a letter whose own row is
    /// damaged is among them unless something is asked that only the row tells (text, time).
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn letter_keys(
        &self,
        query: &LetterQuery,
        from: LetterKey,
        limit: usize,
    ) -> Result<LetterKeys, ReadError> {
        self.shared.letter_keys(query, from, limit)
    }

    /// Whether there is such a letter.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn has_letter(&self, key: LetterKey) -> Result<bool, ReadError> {
        let storage = |error: heed::Error| self.shared.storage(&error);
        let txn = self.shared.gate.read().map_err(storage)?;
        Ok(self.shared.databases.dead.get(&txn, &key.bytes()).map_err(storage)?.is_some())
    }

    /// The numbers and names of all durable subscriptions.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn subscription_names(&self) -> Result<Vec<(u32, String)>, ReadError> {
        let storage = |error: heed::Error| self.shared.storage(&error);
        let txn = self.shared.gate.read().map_err(storage)?;
        let mut names = Vec::new();
        for entry in self.shared.databases.subscriptions.iter(&txn).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let SubscriptionRow { number, .. } = row::decode("subscription", key, value)?;
            names.push((number, String::from_utf8_lossy(key).into_owned()));
        }
        Ok(names)
    }

    /// Subscriptions that were removed and left dead letters: their numbers and names.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn removed_subscriptions(&self) -> Result<Vec<(u32, String)>, ReadError> {
        let storage = |error: heed::Error| self.shared.storage(&error);
        let txn = self.shared.gate.read().map_err(storage)?;
        let mut names = Vec::new();
        for entry in self.shared.databases.dead.prefix_iter(&txn, &own_key(NAME, &[])).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            names.extend(removed_name(key, value)?);
        }
        Ok(names)
    }

    /// The stream that a partition is of, and which one it is there; `None` when there is no such partition.
    #[must_use]
    pub fn partition_name(&self, partition: u32) -> Option<(&str, u16)> {
        self.shared.partition(partition)?;
        Some((self.shared.stream_name(partition), self.shared.index_in_stream(partition)))
    }
}

impl Shared {
    fn letters(&self, query: &LetterQuery, from: LetterKey, limit: usize) -> Result<LetterPage, ReadError> {
        let (mut page, mut bytes, limit) = (LetterPage::default(), 0, limit.min(LETTERS_MAX));
        page.next = self.scan(query, from, |txn, key, value| {
            let is_full = page.letters.len() + page.damaged.len() >= limit;
            if is_full {
                return Ok(Visited::Left);
            }
            match self.is_found(txn, query, key, value) {
                Ok(false) => return Ok(Visited::Passed),
                Ok(true) => {}
                Err(ReadError::Corrupt(corrupt)) => {
                    page.damaged.push((key, corrupt));
                    return Ok(Visited::Passed);
                }
                Err(error) => return Err(error),
            }
            // Before anything is decoded. The first is taken however large it is.
            bytes += self.weight(txn, key)?;
            if bytes > BYTES_MAX && !page.letters.is_empty() {
                return Ok(Visited::Left);
            }
            let letter = row::decode("dead letter", &key.bytes(), value).map_err(ReadError::from);
            match letter.and_then(|letter| self.complete(txn, key, letter)) {
                Ok(letter) => page.letters.push(letter),
                Err(ReadError::Corrupt(corrupt)) => page.damaged.push((key, corrupt)),
                Err(error) => return Err(error),
            }
            Ok(Visited::Passed)
        })?;
        Ok(page)
    }

    fn letter_keys(
        &self,
        query: &LetterQuery,
        from: LetterKey,
        limit: usize,
    ) -> Result<LetterKeys, ReadError> {
        let mut keys = Vec::new();
        let next = self.scan(query, from, |txn, key, value| {
            if keys.len() >= limit {
                return Ok(Visited::Left);
            }
            let is_found = match self.is_found(txn, query, key, value) {
                Err(ReadError::Corrupt(_)) => false,
                found => found?,
            };
            let marker = key.part(REDRIVEN);
            let is_away = || self.databases.parked.get(txn, &marker).map_err(|error| self.storage(&error));
            if is_found && is_away()?.is_none() {
                keys.push(key);
            }
            Ok(Visited::Passed)
        })?;
        Ok(LetterKeys { keys, next })
    }

    /// Shows the letters of the subscriptions that are asked for, one after the other; where it ended, unless there are no more.
    fn scan(
        &self,
        query: &LetterQuery,
        mut from: LetterKey,
        mut visit: impl FnMut(&RoTxn<'_>, LetterKey, &[u8]) -> Result<Visited, ReadError>,
    ) -> Result<Option<LetterKey>, ReadError> {
        let storage = |error: heed::Error| self.storage(&error);
        let (txn, mut scanned) = (self.gate.read().map_err(storage)?, 0);
        loop {
            let from_bytes = from.max(LetterKey::first_of(1)).bytes();
            let range = (std::ops::Bound::Included(&from_bytes[..]), std::ops::Bound::Unbounded);
            let mut elsewhere = None;
            for entry in self.databases.dead.range(&txn, &range).map_err(storage)? {
                let (key, value) = entry.map_err(storage)?;
                scanned += 1;
                let Some((letter, [])) = LetterKey::read(key) else { continue };
                if !query.has(letter.subscription) {
                    elsewhere = Some(letter.subscription);
                    break;
                }
                if scanned > SCANNED_MAX || visit(&txn, letter, value)? == Visited::Left {
                    return Ok(Some(letter));
                }
            }
            // The next subscription that is wanted.
            let next =
                elsewhere.and_then(|here| query.subscriptions.iter().filter(|number| **number > here).min());
            match next {
                Some(next) => from = LetterKey::first_of(*next),
                None => return Ok(None),
            }
        }
    }

    /// Whether a letter is wanted. Its row is not looked at where nothing is asked of it: so one whose row is damaged is found by
    /// its subscription and its topic.
    fn is_found(
        &self,
        txn: &RoTxn<'_>,
        query: &LetterQuery,
        key: LetterKey,
        value: &[u8],
    ) -> Result<bool, ReadError> {
        if query.asks_rows() {
            let glance: Glance<'_> = row::glance("dead letter", &key.bytes(), value)?;
            if !query.is_wanted(&glance) {
                return Ok(false);
            }
        }
        self.has_topic(txn, query, key)
    }

    /// The bytes of a letter, with everything that belongs to it.
    fn weight(&self, txn: &RoTxn<'_>, key: LetterKey) -> Result<usize, ReadError> {
        let storage = |error: heed::Error| self.storage(&error);
        let (first, end) = (key.bytes(), key.end());
        let all = (std::ops::Bound::Included(&first[..]), std::ops::Bound::Excluded(&end[..]));
        let rows = self.databases.dead.range(txn, &all).map_err(storage)?;
        rows.map(|row| row.map(|(_, value)| value.len()).map_err(storage)).sum()
    }

    fn has_topic(&self, txn: &RoTxn<'_>, query: &LetterQuery, key: LetterKey) -> Result<bool, ReadError> {
        let Some(topics) = &query.topics else { return Ok(true) };
        let record = self.databases.dead.get(txn, &key.part(RECORD)).map_err(|error| self.storage(&error))?;
        let place = Place { partition: key.partition, offset: key.offset };
        let Some(Ok(record)) = record.map(|value| Record::check(place, value)) else { return Ok(false) };
        let number = record.peek().topic;
        if let Some(topic) = self.names.look().get(number).and_then(|name| name.topic.as_ref()) {
            return Ok(topics.matches(topic));
        }
        let event = self.copied(txn, key, (RECORD, crate::writer::CHUNK))?;
        Ok(event.is_some_and(|event| event.is_ok_and(|stored| topics.matches(stored.event.topic()))))
    }
}

impl LetterQuery {
    fn has(&self, subscription: u32) -> bool {
        self.subscriptions.is_empty() || self.subscriptions.contains(&subscription)
    }

    const fn asks_rows(&self) -> bool {
        self.text.is_some() || self.from.is_some() || self.until.is_some()
    }

    fn is_wanted(&self, glance: &Glance<'_>) -> bool {
        self.from.is_none_or(|from| glance.at >= from)
            && self.until.is_none_or(|until| glance.at < until)
            && self.text.as_ref().is_none_or(|text| glance.reason.contains(text.as_str()))
    }
}

/// Rows that one transaction looks at, wanted or not: some tens of milliseconds.
const SCANNED_MAX: usize = 1 << 16;
/// Of a page, as of all readers: what is copied out of one transaction.
const LETTERS_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;
