//! A view of a partition: its segments and their records as they were at one moment.

use std::ops::Deref;

use busway_event::Timestamp;

use crate::corrupt::Corrupt;
use crate::error::ReadError;
use crate::lmdb::Reading;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::stored::{self, Unreadable};

/// See the module. Short: a transaction is open while it is held.
pub(crate) struct View<'a> {
    txn: Reading<'a>,
    /// Oldest first. The newest ends where the last commit did that readers were told of when the view was taken; whatever else
    /// it says is that of its beginning.
    pub(crate) segments: Vec<Segment>,
}

impl<'a> Deref for View<'a> {
    type Target = Reading<'a>;

    fn deref(&self) -> &Self::Target {
        &self.txn
    }
}

impl Shared {
    pub(crate) fn view(&self, partition: u32) -> Result<View<'_>, ReadError> {
        // Before the transaction: it sees at least what was told by then.
        let here = self.partition(partition).ok_or(ReadError::UnknownPartition { partition })?;
        let (_, told) = here.bounds();
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        let segments = stored::segments(&txn, &self.databases, partition);
        // Without the list nothing is found, and nothing can be said of a single record: who reads must not go on behind it.
        let mut segments = segments.map_err(|error| match error {
            Unreadable::Corrupt(corrupt) => {
                ReadError::Storage { path: self.path.clone(), reason: corrupt.to_string() }
            }
            Unreadable::Storage(error) => self.storage(&error),
        })?;
        if let Some(newest) = segments.last_mut() {
            newest.next = newest.next.max(told);
            newest.last_at = Timestamp::from_nanos(i64::MAX);
        }
        Ok(View { txn, segments })
    }

    /// The same, up to where the transaction ends: for who holds what lies beside the records, and is written with them, against them. Others
    /// read what was told, and no more.
    pub(crate) fn whole_view(&self, partition: u32) -> Result<View<'_>, ReadError> {
        let mut view = self.view(partition)?;
        if let Some(mut newest) = view.segments.pop() {
            match stored::end_of(&view, &self.databases, partition, &newest) {
                Ok(end) => newest.next = newest.next.max(end),
                // Of a key that is none no end is made; whoever opens the store is told of it.
                Err(Unreadable::Corrupt(corrupt)) => {
                    tracing::error!(%corrupt, "the end of a log cannot be read");
                }
                Err(error) => return Err(self.unreadable(error)),
            }
            view.segments.push(newest);
        }
        Ok(view)
    }

    /// What is damaged in the list of a partition's segments, so that it has no [`view`](Self::view); `None` when it has one.
    pub(crate) fn damaged_list(&self, partition: u32) -> Result<Option<Corrupt>, ReadError> {
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        match stored::segments(&txn, &self.databases, partition) {
            Ok(_) => Ok(None),
            Err(Unreadable::Corrupt(corrupt)) => Ok(Some(corrupt)),
            Err(Unreadable::Storage(error)) => Err(self.storage(&error)),
        }
    }

    pub(crate) fn unreadable(&self, error: Unreadable) -> ReadError {
        match error {
            Unreadable::Corrupt(corrupt) => corrupt.into(),
            Unreadable::Storage(error) => self.storage(&error),
        }
    }

    pub(crate) fn storage(&self, error: &heed::Error) -> ReadError {
        ReadError::Storage { path: self.path.clone(), reason: error.to_string() }
    }
}
