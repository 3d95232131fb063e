//! What a transaction has written: kept in memory over what the tables hold, until it is stored as a whole or let go.

use std::collections::BTreeMap;

use super::{TX_BYTES_MAX, TxError};
use crate::table::{self, FullRange, TableEntries, TableId};

/// See the module. Keys are those of the database that all tables share.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// `None`: the key is removed.
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Writes {
    /// Sets or removes a key.
    pub(crate) fn set(&mut self, full_key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), TxError> {
        let len = value.as_ref().map_or(0, Vec::len);
        let replaced = self.values.get(&full_key).map(|before| before.as_ref().map_or(0, Vec::len));
        let bytes = match replaced {
            Some(replaced) => self.bytes - replaced + len,
            None => self.bytes + full_key.len() + len,
        };
        self.hold(bytes)?;
        self.values.insert(full_key, value);
        Ok(())
    }

    /// Counts bytes that the transaction holds elsewhere.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), TxError> {
        self.hold(self.bytes.saturating_add(bytes))
    }

    fn hold(&mut self, bytes: usize) -> Result<(), TxError> {
        if bytes > TX_BYTES_MAX {
            return Err(TxError::TooLarge { bytes });
        }
        self.bytes = bytes;
        Ok(())
    }

    /// What the transaction made of a key; `None` when it has not touched it.
    pub(crate) fn get(&self, full_key: &[u8]) -> Option<&Option<Vec<u8>>> {
        self.values.get(full_key)
    }

    /// How many keys of a range the transaction removes: so many more have to be read.
    pub(crate) fn removed(&self, range: &FullRange) -> usize {
        self.values.range(range.clone()).filter(|(_, value)| value.is_none()).count()
    }

    /// Lays its own entries of a range over those that were found. `found` has `limit` entries and as many more as are
    /// [`removed`](Self::removed), or all that there are.
    pub(crate) fn laid_over(&self, found: TableEntries, range: &FullRange, limit: usize) -> TableEntries {
        let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = found.into_iter().collect();
        for (key, value) in self.values.range(range.clone()) {
            match value {
                Some(value) => _ = entries.insert(key.clone(), value.clone()),
                None => _ = entries.remove(key),
            }
        }
        entries.into_iter().take(limit).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All of them by table and key, as the table's user knows it.
    pub(crate) fn by_table(&self) -> impl Iterator<Item = (TableId, &[u8], Option<&[u8]>)> {
        self.iter().filter_map(|(full_key, value)| {
            let (table, key) = table::split(full_key)?;
            Some((table, key, value))
        })
    }

    /// All of them, in the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.values.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{full_key, full_range};
    use proptest::prelude::*;
    use std::ops::Bound;

    const TABLE: TableId = TableId(3);

    fn key(key: u8) -> Vec<u8> {
        full_key(TABLE, &[key]).unwrap()
    }

    proptest! {
        #[test]
        fn a_range_is_what_the_table_will_hold(
            held in prop::collection::btree_map(0_u8..12, 0_u8..9, 0..12),
            steps in prop::collection::vec((0_u8..12, prop::option::of(0_u8..9)), 0..12),
            bounds in (0_u8..12, 0_u8..12),
            limit in 0_usize..14,
        ) {
            let mut writes = Writes::default();
            let mut after = held.clone();
            for (at, value) in steps {
                writes.set(key(at), value.map(|value| vec![value])).unwrap();
                match value {
                    Some(value) => _ = after.insert(at, value),
                    None => _ = after.remove(&at),
                }
            }
            let (from, to) = ([bounds.0.min(bounds.1)], [bounds.0.max(bounds.1)]);
            let range = full_range(TABLE, (Bound::Included(&from[..]), Bound::Excluded(&to[..])));
            let entries = |map: &BTreeMap<u8, u8>, limit: usize| -> TableEntries {
                map.range(from[0]..to[0]).take(limit).map(|(at, value)| (key(*at), vec![*value])).collect()
            };
            let found = entries(&held, limit + writes.removed(&range));
            prop_assert_eq!(writes.laid_over(found, &range, limit), entries(&after, limit));
        }
    }

    #[test]
    fn a_transaction_holds_so_many_bytes_and_what_is_replaced_counts_no_longer() {
        let mut writes = Writes::default();
        let half = || Some(vec![0; TX_BYTES_MAX / 2]);
        writes.set(key(1), half()).unwrap();
        writes.set(key(1), half()).unwrap();
        assert!(matches!(writes.set(key(2), half()), Err(TxError::TooLarge { .. })));
        assert_eq!(writes.get(&key(2)), None, "what is refused is not there");
        writes.set(key(1), None).unwrap();
        writes.set(key(2), half()).unwrap();
        assert_eq!(writes.get(&key(1)), Some(&None));
    }
}
