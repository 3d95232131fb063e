//! Which keys are new for sure, without a look at any other: ids that rise.
//!
//! An id that busway makes begins with its time (version 7 of a UUID, RFC 9562), so that in a log nearly each is above all before it. One that is above all that were ever noted is none of
//! them. That is no guess: it is compared with the highest, and where it is not above that nothing is said. Keys of other kinds are digests or drawn by lot, and are left out.
//! One digest of 64 passes for an id, and is above all of them as a rule: who mixes both has ids that are looked for, as all were before, and nothing is wrong.

use super::super::key::IdempotencyKey;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rising {
    highest: u128,
}

impl Rising {
    /// Notes a key. `true`: it is none of those that were noted before.
    #[inline]
    pub(super) fn note(&mut self, key: IdempotencyKey) -> bool {
        let Some(id) = rising(key).filter(|id| *id > self.highest) else { return false };
        self.highest = id;
        true
    }
}

/// The key as a number, if it is an id of version 7, by version and variant.
#[inline]
pub(super) fn rising(key: IdempotencyKey) -> Option<u128> {
    let id = u128::from_be_bytes(*key.as_bytes());
    (id >> 76 & 0xf == 7 && id >> 62 & 0b11 == 0b10).then_some(id)
}

#[cfg(test)]
mod tests {
    use busway_event::EventId;
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> IdempotencyKey {
        IdempotencyKey::of_id(text.parse().unwrap())
    }

    #[test]
    fn an_id_that_is_above_all_others_is_new_and_nothing_is_said_of_any_other() {
        let mut rising = Rising::default();
        let first = id("0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1");
        assert!(rising.note(first) && !rising.note(first));
        assert!(!rising.note(id("0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b0")), "it may have been there before");
        assert!(!rising.note(IdempotencyKey::of_id(EventId::foreign("/shop", "A-1"))), "version 5");
        assert!(!rising.note(IdempotencyKey::from_bytes([0xff; 16])));
        assert!(!rising.note(id("ffffffff-ffff-7fff-cfff-ffffffffffff")), "another variant");
        assert!(rising.note(id("0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b2")), "none of these counts");
    }

    proptest! {
        /// Keys of few values, of which each third is no id, so that they come again and lie on both sides of one another.
        #[test]
        fn what_is_said_to_be_new_was_never_noted(numbers in prop::collection::vec(0_u8..48, 1..200)) {
            let (mut rising, mut noted) = (Rising::default(), Vec::new());
            for number in numbers {
                let version: u128 = if number % 3 == 0 { 4 } else { 7 };
                let key = u128::from(number) << 80 | version << 76 | 0b10 << 62;
                let key = IdempotencyKey::from_bytes(key.to_be_bytes());
                prop_assert!(!rising.note(key) || !noted.contains(&key));
                noted.push(key);
            }
        }
    }
}
