//! What publishing adds to a draft.

use crate::codec::PAYLOAD_BYTES_MAX;
use crate::id::EventId;
use crate::metadata::Metadata;
use crate::timestamp::Timestamp;

/// What the engine fills in where a draft says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The id of an event without one.
    pub id: EventId,
    /// The time of an event without one.
    pub time: Timestamp,
    /// Metadata of an event without any: its producer is the bus's.
    pub metadata: &'a Metadata,
    /// The limit of an encoded payload, [`PAYLOAD_BYTES_MAX`] by default. Checked here for payloads whose encoded length
    /// is known beforehand (`Raw`, `Proto`), and for all others when they are encoded.
    pub payload_bytes_max: usize,
}

impl<'a> Stamp<'a> {
    /// A stamp with the default payload limit.
    #[must_use]
    pub const fn new(id: EventId, time: Timestamp, metadata: &'a Metadata) -> Self {
        Self { id, time, metadata, payload_bytes_max: PAYLOAD_BYTES_MAX }
    }
}
