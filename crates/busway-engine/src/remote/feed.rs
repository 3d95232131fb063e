//! What is in hand: deliveries from when they are received until the broker has heard what became of them.
//!
//! Workers tell how events ended, the pump takes the verdicts away. Both hold the lock for moments only.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use busway_event::{AnyEvent, EventId, Timestamp};
use busway_middleware::{Delivery, Outcome, Position};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::stats::{Figure, Figures};
use super::verdict::{End, Policy};
use crate::transport::{DeliveryId, Letter, Verdict};

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    name: Arc<str>,
    stream: Arc<str>,
    policy: Policy,
    hand: Mutex<Hand>,
    /// Rung when there is something to tell the broker.
    pub(super) decided: Notify,
    /// Rung when there may be room for more.
    pub(super) freed: Notify,
    /// Rung when nothing more is to be received for now.
    pub(super) paused: Notify,
    pub(super) figures: Figures,
}

#[derive(Debug, Default)]
struct Hand {
    events: HashMap<EventId, InHand>,
    /// Those of them that were delivered suspiciously often, until an attempt of them has ended here.
    suspects: HashSet<EventId>,
    verdicts: Vec<(DeliveryId, Verdict)>,
    /// Deliveries of which the broker has not heard yet.
    deliveries: usize,
    /// Bytes of `events`.
    bytes: usize,
    is_paused: bool,
}

impl Hand {
    /// Adds a delivery to the event's, if that is here.
    fn joins(&mut self, event: EventId, delivery: DeliveryId) -> bool {
        let there = self.events.get_mut(&event);
        there.map(|there| there.deliveries.push(delivery)).is_some()
    }

    fn remove(&mut self, event: EventId) -> Option<InHand> {
        let there = self.events.remove(&event)?;
        self.bytes = self.bytes.saturating_sub(there.bytes);
        self.suspects.remove(&event);
        Some(there)
    }
}

/// An event that is with the subscription.
#[derive(Debug)]
struct InHand {
    deliveries: Vec<DeliveryId>,
    /// The how-manieth delivery the first of them was.
    delivery: u32,
    attempts: u32,
    offset: Option<u64>,
    partition: u16,
    bytes: usize,
}

/// One delivery of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) id: DeliveryId,
    pub(super) delivery: NonZeroU32,
    pub(super) offset: Option<u64>,
    pub(super) partition: Option<u16>,
}

impl Feed {
    pub(super) fn new(name: &str, stream: &str, policy: Policy) -> Self {
        Self {
            name: name.into(),
            stream: stream.into(),
            policy,
            hand: Mutex::default(),
            decided: Notify::new(),
            freed: Notify::new(),
            paused: Notify::new(),
            figures: Figures::new(),
        }
    }

    /// By which its broker knows the subscription.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many deliveries more may be received, of at most `max`.
    pub(super) fn room(&self, max: usize) -> usize {
        let hand = self.hand.lock();
        match hand.is_paused || hand.bytes >= BYTES_MAX || !hand.suspects.is_empty() {
            true => 0,
            false => max.saturating_sub(hand.deliveries),
        }
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.hand.lock().is_paused = is_paused;
        let rung = if is_paused { &self.paused } else { &self.freed };
        rung.notify_one();
    }

    pub(super) fn is_suspicious(&self, delivery: NonZeroU32) -> bool {
        self.policy.is_suspicious(delivery.get())
    }

    /// Whether nothing is received because of events that may kill this process.
    pub(super) fn has_suspects(&self) -> bool {
        !self.hand.lock().suspects.is_empty()
    }

    /// Those that are here have not killed it for long enough.
    pub(super) fn acquit(&self) {
        self.hand.lock().suspects.clear();
    }

    pub(super) fn in_hand(&self) -> usize {
        self.hand.lock().deliveries
    }

    /// Counts what was received, before anything else is done with it.
    pub(super) fn received(&self, deliveries: usize) {
        self.hand.lock().deliveries += deliveries;
    }

    /// Takes an event in hand; `false` when it is there already: this delivery ends with it.
    pub(super) fn take(&self, event: &AnyEvent, arrived: Arrived) -> bool {
        let bytes = event.weight();
        let mut hand = self.hand.lock();
        if hand.joins(event.id(), arrived.id) {
            drop(hand);
            self.figures.count(Figure::Joined);
            return false;
        }
        hand.bytes += bytes;
        let Arrived { id, delivery, offset, partition } = arrived;
        let partition = partition.unwrap_or(0);
        if self.is_suspicious(delivery) {
            hand.suspects.insert(event.id());
        }
        let delivery = delivery.get();
        hand.events.insert(
            event.id(),
            InHand { deliveries: vec![id], delivery, attempts: 1, offset, partition, bytes },
        );
        true
    }

