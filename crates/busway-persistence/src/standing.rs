//! Where durable subscriptions stand, read without their writer.

use busway_event::Timestamp;

use crate::attendance;
use crate::corrupt::Corrupt;
use crate::cursor::Cursor;
use crate::error::ReadError;
use crate::layout::pair_key;
use crate::row;
use crate::settle::SubscriptionRow;
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
    /// Each of its partitions: what it has settled there, and how many events failed and wait.
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
        let mut all = Vec::new();
        for entry in self.databases.subscriptions.iter(&txn).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let SubscriptionRow { number, filter } = row::decode("subscription", key, value)?;
            let name = std::str::from_utf8(key).map_err(|_| no_text())?.to_owned();
            let attended = attendance::attended(&txn, self, number)?;
            let mut standings = Vec::new();
            for entry in self.databases.cursors.prefix_iter(&txn, &number.to_be_bytes()).map_err(storage)? {
                let (key, value) = entry.map_err(storage)?;
                let ((_, partition), cursor) = stored::cursor(key, value)?;
                let parked = self.databases.parked.prefix_iter(&txn, &pair_key(number, partition));
                // What has a longer key belongs to the row before it.
                let parked =
                    parked.map_err(storage)?.filter(|row| row.as_ref().is_ok_and(|(key, _)| key.len() == 16));
                let parked = parked.count();
                standings.push((partition, cursor, u64::try_from(parked).unwrap_or(u64::MAX)));
            }
            all.push(StoredSubscription { name, number, filter, attended, standings });
        }
        Ok(all)
    }
}

fn no_text() -> Corrupt {
    Corrupt { place: "the list of subscriptions".to_owned(), reason: "a name is no text".to_owned() }
}
