//! Where the [straight ways](super::straight) of a thread are kept.

use std::cell::{Cell, Ref, RefCell};
use std::ptr;

use busway_event::Topic;
use busway_router::Generation;

use super::straight::Straight;

/// The straight ways of one thread on one bus.
pub(crate) struct Ways {
    places: [Place; WAYS],
    /// At which the ways were looked through last: none of them is older.
    generation: Cell<Generation>,
}

#[derive(Default)]
struct Place {
    /// Borrowed to be read while a publish goes that way. Replaced only when it is not, and dropped outside of the borrow.
    way: RefCell<Option<Box<Straight>>>,
    /// Who would have liked to have this place, by the address of its text, and how often in turn.
    sought: Cell<(usize, u32)>,
}

impl Ways {
    pub(crate) fn new() -> Self {
        Self { places: std::array::from_fn(|_| Place::default()), generation: Cell::default() }
    }

    /// The way to a topic, as it is at a generation.
    #[inline]
    pub(crate) fn to(&self, topic: &Topic, generation: Generation) -> Option<Ref<'_, Straight>> {
        let way = self.places.get(place_of(topic))?.way.try_borrow().ok()?;
        Ref::filter_map(way, |way| {
            way.as_deref().filter(|way| {
                way.generation == generation && ptr::eq(way.form.topic().as_str(), topic.as_str())
            })
        })
        .ok()
    }

    /// Forgets what is older. To be called by each publish that looks into the table.
    #[inline]
    pub(crate) fn renew(&self, generation: Generation) {
        if self.generation.get() != generation {
            self.sweep(generation);
        }
    }

    #[cold]
    fn sweep(&self, generation: Generation) {
        let mut all = true;
        for place in &self.places {
            let Ok(mut way) = place.way.try_borrow_mut() else {
                // A publish further up this stack goes there: the next one looks again.
                all = false;
                continue;
            };
            let gone = way.take_if(|way| way.generation < generation);
            drop(way);
            // What may be the last of a handler, and run code of its own.
            drop(gone);
        }
        if all {
            self.generation.set(generation);
        }
    }

    /// Whether a way to this topic is worth being laid: it was sought before, and who has the place does without it.
    pub(super) fn is_sought(&self, topic: &Topic) -> bool {
        let Some(place) = self.places.get(place_of(topic)) else { return false };
        let address = topic.as_str().as_ptr().addr();
        let times = match place.sought.get() {
            (sought, times) if sought == address => times.saturating_add(1),
            _ => 1,
        };
        place.sought.set((address, times));
        let is_free = place.way.try_borrow().is_ok_and(|way| way.is_none());
        times >= if is_free { SOUGHT_FREE } else { SOUGHT_TAKEN }
    }

    pub(super) fn lay(&self, way: Box<Straight>) {
        let Some(place) = self.places.get(place_of(way.form.topic())) else { return };
        let Ok(mut kept) = place.way.try_borrow_mut() else { return };
        let before = kept.replace(way);
        drop(kept);
        drop(before);
    }
}

/// Where the way to a topic is, if there is one.
#[inline]
fn place_of(topic: &Topic) -> usize {
    let address = topic.as_str().as_ptr().addr() as u64;
    // The high bits of a product with the golden ratio: Knuth's multiplicative hash.
    #[expect(clippy::cast_possible_truncation, reason = "a few bits are left")]
    let place = (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - WAYS.ilog2())) as usize;
    place
}

/// Topics with one subscription that a thread publishes to in turn.
const WAYS: usize = 8;
/// So often in turn a topic is sought before it gets a place: a device that says one thing gets none.
const SOUGHT_FREE: u32 = 2;
/// The same where another topic has it: what making a way costs is nothing beside so many publishes.
const SOUGHT_TAKEN: u32 = 32;
