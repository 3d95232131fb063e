//! The message of every suite: 64 bytes that know their own number.

use busway::prelude::*;
use serde::{Deserialize, Serialize};

/// 64 bytes. The first word numbers the message, so that a lost or doubled one is noticed; the second is free for the
/// suite; the rest is freight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, EventType)]
#[event(name = "sample", codec = "bincode")]
pub struct Sample {
    /// The number of the message in its lap, from 0.
    pub number: u64,
    /// What the suite wants to carry, such as the intended send time.
    pub mark: u64,
    freight: [u64; 6],
}

impl Sample {
    /// Message `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self { number, mark: 0, freight: [7; 6] }
    }

    /// The same message with a mark.
    #[must_use]
    pub const fn marked(self, mark: u64) -> Self {
        Self { mark, ..self }
    }

    /// The first 16 of the 64 bytes are the number and the mark, little-endian: for contenders that carry bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SAMPLE_BYTES] {
        let mut bytes = [7; SAMPLE_BYTES];
        let words = self.number.to_le_bytes().into_iter().chain(self.mark.to_le_bytes());
        bytes.iter_mut().zip(words).for_each(|(byte, value)| *byte = value);
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` if it is too short.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self::new(word(0)?).marked(word(8)?))
    }
}

/// The size of a message, in every suite.
pub const SAMPLE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_64_bytes_as_a_value_and_as_bytes() {
        assert_eq!(size_of::<Sample>(), SAMPLE_BYTES);
        let sample = Sample::new(u64::MAX - 3).marked(17);
        assert_eq!(Sample::from_bytes(&sample.to_bytes()), Some(sample));
        assert_eq!(Sample::from_bytes(&[0; 15]), None);
    }
}
