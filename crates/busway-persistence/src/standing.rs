//! Where durable subscriptions stand, read without their writer.

use busway_event::Timestamp;
use heed::RoTxn;

use crate::attendance;
use crate::corrupt::Corrupt;
use crate::cursor::Cursor;
use crate::dead::{LetterKey, REDRIVEN};
use crate::error::ReadError;
use crate::layout::pair_key;
use crate::row;
use crate::settle::{SUBSCRIPTION_NAME_BYTES_MAX, SubscriptionRow};
use crate::shared::Shared;
use crate::stored;

/// A durable subscription as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Its name.
    pub name: String,
    /// Its number in the store.
    pub number: u32,
    /// The filter that it was made with.
    pub filter: String,
    /// When somebody last did something for it, in this process or an earlier one: it was taken up, or something of it stored. To the hour, and by
    /// the times that the store was told. `None`: a store of before that was kept, which has not been told the time since.
    pub attended: Option<Timestamp>,
    /// Each of its partitions: what it has settled there, and how many events failed, wait and are still there. What lies before the start of the log, and is not
    /// settled, is gone, and nobody has told the subscription yet.
    pub standings: Vec<(u32, Cursor, u64)>,
}

impl StoredSubscription {
    /// The partitions in which it stands.
    #[must_use]
    pub fn partitions(&self) -> Vec<u32> {
        self.standings.iter().map(|(partition, ..)| *partition).collect()
    }
}

impl Shared {
    /// All of them, in the order of their names.
    pub(crate) fn subscriptions(&self) -> Result<Vec<StoredSubscription>, ReadError> {
        let storage = |error: heed::Error| self.storage(&error);
        let txn = self.gate.read().map_err(storage)?;
        let rows = self.databases.subscriptions.iter(&txn).map_err(storage)?;
        rows.map(|row| self.standing(&txn, row.map_err(storage)?)).collect()
    }

    /// The one of this name.
    pub(crate) fn subscription(&self, name: &str) -> Result<Option<StoredSubscription>, ReadError> {
        // No other is a key of the table.
        if !(1..=SUBSCRIPTION_NAME_BYTES_MAX).contains(&name.len()) {
            return Ok(None);
        }
        let storage = |error: heed::Error| self.storage(&error);
        let txn = self.gate.read().map_err(storage)?;
        let row = self.databases.subscriptions.get(&txn, name.as_bytes()).map_err(storage)?;
        row.map(|value| self.standing(&txn, (name.as_bytes(), value))).transpose()
    }

    fn standing(
        &self,
        txn: &RoTxn<'_>,
        (key, value): (&[u8], &[u8]),
    ) -> Result<StoredSubscription, ReadError> {
        let storage = |error: heed::Error| self.storage(&error);
        let SubscriptionRow { number, filter } = row::decode("subscription", key, value)?;
        let name = std::str::from_utf8(key).map_err(|_| no_text())?.to_owned();
        let attended = attendance::attended(txn, self, number)?;
        let mut standings = Vec::new();
        for entry in self.databases.cursors.prefix_iter(txn, &number.to_be_bytes()).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let ((_, partition), cursor) = stored::cursor(key, value)?;
            let first = self.partition(partition).map_or(0, |partition| partition.bounds().0);
            let mut parked = 0;
            let rows = self.databases.parked.prefix_iter(txn, &pair_key(number, partition));
            for row in rows.map_err(storage)? {
                parked += u64::from(is_there(row.map_err(storage)?.0, first));
            }
            standings.push((partition, cursor, parked));
        }
        Ok(StoredSubscription { name, number, filter, attended, standings })
    }
}

/// Whether a parked row is of an event that the subscription can still be given, and the only such row of it: the event itself while it lies in a
/// log that begins at `first`, and before that what says that it is a dead letter that was given again, which has the event.
fn is_there(key: &[u8], first: u64) -> bool {
    match LetterKey::read(key) {
        Some((letter, [])) => letter.offset >= first,
        Some((letter, [REDRIVEN])) => letter.offset < first,
        _ => false,
    }
}

fn no_text() -> Corrupt {
    Corrupt { place: "the list of subscriptions".to_owned(), reason: "a name is no text".to_owned() }
}
