//! What a draft leaves to the bus and to its payload, and so cannot be read off its event.

use super::{DraftHead, Due};
use crate::durability::Durability;
use crate::metadata::MetadataDraft;

/// See the module. Taken from a draft before it becomes an event, and given to the draft that is made of the event again: the two are
/// the same then.
#[derive(Debug, Clone, Copy)]
pub struct LeftOut {
    id: bool,
    time: bool,
    key: bool,
    metadata: InMetadata,
    version: u16,
    due: Option<Due>,
    durability: Option<Durability>,
}

#[derive(Debug, Clone, Copy)]
enum InMetadata {
    Everything,
    TheProducer,
    Nothing,
}

impl DraftHead {
    /// What this draft leaves out.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        let metadata = match self.metadata.producer() {
            _ if self.metadata.is_default() => InMetadata::Everything,
            None => InMetadata::TheProducer,
            Some(_) => InMetadata::Nothing,
        };
        let (id, time, key) = (self.id.is_none(), self.time.is_none(), self.key.is_none());
        let (version, due, durability) = (self.metadata.version(), self.due, self.durability);
        LeftOut { id, time, key, metadata, version, due, durability }
    }

    /// Takes out what was left out, from the draft of an event.
    pub fn leave_out(&mut self, left_out: LeftOut) {
        let LeftOut { id, time, key, metadata, version, due, durability } = left_out;
        if id {
            (self.id, self.origin_id) = (None, None);
        }
        if time {
            self.time = None;
        }
        if key {
            self.key = None;
        }
        match metadata {
            InMetadata::Everything => self.metadata = MetadataDraft::default(),
            InMetadata::TheProducer => self.metadata.unset_producer(),
            InMetadata::Nothing => {}
        }
        self.metadata.set_version(version);
        (self.due, self.durability) = (due, durability);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Draft, Stamp};
    use crate::durability::Durability;
    use crate::event::Event;
    use crate::event_type::EventType;
    use crate::id::EventId;
    use crate::metadata::Metadata;
    use crate::priority::Priority;
    use crate::timestamp::Timestamp;

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Keyed(u8);

    impl EventType for Keyed {
        const NAME: &'static str = "keyed";
        const VERSION: u16 = 3;

        fn key(&self) -> Option<String> {
            Some(self.0.to_string())
        }
    }

    fn back(draft: Draft<Keyed>) -> Draft<Keyed> {
        let mut defaults = Metadata::draft("shop", 1);
        defaults.set("tenant", "eu");
        let metadata = defaults.build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
        let left_out = draft.head().left_out();
        let event = draft.finish(&stamp).unwrap();
        assert_eq!((event.metadata().version(), event.key().is_some()), (3, true));
        let mut draft = event.into_draft().unwrap();
        draft.head_mut().leave_out(left_out);
        draft
    }

    #[test]
    fn a_draft_that_was_an_event_is_what_it_was_before() {
        let plain = || Event::new("a.b", Keyed(1));
        let drafts: [fn(Draft<Keyed>) -> Draft<Keyed>; 10] = [
            |draft| draft,
            |draft| draft.key("k").priority(Priority::P0).ttl(Duration::from_secs(1)),
            |draft| draft.id(EventId::foreign("y", "1")).time(Timestamp::from_nanos(5)),
            |draft| draft.id(EventId::foreign("x", "y")),
            |draft| draft.meta("note", "x"),
            |draft| draft.meta("producer", "bank"),
            |draft| draft.meta("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            |draft| draft.delay(Duration::from_secs(60)),
            |draft| draft.at(Timestamp::from_nanos(9)).key("k"),
            |draft| draft.durability(Durability::Memory),
        ];
        for (number, draft) in drafts.into_iter().enumerate() {
            let (before, after) = (draft(plain()), back(draft(plain())));
            assert_eq!(format!("{before:?}"), format!("{after:?}"), "draft {number}");
        }
    }
}
