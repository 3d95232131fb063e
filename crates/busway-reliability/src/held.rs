//! Events that wait behind the running one of their lane: many short queues in one shared slab.
//!
//! A collection for each lane would allocate and free each time a busy key lets a second event in. Here a
//! queue is two positions, and the slots behind them are reused: once the slab has seen its fullest moment,
//! holding an event allocates nothing.

/// One lane's queue: the positions of its first and last event in [`HeldEvents`], or nothing.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ends: Option<(usize, usize)>,
}

/// The slab. A position in it is only ever known to one [`Queue`].
#[derive(Debug)]
pub(crate) struct HeldEvents<V> {
    slots: Vec<Option<Slot<V>>>,
    /// Empty places in `slots`.
    free: Vec<usize>,
    /// Stamps arrivals, so that what is drained can be put back into the order it came in. At one event a
    /// nanosecond it lasts for 584 years.
    arrivals: u64,
}

#[derive(Debug)]
struct Slot<V> {
    item: V,
    arrival: u64,
    /// The event behind this one in the same queue.
    behind: Option<usize>,
}

impl<V> HeldEvents<V> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), arrivals: 0 }
    }

    /// How many events wait, over all queues.
    pub(crate) const fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts `item` at the end of `queue`.
    pub(crate) fn join(&mut self, queue: &mut Queue, item: V) {
        let slot = Slot { item, arrival: self.arrivals, behind: None };
        self.arrivals += 1;
        let at = self.place(slot);
        queue.ends = match queue.ends {
            Some((first, last)) => {
                if let Some(Some(before)) = self.slots.get_mut(last) {
                    before.behind = Some(at);
                }
                Some((first, at))
            }
            None => Some((at, at)),
        };
    }

    /// Takes the first event of `queue`.
    pub(crate) fn leave(&mut self, queue: &mut Queue) -> Option<V> {
        let (first, last) = queue.ends?;
        let Slot { item, behind, .. } = self.slots.get_mut(first)?.take()?;
        self.free.push(first);
        queue.ends = behind.map(|next| (next, last));
        Some(item)
    }

    /// Empties the slab, in order of arrival over all queues. The caller forgets its queues.
    pub(crate) fn drain(&mut self) -> Vec<V> {
        self.free.clear();
        let mut slots: Vec<Slot<V>> = self.slots.drain(..).flatten().collect();
        slots.sort_unstable_by_key(|slot| slot.arrival);
        slots.into_iter().map(|slot| slot.item).collect()
    }

    fn place(&mut self, slot: Slot<V>) -> usize {
        if let Some(at) = self.free.pop()
            && let Some(empty) = self.slots.get_mut(at)
        {
            *empty = Some(slot);
            return at;
        }
        self.slots.push(Some(slot));
        self.slots.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::{HeldEvents, Queue};

    #[test]
    fn two_lines_in_one_slab_keep_their_own_order() {
        let mut held = HeldEvents::new();
        let (mut a, mut b) = (Queue::default(), Queue::default());
        for n in 0..4 {
            held.join(&mut a, n);
            held.join(&mut b, n + 10);
        }
        let from_a: Vec<_> = std::iter::from_fn(|| held.leave(&mut a)).collect();
        assert_eq!(from_a, [0, 1, 2, 3]);
        assert_eq!(held.count(), 4);
        let from_b: Vec<_> = std::iter::from_fn(|| held.leave(&mut b)).collect();
        assert_eq!(from_b, [10, 11, 12, 13]);
        assert_eq!(held.count(), 0);
    }

    #[test]
    fn a_slab_grows_to_its_fullest_moment_and_no_further() {
        let mut held = HeldEvents::new();
        let mut queue = Queue::default();
        for round in 0..1_000 {
            for n in 0..3 {
                held.join(&mut queue, round + n);
            }
            for n in 0..3 {
                assert_eq!(held.leave(&mut queue), Some(round + n));
            }
        }
        assert_eq!(held.slots.len(), 3);
    }

    #[test]
    fn draining_gives_the_order_of_arrival_also_where_slots_were_reused() {
        let mut held = HeldEvents::new();
        let (mut a, mut b) = (Queue::default(), Queue::default());
        for n in 0..3 {
            held.join(&mut a, n);
        }
        assert_eq!(held.leave(&mut a), Some(0));
        assert_eq!(held.leave(&mut a), Some(1));
        held.join(&mut b, 3);
        held.join(&mut a, 4);
        assert_eq!(held.drain(), [2, 3, 4]);
        assert_eq!(held.count(), 0);
    }
}
