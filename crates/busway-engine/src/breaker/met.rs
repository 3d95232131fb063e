//! The channels that events of an ephemeral subscription have met: found without the table, by all of its workers.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use busway_event::Topic;

use super::channel::{Channel, PLACES, hash_of, place_of};
use super::guard::Guard;

/// Whoever comes first to a place keeps it until its channel is forgotten: topics that share one do not take turns, which would be a swap for each
/// event. The others are looked up in the table.
#[derive(Debug)]
pub(super) struct Met(Box<[ArcSwapOption<Channel>]>);

impl Met {
    pub(super) fn new() -> Self {
        Self(std::iter::repeat_with(ArcSwapOption::empty).take(PLACES).collect())
    }

    /// The channel of a topic.
    #[inline]
    pub(super) fn channel(&self, guard: &Guard, topic: &Topic) -> Arc<Channel> {
        let hash = hash_of(topic);
        let Some(place) = self.0.get(place_of(hash)) else { return guard.channel(topic) };
        let there = place.load();
        match &*there {
            Some(channel) if channel.is_of(topic, hash) => {
                guard.touch(channel);
                Arc::clone(channel)
            }
            there => {
                let found = guard.channel(topic);
                if there.as_ref().is_none_or(|channel| channel.is_retired()) {
                    place.store(Some(Arc::clone(&found)));
                }
                found
            }
        }
    }
}
