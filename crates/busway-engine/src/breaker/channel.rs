//! A channel: the circuit of one topic of a subscription, and the word by which it is asked.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use busway_event::Topic;
use busway_reliability::{
    BreakerRules, CallEnd, Circuit, CircuitCounts, Force, Generation, Moved, Permission, Room,
};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::waits::Waits;

/// While a channel is closed, asking it is one load: the word says so, with the generation that a call bears. The word is written under the
/// circuit's lock. Whoever reads it while the circuit opens makes a call that nothing has refused yet; its end is of an older generation then.
pub(crate) struct Channel {
    topic: Topic,
    hash: u64,
    word: AtomicU64,
    /// When it was looked up last, by its guard's count.
    used: AtomicU64,
    /// Of calls that need not be recorded in the circuit.
    successes: AtomicU64,
    fell_back: AtomicU64,
    /// Events that wait for it beside those that a guard keeps or a durable subscription has parked.
    waiting: AtomicU64,
    /// Held for moments.
    circuit: Mutex<Circuit>,
}

impl Channel {
    pub(super) fn new(topic: Topic, rules: BreakerRules, clock: &dyn Clock) -> Self {
        let circuit = Circuit::new(rules, clock.now());
        Self {
            hash: hash_of(&topic),
            topic,
            word: AtomicU64::new(word_of(&circuit)),
            used: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            fell_back: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            circuit: Mutex::new(circuit),
        }
    }

    pub(crate) const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Whether it is the channel of a topic with this hash, and not forgotten.
    #[inline]
    pub(super) fn is_of(&self, topic: &Topic, hash: u64) -> bool {
        self.hash == hash && self.word.load(Ordering::Relaxed) & RETIRED == 0 && self.topic == *topic
    }

    /// The same for a topic with the very text that its own has: what a publisher that keeps its topic comes with.
    #[inline]
    pub(super) fn is_of_very(&self, topic: &Topic) -> bool {
        std::ptr::eq(self.topic.as_str(), topic.as_str()) && self.word.load(Ordering::Relaxed) & RETIRED == 0
    }

    /// Asks for a call.
    #[inline]
    pub(super) fn permit(&self, clock: &dyn Clock) -> (Permission, Option<Moved>) {
        match self.permit_closed() {
            Some(generation) => (Permission::Granted(generation), None),
            None => self.change(|circuit| circuit.permit(clock.now())),
        }
    }

    /// Asks for a call that is granted because the channel is closed; `None` says nothing, and changes nothing.
    #[inline]
    pub(super) fn permit_closed(&self) -> Option<Generation> {
        let word = self.word.load(Ordering::Acquire);
        (word & PASSES != 0).then_some(Generation(word >> BITS))
    }

    /// A call has ended.
    #[inline]
    pub(super) fn record(&self, generation: Generation, end: CallEnd, clock: &dyn Clock) -> Option<Moved> {
        if end == CallEnd::Success && self.only_counts(generation) {
            return None;
        }
        self.change(|circuit| circuit.record(generation, end, clock.now()))
    }

