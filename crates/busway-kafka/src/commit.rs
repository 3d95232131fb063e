//! Commits: what a broker is told of how far a group has come.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::core::Member;
use crate::fault::of_code;
use crate::part::{Change, Place};

/// What the thread that commits is told.
#[derive(Default)]
pub(crate) struct Commits {
    /// What is settled waits for it; what was only left out has time.
    pub(crate) is_urgent: bool,
    pub(crate) is_over: bool,
    /// The thread that polls has panicked: nobody closes the consumer but the one that commits.
    pub(crate) is_left_alone: bool,
}

/// Commits, and gives back what the broker has heard of, with the last error for the rest. Blocks.
pub(crate) fn commit(
    consumer: &BaseConsumer<Member>,
    changes: Vec<Change>,
) -> (Vec<Change>, Option<KafkaError>) {
    all_or_each(changes, |changes| send(consumer, changes))
}

/// All at once; where that fails for what may be the matter of one partition alone, each by itself: one that fails for good holds up no other.
fn all_or_each(
    changes: Vec<Change>,
    send: impl Fn(&[Change]) -> KafkaResult<()>,
) -> (Vec<Change>, Option<KafkaError>) {
    if changes.is_empty() {
        return (changes, None);
    }
    let Err(error) = send(&changes) else { return (changes, None) };
    if changes.len() == 1 || is_passing(&error) {
        return (Vec::new(), Some(error));
    }
    let (mut heard, mut last) = (Vec::new(), None);
    for change in changes {
        match send(std::slice::from_ref(&change)) {
            Ok(()) => heard.push(change),
            // Nobody is there any more: those behind would wait as long, each.
            Err(error) if is_passing(&error) => return (heard, Some(error)),
            Err(error) => last = Some(error),
        }
    }
    (heard, last)
}

/// Whether the same commit may succeed later.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(|code| of_code("", "", code).is_transient())
}

fn send(consumer: &BaseConsumer<Member>, changes: &[Change]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(changes.len());
    for Change { place, position, metadata, .. } in changes {
        list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*position))?;
        if let Some(mut added) = list.find_partition(&place.topic, place.partition) {
            added.set_metadata(metadata);
        }
    }
    consumer.commit(&list, CommitMode::Sync)
}

pub(crate) fn place_of(place: &TopicPartitionListElem<'_>) -> Place {
    Place { topic: Arc::from(place.topic()), partition: place.partition() }
}

pub(crate) fn listed(places: &[Place]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for place in places {
        list.add_partition(&place.topic, place.partition);
    }
    list
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    fn changes(count: i32) -> Vec<Change> {
        let place = |partition| Place { topic: Arc::from("orders"), partition };
        (0..count).map(|partition| Change::of(place(partition), 7)).collect()
    }

    fn run(error: Code, bad: i32) -> (Vec<i32>, Option<KafkaError>, usize) {
        let calls = RefCell::new(0);
        let (heard, error) = all_or_each(changes(4), |some| {
            *calls.borrow_mut() += 1;
            match some.iter().any(|change| change.place.partition == bad) {
                true => Err(KafkaError::ConsumerCommit(error)),
                false => Ok(()),
            }
        });
        (heard.iter().map(|change| change.place.partition).collect(), error, calls.into_inner())
    }

    #[test]
    fn a_partition_that_cannot_be_committed_holds_up_no_other() {
        let refusal = KafkaError::ConsumerCommit(Code::OffsetMetadataTooLarge);
        assert_eq!(run(Code::OffsetMetadataTooLarge, 2), (vec![0, 1, 3], Some(refusal), 5));
        assert_eq!(run(Code::OffsetMetadataTooLarge, 9), (vec![0, 1, 2, 3], None, 1));
    }

    #[test]
    fn where_nobody_answers_it_is_asked_once() {
        let away = KafkaError::ConsumerCommit(Code::CoordinatorNotAvailable);
        assert_eq!(run(Code::CoordinatorNotAvailable, 2), (vec![], Some(away), 1));
    }
}
