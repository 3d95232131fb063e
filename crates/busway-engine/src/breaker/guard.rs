//! The guard of a subscription: its channels, what it falls back to, and who is told when one of them moves.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use busway_event::{AnyDraft, AnyEvent, Filter, Timestamp, Topic};
use busway_middleware::Outcome;
use busway_observability::{FallbackKind, Signal};
use busway_reliability::{BreakerState, CallEnd, FailureClass, Force, Generation, Moved, Permission, Room};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::CHANNELS_MAX;
use super::answers::{Answers, Copier};
use super::aside::Aside;
use super::channel::Channel;
use super::fallback::Kind;
use super::settings::Breaker;
use super::view::BreakerStatus;
use crate::bus::Services;
use crate::seen::circuit;
use crate::settings::{Origin, Setting};

/// See the module.
pub(crate) struct Guard {
    services: Arc<Services>,
    /// Set before the first event comes, and anew when another subscription inherits it.
    named: RwLock<Option<Named>>,
    breaker: Breaker,
    /// Read by workers that meet a topic they have not met lately.
    channels: RwLock<HashMap<Topic, Arc<Channel>>>,
    /// Counts look-ups that had to read the table: what is used lately goes by it.
    tick: AtomicU64,
    /// Held while an answer is remembered or copied.
    answers: Mutex<Answers>,
    /// Held while an event is put aside, or the next one to be given back is looked for.
    pub(super) aside: Mutex<Aside>,
    /// Rings when a channel has moved, is forced or forgotten, or has room for another probe.
    pub(crate) moved: Notify,
}

/// The subscription of a guard.
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    pub(crate) filter: Filter,
    /// Whether the program has given it that name.
    pub(crate) is_given: bool,
}

/// A call that was let pass: its end is to be recorded.
#[derive(Debug)]
pub(crate) struct Call {
    channel: Arc<Channel>,
    generation: Generation,
}

impl Call {
    /// What it was made of.
    pub(crate) fn made(&self) -> (&Channel, Generation) {
        (&self.channel, self.generation)
    }
}

/// A call that was not let pass.
pub(crate) struct NoCall {
    pub(crate) channel: Arc<Channel>,
    /// Its time of the next probe, if that is known.
    pub(crate) until: Option<Instant>,
}

impl Guard {
    pub(crate) fn new(services: Arc<Services>, breaker: Breaker) -> Self {
        Self {
            services,
            named: RwLock::new(None),
            breaker,
            channels: RwLock::default(),
            tick: AtomicU64::new(0),
            answers: Mutex::default(),
            aside: Mutex::default(),
            moved: Notify::new(),
        }
    }

    /// Says whose it is now. To be called before that subscription has an event.
    pub(crate) fn named(&self, named: Named) {
        *self.named.write() = Some(named);
    }

    pub(crate) fn subscription(&self) -> Arc<str> {
        self.named.read().as_ref().map(|named| Arc::clone(&named.name)).unwrap_or_default()
    }

    pub(super) fn filter(&self) -> Option<Filter> {
        self.named.read().as_ref().map(|named| named.filter.clone())
    }

    /// The filter of one that was given no name.
    pub(crate) fn unnamed(&self) -> Option<Filter> {
        self.named.read().as_ref().filter(|named| !named.is_given).map(|named| named.filter.clone())
    }

    pub(crate) const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Its setting, for people to read.
    pub(crate) fn described(&self) -> Setting {
        Setting { name: "breaker", value: self.breaker.to_string(), origin: Origin::Subscription }
    }

    pub(super) const fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Notes that a channel is used.
    #[inline]
    pub(super) fn touch(&self, channel: &Channel) {
        channel.use_at(self.tick.load(Ordering::Relaxed));
    }

    /// The channel of a topic, made when it is its first event.
    pub(crate) fn channel(&self, topic: &Topic) -> Arc<Channel> {
        let tick = self.tick.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(channel) = self.channels.read().get(topic) {
            channel.use_at(tick);
            return Arc::clone(channel);
        }
        let clock = &*self.services.clock;
        let mut channels = self.channels.write();
        let channel = channels
            .entry(topic.clone())
            .or_insert_with(|| Arc::new(Channel::new(topic.clone(), self.breaker.rules, clock)));
        let channel = Arc::clone(channel);
        channel.use_at(tick);
        let is_full = channels.len() > CHANNELS_MAX;
        if is_full {
            forget_some(&mut channels, topic);
        }
        drop(channels);
        if is_full {
            // Events may wait for one that is forgotten.
            self.ring();
        }
        channel
    }

