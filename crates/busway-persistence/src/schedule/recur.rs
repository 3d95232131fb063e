//! Schedules by name: what they say and when they are due next. What a tick publishes, and when the one after it is, the
//! program decides; here both are stored at once.

use busway_event::Timestamp;
use heed::{RoTxn, RwTxn};
use serde::{Deserialize, Serialize};

use super::keys::name_key;
use crate::append::Entry;
use crate::error::RequestError;
use crate::row;
use crate::shared::Shared;
use crate::writer::{State, check_entries, write_entries};

/// A schedule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    /// What it says, in the words of whoever made it: compared, and never understood.
    pub rule: String,
    /// When its next tick is due.
    pub next: Timestamp,
    /// When it was last made, or ticked: by the clock of then.
    pub changed: Timestamp,
}

/// Called by the writer's thread when a change of a schedule is decided: with the entries that were stored with it. It must be
/// quick, and must not wait for the store.
pub type OnRecurred = Box<dyn FnOnce(Result<Vec<Entry>, RequestError>) + Send>;

/// A change of a schedule.
pub(crate) struct Recur {
    pub(crate) name: String,
    /// What is stored, as the caller knows it.
    pub(crate) expected: Option<Recurring>,
    pub(crate) new: Option<Recurring>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) done: OnRecurred,
}

/// The schedule of a name. One that is damaged is told of, and is none.
pub(super) fn stored(shared: &Shared, txn: &RoTxn<'_>, name: &str) -> heed::Result<Option<Recurring>> {
    let key = name_key(name);
    let Some(row) = shared.databases.schedule.get(txn, &key)? else { return Ok(None) };
    let decoded = row::decode("schedule", &key, row);
    Ok(decoded
        .inspect_err(|corrupt| tracing::error!(name, %corrupt, "a schedule is damaged; it is none"))
        .ok())
}

/// Changes a schedule from what it was to what it is to be, and stores entries with it; or nothing of it.
pub(super) fn recur(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &mut Recur,
) -> heed::Result<Result<(), RequestError>> {
    let Recur { name, expected, new, entries, .. } = request;
    if !(1..=SCHEDULE_NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(Err(RequestError::ScheduleName { len: name.len() }));
    }
    if stored(shared, txn, name)? != *expected {
        return Ok(Err(RequestError::ScheduleMoved { name: name.clone() }));
    }
    if let Err(refusal) = check_entries(shared, state, txn, entries)? {
        return Ok(Err(refusal.into()));
    }
    write_entries(shared, state, txn, entries)?;
    let key = name_key(name);
    match new {
        Some(new) => shared.databases.schedule.put(txn, &key, &row::encode(&key, new)?)?,
        None => _ = shared.databases.schedule.delete(txn, &key)?,
    }
    Ok(Ok(()))
}

/// Bytes of a schedule's name.
pub const SCHEDULE_NAME_BYTES_MAX: usize = 255;
