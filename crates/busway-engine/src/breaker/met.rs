//! The channels that events of an ephemeral subscription have met: found without the table, by all of its workers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use busway_event::Topic;

use super::channel::{Channel, PLACES, hash_of, place_of};
use super::guard::Guard;

/// Whoever comes first to a place has it for good, also when its channel is forgotten: who passes by a place, and comes back to it, finds the same channel there. Topics whose
/// place is another's are looked up in the table; so are those whose channels were forgotten, of which there are some only beyond
/// [`CHANNELS_MAX`](super::CHANNELS_MAX) topics.
#[derive(Debug)]
pub(super) struct Met {
    places: Box<[OnceLock<Arc<Channel>>]>,
    /// The place that was found last.
    last: AtomicUsize,
}

impl Met {
    pub(super) fn new() -> Self {
        let places = std::iter::repeat_with(OnceLock::new).take(PLACES).collect();
        Self { places, last: AtomicUsize::new(0) }
    }

    /// The place of a topic and the channel there, if it is that of the topic.
    #[inline]
    pub(super) fn find(&self, guard: &Guard, topic: &Topic) -> Option<(usize, &Arc<Channel>)> {
        let last = self.last.load(Ordering::Relaxed);
        if let Some(channel) = self.at(last)
            && channel.is_of_very(topic)
        {
            guard.touch(channel);
            return Some((last, channel));
        }
        self.search(guard, topic)
    }

    fn search(&self, guard: &Guard, topic: &Topic) -> Option<(usize, &Arc<Channel>)> {
        let hash = hash_of(topic);
        let place = place_of(hash);
        let channel = self.places.get(place)?.get_or_init(|| guard.channel(topic));
        if !channel.is_of(topic, hash) {
            return None;
        }
        guard.touch(channel);
        // Only if the next one can be known by its text's address.
        if channel.is_of_very(topic) {
            self.last.store(place, Ordering::Relaxed);
        }
        Some((place, channel))
    }

    /// The channel at a place.
    #[inline]
    pub(super) fn at(&self, place: usize) -> Option<&Arc<Channel>> {
        self.places.get(place)?.get()
    }

    /// The channel of a topic, wherever it is.
    pub(super) fn channel(&self, guard: &Guard, topic: &Topic) -> Arc<Channel> {
        self.find(guard, topic).map_or_else(|| guard.channel(topic), |(_, channel)| Arc::clone(channel))
    }
}
