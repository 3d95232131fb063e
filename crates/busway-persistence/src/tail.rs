//! The newest events of a partition, kept in memory as they were published.
//!
//! Who keeps up reads from here: no transaction, no checksum, no decoding, and a handler of the publisher's own type gets the
//! very value. The writer adds events after their commit; the oldest go when there are too many or they weigh too much.
//!
//! While nobody reads, nothing is kept: megabytes of events would pass through the processor's caches for nobody, and leave them long after their
//! publisher could have used their memory again. Nobody reads when twice as many were committed as are kept and none was asked for. Whoever asks again
//! gets the first ones from the disk, as if it had been behind, and those that are committed from then on from here.

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
    /// Events that were committed since somebody asked for any.
    unread: usize,
}

impl Tail {
    pub(crate) const fn new(count_max: usize, weight_max: usize) -> Self {
        Self { events: VecDeque::new(), weight: 0, count_max, weight_max, unread: 0 }
    }

    /// Counts an event that was committed, and says whether it is kept: not while nobody reads.
    pub(crate) const fn is_read(&mut self) -> bool {
        self.unread = self.unread.saturating_add(1);
        self.unread <= self.count_max.saturating_mul(2)
    }

    /// Lets the oldest go that is still here, while nobody reads. What is left when somebody reads again goes when the next one is pushed, which does not
    /// follow it.
    pub(crate) fn let_go(&mut self) -> Option<StoredEvent> {
        let (weight, event) = self.events.pop_front()?;
        self.weight -= weight;
        Some(event)
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
            outdated = Some(self.let_go()?);
        }
        outdated
    }

    /// Copies up to `count` events from `from` on into `into`. `false` when that offset is not here: it has to be read from
    /// disk, or is not there yet.
    pub(crate) fn read(&mut self, from: u64, count: usize, into: &mut Vec<StoredEvent>) -> bool {
        self.unread = 0;
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

    fn offsets(tail: &mut Tail, from: u64, count: usize) -> Option<Vec<u64>> {
        let mut events = Vec::new();
        tail.read(from, count, &mut events).then(|| events.iter().map(|event| event.offset).collect())
    }

    #[test]
    fn the_newest_events_are_there_and_others_are_not_guessed_at() {
        let mut tail = Tail::new(3, 100);
        assert_eq!(offsets(&mut tail, 0, 9), None);
        let outdated = (5..10).filter_map(|offset| tail.push(event(offset), 10)).map(|event| event.offset);
        assert_eq!(outdated.collect::<Vec<_>>(), [5, 6]);
        assert_eq!(offsets(&mut tail, 7, 9), Some(vec![7, 8, 9]));
        assert_eq!(offsets(&mut tail, 8, 1), Some(vec![8]));
        assert_eq!((offsets(&mut tail, 6, 9), offsets(&mut tail, 10, 9)), (None, None));
        tail.push(event(10), 95);
        assert_eq!(offsets(&mut tail, 9, 9), None, "they weigh too much together");
        assert_eq!(offsets(&mut tail, 10, 9), Some(vec![10]));
        tail.push(event(20), 1);
        assert_eq!((offsets(&mut tail, 10, 9), offsets(&mut tail, 20, 9)), (None, Some(vec![20])), "no gap");
    }
    #[test]
    fn nothing_is_kept_while_nobody_reads_and_whoever_reads_again_sees_no_gap() {
        let mut tail = Tail::new(3, 100);
        let commit = |tail: &mut Tail, offset| match tail.is_read() {
            true => tail.push(event(offset), 1).map(|event| event.offset),
            false => tail.let_go().map(|event| event.offset),
        };
        let outdated: Vec<_> = (0..10).filter_map(|offset| commit(&mut tail, offset)).collect();
        assert_eq!(outdated, [0, 1, 2, 3, 4, 5], "four came to nobody");
        assert!(tail.events.is_empty() && tail.weight == 0);
        assert_eq!(offsets(&mut tail, 9, 9), None, "it lies on the disk");
        assert_eq!((commit(&mut tail, 10), commit(&mut tail, 11)), (None, None));
        assert_eq!(offsets(&mut tail, 10, 9), Some(vec![10, 11]));
        (12..18).for_each(|offset| _ = commit(&mut tail, offset));
        assert_eq!((commit(&mut tail, 18), tail.events.len()), (Some(15), 2));
        assert_eq!(offsets(&mut tail, 16, 9), Some(vec![16, 17]));
        commit(&mut tail, 19);
        assert_eq!((offsets(&mut tail, 16, 9), offsets(&mut tail, 19, 9)), (None, Some(vec![19])), "no gap");
    }
}
