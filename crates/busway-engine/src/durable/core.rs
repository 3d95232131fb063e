//! The inside of a durable subscription, shared by its handle, its pump and its workers.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_event::{AnyEvent, Filter};
use busway_middleware::{ChainTrace, Scope};
use busway_persistence::Position;
use busway_reliability::{Caution, TimeToLive};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::flow::Flow;
use super::gaps::Gaps;
use super::hand::Hand;
use super::member::Member;
use super::pump;
use super::recovery::{Alarms, Recovery};
use super::registry::Turn;
use super::replays::Replays;
use super::stats::{DurableStats, Lag, Pace};
use super::window::{Moment, Window};
use crate::breaker::Guard;
use crate::bus::{BusCore, Services};
use crate::dead_letters::Expiry;
use crate::idempotency::Keeper;
use crate::log::Log;
use crate::settings::Effective;
use crate::stats::{LastFailure, State};

/// See the module.
pub(crate) struct DurableCore {
    pub(crate) services: Arc<Services>,
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) filter: Filter,
    pub(crate) settings: Arc<Effective>,
    pub(crate) recovery: Recovery,
    /// How long an attempt may take.
    pub(super) deadline: Option<Duration>,
    /// How long events may wait that do not say so themselves.
    pub(super) ttl: TimeToLive,
    /// Its breaker.
    pub(crate) guard: Option<Arc<Guard>>,
    /// Which keys are done, when it is idempotent.
    pub(crate) keeper: Option<Box<Keeper>>,
    /// Its group, when several members may share it.
    pub(crate) group: Option<Arc<str>>,
    pub(super) scope: Arc<Scope>,
    /// Weak: a subscription never keeps its bus alive.
    pub(crate) bus: Weak<BusCore>,
    pub(crate) log: Arc<Log>,
    /// Its number in the store.
    pub(crate) number: u32,
    pub(super) hand: Mutex<Hand>,
    /// The turn of its name: one seek or redrive after the other.
    pub(super) name_turn: Turn,
    pub(super) flow: Arc<Flow>,
    /// Handlers are told to stop.
    pub(super) stopping: CancellationToken,
    /// Handlers are cut short.
    pub(super) abort: CancellationToken,
    /// The pump stores what is decided, and ends.
    pub(crate) ending: CancellationToken,
    /// Counts workers that have not ended.
    pub(super) workers: TaskTracker,
    pub(super) counts: Counts,
    pub(super) gaps: Gaps,
    /// Which partition is read first.
    pub(super) turn: AtomicUsize,
    /// The storage could not be read a moment ago.
    pub(super) is_unreadable: AtomicBool,
    pub(super) alarms: Mutex<Alarms>,
    pub(crate) replays: Replays,
    pub(crate) expiry: Expiry,
    last_failure: Mutex<Option<LastFailure>>,
    traces: Mutex<Vec<ChainTrace>>,
}

/// Attempts since the subscription began.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) dead: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) cut_short: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) discarded: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) lost: AtomicU64,
    /// Of the lost: those that no delivery has told of.
    pub(super) untold: AtomicU64,
}

impl Counts {
    pub(super) fn lose(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
        self.untold.fetch_add(events, Ordering::Relaxed);
    }
}

/// What a durable subscription is made of.
pub(super) struct DurableParts {
    pub(super) services: Arc<Services>,
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) filter: Filter,
    pub(super) settings: Arc<Effective>,
    pub(super) recovery: Recovery,
    pub(super) deadline: Option<Duration>,
    pub(super) ttl: TimeToLive,
    pub(super) guard: Option<Arc<Guard>>,
    pub(super) keeper: Option<Box<Keeper>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) scope: Arc<Scope>,
    pub(super) bus: Weak<BusCore>,
    pub(super) log: Arc<Log>,
    pub(super) number: u32,
    pub(super) name_turn: Turn,
    pub(super) window: Window<AnyEvent>,
    pub(super) caution: Caution,
    pub(super) stopping: CancellationToken,
}