    /// Asks for a call of a channel.
    #[inline]
    pub(crate) fn permit(&self, channel: Arc<Channel>) -> Result<Call, NoCall> {
        let (permission, moved) = channel.permit(&*self.services.clock);
        if let Some(moved) = moved {
            self.told(&channel, moved);
        }
        match permission {
            Permission::Granted(generation) => Ok(Call { channel, generation }),
            Permission::Refused { until } => Err(NoCall { channel, until }),
        }
    }

    /// A call has ended with this outcome, which its subscription classifies so; without one, nothing is known of it.
    #[inline]
    pub(crate) fn ended(&self, made: (&Channel, Generation), outcome: Option<(&Outcome, FailureClass)>) {
        let end = match outcome {
            Some((Outcome::Done, _)) => CallEnd::Success,
            // As where the error says so itself: the event is bad, or comes too early.
            Some((Outcome::Failed(_), FailureClass::Permanent | FailureClass::RetryAt(_))) => {
                CallEnd::Neither
            }
            Some((Outcome::Failed(_), _)) => CallEnd::Failure,
            _ => CallEnd::Neither,
        };
        self.record(made, end);
    }

    #[inline]
    pub(crate) fn record(&self, (channel, generation): (&Channel, Generation), end: CallEnd) {
        match channel.record(generation, end, &*self.services.clock) {
            Some(moved) => self.told(channel, moved),
            // A probe has ended: there is room for another one.
            None if !channel.passes() => self.ring(),
            None => {}
        }
    }

    /// How many events that wait for a topic's channel would be let pass now. One that is forgotten holds up nobody.
    pub(crate) fn room(&self, topic: &Topic) -> Room {
        let channel = self.channels.read().get(topic).cloned();
        channel.map_or(Room::All, |channel| channel.room(&*self.services.clock))
    }

    /// Returns when a channel may let a call pass: when it has room, or something has moved.
    pub(super) async fn may_pass(&self, channel: &Channel) {
        let moved = self.moved.notified();
        tokio::pin!(moved);
        moved.as_mut().enable();
        // It may have moved before anybody listened, and nobody says so any more.
        match channel.room(&*self.services.clock) {
            room if room.has_any() => {}
            Room::Until(until) => tokio::select! {
                () = moved => {}
                () = self.services.clock.sleep_until(until) => {}
            },
            _ => moved.await,
        }
    }

    pub(crate) fn force(&self, topic: &Topic, force: Force) {
        let channel = self.channel(topic);
        if let Some(moved) = channel.force(force, &*self.services.clock) {
            self.told(&channel, moved);
        }
        self.ring();
    }

    /// How answers are copied, if they are asked for later.
    pub(crate) const fn copier(&self) -> Option<Copier> {
        match self.breaker.fallback.kind {
            Kind::Cached(copies) => Some(Copier(copies)),
            _ => None,
        }
    }

    /// Remembers what an event was answered with. To be called when that is certain.
    pub(crate) fn remember(&self, event: &AnyEvent, answer: Vec<AnyDraft>) {
        if !answer.is_empty() {
            self.answers.lock().remember(event, answer);
        }
    }

    /// What is remembered for an event.
    pub(crate) fn remembered(&self, event: &AnyEvent) -> Option<Vec<AnyDraft>> {
        let Kind::Cached(copies) = &self.breaker.fallback.kind else { return None };
        let find = || self.answers.lock().find(event, *copies);
        catch_unwind(AssertUnwindSafe(find)).unwrap_or_default()
    }

    /// Something was done in the place of a call.
    pub(crate) fn fell_back(&self, channel: &Channel, event: &AnyEvent, how: FallbackKind) {
        channel.fall_back();
        let (subscription, unnamed) = (&*self.subscription(), self.unnamed());
        let unnamed = unnamed.as_ref();
        self.services.signals.tell(&Signal::FellBack { subscription, unnamed, event, how });
    }

    pub(crate) fn statuses(&self, waiting: impl Fn(&Topic) -> u64) -> Vec<BreakerStatus> {
        let channels: Vec<Arc<Channel>> = self.channels.read().values().cloned().collect();
        let mut statuses: Vec<_> = channels.iter().map(|channel| self.status(channel, &waiting)).collect();
        statuses.sort_by(|one, other| one.topic.cmp(&other.topic));
        statuses
    }

    fn status(&self, channel: &Channel, waiting: impl Fn(&Topic) -> u64) -> BreakerStatus {
        let (now, utc) = (self.services.clock.now(), self.services.clock.utc());
        let (counts, waiting) = (channel.counts(), waiting(channel.topic()) + channel.waiting());
        channel.read(|circuit| BreakerStatus {
            subscription: self.subscription(),
            topic: channel.topic().clone(),
            state: circuit.state(),
            force: circuit.forced(),
            since: utc.saturating_sub(now.saturating_duration_since(circuit.since())),
            next_probe: circuit.next_probe().map(|until| behind(utc, now, until)),
            probes: circuit.probes(),
            waiting,
            fell_back: channel.fell_back(),
            counts,
        })
    }

