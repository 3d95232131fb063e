//! The key of an event: what makes two events one.

use std::fmt;

use busway_event::EventId;
use uuid::Uuid;

/// What makes two events one: 16 bytes, whatever it was made of. Cheap to copy and compare.
///
/// That of an event's id is the id itself. That of anything else is the digest of its parts, the first 16 bytes of BLAKE3: parts are joined
/// with their lengths, so that no two lists of parts give the same key (`ab`, `c` and `a`, `bc` differ), and one text of a gigabyte takes no
/// more room than a short one. Among 10¹² keys two are equal by accident with a chance below 10⁻¹⁴.
///
/// The digest is of what *names* the business (an order's number, a version), never of the whole payload: two payments of the same amount
/// are two payments.
///
/// ```
/// use busway_reliability::IdempotencyKey;
///
/// assert_eq!(IdempotencyKey::of(["A-1", "3"]), IdempotencyKey::of(["A-1", "3"]));
/// assert_ne!(IdempotencyKey::of(["A-1", "3"]), IdempotencyKey::of(["A-13", ""]));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey([u8; 16]);

impl IdempotencyKey {
    /// That of an event's id.
    #[must_use]
    #[inline]
    pub const fn of_id(id: EventId) -> Self {
        Self(*id.as_uuid().as_bytes())
    }

    /// That of some parts, in their order.
    #[must_use]
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut digest = KeyDigest::default();
        parts.into_iter().for_each(|part| digest.text(part.as_ref()));
        digest.into_key()
    }

    /// One that was written down by [`as_bytes`](Self::as_bytes).
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// As a UUID, which it is when it was made of an id.
impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({self})")
    }
}

/// A key that is being made, part by part.
#[derive(Debug, Default)]
pub struct KeyDigest(blake3::Hasher);

impl KeyDigest {
    /// A text.
    pub fn text(&mut self, text: &[u8]) {
        self.part(TEXT, text);
    }

    /// A number or truth value of a payload, as JSON writes it: `7` and `"7"` are two keys.
    pub fn literal(&mut self, literal: &str) {
        self.part(LITERAL, literal.as_bytes());
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        self.0.update(&[kind]);
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(bytes);
    }

    /// The key of all parts.
    #[must_use]
    pub fn into_key(self) -> IdempotencyKey {
        let digest = self.0.finalize();
        let (first, _) = digest.as_bytes().split_first_chunk().unwrap_or((&[0; 16], &[]));
        IdempotencyKey(*first)
    }
}

/// Keys are stored: these never change.
const TEXT: u8 = 0;
const LITERAL: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_without_a_doubt_about_where_one_ends() {
        let keys = [
            IdempotencyKey::of(["ab", "c"]),
            IdempotencyKey::of(["a", "bc"]),
            IdempotencyKey::of(["abc"]),
            IdempotencyKey::of(["abc", ""]),
            IdempotencyKey::of(["", "abc"]),
            IdempotencyKey::of(Vec::<&str>::new()),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys.iter().skip(at + 1).all(|other| other != key), "{at}");
        }
    }

    #[test]
    fn a_number_and_its_text_are_two_keys() {
        let mut number = KeyDigest::default();
        number.literal("7");
        assert_ne!(number.into_key(), IdempotencyKey::of(["7"]));
    }

    #[test]
    fn keys_are_what_they_were_since_they_are_stored() {
        assert_eq!(IdempotencyKey::of(["A-1", "3"]).to_string(), "af808791-2acc-8f4c-41f8-73b280d1f8c4");
        let id: EventId = "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1".parse().unwrap();
        assert_eq!(IdempotencyKey::of_id(id).to_string(), id.to_string());
    }
}
