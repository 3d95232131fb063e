//! One dead letter, with its event and everything that is known of it.

use busway_event::{AnyEvent, Timestamp};
use heed::RoTxn;

use super::keys::{COUNT, EDITED, EDITED_CHUNK, HANDLED, LetterKey, REDRIVEN, RedrivenRow, own_key};
use crate::attendance::Quarantine;
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::record::{Place, Record};
use crate::row;
use crate::settle::DeadLetter;
use crate::shared::Shared;
use crate::store::Store;
use crate::tail::StoredEvent;
use crate::writer::{CHUNK, QUARANTINE, RECORD};

/// A dead letter, its event and what was done with it.
#[derive(Debug)]
#[non_exhaustive]
pub struct StoredLetter {
    /// Which one.
    pub key: LetterKey,
    /// What its subscription said of the event.
    pub letter: DeadLetter,
    /// What it was set aside for, when that is because its processes died.
    pub quarantine: Option<Quarantine>,
    /// The event, its bytes as they were published. An error: they cannot be read.
    pub event: Result<StoredEvent, Corrupt>,
    /// What somebody made of it, to be given instead.
    pub edited: Option<AnyEvent>,
    /// Whether it waits for somebody, or was given again.
    pub state: LetterState,
}

/// What was done with a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LetterState {
    /// Nothing: it waits for somebody.
    Waiting,
    /// It is on its way to its subscription again.
    Redriven {
        /// The number of the operation.
        operation: u64,
        /// Since when.
        at: Timestamp,
    },
    /// It was edited, and what came of that is handled. The original is kept until somebody discards it.
    Handled {
        /// When.
        at: Timestamp,
    },
}

impl Store {
    /// A dead letter; `None` when there is none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn letter(&self, key: LetterKey) -> Result<Option<StoredLetter>, ReadError> {
        let storage = |error: heed::Error| self.shared.storage(&error);
        let txn = self.shared.gate.read().map_err(storage)?;
        let Some(value) = self.shared.databases.dead.get(&txn, &key.bytes()).map_err(storage)? else {
            return Ok(None);
        };
        let letter = row::decode("dead letter", &key.bytes(), value)?;
        self.shared.complete(&txn, key, letter).map(Some)
    }

    /// The event of a dead letter that was given again, as its subscription is to have it: edited, or as it was. `None` when it is not there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn redriven_event(&self, key: LetterKey) -> Result<Option<StoredEvent>, ReadError> {
        let shared = &self.shared;
        let txn = shared.gate.read().map_err(|error| shared.storage(&error))?;
        let edited = shared.copied(&txn, key, (EDITED, EDITED_CHUNK))?;
        let found = match edited {
            Some(edited) => Some(edited),
            None => shared.copied(&txn, key, (RECORD, CHUNK))?,
        };
        Ok(found.transpose()?)
    }
}

impl Shared {
    /// Adds to a letter what lies beside it.
    pub(super) fn complete(
        &self,
        txn: &RoTxn<'_>,
        key: LetterKey,
        letter: DeadLetter,
    ) -> Result<StoredLetter, ReadError> {
        let quarantine = self.beside::<Quarantine>(txn, key, (QUARANTINE, "quarantine"))?;
        let event = self.copied(txn, key, (RECORD, CHUNK))?.unwrap_or_else(|| Err(no_copy(key)));
        let edited =
            self.copied(txn, key, (EDITED, EDITED_CHUNK))?.and_then(Result::ok).map(|stored| stored.event);
        let state = self.letter_state(txn, key)?;
        Ok(StoredLetter { key, letter, quarantine, event, edited, state })
    }

    pub(super) fn letter_state(&self, txn: &RoTxn<'_>, key: LetterKey) -> Result<LetterState, ReadError> {
        let marker = key.part(REDRIVEN);
        let row = self.databases.parked.get(txn, &marker).map_err(|error| self.storage(&error))?;
        if let Some(row) = row {
            let RedrivenRow { operation, at } = row::decode("redriven dead letter", &marker, row)?;
            return Ok(LetterState::Redriven { operation, at });
        }
        let handled = self.beside::<Timestamp>(txn, key, (HANDLED, "handled dead letter"))?;
        Ok(handled.map_or(LetterState::Waiting, |at| LetterState::Handled { at }))
    }

    /// Whether an entry is as it was written; that of a record, with its chunks.
    pub(crate) fn check_dead(
        &self,
        txn: &RoTxn<'_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Result<(), Corrupt>, ReadError> {
        let row = |kind| Ok(row::opened(kind, key, value, row::NEWEST).map(drop));
        if key == own_key(COUNT, &[]) {
            return Ok(Ok(()));
        }
        let Some((letter, part)) = LetterKey::read(key).filter(|(letter, _)| letter.subscription > 0) else {
            return row("row of dead letters");
        };
        let parts = match part {
            [] => return row("dead letter"),
            &[part] if part == RECORD => (RECORD, CHUNK),
            &[part] if part == EDITED => (EDITED, EDITED_CHUNK),
            [_] => return row("what was done with a dead letter"),
            // With its record.
            _ => return Ok(Ok(())),
        };
        let copy = self.copied(txn, letter, parts)?.unwrap_or_else(|| Err(no_copy(letter)));
        Ok(copy.map(drop).map_err(|corrupt| Corrupt { place: format!("dead letter {letter}"), ..corrupt }))
    }

    fn beside<T: serde::de::DeserializeOwned>(
        &self,
        txn: &RoTxn<'_>,
        key: LetterKey,
        (part, kind): (u8, &str),
    ) -> Result<Option<T>, ReadError> {
        let key = key.part(part);
        let row = self.databases.dead.get(txn, &key).map_err(|error| self.storage(&error))?;
        Ok(row.map(|row| row::decode(kind, &key, row)).transpose()?)
    }

    /// A record that lies beside a letter; `None` when there is none.
    pub(super) fn copied(
        &self,
        txn: &RoTxn<'_>,
        key: LetterKey,
        (part, chunk_part): (u8, u8),
    ) -> Result<Option<Result<StoredEvent, Corrupt>>, ReadError> {
        let storage = |error: heed::Error| self.storage(&error);
        let Some(value) = self.databases.dead.get(txn, &key.part(part)).map_err(storage)? else {
            return Ok(None);
        };
        let place = Place { partition: key.partition, offset: key.offset };
        let record = match Record::check(place, value) {
            Ok(record) => record,
            Err(corrupt) => return Ok(Some(Err(corrupt))),
        };
        let mut chunks = Vec::new();
        for number in 0..record.chunks() {
            // One that is missing is found when the record is put together.
            chunks.extend(self.databases.dead.get(txn, &key.chunk(chunk_part, number)).map_err(storage)?);
        }
        let names = self.names.look();
        let decoded = record.decode(&chunks, |number| names.get(number));
        Ok(Some(decoded.map(|stored| StoredEvent {
            offset: key.offset,
            appended: stored.appended,
            given_id: stored.given_id,
            event: stored.event,
        })))
    }
}

fn no_copy(key: LetterKey) -> Corrupt {
    let place = Place { partition: key.partition, offset: key.offset }.to_string();
    Corrupt {
        place,
        reason: "it could not be read when it was given up, so there is no copy of it".to_owned(),
    }
}
