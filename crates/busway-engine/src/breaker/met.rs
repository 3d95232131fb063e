//! The channels that events of an ephemeral subscription have met: found without the table, by all of its workers.

use std::sync::{Arc, OnceLock};

use busway_event::Topic;

use super::channel::{Channel, PLACES, hash_of, place_of};
use super::guard::Guard;

/// Whoever comes first to a place has it for good, also when its channel is forgotten: who passes by a place, and comes back to it, finds the same channel there. Topics whose
/// place is another's are looked up in the table; so are those whose channels were forgotten, of which there are some only beyond
/// [`CHANNELS_MAX`](super::CHANNELS_MAX) topics.
#[derive(Debug)]
pub(super) struct Met(Box<[OnceLock<Arc<Channel>>]>);

impl Met {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(PLACES).collect())
    }

    /// The place of a topic, if its channel is there.
    #[inline]
    pub(super) fn place(&self, guard: &Guard, topic: &Topic) -> Option<usize> {
        let hash = hash_of(topic);
        let place = place_of(hash);
        let channel = self.0.get(place)?.get_or_init(|| guard.channel(topic));
        channel.is_of(topic, hash).then(|| {
            guard.touch(channel);
            place
        })
    }

    /// The channel at a place.
    #[inline]
    pub(super) fn at(&self, place: usize) -> Option<&Arc<Channel>> {
        self.0.get(place)?.get()
    }

    /// The channel of a topic, wherever it is.
    pub(super) fn channel(&self, guard: &Guard, topic: &Topic) -> Arc<Channel> {
        let there = self.place(guard, topic).and_then(|place| self.at(place));
        there.map_or_else(|| guard.channel(topic), Arc::clone)
    }
}
