//! How many dead letters each subscription has, and how many it may have.
//!
//! The writer keeps the count with each letter that comes and goes, in the same commit. Whoever is about to give an event up reserves a place
//! before: so a limit holds exactly, and what finds no place is not given up.

use std::collections::HashMap;

use heed::{RoTxn, RwTxn};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::keys::{COUNT, LetterKey, own_key};
use crate::corrupt::Corrupt;
use crate::layout::Databases;
use crate::row;
use crate::shared::Shared;
use crate::store::Store;
use crate::stored::Unreadable;
use crate::writer::State;

/// The row of a subscription's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CountRow {
    letters: u64,
}

/// The letters of each subscription, as the last commit left them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) letters: HashMap<u32, u64>,
    /// Whether the store says how many there are. One of before that was kept does not: they are counted, and the next commit that changes
    /// a count stores all.
    pub(crate) is_stored: bool,
}

/// What others than the writer see of it.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<HashMap<u32, Room>>);

#[derive(Debug, Clone, Copy, Default)]
struct Room {
    stored: u64,
    /// Letters on their way.
    reserved: u64,
}

impl Rooms {
    pub(crate) fn of(counts: &Counts) -> Self {
        let room = |(&number, &stored): (&u32, &u64)| (number, Room { stored, reserved: 0 });
        Self(Mutex::new(counts.letters.iter().map(room).collect()))
    }

    /// A subscription begins, or is sent elsewhere: nothing that it decided before is on its way. Places that a life of it had reserved, and could not
    /// use because it failed, are free.
    pub(crate) fn begins(&self, subscription: u32) {
        if let Some(room) = self.0.lock().get_mut(&subscription) {
            room.reserved = 0;
        }
    }

    /// Letters of a subscription have come or gone, and so many places that were reserved are taken.
    pub(crate) fn note(&self, subscription: u32, stored: Option<u64>, taken: u64) {
        let mut rooms = self.0.lock();
        let room = rooms.entry(subscription).or_default();
        room.stored = stored.unwrap_or(room.stored);
        room.reserved = room.reserved.saturating_sub(taken);
    }
}

impl Store {
    /// Reserves a place for a dead letter that is about to be [settled](crate::Settlement::dead); `false` when the subscription has `max` of them,
    /// those on their way included. A place that was reserved is taken by the next letter of the subscription.
    #[must_use]
    pub fn reserve_dead_letter(&self, subscription: u32, max: u64) -> bool {
        let mut rooms = self.shared.rooms.0.lock();
        let room = rooms.entry(subscription).or_default();
        let has_room = room.stored.saturating_add(room.reserved) < max;
        room.reserved += u64::from(has_room);
        has_room
    }

    /// How many places for dead letters of a subscription are taken: by letters, and by those on their way.
    #[must_use]
    pub fn dead_letter_places(&self, subscription: u32) -> u64 {
        let rooms = self.shared.rooms.0.lock();
        rooms.get(&subscription).map_or(0, |room| room.stored.saturating_add(room.reserved))
    }

    /// How many dead letters a subscription has.
    #[must_use]
    pub fn dead_letter_count(&self, subscription: u32) -> u64 {
        self.shared.rooms.0.lock().get(&subscription).map_or(0, |room| room.stored)
    }
}

/// The counts as they are stored, or counted.
pub(crate) fn load(txn: &RoTxn<'_>, databases: &Databases<'_>) -> Result<Counts, Unreadable> {
    let mut counts =
        Counts { is_stored: databases.dead.get(txn, &own_key(COUNT, &[]))?.is_some(), ..Counts::default() };
    if counts.is_stored {
        for entry in databases.dead.prefix_iter(txn, &own_key(COUNT, &[]))? {
            let (key, value) = entry?;
            let Some(number) = key.get(5..).and_then(|number| number.try_into().ok()) else { continue };
            let CountRow { letters } = row::decode("count of dead letters", key, value)?;
            counts.letters.insert(u32::from_be_bytes(number), letters);
        }
        return Ok(counts);
    }
    for entry in databases.dead.iter(txn)? {
        let (key, _) = entry?;
        if let Some((letter, [])) = LetterKey::read(key) {
            *counts.letters.entry(letter.subscription).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Writes the counts that a batch has changed.
pub(crate) fn write(shared: &Shared, state: &State, txn: &mut RwTxn<'_>) -> heed::Result<()> {
    let Some(changed) = state.changed_letters() else { return Ok(()) };
    let dead = shared.databases.dead;
    for (number, letters) in changed {
        let key = own_key(COUNT, &number.to_be_bytes());
        match letters {
            0 => _ = dead.delete(txn, &key)?,
            letters => dead.put(txn, &key, &row::encode(&key, &CountRow { letters })?)?,
        }
    }
    dead.put(txn, &own_key(COUNT, &[]), &[])
}

/// The name of a subscription that was removed.
pub(crate) fn removed_name(key: &[u8], value: &[u8]) -> Result<Option<(u32, String)>, Corrupt> {
    let Some(number) = key.get(5..).and_then(|number| number.try_into().ok()) else { return Ok(None) };
    Ok(Some((u32::from_be_bytes(number), row::decode("name of a removed subscription", key, value)?)))
}
