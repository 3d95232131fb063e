//! What a group commits beside a position: `busway1;<bits>!<taken>,<until>,<offset>*<times>;<filter>`.
//!
//! The bits are those of the offsets above the position, the first of them its own, six to a character; set are those that are settled. What follows them, if anything does, is
//! [care](crate::care): how often the partition was taken up, until where that is no progress, and which events are charged how often; offsets count from the position. The filter is that of the
//! subscription, so that a member which wants other topics is told so. Metadata of others is nothing to this crate: it is read as no mark.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::topic_partition_list::TopicPartitionListElem;

use crate::care::Said;

/// What metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Settled, at or above the position.
    pub(crate) settled: Vec<i64>,
    pub(crate) care: Said,
    pub(crate) filter: String,
}

/// The metadata of a commit.
pub(crate) fn written(position: i64, settled: &[i64], care: &Said, filter: &str) -> String {
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
    let mut written = format!("{TAG}{bits}");
    if care.taken > 0 || !care.charges.is_empty() {
        _ = write!(written, "!{},{}", care.taken, care.until.saturating_sub(position));
        for (offset, times) in &care.charges {
            _ = write!(written, ",{}*{times}", offset.saturating_sub(position));
        }
    }
    _ = write!(written, ";{filter}");
    written
}

/// The mark of what a group has committed of a partition, if it is one of this crate's.
pub(crate) fn of(position: i64, place: &TopicPartitionListElem<'_>) -> Option<Mark> {
    // A client may commit any bytes beside a position, and rdkafka panics where they are no text: no mark of this crate's is like that.
    let metadata = catch_unwind(AssertUnwindSafe(|| place.metadata().to_owned())).ok()?;
    read(position, &metadata)
}

/// The mark of metadata.
pub(crate) fn read(position: i64, metadata: &str) -> Option<Mark> {
    let (bits, filter) = metadata.strip_prefix(TAG)?.split_once(';')?;
    let (bits, care) = bits.split_once('!').map_or((bits, None), |(bits, care)| (bits, Some(care)));
    let mut settled = Vec::new();
    for (at, six) in bits.bytes().enumerate() {
        let six = six.checked_sub(FIRST).filter(|six| *six < 64)?;
        let base = position.checked_add(i64::try_from(at).ok()?.checked_mul(6)?)?;
        settled.extend((0..6).filter(|bit| six & (1 << bit) != 0).map(|bit| base.saturating_add(bit)));
    }
    let care = care.map_or(Some(Said::default()), |care| read_care(position, care))?;
    Some(Mark { settled, care, filter: filter.to_owned() })
}

fn read_care(position: i64, care: &str) -> Option<Said> {
    let at = |text: &str| position.checked_add(text.parse::<u32>().ok()?.into());
    let mut parts = care.split(',');
    let taken = parts.next()?.parse().ok()?;
    let until = at(parts.next()?)?;
    let charge = |part: &str| {
        let (offset, times) = part.split_once('*')?;
        Some((at(offset)?, times.parse().ok()?))
    };
    Some(Said { taken, until, charges: parts.map(charge).collect::<Option<_>>()? })
}

const TAG: &str = "busway1;";
/// `?`, and up to `~`: printable, and neither a semicolon nor an exclamation mark among them.
const FIRST: u8 = b'?';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::CHARGES_MAX;
    use crate::gap::LIMIT_MAX;

    #[test]
    fn marks_come_out_as_they_went_in() {
        for settled in [vec![], vec![101], vec![100, 105, 106, 111, 300], (100..400).step_by(3).collect()] {
            for care in [Said::default(), Said { taken: 3, until: 356, charges: vec![(100, 2), (355, 1)] }] {
                let metadata = written(100, &settled, &care, "orders.#");
                let mark = Mark { settled: settled.clone(), care, filter: "orders.#".to_owned() };
                assert_eq!(read(100, &metadata), Some(mark), "{metadata}");
            }
        }
    }

    #[test]
    fn the_longest_fits_into_what_a_broker_takes() {
        let last = i64::try_from(LIMIT_MAX).unwrap() - 1;
        let charges = (0..i64::try_from(CHARGES_MAX).unwrap()).map(|at| (last - at, u32::MAX)).collect();
        let care = Said { taken: u32::MAX, until: last + 1, charges };
        assert!(written(0, &[last], &care, &"x".repeat(1_024)).len() < 4_096);
    }

    #[test]
    fn what_others_have_written_is_no_mark() {
        for metadata in [
            "",
            "hello",
            "busway1;",
            "busway1;\u{7f}",
            "busway1; ;x",
            "busway1;!;x",
            "busway1;!1;x",
            "busway1;!1,-4;x",
            "busway1;!1,4,9;x",
            "busway1;!1,4,9*;x",
        ] {
            assert_eq!(read(0, metadata), None, "{metadata}");
        }
    }
}
