//! The identity of an event: a UUID.
//!
//! Ids that busway makes are version 7 (RFC 9562 §5.7): they sort by time, so logs and databases keep them in
//! order. This crate reads no clock; the engine generates them. An id that came from another system and is no UUID is
//! mapped to version 5 of its source and itself, so the same foreign event has the same id wherever it is received.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identity of an event. Two events with the same id are the same event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// Takes a UUID of any version as it is.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The id of an event that another system named: `id` itself when it is a UUID in its form of 36 characters, in any
    /// case, otherwise the version 5 UUID (RFC 9562 §5.5) of `source`, a line feed, and `id`, under busway's own
    /// namespace. 32 digits without dashes are no UUID here: other systems' digests and counters look like that.
    ///
    /// `CloudEvents` promise that `source` and `id` together are unique, so the result is too, and is the same in each
    /// process that receives the event.
    #[must_use]
    pub fn foreign(source: &str, id: &str) -> Self {
        parse(id).map_or_else(|_| Self::derived(source, id), Self)
    }

    fn derived(source: &str, id: &str) -> Self {
        let mut name = Vec::with_capacity(source.len() + id.len() + 1);
        name.extend_from_slice(source.as_bytes());
        name.push(b'\n');
        name.extend_from_slice(id.as_bytes());
        Self(Uuid::new_v5(&FOREIGN_NAMESPACE, &name))
    }

    /// Whether the text is the one that [`Display`](fmt::Display) writes.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        let mut written = [0; UUID_BYTES];
        *self.0.hyphenated().encode_lower(&mut written) == *text
    }

    /// The id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.0)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Uuid> for EventId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<EventId> for Uuid {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        parse(text)
            .map(Self)
            .map_err(|source| EventIdError { input: text.chars().take(64).collect(), source })
    }
}

/// The text is no UUID in its form of 36 characters.
#[derive(Debug, Clone, thiserror::Error)]
#[error("\"{}\" is no event id: write a UUID of 36 characters", input.escape_debug())]
pub struct EventIdError {
    input: String,
    source: Option<uuid::Error>,
}

/// A UUID as RFC 9562 §4 writes it. The library reads it without dashes, in braces and as a URN too.
fn parse(text: &str) -> Result<Uuid, Option<uuid::Error>> {
    if text.len() == UUID_BYTES { Uuid::parse_str(text).map_err(Some) } else { Err(None) }
}

/// 32 digits and four dashes.
const UUID_BYTES: usize = 36;

/// Namespace of derived ids. Fixed for ever: changing it would change the identity of every foreign event.
const FOREIGN_NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_6c1e_9a55_5d0f_8a3d_2f61_7c0e_b05a);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_uuid_is_kept_and_another_text_is_derived_from_source_and_id() {
        let text = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1";
        assert_eq!(EventId::foreign("/shop", text).to_string(), text);
        let derived = EventId::foreign("/shop", "A-1");
        assert_eq!(derived, EventId::foreign("/shop", "A-1"));
        assert_ne!(derived, EventId::foreign("/bank", "A-1"));
        assert_eq!(derived.as_uuid().get_version_num(), 5);
        assert_eq!(derived.to_string(), "724e334b-15fc-50f6-8ccc-0705d84cad70");
    }

    #[test]
    fn source_and_id_do_not_run_into_each_other() {
        assert_ne!(EventId::foreign("/a", "b-1"), EventId::foreign("/ab", "-1"));
    }

    #[test]
    fn only_the_form_of_36_characters_is_a_uuid() {
        let uuid = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1";
        assert_eq!(EventId::foreign("/shop", &uuid.to_uppercase()).to_string(), uuid);
        let bare = uuid.replace('-', "");
        for other in [bare.clone(), format!("urn:uuid:{uuid}"), format!("{{{uuid}}}"), format!("{bare}0000")]
        {
            assert_eq!(EventId::foreign("/shop", &other).as_uuid().get_version_num(), 5, "{other}");
            assert!(other.parse::<EventId>().is_err(), "{other}");
        }
    }

    #[test]
    fn a_text_that_is_no_uuid_is_an_error() {
        assert!("A-1".parse::<EventId>().unwrap_err().to_string().contains("\"A-1\" is no event id"));
    }
}
