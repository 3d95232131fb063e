//! Why something is no `CloudEvent` that this bus takes.

use crate::draft::Invalid;
use crate::metadata::MetadataError;
use crate::priority::PriorityError;
use crate::timestamp::{Timestamp, TimestampError};

/// Why something is no `CloudEvent` that this bus takes. Names of attributes are cut at 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloudEventError {
    /// The text is no JSON object (for a batch, no array).
    #[error("this is no CloudEvent in JSON: {reason}")]
    Json {
        /// The parser's words, with line and column.
        reason: String,
    },
    /// Bytes are left over after the JSON.
    #[error("{extra} bytes follow the JSON, which ends at byte {at}")]
    TrailingBytes {
        /// Where the JSON ends.
        at: usize,
        /// Bytes left over.
        extra: usize,
    },
    /// Too many attributes to be an event.
    #[error("the event has more than {limit} attributes")]
    TooManyAttributes {
        /// The limit.
        limit: usize,
    },
    /// An attribute is there twice, or two attributes come to one name: a member of `buswaymeta` and an attribute of its
    /// name, `version` and `ce-version`.
    #[error("the attribute \"{}\" is there twice", attribute.escape_debug())]
    Duplicate {
        /// Its name.
        attribute: String,
    },
    /// A required attribute is missing, null or empty.
    #[error("the attribute \"{attribute}\" is missing or empty{}", hint(attribute))]
    Missing {
        /// Its name.
        attribute: &'static str,
    },
    /// An attribute that must be a string is another JSON value.
    #[error("the attribute \"{attribute}\" is no string")]
    NotText {
        /// Its name.
        attribute: String,
    },
    /// A character that no attribute may hold: NUL and other control characters, and what Unicode calls noncharacters.
    #[error("the attribute \"{}\" holds a forbidden character at byte {position}", attribute.escape_debug())]
    Character {
        /// Its name.
        attribute: String,
        /// Bytes before the character.
        position: usize,
    },
    /// Another version of the specification.
    #[error("specversion is \"{}\", this bus reads 1.0", found.escape_debug())]
    SpecVersion {
        /// The version found, cut at 64 characters.
        found: String,
    },
    /// The schema version is no number from 1 to 65535.
    #[error("schemaversion is \"{}\": it must be a number from 1 to 65535", found.escape_debug())]
    SchemaVersion {
        /// The text found, cut at 64 characters.
        found: String,
    },
    /// A number of where an event lay is none.
    #[error("the attribute \"{attribute}\" is \"{}\", which is no such number", found.escape_debug())]
    Number {
        /// Its name.
        attribute: &'static str,
        /// The text found, cut at 64 characters.
        found: String,
    },
    /// `time` or `expirytime` is no time.
    #[error("the attribute \"{attribute}\" is no time")]
    Time {
        /// Its name.
        attribute: &'static str,
        /// What is wrong with it.
        source: TimestampError,
    },
    /// `expirytime` is past: not after `time`, nor after [`Import::received_at`](super::Import::received_at) when that is
    /// known.
    #[error("the attribute \"expirytime\" says that the event expired at {expiry}, and it is {at}")]
    Expired {
        /// When its time ended.
        expiry: Timestamp,
        /// Its own time or that of its receipt, whichever is later.
        at: Timestamp,
    },
    /// `priority` is no priority.
    #[error("the attribute \"priority\" is refused")]
    Priority(#[source] PriorityError),
    /// `buswaymeta` is no JSON object of strings.
    #[error("the attribute \"buswaymeta\" is no JSON object of strings: {reason}")]
    Meta {
        /// The parser's words, or the name of the member that is no string.
        reason: String,
    },
    /// Both `data` and `data_base64` are there.
    #[error("the event has both data and data_base64: it may have one")]
    TwoPayloads,
    /// `data` is no string, though the content type is not JSON.
    #[error("data is no string, which it must be for content type \"{}\"", content_type.escape_debug())]
    DataNotText {
        /// The content type, cut at 64 characters.
        content_type: String,
    },
    /// `data_base64` is no base64.
    #[error("data_base64 is no base64: {reason}")]
    Base64 {
        /// The decoder's words, with the position.
        reason: String,
    },
    /// An attribute, or the payload under the name of `data`, breaks a rule of events.
    #[error("\"{}\" breaks a rule of events", attribute.escape_debug())]
    Invalid {
        /// Its name.
        attribute: String,
        /// The rule.
        source: Invalid,
    },
    /// The attributes that busway does not know are too many or too large to be metadata.
    #[error("the extension attributes do not fit into metadata")]
    Extensions(#[source] MetadataError),
    /// An event of a batch is refused.
    #[error("event {index} of the batch is refused")]
    Item {
        /// Its index, from 0.
        index: usize,
        /// Why.
        source: Box<Self>,
    },
}

impl CloudEventError {
    /// Two values for one name.
    pub(super) fn duplicate(name: &str) -> Self {
        Self::Duplicate { attribute: cut(name) }
    }

    /// The payload is known to be too large before it is decoded.
    pub(super) fn too_large(len: usize, limit: usize) -> Self {
        Self::Invalid { attribute: "data".to_owned(), source: Invalid::PayloadTooLarge { len, limit } }
    }

    /// Names the attribute that `source` is about.
    pub(super) fn invalid(source: Invalid) -> Self {
        let attribute = match &source {
            Invalid::Topic(_) | Invalid::TopicMissing { .. } => "subject",
            Invalid::Key(_) => "partitionkey",
            Invalid::TtlZero => "expirytime",
            // Nothing that was received waits to be published.
            Invalid::DelayTooLong { .. } => "time",
            Invalid::TypeName { .. } => "type",
            Invalid::OriginId { .. } => "id",
            Invalid::PayloadTooLarge { .. } => "data",
            Invalid::Metadata(error) => match error {
                MetadataError::ProducerMissing
                | MetadataError::ProducerTooLong { .. }
                | MetadataError::ProducerCharacter { .. } => "source",
                MetadataError::VersionMissing => "schemaversion",
                MetadataError::Trace(_) => "traceparent",
                MetadataError::Name { name, .. } | MetadataError::ValueTooLarge { name, .. } => name,
                MetadataError::TooManyPairs { .. } | MetadataError::TooLarge { .. } => {
                    return Self::Extensions(error.clone());
                }
            },
        };
        Self::Invalid { attribute: cut(attribute), source }
    }
}

/// As much of a stranger's text as an error keeps.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What to do about a missing attribute that not every system sends.
fn hint(attribute: &str) -> &'static str {
    match attribute {
        "subject" => ": name a topic with Import::topic(TopicFrom::Fixed(…))",
        "time" => ": say when it came with Import::received_at",
        _ => "",
    }
}
