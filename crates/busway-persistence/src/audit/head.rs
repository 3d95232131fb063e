//! Heads: what a chain was at a moment, to be kept where the store is not.

use std::fmt;
use std::str::FromStr;

use busway_event::Timestamp;
use uuid::Uuid;

use super::chain::{Hash, Hashing, Proof};
use super::key::AuditKey;
use crate::row::hex;

/// The chain of one partition behind one record: with it, kept elsewhere, nobody can alter, remove or reorder that record or any
/// before it unseen, whether or not he has the key.
///
/// Its text form, by [`Display`](fmt::Display) and [`FromStr`], is one line for a file, a mail or another system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// The store.
    pub store: Uuid,
    /// The stream.
    pub stream: String,
    /// The partition in it.
    pub partition: u16,
    /// The last record that it vouches for.
    pub offset: u64,
    /// The chain behind that.
    pub chain: [u8; 32],
    /// When it was made, by the time that the store was told.
    pub time: Timestamp,
    /// BLAKE3 over all of it, keyed when the stream has a key: then it proves who made the head.
    pub proof: [u8; 32],
}

impl AuditHead {
    /// Whether it was made with this key.
    #[must_use]
    pub fn is_of(&self, key: &AuditKey) -> bool {
        self.is_proved_by(&Hashing::new(Some(key.clone())))
    }

    pub(crate) fn is_proved_by(&self, hashing: &Hashing) -> bool {
        // BLAKE3's own comparison takes the same time whatever differs.
        blake3::Hash::from(hashing.proof(Proof::Head, &self.proved())) == blake3::Hash::from(self.proof)
    }

    pub(crate) fn prove(mut self, hashing: &Hashing) -> Self {
        self.proof = hashing.proof(Proof::Head, &self.proved());
        self
    }

    fn proved(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96 + self.stream.len());
        bytes.extend(self.store.as_bytes());
        bytes.extend((self.stream.len() as u64).to_le_bytes());
        bytes.extend(self.stream.as_bytes());
        bytes.extend(self.partition.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.chain);
        bytes.extend(self.time.as_nanos().to_be_bytes());
        bytes
    }
}

/// `busway-head-1 <store> <stream>/<partition>/<offset> <time in nanoseconds> <chain> <proof>`.
impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, stream, partition, offset, chain, time, proof } = self;
        let (time, chain, proof) = (time.as_nanos(), hex(chain), hex(proof));
        write!(f, "{MAGIC} {store} {stream}/{partition}/{offset} {time} {chain} {proof}")
    }
}

/// A text is no head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no head of an audit stream: its {part} is missing or wrong")]
pub struct AuditHeadError {
    part: &'static str,
}

impl FromStr for AuditHead {
    type Err = AuditHeadError;

    fn from_str(text: &str) -> Result<Self, AuditHeadError> {
        let mut words = text.split_ascii_whitespace();
        let missing = |part| AuditHeadError { part };
        if words.next() != Some(MAGIC) {
            return Err(missing("first word"));
        }
        let store = words.next().and_then(|word| word.parse().ok()).ok_or(missing("store"))?;
        let mut place = words.next().ok_or(missing("place"))?.split('/');
        let stream = place.next().filter(|name| !name.is_empty()).ok_or(missing("stream"))?.to_owned();
        let partition = place.next().and_then(|word| word.parse().ok()).ok_or(missing("partition"))?;
        let offset = place.next().and_then(|word| word.parse().ok()).ok_or(missing("offset"))?;
        let nanos = words.next().and_then(|word| word.parse().ok()).ok_or(missing("time"))?;
        let chain = words.next().and_then(unhex).ok_or(missing("chain"))?;
        let proof = words.next().and_then(unhex).ok_or(missing("proof"))?;
        if words.next().is_some() || place.next().is_some() {
            return Err(missing("end"));
        }
        Ok(Self { store, stream, partition, offset, chain, time: Timestamp::from_nanos(nanos), proof })
    }
}

/// 64 hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Hash> {
    Some(*blake3::Hash::from_hex(text).ok()?.as_bytes())
}

const MAGIC: &str = "busway-head-1";

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> AuditHead {
        AuditHead {
            store: Uuid::from_u128(7),
            stream: "ledger".to_owned(),
            partition: 3,
            offset: 17,
            chain: [0xab; 32],
            time: Timestamp::from_nanos(-5),
            proof: [0; 32],
        }
    }

    #[test]
    fn a_head_comes_back_from_its_text_and_proves_who_made_it() {
        let key = AuditKey::new([7; 32]);
        let head = head().prove(&Hashing::new(Some(key.clone())));
        let back: AuditHead = head.to_string().parse().unwrap();
        assert_eq!(back, head);
        assert!(back.is_of(&key) && !back.is_of(&AuditKey::new([8; 32])));
        assert!(!AuditHead { offset: 18, ..back }.is_of(&key));
    }

    #[test]
    fn what_is_no_head_is_an_error_that_says_what_is_wrong() {
        let text = head().to_string();
        for (wrong, part) in [
            (text.replace("busway-head-1", "busway-head-2"), "first word"),
            (text.replace("ledger", ""), "stream"),
            (text.replace("/17", "/x"), "offset"),
            (text.replace("abab", "abax"), "chain"),
            (format!("{text} more"), "end"),
            (String::new(), "first word"),
        ] {
            assert_eq!(wrong.parse::<AuditHead>().unwrap_err(), AuditHeadError { part }, "{wrong}");
        }
    }
}
