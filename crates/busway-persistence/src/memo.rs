//! What a thread remembers of the names that it published under last: the numbers of the store's names, and the stream.
//!
//! Finding them takes three looks into a table behind a lock and a walk through the streams' filters, for each event; most events of a thread
//! have the topic, type and producer of one before. A stream that captures a topic does so for as long as the store is open, and a name keeps its number.

use std::cell::RefCell;

use busway_event::{AnyEvent, Topic};
use uuid::Uuid;

use crate::record::NameIds;

/// What was found out for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) ids: NameIds,
    /// The number of the stream that captures the topic.
    pub(crate) stream: u32,
}

struct Memo {
    /// Of which opening of a store it holds.
    opening: Uuid,
    topic: Topic,
    type_name: Box<str>,
    producer: Box<str>,
    known: Known,
}

impl Memo {
    fn is_of(&self, opening: Uuid, event: &AnyEvent, type_name: &str) -> bool {
        let header = event.header();
        self.topic == *header.topic()
            && *self.producer == *header.metadata().producer()
            && *self.type_name == *type_name
            && self.opening == opening
    }
}

/// What this thread knows of such an event, or what `find` says, which it remembers then.
pub(crate) fn known<E>(
    opening: Uuid,
    event: &AnyEvent,
    find: impl FnOnce() -> Result<Known, E>,
) -> Result<Known, E> {
    let at = place_of(event.topic());
    let type_name = event.type_name();
    let remembered = MEMOS.try_with(|memos| {
        let memos = memos.try_borrow().ok()?;
        let memo = memos.get(at)?.as_ref()?;
        memo.is_of(opening, event, type_name).then_some(memo.known)
    });
    if let Ok(Some(known)) = remembered {
        return Ok(known);
    }
    let known = find()?;
    let memo = Memo {
        opening,
        topic: event.topic().clone(),
        type_name: type_name.into(),
        producer: event.metadata().producer().into(),
        known,
    };
    // A thread that ends remembers nothing.
    _ = MEMOS.try_with(|memos| {
        if let Ok(mut memos) = memos.try_borrow_mut()
            && let Some(place) = memos.get_mut(at)
        {
            *place = Some(memo);
        }
    });
    Ok(known)
}

/// Where a topic is remembered: by its length and its last bytes, in which topics differ most.
fn place_of(topic: &Topic) -> usize {
    let text = topic.as_str().as_bytes();
    let last = text.iter().rev().take(8);
    last.fold(text.len(), |mixed, byte| mixed.wrapping_mul(31).wrapping_add(usize::from(*byte))) % MEMOS_MAX
}

/// Topics that a thread remembers.
const MEMOS_MAX: usize = 64;

thread_local! {
    static MEMOS: RefCell<[Option<Memo>; MEMOS_MAX]> = const { RefCell::new([const { None }; MEMOS_MAX]) };
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use busway_event::{CodecId, Encoded, EventId, Metadata, Parts, Timestamp};

    use super::*;

    fn event(topic: &str, type_name: &str, producer: &str) -> AnyEvent {
        let (id, time) = (EventId::foreign("/t", "1"), Timestamp::from_nanos(1));
        let parts = Parts::new(id, time, Topic::new(topic).unwrap(), Metadata::draft(producer, 1));
        let bytes = "x".into();
        AnyEvent::receive(
            parts,
            Encoded { type_name: type_name.into(), version: 1, codec: CodecId::Raw, bytes },
        )
        .unwrap()
    }

    #[test]
    fn what_was_found_is_remembered_for_the_same_names_of_the_same_opening_only() {
        let first = Uuid::from_u128(1);
        let mut found = 0;
        let mut ask = |opening, event: &AnyEvent| -> u32 {
            let known = known(opening, event, || {
                found += 1;
                Ok::<_, Infallible>(Known { ids: NameIds::default(), stream: found })
            });
            known.unwrap().stream
        };
        let (one, again) = (event("a.b", "t", "p"), event("a.b", "t", "p"));
        assert_eq!((ask(first, &one), ask(first, &again)), (1, 1));
        assert_eq!(ask(Uuid::from_u128(2), &one), 2, "another opening");
        assert_eq!(ask(first, &event("a.b", "u", "p")), 3, "another type");
        assert_eq!(ask(first, &event("a.b", "u", "q")), 4, "another producer");
        assert_eq!(ask(first, &event("a.c", "u", "q")), 5, "another topic");
        assert_eq!(ask(first, &event("a.b", "u", "q")), 4, "beside the other");
    }
}