    /// Whether the event is in hand: then this delivery ends with it.
    pub(super) fn joins(&self, event: EventId, delivery: DeliveryId) -> bool {
        let joins = self.hand.lock().joins(event, delivery);
        if joins {
            self.figures.count(Figure::Joined);
        }
        joins
    }

    /// Gives a delivery up unattempted.
    pub(super) fn give_up(&self, id: DeliveryId, letter: Letter) {
        self.tell(id, self.policy.kept(letter));
    }

    /// Notes what the broker is to be told.
    pub(super) fn tell(&self, id: DeliveryId, verdict: Verdict) {
        self.hand.lock().verdicts.push((id, verdict));
        self.decided.notify_one();
    }

    /// The delivery of an event that is in hand, with what the broker says of it.
    #[cold]
    pub(crate) fn delivery(&self, delivery: Delivery) -> Delivery {
        let said = self
            .hand
            .lock()
            .events
            .get(&delivery.event().id())
            .map(|there| (there.delivery, there.offset.map(|offset| (there.partition, offset))));
        let Some((attempt, place)) = said else { return delivery };
        let delivery = match NonZeroU32::new(attempt) {
            Some(attempt) => delivery.with_attempt(attempt),
            None => delivery,
        };
        match place {
            Some((partition, offset)) => {
                let stream = Arc::clone(&self.stream);
                delivery.with_position(Position { stream, partition, offset })
            }
            None => delivery,
        }
    }

    /// Counts one more attempt of an event in its place; gives back the how-manieth of all it is.
    pub(crate) fn attempted_again(&self, event: EventId, attempts: NonZeroU32) -> NonZeroU32 {
        let mut hand = self.hand.lock();
        let Some(there) = hand.events.get_mut(&event) else { return attempts };
        there.attempts = attempts.get();
        attempts.saturating_add(there.delivery.saturating_sub(1))
    }

    /// An attempt of an event failed, and this process lives.
    pub(crate) fn survived(&self, event: EventId) {
        if self.hand.lock().suspects.remove(&event) {
            self.freed.notify_one();
        }
    }

    /// An event has ended: what is told to the broker follows. `error` is asked for what a failure is called.
    #[cold]
    pub(crate) fn ended(
        &self,
        event: &AnyEvent,
        outcome: &Outcome,
        is_stopping: bool,
        now: Timestamp,
        error: impl FnOnce() -> String,
    ) {
        let mut hand = self.hand.lock();
        let Some(there) = hand.remove(event.id()) else { return };
        let verdict = match outcome {
            Outcome::Done => Verdict::Done,
            outcome => {
                let InHand { delivery, attempts, .. } = there;
                let end = End { outcome, error: error(), delivery, attempts, is_stopping, now };
                self.policy.verdict(&end, &self.name, fastrand::u64(..))
            }
        };
        let is_first = hand.verdicts.is_empty();
        hand.verdicts.extend(there.deliveries.into_iter().map(|id| (id, verdict.clone())));
        drop(hand);
        if is_first {
            self.decided.notify_one();
        }
    }

    /// Gives back an event that the subscription did not take, or did not come to an end with.
    pub(crate) fn back(&self, event: EventId) {
        let mut hand = self.hand.lock();
        if let Some(there) = hand.remove(event) {
            hand.verdicts.extend(there.deliveries.into_iter().map(|id| (id, Verdict::Back)));
            drop(hand);
            self.decided.notify_one();
        }
    }

    /// Gives all back that is still with the subscription.
    pub(super) fn all_back(&self) {
        let left: Vec<_> = self.hand.lock().events.keys().copied().collect();
        left.into_iter().for_each(|event| self.back(event));
    }

    /// What the broker is to be told now.
    pub(super) fn verdicts(&self) -> Vec<(DeliveryId, Verdict)> {
        std::mem::take(&mut self.hand.lock().verdicts)
    }

    /// The broker was told of so many.
    pub(super) fn told(&self, deliveries: usize) {
        let mut hand = self.hand.lock();
        hand.deliveries = hand.deliveries.saturating_sub(deliveries);
        drop(hand);
        self.freed.notify_one();
    }

    /// Deliveries that are worked on, or wait for it.
    pub(super) fn worked_on(&self) -> Vec<DeliveryId> {
        self.hand.lock().events.values().flat_map(|there| there.deliveries.iter().copied()).collect()
    }
}

/// As many bytes as a subscription may have waiting by default.
const BYTES_MAX: usize = 64 << 20;
