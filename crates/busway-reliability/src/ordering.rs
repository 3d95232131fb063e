//! Order: which events of a subscription wait for each other, and for nothing else.
//!
//! A **lane** is the events of one subscription that must not overtake one another. A lane is *open* or
//! *closed by one running event*; the next event starts when that one is settled, and not before: not when
//! its attempt fails, not when its handler is late, not while it waits for a retry. Other lanes never notice.
//!
//! An open lane is *no entry*: memory goes with the most that ran and waited at one time, not with how many keys
//! were ever seen.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;

use busway_event::Priority;

use crate::held::{HeldEvents, Queue};

/// What an ordered subscription keeps in order. Events without a key are never ordered, whatever is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Events of one key *and* one priority run one after another, in offset order. An urgent event may
    /// overtake a less urgent one of the same key. The default.
    #[default]
    Lane,
    /// Events of one key run one after another, in offset order, whatever their priority. An urgent event
    /// waits for the less urgent ones of its key.
    Key,
    /// Events run as soon as a handler is free. A failing event holds nobody.
    None,
}

impl Order {
    /// The lane of an event with this key and priority, or `None` if it is a lane of its own: started when
    /// its turn comes, holding nobody.
    pub fn lane<K>(self, key: Option<K>, priority: Priority) -> Option<Lane<K>> {
        match self {
            Self::Lane => key.map(|key| Lane { key, priority: Some(priority) }),
            Self::Key => key.map(|key| Lane { key, priority: None }),
            Self::None => None,
        }
    }
}

/// The name of a lane within a subscription. Made by [`Order::lane`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane<K> {
    key: K,
    /// `None` where priorities share the lane.
    priority: Option<Priority>,
}

impl<K> Lane<K> {
    /// The key that the events of this lane share.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// The priority that they share too, or `None` under [`Order::Key`].
    pub const fn priority(&self) -> Option<Priority> {
        self.priority
    }
}

/// What [`Lanes::admit`] decided about one event.
#[must_use = "an event that may start has closed its lane: start it, or settle the lane"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admission<V> {
    /// The lane was open: start this event now. Its lane is closed until [`Lanes::settle`].
    Start(V),
    /// The lane is closed: the event is held behind those that came before it.
    Held,
}

/// The lanes of one subscription: at most one running event in each, the rest held in order of arrival.
///
/// Guarantees, for any sequence of calls:
///
/// - two events of one lane never run at once, and they start in the order in which they were admitted;
/// - an event whose lane is open starts at once, however many others are held;
/// - every admitted event comes out exactly once: from `admit`, `settle` or `drain`;
/// - memory goes with the most closed lanes and held events that there were at one time: room once made is
///   kept for the next busy moment.
///
/// | from | on | to |
/// |---|---|---|
/// | open | [`admit`](Self::admit) | closed, the event starts |
/// | closed | [`admit`](Self::admit) | closed, the event is held behind |
/// | closed, events held | [`settle`](Self::settle) | closed by the next held event, which starts |
/// | closed, nothing held | [`settle`](Self::settle) | open, and forgotten |
///
/// Admitting and settling take constant time, and allocate only until the busiest moment so far was seen.
/// Lanes are found with the standard library's keyed hash: keys come from outside, and a cheaper hash would
/// let a publisher choose keys that collide.
///
/// ```
/// use busway_reliability::{Admission, Lanes};
///
/// let mut lanes = Lanes::new(64);
/// assert_eq!(lanes.admit(Some("A-1"), "created"), Admission::Start("created"));
/// assert_eq!(lanes.admit(Some("A-1"), "paid"), Admission::Held);
/// assert_eq!(lanes.admit(Some("B-7"), "created"), Admission::Start("created"));
/// assert_eq!(lanes.settle(&"A-1"), Some("paid"));
/// assert_eq!(lanes.settle(&"A-1"), None);
/// assert_eq!(lanes.lanes(), 1);
/// ```
pub struct Lanes<K, V> {
    /// The closed lanes, each with its queue of held events. An open lane has no entry.
    closed: HashMap<K, Queue>,
    held: HeldEvents<V>,
    window: NonZeroUsize,
}

impl<K: Eq + Hash, V> Lanes<K, V> {
    /// No lanes yet. `window` bounds the held events; 0 counts as 1, since a window of 0 would never let an
    /// event in.
    pub fn new(window: usize) -> Self {
        Self {
            closed: HashMap::new(),
            held: HeldEvents::new(),
            window: NonZeroUsize::new(window).unwrap_or(NonZeroUsize::MIN),
        }
    }

    /// Admits an event to its lane; without a lane it always starts.
    ///
    /// Never refuses and never loses: whoever fetches events asks [`has_room`](Self::has_room) before it
    /// takes the next one, and what it admits without asking is held beyond the window.
    pub fn admit(&mut self, lane: Option<K>, item: V) -> Admission<V> {
        let Some(lane) = lane else { return Admission::Start(item) };
        if let Some(queue) = self.closed.get_mut(&lane) {
            self.held.join(queue, item);
            Admission::Held
        } else {
            self.closed.insert(lane, Queue::default());
            Admission::Start(item)
        }
    }

    /// The running event of `lane` is settled: gives the next one, which starts now and keeps the lane
    /// closed, or opens and forgets the lane.
    ///
    /// To be called once for each event that started in a lane, after its attempt has really stopped and its
    /// outcome is decided. A lane that is not closed is left as it is.
    #[must_use = "the next event of the lane has closed it again: start it"]
    pub fn settle(&mut self, lane: &K) -> Option<V> {
        let queue = self.closed.get_mut(lane)?;
        let next = self.held.leave(queue);
        if next.is_none() {
            self.closed.remove(lane);
        }
        next
    }

    /// How many events are held, over all lanes. Running ones do not count.
    pub const fn held(&self) -> usize {
        self.held.count()
    }

    /// Whether fewer events are held than the window allows: fetch on.
    pub const fn has_room(&self) -> bool {
        self.held.count() < self.window.get()
    }

    /// How many lanes are closed, which is how many lanes have a running event.
    pub fn lanes(&self) -> usize {
        self.closed.len()
    }

    /// Takes out everything that is held, in order of arrival (and so in order within each lane).
    ///
    /// Lanes with a running event stay closed until that one is settled.
    pub fn drain(&mut self) -> Vec<V> {
        for queue in self.closed.values_mut() {
            *queue = Queue::default();
        }
        self.held.drain()
    }
}

/// Shows counts, not keys or events: both may be private and many.
impl<K, V> fmt::Debug for Lanes<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("lanes", &self.closed.len())
            .field("held", &self.held.count())
            .field("window", &self.window)
            .finish()
    }
}

#[cfg(test)]
mod tests;
