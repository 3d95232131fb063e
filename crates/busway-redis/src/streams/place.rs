//! Where an entry lies in a Redis stream, as text of Redis and as a number of busway.

use std::fmt;

use busway_engine::StartAt;

/// The id of an entry: `<milliseconds of the server>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    ms: u64,
    sequence: u64,
}

impl Place {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ms, sequence) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, sequence: sequence.parse().ok()? })
    }

    /// As one number that keeps the order: 44 bits of milliseconds, which last until the year 2527, and 20 of sequence. `None` for an entry whose id
    /// somebody has chosen beyond that.
    pub(super) fn offset(self) -> Option<u64> {
        (self.ms < 1 << MS_BITS && self.sequence < 1 << SEQUENCE_BITS)
            .then_some((self.ms << SEQUENCE_BITS) | self.sequence)
    }

    const fn at(offset: u64) -> Self {
        Self { ms: offset >> SEQUENCE_BITS, sequence: offset & ((1 << SEQUENCE_BITS) - 1) }
    }

    /// The last place before this one: subscriptions begin behind a place.
    const fn before(self) -> Self {
        match (self.ms, self.sequence) {
            (0, 0) => self,
            (ms, 0) => Self { ms: ms - 1, sequence: u64::MAX },
            (ms, sequence) => Self { ms, sequence: sequence - 1 },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

/// The place behind which a new subscription begins, and whether one that is not there yet is the end.
pub(super) fn beginning(start_at: StartAt) -> (String, bool) {
    match start_at {
        StartAt::Earliest => ("0-0".to_owned(), false),
        StartAt::Offset(offset) => (Place::at(offset).before().to_string(), true),
        StartAt::Time(time) => {
            let ms = u64::try_from(time.as_millis()).unwrap_or(0);
            (Place { ms, sequence: 0 }.before().to_string(), false)
        }
        // What is new from now on, for whatever may be added to these.
        _ => ("$".to_owned(), false),
    }
}

const MS_BITS: u32 = 44;
const SEQUENCE_BITS: u32 = 20;

#[cfg(test)]
mod tests {
    use busway_event::Timestamp;

    use super::*;

    #[test]
    fn a_place_as_a_number_is_that_place_again_and_keeps_the_order() {
        let texts = ["0-1", "1-0", "1795768000000-0", "1795768000000-7", "1795768000001-0"];
        let places: Vec<_> = texts.iter().map(|text| Place::parse(text).unwrap()).collect();
        let offsets: Vec<_> = places.iter().map(|place| place.offset().unwrap()).collect();
        assert!(offsets.is_sorted() && places.is_sorted(), "{offsets:?}");
        let again: Vec<_> = offsets.iter().map(|offset| Place::at(*offset).to_string()).collect();
        assert_eq!(again, texts);
    }

    #[test]
    fn what_somebody_has_numbered_otherwise_has_no_offset() {
        assert_eq!(Place::parse("18446744073709551615-0").unwrap().offset(), None);
        assert_eq!(Place::parse("1-1048576").unwrap().offset(), None);
        for text in ["", "1", "1-", "-1", "a-b", "1-18446744073709551616"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_subscription_begins_behind_the_last_place_before_what_it_asks_for() {
        let offset = Place::parse("5-0").unwrap().offset().unwrap();
        assert_eq!(beginning(StartAt::Offset(offset)), ("4-18446744073709551615".to_owned(), true));
        assert_eq!(beginning(StartAt::Offset(offset + 3)), ("5-2".to_owned(), true));
        assert_eq!(beginning(StartAt::Offset(0)), ("0-0".to_owned(), true));
        let time = StartAt::Time(Timestamp::from_nanos(7_999_999));
        assert_eq!(beginning(time), ("6-18446744073709551615".to_owned(), false));
        assert_eq!(beginning(StartAt::Stored).0, "$");
    }
}
