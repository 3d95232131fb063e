//! The bounded queues, one a priority, and the place for what comes again, each made when first used.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use busway_event::{Key, Priority};
use busway_reliability::Order;
use crossbeam_queue::ArrayQueue;

use super::Waiting;
use super::returned::Returned;

pub(super) struct Queues {
    lanes: [OnceLock<Box<ArrayQueue<Slot>>>; 4],
    returned: OnceLock<Box<Returned>>,
    /// A bit a lane, and one for the place for what comes again, set before it can be used.
    made: AtomicU8,
    capacity: NonZeroUsize,
    order: Order,
}

/// What stands in a queue.
#[derive(Debug)]
pub(super) enum Slot {
    Event(Waiting),
    /// The place of a key whose latest event the coalescer holds.
    Latest(Key),
}

impl Queues {
    pub(super) fn new(capacity: NonZeroUsize, order: Order) -> Self {
        Self { lanes: Default::default(), returned: OnceLock::new(), made: AtomicU8::new(0), capacity, order }
    }

    /// Queues a slot, or gives it back when the queue is full.
    #[inline]
    pub(super) fn push(&self, priority: Priority, slot: Slot) -> Result<(), Slot> {
        let index = self.index(priority);
        let Some(lane) = self.lanes.get(index) else { return Err(slot) };
        match lane.get() {
            Some(queue) => queue.push(slot),
            None => self.make(lane, index).push(slot),
        }
    }

    #[cold]
    fn make<'a>(&self, lane: &'a OnceLock<Box<ArrayQueue<Slot>>>, index: usize) -> &'a ArrayQueue<Slot> {
        lane.get_or_init(|| {
            self.made.fetch_or(1 << index, Ordering::Relaxed);
            Box::new(ArrayQueue::new(self.capacity.get()))
        })
    }

    /// The place for what comes again; it is looked for from now on.
    pub(super) fn returned(&self) -> &Returned {
        self.returned.get_or_init(|| {
            self.made.fetch_or(RETURNED, Ordering::Relaxed);
            Box::default()
        })
    }

    /// What comes again, if it waits.
    pub(super) fn pop_returned(&self) -> Option<Waiting> {
        self.returned.get()?.take()
    }

    /// The priority of the only queue, when there is just one and nothing comes again: nobody has to share then.
    ///
    /// An event in a queue that is not seen here yet is found as any event that comes while a worker looks: its publisher
    /// announces it, or the worker looks again before it sleeps.
    #[inline]
    pub(super) fn only(&self) -> Option<Priority> {
        let made = self.made.load(Ordering::Relaxed);
        let only = made.is_power_of_two().then(|| made.trailing_zeros() as usize)?;
        Priority::from_index(only)
    }

    /// The oldest slot of a priority.
    #[inline]
    pub(super) fn pop(&self, priority: Priority) -> Option<Slot> {
        self.lanes.get(priority.index())?.get()?.pop()
    }

    /// The oldest slot of the queue that takes events of this priority.
    pub(super) fn pop_oldest_beside(&self, priority: Priority) -> Option<Slot> {
        self.pop(Priority::from_index(self.index(priority))?)
    }

    pub(super) fn len(&self) -> usize {
        let queued: usize = self.lanes.iter().filter_map(OnceLock::get).map(|queue| queue.len()).sum();
        queued + self.returned.get().map_or(0, |returned| returned.len())
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().filter_map(OnceLock::get).all(|queue| queue.is_empty())
            && self.returned.get().is_none_or(|returned| returned.len() == 0)
    }

    #[inline]
    fn index(&self, priority: Priority) -> usize {
        match self.order {
            // One queue keeps the order across priorities.
            Order::Key => 0,
            _ => priority.index(),
        }
    }
}

/// The bit behind those of the priorities.
const RETURNED: u8 = 1 << 4;
