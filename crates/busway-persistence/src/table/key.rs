//! Keys of tables: values as bytes that lie in the order of the values.

use uuid::Uuid;

use busway_event::EventId;

/// A value by which an entry of a table is found: a [`TableKey`], or what it is borrowed as.
pub trait AsTableKey {
    /// Appends its bytes.
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart);
}

/// A type that may be the key of a table: its bytes lie in the order of its values, so that ranges are ranges of values.
///
/// Integers (big endian, the sign turned), `bool`, `String`, `Vec<u8>`, [`Uuid`] and [`EventId`], and pairs and
/// triples of them, which lie in the order of the first, then the second. All bytes of a key are 507 at most.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of a table",
    label = "not a table key",
    note = "keys are integers, `bool`, `String`, `Vec<u8>`, `Uuid`, `EventId`, and pairs and triples of them"
)]
pub trait TableKey: AsTableKey + Sized {
    /// Takes it from the front of the bytes; `None` when it is not there.
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self>;
}

/// Whether something follows a part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPart {
    /// It is the last: it ends where the key does.
    Last,
    /// Another one follows: its end has to be seen.
    Followed,
}

macro_rules! integer_keys {
    ($($unsigned:ty, $signed:ty;)*) => {$(
        impl AsTableKey for $unsigned {
            fn write(&self, bytes: &mut Vec<u8>, _part: KeyPart) {
                bytes.extend(self.to_be_bytes());
            }
        }

        impl TableKey for $unsigned {
            fn read(bytes: &mut &[u8], _part: KeyPart) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*number))
            }
        }

        impl AsTableKey for $signed {
            // The sign turned: the negative numbers come first.
            fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
                (self.cast_unsigned() ^ (1 << (<$unsigned>::BITS - 1))).write(bytes, part);
            }
        }

        impl TableKey for $signed {
            fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
                let number = <$unsigned>::read(bytes, part)?;
                Some((number ^ (1 << (<$unsigned>::BITS - 1))).cast_signed())
            }
        }
    )*};
}

integer_keys! {
    u8, i8;
    u16, i16;
    u32, i32;
    u64, i64;
    u128, i128;
}

impl AsTableKey for bool {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        u8::from(*self).write(bytes, part);
    }
}

impl TableKey for bool {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        match u8::read(bytes, part)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl AsTableKey for Uuid {
    fn write(&self, bytes: &mut Vec<u8>, _part: KeyPart) {
        bytes.extend(self.as_bytes());
    }
}

impl TableKey for Uuid {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        u128::read(bytes, part).map(Self::from_u128)
    }
}

impl AsTableKey for EventId {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        self.as_uuid().write(bytes, part);
    }
}

impl TableKey for EventId {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        Uuid::read(bytes, part).map(Self::new)
    }
}

impl AsTableKey for [u8] {
    /// Where another part follows, a zero byte is written as 0 and 255, and the end as 0 and 1: so a shorter text lies before a longer
    /// one that begins with it, whatever follows (as in the tuple layer of `FoundationDB`).
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        if part == KeyPart::Last {
            return bytes.extend(self);
        }
        for &byte in self {
            bytes.push(byte);
            if byte == 0 {
                bytes.push(ESCAPED);
            }
        }
        bytes.extend([0, END]);
    }
}

impl AsTableKey for Vec<u8> {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        self.as_slice().write(bytes, part);
    }
}

impl TableKey for Vec<u8> {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        if part == KeyPart::Last {
            return Some(std::mem::take(bytes).to_vec());
        }
        let mut value = Self::new();
        loop {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if byte == 0 {
                let (&mark, rest) = bytes.split_first()?;
                *bytes = rest;
                match mark {
                    END => return Some(value),
                    ESCAPED => {}
                    _ => return None,
                }
            }
            value.push(byte);
        }
    }
}

impl AsTableKey for str {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        self.as_bytes().write(bytes, part);
    }
}

impl AsTableKey for String {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        self.as_bytes().write(bytes, part);
    }
}

impl TableKey for String {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        Self::from_utf8(Vec::read(bytes, part)?).ok()
    }
}

impl<A: AsTableKey, B: AsTableKey> AsTableKey for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        self.0.write(bytes, KeyPart::Followed);
        self.1.write(bytes, part);
    }
}

impl<A: TableKey, B: TableKey> TableKey for (A, B) {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        Some((A::read(bytes, KeyPart::Followed)?, B::read(bytes, part)?))
    }
}

impl<A: AsTableKey, B: AsTableKey, C: AsTableKey> AsTableKey for (A, B, C) {
    fn write(&self, bytes: &mut Vec<u8>, part: KeyPart) {
        self.0.write(bytes, KeyPart::Followed);
        self.1.write(bytes, KeyPart::Followed);
        self.2.write(bytes, part);
    }
}

impl<A: TableKey, B: TableKey, C: TableKey> TableKey for (A, B, C) {
    fn read(bytes: &mut &[u8], part: KeyPart) -> Option<Self> {
        let (a, b) = (A::read(bytes, KeyPart::Followed)?, B::read(bytes, KeyPart::Followed)?);
        Some((a, b, C::read(bytes, part)?))
    }
}

const END: u8 = 1;
const ESCAPED: u8 = 255;

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    fn bytes(key: &impl AsTableKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.write(&mut bytes, KeyPart::Last);
        bytes
    }

    fn lie_in_order<K: TableKey + Ord + Debug>(one: &K, other: &K) {
        let (its, others) = (bytes(one), bytes(other));
        assert_eq!(its.cmp(&others), one.cmp(other), "{one:?} and {other:?}");
        let mut rest = its.as_slice();
        assert_eq!(K::read(&mut rest, KeyPart::Last).as_ref(), Some(one));
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn keys_lie_in_the_order_of_their_values_and_come_back(
            numbers in any::<(u8, i16, u32, i64, u128)>(),
            others in any::<(u8, i16, u32, i64, u128)>(),
            texts in ("[a-c\\x00]{0,4}", "[a-c\\x00]{0,4}", any::<bool>()),
            other_texts in ("[a-c\\x00]{0,4}", "[a-c\\x00]{0,4}", any::<bool>()),
            blobs in any::<(Vec<u8>, i8)>(),
            other_blobs in any::<(Vec<u8>, i8)>(),
        ) {
            lie_in_order(&numbers.0, &others.0);
            lie_in_order(&numbers.1, &others.1);
            lie_in_order(&(numbers.2, numbers.3, numbers.4), &(others.2, others.3, others.4));
            lie_in_order(&(numbers.0, numbers.1), &(others.0, others.1));
            lie_in_order(&texts, &other_texts);
            lie_in_order(&(texts.0.clone(), texts.1.clone()), &(other_texts.0.clone(), other_texts.1.clone()));
            lie_in_order(&texts.0, &other_texts.0);
            lie_in_order(&blobs, &other_blobs);
            lie_in_order(&blobs.0, &other_blobs.0);
            lie_in_order(&Uuid::from_u128(numbers.4), &Uuid::from_u128(others.4));
        }

        #[test]
        fn no_bytes_make_reading_a_key_panic(bytes in any::<Vec<u8>>()) {
            _ = <(String, u16, Vec<u8>)>::read(&mut bytes.as_slice(), KeyPart::Last);
            _ = <(bool, (i128, String))>::read(&mut bytes.as_slice(), KeyPart::Followed);
            _ = EventId::read(&mut bytes.as_slice(), KeyPart::Last);
        }
    }
}
