//! Ids that came last.

use std::collections::{HashSet, VecDeque};

use busway_event::EventId;

/// A bounded memory of ids, the newest behind.
#[derive(Debug, Default)]
pub(super) struct Last {
    order: VecDeque<EventId>,
    known: HashSet<EventId>,
}

impl Last {
    pub(super) fn remember(&mut self, id: EventId) {
        if !self.known.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn has(&self, id: EventId) -> bool {
        self.known.contains(&id)
    }
}

const REMEMBERED_MAX: usize = 16_384;
