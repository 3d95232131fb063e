//! What is stored and cannot be trusted.

/// Stored bytes that are not what was written: where, and what does not fit. Nothing else is lost by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} is damaged: {reason}")]
pub struct Corrupt {
    /// Where it lies: `record 17 of partition 3`.
    pub place: String,
    /// What does not fit: `its checksum is 1a2b3c4d, its bytes make 5e6f7081`.
    pub reason: String,
}
