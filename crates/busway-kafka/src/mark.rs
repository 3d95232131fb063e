//! What a group commits beside a position: `busway1;<bits>;<filter>`.
//!
//! The bits are those of the offsets above the position, the first of them its own, six to a character; set are those that are settled. The filter is that of the
//! subscription, so that a member which wants other topics is told so. Metadata of others is nothing to this crate: it is read as no mark.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::topic_partition_list::TopicPartitionListElem;

/// What metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Settled, at or above the position.
    pub(crate) settled: Vec<i64>,
    pub(crate) filter: String,
}

/// The metadata of a commit.
pub(crate) fn written(position: i64, settled: &[i64], filter: &str) -> String {
    let mut bits = Vec::new();
    for offset in settled {
        let Ok(at) = usize::try_from(offset - position) else { continue };
        if bits.len() <= at / 6 {
            bits.resize(at / 6 + 1, 0_u8);
        }
        if let Some(six) = bits.get_mut(at / 6) {
            *six |= 1 << (at % 6);
        }
    }
    let bits: String = bits.into_iter().map(|six| char::from(six + FIRST)).collect();
    format!("{TAG}{bits};{filter}")
}

/// The mark of what a group has committed of a partition, if it is one of this crate's.
pub(crate) fn of(position: i64, place: &TopicPartitionListElem<'_>) -> Option<Mark> {
    // A client may commit any bytes beside a position, and rdkafka panics where they are no text: no mark of this crate's is like that.
    let metadata = catch_unwind(AssertUnwindSafe(|| place.metadata().to_owned())).ok()?;
    read(position, &metadata)
}

/// The mark of metadata.
fn read(position: i64, metadata: &str) -> Option<Mark> {
    let (bits, filter) = metadata.strip_prefix(TAG)?.split_once(';')?;
    let mut settled = Vec::new();
    for (at, six) in bits.bytes().enumerate() {
        let six = six.checked_sub(FIRST).filter(|six| *six < 64)?;
        let base = position.checked_add(i64::try_from(at).ok()?.checked_mul(6)?)?;
        settled.extend((0..6).filter(|bit| six & (1 << bit) != 0).map(|bit| base.saturating_add(bit)));
    }
    Some(Mark { settled, filter: filter.to_owned() })
}

const TAG: &str = "busway1;";
/// `?`, and up to `~`: printable, and no semicolon among them.
const FIRST: u8 = b'?';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::LIMIT_MAX;

    #[test]
    fn marks_come_out_as_they_went_in() {
        for settled in [vec![], vec![101], vec![100, 105, 106, 111, 300], (100..400).step_by(3).collect()] {
            let metadata = written(100, &settled, "orders.#");
            assert_eq!(read(100, &metadata), Some(Mark { settled, filter: "orders.#".to_owned() }));
        }
    }

    #[test]
    fn the_longest_fits_into_what_a_broker_takes() {
        let last = i64::try_from(LIMIT_MAX).unwrap() - 1;
        assert!(written(0, &[last], &"x".repeat(1_024)).len() < 4_096);
    }

    #[test]
    fn what_others_have_written_is_no_mark() {
        for metadata in ["", "hello", "busway1;", "busway1;\u{7f}", "busway1; ;x"] {
            assert_eq!(read(0, metadata), None, "{metadata}");
        }
    }
}
