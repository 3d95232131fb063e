//! Payloads that are copied out of a transaction: those of a pack together.
//!
//! Each event of a page gets bytes of its own to hold. One allocation for each is a third of what reading costs; so a value that holds
//! several records is copied once, and their payloads are parts of the copy. An event that is kept keeps the copy: a page as a rule,
//! [`SHARED_MAX`] at most. Larger values are not shared.

use bytes::Bytes;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Of the value that was looked at last: where it lies in memory, and its copy.
    last: Option<(usize, Bytes)>,
    /// Bytes that were copied.
    copied: usize,
}

impl Copies {
    /// A copy of `part`, a part of `value`: of both, if it is worth it. A value must lie still for as long as these copies are made.
    pub(crate) fn of(&mut self, value: &[u8], part: &[u8]) -> Bytes {
        let at = value.as_ptr().addr();
        let range = || {
            let start = part.as_ptr().addr().checked_sub(at)?;
            Some(start..start.checked_add(part.len())?).filter(|range| range.end <= value.len())
        };
        // Most of a single record is its payload: nothing is shared, and nothing is copied in vain.
        let shared = || range().filter(|_| value.len() <= SHARED_MAX && part.len() * 2 < value.len());
        let Some(range) = shared() else {
            self.copied += part.len();
            return Bytes::copy_from_slice(part);
        };
        match &self.last {
            Some((of, copy)) if *of == at && copy.len() == value.len() => copy.slice(range),
            _ => {
                self.copied += value.len();
                let copy = Bytes::copy_from_slice(value);
                let part = copy.slice(range);
                self.last = Some((at, copy));
                part
            }
        }
    }

    /// Bytes that were copied so far.
    pub(crate) const fn copied(&self) -> usize {
        self.copied
    }
}

/// Two pages of most machines.
const SHARED_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_value_share_one_copy_and_others_have_their_own() {
        let value: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let mut copies = Copies::default();
        let parts = [&value[10..20], &value[20..420], &value[990..], &value[5..5]];
        let shared: Vec<Bytes> = parts.iter().map(|part| copies.of(&value, part)).collect();
        assert!(shared.iter().zip(parts).all(|(copy, part)| copy == part));
        assert_eq!(copies.copied(), value.len(), "once");
        // What is most of its value, what is no part of it, and what is too large to be kept for a part of it.
        let large = vec![7; SHARED_MAX + 1];
        assert_eq!(copies.of(&value, &value[..600]), value[..600]);
        assert_eq!(copies.of(&value, &large[..9]), large[..9]);
        assert_eq!(copies.of(&large, &large[..9]), large[..9]);
        assert_eq!(copies.copied(), value.len() + 600 + 9 + 9);
        assert!(shared.iter().zip(parts).all(|(copy, part)| copy == part));
    }
}
