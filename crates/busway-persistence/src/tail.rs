//! The newest events of a partition, kept in memory as they were published.
//!
//! Who keeps up reads from here: no transaction, no checksum, no decoding, and a handler of the publisher's own type gets the
//! very value. The writer adds events after their commit; the oldest go when there are too many or they weigh too much.

use std::collections::VecDeque;

use busway_event::{AnyEvent, Timestamp};

/// An event with its place in its partition.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its position in the partition.
    pub offset: u64,
    /// When the store took it, by its publisher's clock.
    pub appended: Timestamp,
    /// Whether its publisher gave the id, so that the same id published again is known.
    pub given_id: bool,
    /// The event.
    pub event: AnyEvent,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    events: VecDeque<(usize, StoredEvent)>,
    weight: usize,
    count_max: usize,
    weight_max: usize,
}

impl Tail {
    pub(crate) const fn new(count_max: usize, weight_max: usize) -> Self {
        Self { events: VecDeque::new(), weight: 0, count_max, weight_max }
    }

    /// Adds an event behind the others, and gives back the oldest when it is one too many. What does not follow the others
    /// makes a new start: a reader never sees a gap.
    pub(crate) fn push(&mut self, event: StoredEvent, weight: usize) -> Option<StoredEvent> {
        if self.events.back().is_some_and(|(_, last)| last.offset + 1 != event.offset) {
            (self.events, self.weight) = (VecDeque::new(), 0);
        }
        self.weight += weight;
        self.events.push_back((weight, event));
        let mut outdated = None;
        while self.events.len() > self.count_max || self.weight > self.weight_max {
            let (weight, event) = self.events.pop_front()?;
            self.weight -= weight;
            outdated = Some(event);
        }
        outdated
    }

    /// Copies up to `count` events from `from` on into `into`. `false` when that offset is not here: it has to be read from
    /// disk, or is not there yet.
    pub(crate) fn read(&self, from: u64, count: usize, into: &mut Vec<StoredEvent>) -> bool {
        let Some((_, first)) = self.events.front() else { return false };
        let Some(skip) = from.checked_sub(first.offset).and_then(|skip| usize::try_from(skip).ok()) else {
            return false;
        };
        if skip >= self.events.len() {
            return false;
        }
        into.extend(self.events.range(skip..).take(count).map(|(_, event)| event.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use busway_event::{CodecId, Encoded, EventId, Metadata, Parts, Topic};

    use super::*;

    fn event(offset: u64) -> StoredEvent {
        let appended = Timestamp::from_nanos(5);
        let topic = Topic::new("a").unwrap();
        let parts = Parts::new(EventId::foreign("t", "1"), appended, topic, Metadata::draft("t", 1));
        let encoded = Encoded { type_name: "x".into(), version: 1, codec: CodecId::Raw, bytes: "x".into() };
        let event = AnyEvent::receive(parts, encoded).unwrap();
        StoredEvent { offset, appended, given_id: false, event }
    }

    fn offsets(tail: &Tail, from: u64, count: usize) -> Option<Vec<u64>> {
        let mut events = Vec::new();
        tail.read(from, count, &mut events).then(|| events.iter().map(|event| event.offset).collect())
    }

    #[test]
    fn the_newest_events_are_there_and_others_are_not_guessed_at() {
        let mut tail = Tail::new(3, 100);
        assert_eq!(offsets(&tail, 0, 9), None);
        let outdated = (5..10).filter_map(|offset| tail.push(event(offset), 10)).map(|event| event.offset);
        assert_eq!(outdated.collect::<Vec<_>>(), [5, 6]);
        assert_eq!(offsets(&tail, 7, 9), Some(vec![7, 8, 9]));
        assert_eq!(offsets(&tail, 8, 1), Some(vec![8]));
        assert_eq!((offsets(&tail, 6, 9), offsets(&tail, 10, 9)), (None, None));
        tail.push(event(10), 95);
        assert_eq!(offsets(&tail, 9, 9), None, "they weigh too much together");
        assert_eq!(offsets(&tail, 10, 9), Some(vec![10]));
        tail.push(event(20), 1);
        assert_eq!((offsets(&tail, 10, 9), offsets(&tail, 20, 9)), (None, Some(vec![20])), "no gap");
    }
}
