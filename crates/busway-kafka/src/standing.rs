//! Where a group stands in partitions that a member is assigned.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::care::Said;
use crate::commit::place_of;
use crate::core::Member;
use crate::mark;
use crate::part::Place;

/// Where a group stands in a partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) position: i64,
    pub(crate) settled: Vec<i64>,
    pub(crate) said: Said,
    /// Of the log, where it was asked for.
    pub(crate) end: Option<i64>,
}

/// Where it stands in each, of which the broker has said what it knows; `None` where it has no position: in partitions that were added while it lived. Blocks.
///
/// Nobody asks for the end of a log of which nobody has died. No more are asked for once a broker has not answered, for the group waits meanwhile.
pub(crate) fn all(
    consumer: &BaseConsumer<Member>,
    known: &TopicPartitionList,
    timeout: Duration,
) -> Vec<(Place, Option<Stand>)> {
    let (mut answers, patience) = (true, (timeout / PART).max(LEAST));
    let mut bounds = |at: &Place| {
        let asked = answers.then(|| consumer.fetch_watermarks(&at.topic, at.partition, patience))?;
        answers = asked.is_ok();
        asked.ok()
    };
    let elements = known.elements();
    let stands = elements.iter().map(|place| {
        let at = place_of(place);
        let stand = match place.offset() {
            Offset::Offset(position) => {
                let mark = mark::of(position, place);
                let (settled, said) = mark.map(|mark| (mark.settled, mark.care)).unwrap_or_default();
                Some(at_position(position, settled, said, || bounds(&at)))
            }
            _ => None,
        };
        (at, stand)
    });
    stands.collect()
}

fn at_position(
    position: i64,
    settled: Vec<i64>,
    said: Said,
    bounds: impl FnOnce() -> Option<(i64, i64)>,
) -> Stand {
    let end = (said.taken > 0).then(bounds).flatten().map(|(_, end)| end);
    Stand { position, settled, said, end }
}

/// The part of the timeout that a broker has to say where a log ends, and the least of it.
const PART: u32 = 5;
const LEAST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_asked_for_where_somebody_has_died() {
        let said = |taken| Said { taken, ..Said::default() };
        let end = |taken| at_position(7, Vec::new(), said(taken), || Some((3, 9))).end;
        assert_eq!([0, 1, 2].map(end), [None, Some(9), Some(9)]);
        assert_eq!(at_position(7, Vec::new(), said(1), || None).end, None);
    }
}