    #[cold]
    fn told(&self, channel: &Channel, moved: Moved) {
        let (now, utc) = (self.services.clock.now(), self.services.clock.utc());
        let until = channel.read(busway_reliability::Circuit::next_probe);
        let next_probe = until.map(|until| behind(utc, now, until));
        let (subscription, topic) = (&*self.subscription(), channel.topic());
        let Moved { from, to } = moved;
        match to {
            BreakerState::Open => {
                tracing::warn!(subscription, topic = topic.as_str(), "the circuit is open: no call is made");
            }
            _ => tracing::info!(subscription, topic = topic.as_str(), state = %to, "the circuit has moved"),
        }
        let (from, to) = (circuit(from), circuit(to));
        self.services.signals.tell(&Signal::BreakerMoved { subscription, topic, from, to, next_probe });
        self.ring();
    }

    /// All who wait for a channel look again.
    fn ring(&self) {
        self.moved.notify_waiters();
        // For a pump that was about to wait.
        self.moved.notify_one();
        self.services.idle.touch();
    }
}

/// Forgets a tenth of the channels, but the one that has just been made: closed ones before others, of these the ones that were used least lately.
fn forget_some(channels: &mut HashMap<Topic, Arc<Channel>>, but: &Topic) {
    let others = channels.values().filter(|channel| channel.topic() != but);
    let mut by_use: Vec<Arc<Channel>> = others.cloned().collect();
    by_use.sort_by_cached_key(|channel| {
        let is_needed = channel
            .read(|circuit| circuit.state() != BreakerState::Closed || circuit.forced() != Force::Automatic);
        (is_needed, channel.used())
    });
    for channel in by_use.iter().take(CHANNELS_MAX / 10) {
        channel.retire();
        channels.remove(channel.topic());
    }
}

/// What the wall clock will say then.
fn behind(utc: Timestamp, now: Instant, then: Instant) -> Timestamp {
    utc.saturating_add(then.saturating_duration_since(now))
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use busway_middleware::Registry;

    use super::*;
    use crate::breaker::Reach;
    use crate::clock::SystemClock;
    use crate::idle::IdleWatch;

    fn guard(breaker: Breaker) -> Arc<Guard> {
        let services = Services {
            clock: Arc::new(SystemClock),
            shown: crate::shown::Shown::default(),
            idle: Arc::<IdleWatch>::default(),
            middleware: Registry::new(),
            signals: busway_observability::Collectors::new(),
            tracing: None,
            runtime: tokio::runtime::Handle::current(),
        };
        Arc::new(Guard::new(Arc::new(services), breaker))
    }

    fn topic(n: usize) -> Topic {
        Topic::new(format!("orders.created.shop-{n}")).unwrap()
    }

    #[tokio::test]
    async fn beyond_ten_thousand_channels_the_least_recently_used_closed_ones_are_forgotten() {
        let guard = guard(Breaker::default());
        let mut reach = Reach::new(Arc::clone(&guard));
        let first = reach.channel(&topic(0));
        guard.force(&topic(1), Force::Open);
        for n in 2..CHANNELS_MAX {
            _ = reach.channel(&topic(n));
        }
        // Used again, from the worker's own memory or not.
        _ = reach.channel(&topic(2));
        assert_eq!(guard.statuses(|_| 0).len(), CHANNELS_MAX);
        assert_eq!(guard.room(&topic(1)), Room::Forced);
        _ = reach.channel(&topic(CHANNELS_MAX));
        let left = guard.statuses(|_| 0);
        assert_eq!(left.len(), CHANNELS_MAX + 1 - CHANNELS_MAX / 10);
        let has = |n| left.iter().any(|status| status.topic == topic(n));
        assert!(has(1) && has(2) && has(CHANNELS_MAX), "open, used, new");
        assert!(!has(0) && !has(3) && !has(500));
        assert!(!Arc::ptr_eq(&first, &reach.channel(&topic(0))), "a new one, closed");
    }

    #[tokio::test]
    async fn a_worker_finds_its_channels_without_the_table_and_others_with_it() {
        let guard = guard(Breaker::default());
        let mut reach = Reach::new(Arc::clone(&guard));
        for n in 0..300 {
            let found = reach.channel(&topic(n));
            assert_eq!(found.topic(), &topic(n));
            assert!(
                Arc::ptr_eq(&found, &reach.channel(&topic(n)))
                    && Arc::ptr_eq(&found, &guard.channel(&topic(n)))
            );
        }
        let before = guard.tick.load(Ordering::Relaxed);
        for _ in 0..10 {
            _ = reach.channel(&topic(299));
        }
        assert_eq!(guard.tick.load(Ordering::Relaxed), before);
    }
}
