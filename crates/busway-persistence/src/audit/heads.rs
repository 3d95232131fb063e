//! Reading heads that the store has made.

use busway_event::Timestamp;

use super::head::AuditHead;
use super::rows::{HeadRow, last};
use crate::error::ReadError;
use crate::shared::Shared;

impl Shared {
    /// The newest head of each partition of a stream that has one. `None` when it is no audit stream.
    pub(crate) fn audit_heads(&self, stream: &str) -> Result<Option<Vec<AuditHead>>, ReadError> {
        let Some(known) = self.streams.iter().find(|known| known.name == stream) else { return Ok(None) };
        if known.audited.is_none() {
            return Ok(None);
        }
        let txn = self.gate.read().map_err(|error| self.storage(&error))?;
        let mut heads = Vec::new();
        for (number, partition) in (known.first..).zip(0..known.partitions) {
            let found = last(&txn, self.databases.heads, "head", number);
            let Some((offset, row)) = found.map_err(|error| self.unreadable(error))? else { continue };
            let HeadRow { chain, time, proof } = row;
            let (store, stream, time) = (self.store_id, stream.to_owned(), Timestamp::from_nanos(time));
            heads.push(AuditHead { store, stream, partition, offset, chain, time, proof });
        }
        Ok(Some(heads))
    }
}
