//! What tells a repeated publish from a second event under the same id.

use busway_event::{Encoded, Key, Topic};

/// A digest of what an event says: topic, key, and payload with its type, version and codec. Two events with one id and
/// one digest are one event published twice; with two digests, a mistake of the publisher.
///
/// Metadata is left out: a second try has a trace of its own. So are priority, time and time to live.
///
/// The first 8 bytes, little endian, of BLAKE3 over the parts. Each text is led by its length (u64, little endian), so that
/// no two run into each other; no key is the empty text, which is none. It is the same in every release: it is stored.
pub(crate) fn body_hash(encoded: &Encoded, topic: &Topic, key: Option<&Key>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &[u8]| {
        hasher.update(&len_bytes(part)).update(part);
    };
    add(topic.as_str().as_bytes());
    add(key.map_or("", Key::as_str).as_bytes());
    add(encoded.type_name.as_bytes());
    add(&encoded.bytes);
    hasher.update(&encoded.version.to_le_bytes()).update(&[encoded.codec.as_u8()]);
    let mut digest = [0; 8];
    hasher.finalize_xof().fill(&mut digest);
    u64::from_le_bytes(digest)
}

fn len_bytes(part: &[u8]) -> [u8; 8] {
    u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;

    use busway_event::CodecId;

    use super::*;

    fn hash(
        topic: &str,
        key: Option<&str>,
        type_name: &str,
        version: u16,
        codec: CodecId,
        bytes: &str,
    ) -> u64 {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        let encoded = Encoded { type_name: type_name.into(), version, codec, bytes };
        let key = key.map(|key| Key::new(key).unwrap());
        body_hash(&encoded, &Topic::new(topic).unwrap(), key.as_ref())
    }

    #[test]
    fn each_part_of_what_an_event_says_changes_the_digest() {
        let all = [
            hash("orders", Some("A-1"), "order", 1, CodecId::Json, "{}"),
            hash("order", Some("A-1"), "order", 1, CodecId::Json, "{}"),
            hash("orders", Some("A-2"), "order", 1, CodecId::Json, "{}"),
            hash("orders", None, "order", 1, CodecId::Json, "{}"),
            hash("orders", Some("A-1"), "orders", 1, CodecId::Json, "{}"),
            hash("orders", Some("A-1"), "order", 2, CodecId::Json, "{}"),
            hash("orders", Some("A-1"), "order", 1, CodecId::Raw, "{}"),
            hash("orders", Some("A-1"), "order", 1, CodecId::Json, "[]"),
        ];
        assert_eq!(HashSet::from(all).len(), all.len());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let left = hash("a", Some("bc"), "d", 1, CodecId::Raw, "");
        let right = hash("ab", Some("c"), "d", 1, CodecId::Raw, "");
        assert_ne!(left, right);
    }

    #[test]
    fn the_digest_is_the_same_in_every_release() {
        let digest = hash("orders.created", Some("A-1"), "order", 2, CodecId::Json, "{\"id\":7}");
        // Made by the BLAKE3 of another implementation.
        assert_eq!(digest, 0xac5c_9c52_9900_3a71);
    }
}
