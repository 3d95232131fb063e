//! The rules of an event, as the errors of what breaks them.

use std::time::Duration;

use crate::key::KeyError;
use crate::metadata::MetadataError;
use crate::topic::TopicError;

/// Why a draft, or what was received, is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The topic breaks a rule.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// `Event::of` was used with a type that names no topic.
    #[error("\"{type_name}\" names no topic: use Event::new with one, or give the type a topic")]
    TopicMissing {
        /// The payload's type.
        type_name: &'static str,
    },
    /// The key breaks a rule.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The metadata breaks a rule.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A time to live of zero: the event would expire before it could be handled.
    #[error("the time to live is zero: leave it out, or give the event time to be handled")]
    TtlZero,
    /// The event is to be published later than it may be.
    #[error(
        "it is to be published in {delay:?}, more than the {limit:?} that an event may wait: publish it later, or by a schedule"
    )]
    DelayTooLong {
        /// How long it would wait.
        delay: Duration,
        /// [`DELAY_MAX`](crate::DELAY_MAX).
        limit: Duration,
    },
    /// The name of the payload's type, as received, is none.
    #[error("the type name \"{}\" {reason}", name.escape_debug())]
    TypeName {
        /// The name, cut at 64 characters.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The id that another system gave the event is empty or too long.
    #[error("the id of another system has {len} bytes: it needs 1 to {limit}")]
    OriginId {
        /// Bytes of the id.
        len: usize,
        /// [`ORIGIN_ID_BYTES_MAX`](crate::event::ORIGIN_ID_BYTES_MAX).
        limit: usize,
    },
    /// The encoded payload is known to be too large.
    #[error("the encoded payload has {len} bytes, more than {limit}: send a reference, or raise the limit")]
    PayloadTooLarge {
        /// Its length.
        len: usize,
        /// The limit in force.
        limit: usize,
    },
}
