//! Looking into the schedule, out of a short transaction.

use busway_event::{EventId, Key, Timestamp, Topic};
use heed::RoTxn;
use uuid::Uuid;

use super::fire::{load, place};
use super::keys::{DAMAGED, DamageRow, ID, IdRow, NAME, Slot, WAITING, id_key};
use super::recur::Recurring;
use super::rows::by_id;
use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::lmdb::Reading;
use crate::row;
use crate::shared::Shared;

/// An event that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// When it is published, at the earliest.
    pub due: Timestamp,
    /// When it was scheduled.
    pub taken: Timestamp,
    /// The event.
    pub id: EventId,
    /// Its topic.
    pub topic: Topic,
    /// Its key.
    pub key: Option<Key>,
}

/// What waits, and what cannot be trusted of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduledPage {
    /// Events, in the order in which they are due.
    pub events: Vec<Scheduled>,
    /// Damaged ones, waiting or set aside.
    pub damaged: Vec<Corrupt>,
}

impl Shared {
    /// The first `limit` places, and as many of those that were set aside.
    pub(crate) fn scheduled(&self, limit: usize) -> Result<ScheduledPage, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        let mut page = ScheduledPage::default();
        for slot in self.slots(&txn, WAITING, limit)? {
            match self.scheduled_at(&txn, slot).map_err(|error| self.storage(&error))? {
                Ok(event) => page.events.push(event),
                Err(corrupt) => page.damaged.push(corrupt),
            }
        }
        for slot in self.slots(&txn, DAMAGED, limit)? {
            let key = slot.key(DAMAGED);
            let row = self.databases.schedule.get(&txn, &key).map_err(|error| self.storage(&error))?;
            let reason = match row.map(|row| row::decode::<DamageRow>("damaged event", &key, row)) {
                Some(Ok(row)) => row.reason,
                Some(Err(corrupt)) => corrupt.reason,
                None => "its row is not there".to_owned(),
            };
            page.damaged.push(Corrupt { place: place(slot), reason });
        }
        Ok(page)
    }

    fn slots(&self, txn: &Reading<'_>, kind: u8, limit: usize) -> Result<Vec<Slot>, ReadError> {
        let mut slots = Vec::new();
        let entries =
            self.databases.schedule.prefix_iter(txn, &[kind]).map_err(|error| self.storage(&error))?;
        for entry in entries {
            let (key, _) = entry.map_err(|error| self.storage(&error))?;
            match Slot::of(kind, key) {
                Some((slot, _)) if slots.last() == Some(&slot) => {}
                Some(_) if slots.len() == limit => break,
                Some((slot, _)) => slots.push(slot),
                None => {}
            }
        }
        Ok(slots)
    }

    fn scheduled_at(&self, txn: &Reading<'_>, slot: Slot) -> heed::Result<Result<Scheduled, Corrupt>> {
        let (head, found) = match load(self, txn, slot)? {
            Ok(found) => found,
            Err(corrupt) => return Ok(Err(corrupt)),
        };
        let id = EventId::new(Uuid::from_bytes(head.id));
        let key = id_key(id, head.stream);
        let row = self
            .databases
            .schedule
            .get(txn, &key)?
            .and_then(|row| row::decode::<IdRow>("scheduled id", &key, row).ok());
        Ok(Ok(Scheduled {
            due: slot.due,
            taken: row.map_or(found.appended, |row| row.taken),
            id,
            topic: found.event.topic().clone(),
            key: found.event.key().cloned(),
        }))
    }

    /// Whether an entry is as it was written; that of an event that waits, with its record.
    pub(crate) fn check_scheduled(
        &self,
        txn: &RoTxn<'_>,
        key: &[u8],
        value: &[u8],
    ) -> heed::Result<Result<(), Corrupt>> {
        match (key.first(), Slot::of(WAITING, key), Slot::of(DAMAGED, key)) {
            (_, Some((slot, [])), _) => Ok(load(self, txn, slot)?.map(drop)),
            // With the row of its place, unless that is gone.
            (_, Some((slot, _)), _) => match self.databases.schedule.get(txn, &slot.key(WAITING))? {
                Some(_) => Ok(Ok(())),
                None => Ok(load(self, txn, slot)?.map(drop)),
            },
            (_, _, Some((slot, []))) => {
                let row = row::decode::<DamageRow>("damaged event", key, value);
                Ok(Err(row.map_or_else(|corrupt| corrupt, |row| damaged(slot, row))))
            }
            // As it was found.
            (_, _, Some(_)) => Ok(Ok(())),
            (Some(&ID), ..) => Ok(row::opened("scheduled id", key, value, row::NEWEST).map(drop)),
            _ => Ok(row::opened("schedule", key, value, row::NEWEST).map(drop)),
        }
    }

    /// When the first event that waits is due.
    pub(crate) fn next_due(&self) -> Result<Option<Timestamp>, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        Ok(self.slots(&txn, WAITING, 1)?.first().map(|slot| slot.due))
    }

    /// When the event with this id is due; `None` when it does not wait.
    pub(crate) fn due(&self, id: EventId) -> Result<Option<Timestamp>, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        let found = by_id(self, &txn, id).map_err(|error| self.storage(&error))??;
        Ok(found.iter().map(|(_, row)| row.due).min())
    }

    /// The schedule of a name, as the last commit left it. A damaged one is told of, and is none.
    pub(crate) fn recurring(&self, name: &str) -> Result<Option<Recurring>, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        super::recur::stored(self, &txn, name).map_err(|error| self.storage(&error))
    }

    /// The names of up to `limit` schedules.
    pub(crate) fn recurring_names(&self, limit: usize) -> Result<Vec<String>, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        let entries =
            self.databases.schedule.prefix_iter(&txn, &[NAME]).map_err(|error| self.storage(&error))?;
        let name = |key: &[u8]| String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
        let names = entries.take(limit).map(|entry| entry.map(|(key, _)| name(key)));
        names.collect::<heed::Result<_>>().map_err(|error| self.storage(&error))
    }
}

fn damaged(slot: Slot, row: DamageRow) -> Corrupt {
    Corrupt { place: place(slot), reason: row.reason }
}
