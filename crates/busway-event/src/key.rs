//! What orders events: a short text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The key of an event. Events of one subscription that share it are handled one after another, in order.
///
/// 1 to 255 bytes of any UTF-8. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// Checks the length.
    ///
    /// # Errors
    /// [`KeyError`] when `text` is empty or longer than [`KEY_BYTES_MAX`].
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, KeyError> {
        let text = text.into();
        match text.len() {
            0 => Err(KeyError::Empty),
            len if len > KEY_BYTES_MAX => Err(KeyError::TooLong { len, limit: KEY_BYTES_MAX }),
            _ => Ok(Self(text)),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.as_str().to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// An empty key would order everything behind everything: leave the key out instead.
    #[error("the key is empty: leave it out if the event needs no order")]
    Empty,
    /// The key is too long to be part of a stored key.
    #[error("the key has {len} bytes, more than {limit}: use a digest of it")]
    TooLong {
        /// Bytes of the key.
        len: usize,
        /// [`KEY_BYTES_MAX`].
        limit: usize,
    },
}

/// Bytes of a key: with its prefixes it must fit the 511 bytes of a stored key.
pub const KEY_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_to_255_bytes() {
        assert_eq!(Key::new("").unwrap_err(), KeyError::Empty);
        assert_eq!(Key::new("k".repeat(255)).map(|key| key.as_str().len()), Ok(255));
        assert_eq!(Key::new("k".repeat(256)).unwrap_err(), KeyError::TooLong { len: 256, limit: 255 });
        assert!(serde_json::from_str::<Key>("\"\"").is_err());
    }
}