    /// Counts the success of a call that changes nothing else; `false`: it may, and is not counted.
    #[inline]
    pub(super) fn only_counts(&self, generation: Generation) -> bool {
        let is_spotless = self.word.load(Ordering::Acquire) == generation.0 << BITS | PASSES | SPOTLESS;
        if is_spotless {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
        is_spotless
    }

    /// Whether all calls pass.
    #[inline]
    pub(super) fn passes(&self) -> bool {
        self.word.load(Ordering::Acquire) & PASSES != 0
    }

    pub(super) fn force(&self, force: Force, clock: &dyn Clock) -> Option<Moved> {
        self.change(|circuit| circuit.force(force, clock.now()))
    }

    #[cold]
    fn change<V>(&self, change: impl FnOnce(&mut Circuit) -> V) -> V {
        let mut circuit = self.circuit.lock();
        let value = change(&mut circuit);
        let retired = self.word.load(Ordering::Relaxed) & RETIRED;
        self.word.store(word_of(&circuit) | retired, Ordering::Release);
        value
    }

    /// Reads the circuit.
    pub(super) fn read<V>(&self, read: impl FnOnce(&Circuit) -> V) -> V {
        read(&self.circuit.lock())
    }

    /// How many that wait would be let pass now.
    pub(super) fn room(&self, clock: &dyn Clock) -> Room {
        match self.passes() {
            true => Room::All,
            false => self.read(|circuit| circuit.room(clock.now())),
        }
    }

    pub(super) fn counts(&self) -> CircuitCounts {
        let mut counts = self.read(Circuit::counts);
        counts.successes += self.successes.load(Ordering::Relaxed);
        counts
    }

    pub(super) fn fall_back(&self) {
        self.fell_back.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fell_back(&self) -> u64 {
        self.fell_back.load(Ordering::Relaxed)
    }

    /// Counts one that waits, for as long as it does.
    pub(super) fn waits(&self) -> Waits<'_> {
        Waits::new(&self.waiting)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Written only when it changes: those who read it have it in their caches.
    #[inline]
    pub(super) fn use_at(&self, tick: u64) {
        if self.used.load(Ordering::Relaxed) != tick {
            self.used.store(tick, Ordering::Relaxed);
        }
    }

    /// It is forgotten: whoever remembers it looks it up again.
    pub(super) fn retire(&self) {
        let _circuit = self.circuit.lock();
        self.word.fetch_or(RETIRED, Ordering::Release);
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read(Circuit::state);
        f.debug_struct("Channel").field("topic", &self.topic).field("state", &state).finish_non_exhaustive()
    }
}

fn word_of(circuit: &Circuit) -> u64 {
    let passes = match circuit.state() {
        busway_reliability::BreakerState::Closed => PASSES,
        _ => 0,
    };
    let spotless = if circuit.is_spotless() { SPOTLESS } else { 0 };
    circuit.generation().0 << BITS | passes | spotless
}

/// A hash for finding a topic again, eight bytes at a time; nothing that is stored, and no defence against who chooses topics.
#[inline]
pub(super) fn hash_of(topic: &Topic) -> u64 {
    let mut chunks = topic.as_str().as_bytes().chunks_exact(8);
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let hash =
        chunks.by_ref().fold(0, |hash, chunk| mix(hash, chunk.try_into().map_or(0, u64::from_le_bytes)));
    chunks.remainder().iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

/// The place of a hash among those that are found without the table.
#[inline]
pub(super) fn place_of(hash: u64) -> usize {
    usize::try_from(hash >> PLACE_SHIFT).unwrap_or(0) % PLACES
}

pub(super) const PLACES: usize = 64;
/// A product's upper bits are the mixed ones.
const PLACE_SHIFT: u32 = 58;

/// All calls pass.
const PASSES: u64 = 1;
/// And a success changes nothing but the count.
const SPOTLESS: u64 = 2;
const RETIRED: u64 = 4;
const BITS: u32 = 3;

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;
    use crate::clock::SystemClock;

    fn channel(rules: BreakerRules) -> Channel {
        Channel::new(Topic::new("orders.created").unwrap(), rules, &SystemClock)
    }

    fn granted(channel: &Channel) -> Generation {
        match channel.permit(&SystemClock) {
            (Permission::Granted(generation), _) => generation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_a_hundred_concurrent_calls_in_half_open_exactly_the_probes_pass() {
        for max_probes in [1, 5, 7] {
            let channel = channel(BreakerRules::default().max_probes(max_probes).required_successes(100));
            // Taken back from open it is half-open.
            channel.force(Force::Open, &SystemClock);
            channel.force(Force::Automatic, &SystemClock);
            let barrier = Barrier::new(100);
            let ask = || {
                barrier.wait();
                matches!(channel.permit(&SystemClock).0, Permission::Granted(_))
            };
            let passed: u32 = std::thread::scope(|scope| {
                let calls: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
                calls.into_iter().map(|call| u32::from(call.join().unwrap())).sum()
            });
            assert_eq!((passed, channel.counts().refused), (max_probes, u64::from(100 - max_probes)));
        }
    }

    #[test]
    fn the_word_says_what_the_circuit_does() {
        let channel = channel(BreakerRules::default().opens_after(2).open_for(Duration::from_secs(3_600)));
        let calls: Vec<_> = (0..4).map(|_| granted(&channel)).collect();
        assert_eq!(channel.record(calls[0], CallEnd::Success, &SystemClock), None);
        assert_eq!(channel.read(Circuit::counts).successes, 0, "counted beside the circuit");
        assert_eq!(channel.record(calls[1], CallEnd::Failure, &SystemClock), None);
        let last = granted(&channel);
        assert_eq!(channel.record(last, CallEnd::Success, &SystemClock), None);
        assert_eq!((channel.counts().successes, channel.read(Circuit::counts).successes), (2, 1));
        channel.record(calls[2], CallEnd::Failure, &SystemClock);
        assert!(channel.record(calls[3], CallEnd::Failure, &SystemClock).is_some(), "it opens");
        assert!(matches!(channel.permit(&SystemClock).0, Permission::Refused { until: Some(_) }));
        assert_eq!(channel.record(last, CallEnd::Success, &SystemClock), None);
        assert_eq!(channel.counts().late, 1);
        let topic = channel.topic().clone();
        assert!(channel.is_of(&topic, hash_of(&topic)));
        channel.retire();
        channel.force(Force::Closed, &SystemClock);
        assert!(!channel.is_of(&topic, hash_of(&topic)), "forgotten for good");
    }
}
