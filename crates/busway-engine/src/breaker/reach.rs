//! The channels that a worker has met lately, so that it finds one without a lock.

use std::sync::Arc;

use busway_event::Topic;

use super::channel::{Channel, PLACES, hash_of, place_of};
use super::guard::Guard;

/// One of a worker's own. Topics that share a place take turns.
pub(crate) struct Reach {
    guard: Arc<Guard>,
    met: Vec<Option<Arc<Channel>>>,
}

impl Reach {
    pub(crate) fn new(guard: Arc<Guard>) -> Self {
        let mut met = Vec::new();
        met.resize_with(PLACES, || None);
        Self { guard, met }
    }

    pub(crate) const fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// The channel of a topic.
    #[inline]
    pub(crate) fn channel(&mut self, topic: &Topic) -> Arc<Channel> {
        let hash = hash_of(topic);
        let place = place_of(hash);
        if let Some(Some(channel)) = self.met.get(place)
            && channel.is_of(topic, hash)
        {
            self.guard.touch(channel);
            return Arc::clone(channel);
        }
        let found = self.guard.channel(topic);
        if let Some(place) = self.met.get_mut(place) {
            *place = Some(Arc::clone(&found));
        }
        found
    }
}