impl DurableCore {
    pub(super) fn new(parts: DurableParts) -> Arc<Self> {
        let flow = Arc::new(Flow::new(Arc::clone(&parts.services)));
        Arc::new(Self {
            ending: parts.log.ending.child_token(),
            services: parts.services,
            id: parts.id,
            name: parts.name,
            filter: parts.filter,
            settings: parts.settings,
            recovery: parts.recovery,
            deadline: parts.deadline,
            ttl: parts.ttl,
            guard: parts.guard,
            keeper: parts.keeper,
            group: parts.group,
            scope: parts.scope,
            bus: parts.bus,
            log: parts.log,
            number: parts.number,
            hand: Mutex::new(Hand::new(parts.window, parts.caution)),
            name_turn: parts.name_turn,
            flow,
            stopping: parts.stopping,
            abort: CancellationToken::new(),
            workers: TaskTracker::new(),
            counts: Counts::default(),
            gaps: Gaps::default(),
            turn: AtomicUsize::new(0),
            is_unreadable: AtomicBool::new(false),
            alarms: Mutex::default(),
            replays: Replays::default(),
            expiry: Expiry::default(),
            last_failure: Mutex::default(),
            traces: Mutex::default(),
        })
    }

    /// Begins to fetch and to handle.
    pub(super) fn begin(self: &Arc<Self>) {
        let pump = pump::pump(Arc::clone(self));
        drop(self.services.runtime.spawn(self.log.readers.track_future(pump)));
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.services.clock.now(), utc: self.services.clock.utc() }
    }

    pub(crate) fn state(&self) -> State {
        self.hand.lock().state
    }

    /// Moves on to `state`, unless it is further already. Only a pause is taken back.
    pub(crate) fn advance(&self, state: State) {
        if self.hand.lock().advance(state) {
            self.has_changed();
        }
    }

    /// Its state, or who is there, has changed: all look again.
    pub(super) fn has_changed(&self) {
        self.wake_all();
        self.flow.bell.notify_one();
        self.services.idle.touch();
    }

    /// Wakes all workers that sleep, or wait for room in the store.
    pub(super) fn wake_all(&self) {
        for seat in &self.hand.lock().seats {
            seat.member.more.notify_waiters();
            seat.member.recalled.notify_waiters();
        }
    }

    /// Sees to it that a worker looks for what may start.
    pub(super) fn supply(self: &Arc<Self>) {
        let mut hand = self.hand.lock();
        if hand.goes_on() && hand.may_start() {
            hand.supply(self);
        }
    }

    /// Attempts were cut short: their events stay as they were.
    pub(super) fn cut_short(&self, places: impl IntoIterator<Item = Position>) {
        let mut hand = self.hand.lock();
        for place in places {
            self.counts.cut_short.fetch_add(1, Ordering::Relaxed);
            hand.window.cut_short(place);
        }
    }

    /// Who is named where an event is given up that no handler has seen.
    pub(super) fn handler_name(&self) -> String {
        let hand = self.hand.lock();
        hand.seats.first().map(|seat| seat.member.handler.info().name.to_owned()).unwrap_or_default()
    }

    /// Its members.
    pub(crate) fn members(&self) -> Vec<Arc<Member>> {
        self.hand.lock().members().map(|seat| Arc::clone(&seat.member)).collect()
    }

    pub(crate) fn running(&self) -> u64 {
        let [running, ..] = self.hand.lock().window.counts();
        u64::try_from(running).unwrap_or(u64::MAX)
    }

    /// Whether everything that is there is settled and stored, but for what is parked and not due yet. One that is paused or over
    /// starts nothing, so what waits for it does not count.
    pub(crate) fn is_at_rest(&self) -> bool {
        let now = self.services.clock.now();
        let hand = self.hand.lock();
        let is_stored = hand.window.unsent().is_empty() && self.flow.is_clear();
        if hand.state != State::Running {
            let [running, ..] = hand.window.counts();
            return running == 0 && (is_stored || hand.state == State::Stopped);
        }
        let reading = hand.window.reading();
        let is_read = self.log.with(|store| {
            reading.iter().all(|at| store.bounds(at.partition).is_none_or(|(_, end)| at.offset >= end))
        });
        is_stored
            && !hand.is_held()
            && hand.window.is_at_rest(now)
            && !self.has_released(&hand)
            && (is_read.unwrap_or(true) || hand.window.is_parked_full())
    }

    /// Whether as many events are parked as may be.
    pub(crate) fn is_parked_full(&self) -> bool {
        self.hand.lock().window.is_parked_full()
    }

    /// Starts nothing more and cuts short whatever runs.
    pub(crate) fn cut(&self) {
        self.advance(State::Stopped);
        self.stopping.cancel();
        self.abort.cancel();
        self.cut_taken();
        self.workers.close();
    }

    /// Waits until no worker is left: not before nothing more is started.
    pub(crate) async fn ended(&self) {
        self.workers.close();
        self.workers.wait().await;
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.workers.is_empty()
    }

    /// Waits for running handlers, stores what was decided, and leaves the bus.
    pub(super) async fn end(&self) {
        self.advance(State::Draining);
        self.services.idle.until(|| (self.running() == 0).then_some(())).await;
        self.advance(State::Stopped);
        self.ended().await;
        self.ending.cancel();
        self.services.idle.until(|| self.is_over().then_some(())).await;
        let (number, now) = (self.number, self.services.clock.utc());
        self.log.lend(&self.services, move |store| store.detach(number, now)).await;
        if let Some(bus) = self.bus.upgrade() {
            bus.forget_durable(self);
            self.services.idle.touch();
        }
    }

    /// Events that were decided, and are attempted again if the process ends now.
    pub(crate) fn unstored(&self) -> u64 {
        // Under the lock: see `Flow::is_clear`.
        let hand = self.hand.lock();
        hand.window.decided() + self.flow.unstored()
    }

    fn is_over(&self) -> bool {
        let is_stored = self.hand.lock().window.unsent().is_empty() && self.flow.is_clear();
        is_stored || self.flow.has_failed() || self.log.with(|_| ()).is_none()
    }

    pub(super) fn failed(&self, failure: LastFailure) {
        *self.last_failure.lock() = Some(failure);
    }

    pub(super) fn keep_trace(&self, trace: ChainTrace) {
        let mut traces = self.traces.lock();
        if traces.len() >= self.settings.traces {
            traces.remove(0);
        }
        traces.push(trace);
    }

    pub(super) fn traces(&self) -> Vec<ChainTrace> {
        self.traces.lock().clone()
    }

    pub(crate) fn stats(&self) -> DurableStats {
        let hand = self.hand.lock();
        let [running, ready, parked] =
            hand.window.counts().map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        let state = hand.state;
        let hung: usize = hand.seats.iter().map(|seat| seat.hung).sum();
        let pace = if hand.careful > 0 { Pace::OneByOne } else { Pace::Usual };
        let (over_budget, no_room) = hand.window.held_back();
        drop(hand);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DurableStats {
            name: Arc::clone(&self.name),
            state,
            pace,
            quarantined: count(&self.counts.quarantined),
            done: count(&self.counts.done),
            failed: count(&self.counts.failed),
            dead: count(&self.counts.dead),
            skipped: count(&self.counts.skipped),
            expired: count(&self.counts.expired),
            cut_short: count(&self.counts.cut_short),
            conflicts: count(&self.counts.conflicts),
            late: count(&self.counts.late),
            hung: u64::try_from(hung).unwrap_or(u64::MAX),
            lost: count(&self.counts.lost),
            discarded: count(&self.counts.discarded),
            replayed: count(&self.counts.replayed),
            over_budget: u64::try_from(over_budget).unwrap_or(u64::MAX),
            no_room: u64::try_from(no_room).unwrap_or(u64::MAX),
            running,
            ready,
            parked,
            idempotency: self.keeper.as_ref().map(|keeper| keeper.stats()),
            last_failure: self.last_failure.lock().clone(),
        }
    }

    /// How far it is behind. Reads a record a partition.
    pub(crate) fn lag(&self) -> Lag {
        let hand = self.hand.lock();
        let (reading, lowest) = (hand.window.reading(), hand.window.lowest_unsettled());
        let in_hand: usize = hand.window.counts().iter().sum();
        drop(hand);
        let utc = self.services.clock.utc();
        let measure = |store: &busway_persistence::Store| {
            let unread = reading.iter().map(|at| {
                let (_, end) = store.bounds(at.partition).unwrap_or_default();
                end.saturating_sub(at.offset)
            });
            let oldest = store.read_each(&lowest).into_iter().filter_map(|found| found.ok().flatten());
            let ages = oldest.map(|stored| utc.saturating_since(stored.appended));
            (unread.sum::<u64>(), ages.max())
        };
        let (unread, age) = self.log.with(measure).unwrap_or_default();
        Lag { events: unread.saturating_add(u64::try_from(in_hand).unwrap_or(u64::MAX)), age }
    }
}

impl fmt::Debug for DurableCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableCore")
            .field("name", &self.name)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
