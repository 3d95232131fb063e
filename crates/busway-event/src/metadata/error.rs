//! Why metadata is not valid.

use crate::trace::TraceContextError;

/// Why metadata is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// No producer, or an empty one.
    #[error(
        "the producer is missing: name the service when the bus is built, or with .meta(\"producer\", …)"
    )]
    ProducerMissing,
    /// The producer's name is too long.
    #[error("the producer's name has {len} bytes, more than {limit}")]
    ProducerTooLong {
        /// Bytes of the name.
        len: usize,
        /// [`PRODUCER_BYTES_MAX`](super::PRODUCER_BYTES_MAX).
        limit: usize,
    },
    /// A control character in the producer's name: it could not be sent on as a header of any protocol.
    #[error("the producer's name holds a control character at position {position}")]
    ProducerCharacter {
        /// Characters before it.
        position: usize,
    },
    /// No schema version.
    #[error("the schema version is missing or 0: versions start at 1")]
    VersionMissing,
    /// A `traceparent` that is none.
    #[error("the trace context is not valid")]
    Trace(#[source] TraceContextError),
    /// Too many free pairs.
    #[error("{count} metadata pairs, more than {limit}")]
    TooManyPairs {
        /// Pairs given.
        count: usize,
        /// [`PAIRS_MAX`](super::PAIRS_MAX).
        limit: usize,
    },
    /// A pair's name is empty, too long, reserved, or holds a byte outside of `[A-Za-z0-9._-]`.
    #[error("metadata name \"{}\" {reason}", name.escape_debug())]
    Name {
        /// The name, cut at 64 characters.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value is too large.
    #[error("the value of metadata \"{name}\" has {len} bytes, more than {limit}")]
    ValueTooLarge {
        /// The pair's name.
        name: String,
        /// Bytes of the value.
        len: usize,
        /// [`VALUE_BYTES_MAX`](super::VALUE_BYTES_MAX).
        limit: usize,
    },
    /// All together are too large.
    #[error("the metadata has {len} bytes in all, more than {limit}")]
    TooLarge {
        /// Bytes of the producer, names and values.
        len: usize,
        /// [`METADATA_BYTES_MAX`](super::METADATA_BYTES_MAX).
        limit: usize,
    },
}
