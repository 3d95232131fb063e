//! What publishing adds to a draft.

use super::Invalid;
use crate::codec::PAYLOAD_BYTES_MAX;
use crate::event::TYPE_NAME_BYTES_MAX;
use crate::event_type::EventType;
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

    /// Checks the rules that a type alone can break (when its code is compiled: a name or version that is none stops the
    /// build) and the length of a payload that knows its own.
    #[inline]
    pub(crate) fn check_payload<T: EventType>(&self, payload: &T) -> Result<(), Invalid> {
        Self::check_length(payload, self.payload_bytes_max)
    }

    /// The same, with the limit alone.
    #[inline]
    pub(crate) fn check_length<T: EventType>(payload: &T, limit: usize) -> Result<(), Invalid> {
        const {
            assert!(T::VERSION > 0, "EventType::VERSION starts at 1");
            assert!(is_type_name(T::NAME), "EventType::NAME needs 1 to 255 bytes and no control character");
        }
        match payload.encoded_len() {
            Some(len) if len > limit => Err(Invalid::PayloadTooLarge { len, limit }),
            _ => Ok(()),
        }
    }
}

/// The rule of `check_type_name` in `event/receive.rs`, for names that are known when code is compiled.
const fn is_type_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut rest = bytes;
    let mut after_c2 = false;
    while let [byte, tail @ ..] = rest {
        // U+0000 to U+001F, U+007F, and U+0080 to U+009F, which are C2 80 to C2 9F.
        if *byte < 0x20 || *byte == 0x7f || (after_c2 && *byte < 0xa0) {
            return false;
        }
        after_c2 = *byte == 0xc2;
        rest = tail;
    }
    !bytes.is_empty() && bytes.len() <= TYPE_NAME_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rule_at_compile_time_is_that_of_receipt(name in prop_oneof![".{0,4}", "[a\\x7f-\\xa1\\x00]{0,3}", "a{250,260}"]) {
            let received = !name.is_empty() && name.len() <= TYPE_NAME_BYTES_MAX && !name.chars().any(char::is_control);
            prop_assert_eq!(is_type_name(&name), received);
        }
    }
}
