//! The key of an audit stream.

use std::fmt;

/// 32 secret bytes that chain, heads and seals of an audit stream are made with. Who does not have them cannot change what is
/// stored and make it fit again. Never stored, and never shown: keep it where the store is not, for without it nothing can be verified.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditKey([u8; 32]);

impl AuditKey {
    /// The key of these bytes, which should come from a source of random numbers for keys.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let shown = format!("{:?}", AuditKey::new([0xab; 32]));
        assert_eq!(shown, "AuditKey(..)");
    }
}
