//! The inside of a bus.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Weak};

use busway_event::Metadata;
use busway_middleware::{PublishRegistry, States};
use busway_observability::{BusNumbers, ReloadNumbers};
use busway_reliability::{Outstanding, Tally};
use busway_router::Router;
use parking_lot::{Mutex, MutexGuard, RwLock};
use thread_local::ThreadLocal;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, DeskTally};
use super::ended::Ended;
use super::entries::Entries;
use super::services::Services;
use super::shutdown::Closing;
use super::stamping::Wall;
use crate::breaker::Guard;
use crate::durable::Durables;
use crate::log::Log;
use crate::named::Named;
use crate::remote::Remotes;
use crate::seen;
use crate::settings::Levels;
use crate::stats::{BusStats, State, SubscriptionStats};
use crate::subscription::{Entry, SubscriptionCore};

/// See the module.
#[derive(Debug)]
pub(crate) struct BusCore {
    pub(crate) services: Arc<Services>,
    pub(super) wall: Wall,
    pub(crate) router: Router<Entry>,
    pub(crate) publish_steps: PublishRegistry,
    /// Metadata of events that bring none: the producer's name.
    pub(crate) metadata: Metadata,
    pub(crate) payload_bytes_max: usize,
    pub(crate) states: States,
    pub(crate) levels: Levels,
    pub(crate) named: Named,
    pub(crate) closing: Closing,
    /// Tells handlers to stop.
    pub(crate) stopping: CancellationToken,
    pub(super) entries: Entries,
    next_subscription: AtomicU64,
    /// Whether there ever was an inline subscription.
    inline: AtomicBool,
    /// Also held while subscriptions are forgotten or summed, so that each is in one of the two.
    pub(super) ended: Mutex<Ended>,
    /// Held while a subscription is checked and entered, and while it is decided that one ends: names and groups are found
    /// or made in one step, and whoever enters does so before the bus closes or not at all.
    registering: Mutex<()>,
    pub(crate) refused: AtomicU64,
    /// Configurations that came while it ran.
    pub(super) reloads: Mutex<ReloadNumbers>,
    /// What streams capture is stored in; `None` on a bus that lives in memory.
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) durable: Durables,
    /// Of subscriptions at transports.
    pub(crate) remotes: Remotes,
    /// Of the breakers of ephemeral subscriptions.
    pub(crate) guards: RwLock<Vec<Weak<Guard>>>,
    /// One a thread that publishes.
    desks: ThreadLocal<Desk>,
    /// What was published at each of them.
    pub(super) desk_tallies: Mutex<Vec<Arc<DeskTally>>>,
}

/// What a bus is made of.
pub(crate) struct BusParts {
    pub(crate) services: Services,
    pub(crate) publish_steps: PublishRegistry,
    pub(crate) metadata: Metadata,
    pub(crate) payload_bytes_max: usize,
    pub(crate) states: States,
    pub(crate) levels: Levels,
    pub(crate) log: Option<Arc<Log>>,
    pub(crate) named: Named,
}

impl BusCore {
    pub(crate) fn new(parts: BusParts) -> Arc<Self> {
        Arc::new(Self {
            wall: Wall::of(&parts.services.clock),
            services: Arc::new(parts.services),
            router: Router::new(),
            publish_steps: parts.publish_steps,
            metadata: parts.metadata,
            payload_bytes_max: parts.payload_bytes_max,
            states: parts.states,
            levels: parts.levels,
            named: parts.named,
            closing: Closing::default(),
            stopping: CancellationToken::new(),
            entries: Entries::default(),
            next_subscription: AtomicU64::new(0),
            inline: AtomicBool::new(false),
            ended: Mutex::default(),
            registering: Mutex::default(),
            refused: AtomicU64::new(0),
            reloads: Mutex::default(),
            log: parts.log,
            durable: Durables::default(),
            remotes: Remotes::default(),
            guards: RwLock::default(),
            desk_tallies: Mutex::default(),
            desks: ThreadLocal::new(),
        })
    }

    /// This thread's desk.
    #[inline]
    pub(crate) fn desk(&self) -> &Desk {
        match self.desks.get() {
            Some(desk) => desk,
            None => self.new_desk(),
        }
    }

    #[cold]
    fn new_desk(&self) -> &Desk {
        self.desks.get_or(|| {
            let tally: Arc<DeskTally> = Arc::default();
            self.desk_tallies.lock().push(Arc::clone(&tally));
            Desk::new(tally)
        })
    }

    pub(crate) fn next_subscription(&self) -> u64 {
        self.next_subscription.fetch_add(1, Ordering::Relaxed)
    }

    /// To be called before an inline subscription can be found at work.
    pub(crate) fn has_inline_from_now_on(&self) {
        self.inline.store(true, Ordering::Release);
    }

    /// Whether there ever was an inline subscription.
    #[inline]
    pub(crate) fn has_had_inline(&self) -> bool {
        self.inline.load(Ordering::Acquire)
    }

    pub(crate) fn registering(&self) -> MutexGuard<'_, ()> {
        self.registering.lock()
    }

    /// Whether there are no ephemeral subscriptions, nor any that are about to begin.
    pub(crate) fn has_no_entries(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that have not ended, in the order in which they subscribed.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries.all()
    }

    /// Those of them that are at work: the others never had an event.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<SubscriptionCore>> {
        self.entries.find_all(|entry| entry.awake().cloned())
    }

    /// The subscription of this number that has had an event, until it is forgotten.
    pub(crate) fn subscription(&self, id: u64) -> Option<Arc<SubscriptionCore>> {
        self.entries.find(|entry| entry.awake().filter(|core| core.id == id).cloned())
    }

    /// The group of this name on this filter, if no other one has taken its place.
    pub(crate) fn group(&self, filter: &str, group: &str) -> Option<Arc<SubscriptionCore>> {
        let is_it = |core: &Arc<SubscriptionCore>| {
            core.group.as_deref() == Some(group)
                && core.filter.as_str() == filter
                && !core.has_heir()
                && matches!(core.state(), State::Running | State::Paused)
        };
        self.entries.find(|entry| entry.awake().filter(|core| is_it(core)).cloned())
    }

    /// Whether a subscription of this name has not ended.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.entries.has_name(name)
    }

    /// Whether any subscription bears the name, or is about to.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.has_name(name) || self.durable.has_name(name)
    }

    /// Enters a subscription and routes events to it: also those of the subscription that it takes the place of, at one moment.
    pub(crate) fn enter(&self, entry: &Arc<Entry>, old: Option<&Entry>) {
        self.entries.insert(entry);
        let replace = |old: &Entry| self.router.replace(old.route()?, &entry.filter, Arc::clone(entry));
        let replaced = old.and_then(replace).map(|(route, _)| route);
        entry.routed(replaced.unwrap_or_else(|| self.router.insert(&entry.filter, Arc::clone(entry))));
        // Its first events may have ended it, or begun to, before its route was noted. Pairs with the fence in `unroute`:
        // whoever ends it sees the route, or is seen here.
        fence(Ordering::SeqCst);
        if !matches!(entry.state(), State::Running | State::Paused) {
            entry.unroute();
        }
    }

    /// Enters one whose events do not come from here.
    pub(crate) fn enter_unrouted(&self, entry: &Arc<Entry>) {
        self.entries.insert(entry);
        // Whoever has ended it already may have said so when it was not there.
        if entry.state() == State::Stopped {
            entry.unroute();
        }
    }

    /// Forgets an ended subscription, but for its account.
    pub(crate) fn forget(&self, core: &SubscriptionCore) {
        let mut ended = self.ended.lock();
        let entry = self.entries.remove(core.id);
        if let Some(entry) = &entry {
            ended.counted(&seen::of_ephemeral(entry));
            ended.push(Arc::clone(&core.mailbox.account));
        }
        // Behind the lock goes what may be the last of a handler, and run code of its own.
        drop(ended);
        drop(entry);
    }

    /// Forgets an entry that never had an event; `false` when it is forgotten already.
    pub(crate) fn forget_entry(&self, id: u64) -> bool {
        self.entries.remove(id).is_some()
    }

    /// Whether no publisher is in the middle of an offer, to whatever subscription.
    pub(crate) fn is_at_rest(&self) -> bool {
        let ended = self.ended.lock();
        ended.is_at_rest() && self.subscriptions().iter().all(|core| core.mailbox.account.is_at_rest())
    }

    /// What is left to do. The sum of what is settled is read before the sum of what was offered, so equality means that at
    /// some moment in between nothing was waiting anywhere: an event that a handler emits is offered before its own is
    /// settled, and both sums only rise, but for an offer that met a closed mailbox and is taken back.
    ///
    /// Both are taken over the same entries. One that sleeps in the first pass may have been woken by a handler that is
    /// settled in it, so the second looks again.
    ///
    /// What is upstream of them, in the log and in durable handlers, is looked at before and again behind: it may have become
    /// theirs in between.
    pub(crate) fn outstanding(&self) -> Outstanding {
        let upstream = || (self.on_their_way(), self.durable.running());
        let (log_end, before) = (self.log.as_ref().map(|log| log.end()), upstream());
        let entries = self.entries();
        let awake = || entries.iter().filter_map(|entry| entry.awake());
        let settled: u64 = awake().map(|core| core.mailbox.account.tally().settled()).sum();
        let mut resting = 0;
        let mut offered = 0;
        let mut running = 0;
        for core in awake() {
            let active = core.mailbox.account.active();
            let tally = core.mailbox.account.tally();
            offered += tally.offered;
            running += active;
            if core.state() == State::Paused {
                resting += tally.waiting().saturating_sub(core.mailbox.account.running());
            }
        }
        let waiting = offered.saturating_sub(settled + resting + running);
        let behind = upstream();
        let has_moved = u64::from(self.log.as_ref().map(|log| log.end()) != log_end);
        let on_their_way = before.0.max(behind.0).max(has_moved);
        Outstanding { waiting: waiting + on_their_way, running: running + before.1.max(behind.1) }
    }

    /// Events that go through the log and have not come as far as ephemeral subscriptions.
    fn on_their_way(&self) -> u64 {
        let Some(log) = &self.log else { return 0 };
        let appending = u64::try_from(log.appending()).unwrap_or(u64::MAX);
        // In this order: what is appended meanwhile is seen there.
        appending.saturating_add(log.unrelayed())
    }

    /// Whether nothing waits and nothing runs, durable subscriptions included. What they publish may go to ephemeral ones and
    /// the other way round, so both are looked at while the log stands still.
    pub(crate) fn is_idle(&self) -> bool {
        let Some(log) = &self.log else { return self.outstanding().is_empty() };
        let end = log.end();
        if !log.schedule.is_at_rest(&*self.services.clock) {
            return false;
        }
        let are_idle =
            || self.outstanding().is_empty() && self.durable.are_at_rest() && self.outstanding().is_empty();
        are_idle()
            && self.durable.are_at_rest()
            && log.schedule.is_at_rest(&*self.services.clock)
            && log.end() == end
    }

    /// Starts the task that offers committed events to ephemeral subscriptions, and the one that publishes what is due.
    pub(crate) fn start_relay(self: &Arc<Self>) {
        if let Some(log) = &self.log {
            // First: it says what is old before something is stored.
            let time = Arc::clone(log).keep_time(Arc::clone(&self.services));
            drop(self.services.runtime.spawn(log.readers.track_future(time)));
            let relay = Arc::clone(log).relay(Arc::downgrade(self));
            drop(self.services.runtime.spawn(log.readers.track_future(relay)));
            let timer = Arc::clone(log).run_schedule(Arc::clone(&self.services), Arc::downgrade(self));
            drop(self.services.runtime.spawn(log.readers.track_future(timer)));
            drop(self.services.runtime.spawn(log.watch_deadlines(&self.services)));
        }
    }

    pub(crate) fn stats(&self) -> BusStats {
        self.sweep();
        let mut ended_now = self.ended.lock();
        let ended = ended_now.tally();
        let mut subscriptions: Vec<SubscriptionStats> =
            self.entries().iter().map(|entry| entry.stats()).collect();
        let tally = subscriptions.iter().map(|stats| stats.tally).sum::<Tally>() + ended;
        drop(ended_now);
        // One whose workers have not all noticed that it is over counts in the sum and is not shown.
        subscriptions.retain(|stats| stats.state != State::Stopped);
        let durable = self.durable.list().iter().map(|core| core.stats()).collect();
        let mut abandoned = self.log.as_ref().map(|log| log.abandoned()).unwrap_or_default();
        abandoned.retain(|name| !self.durable.has_name(name));
        let BusNumbers { published, refused, unstored, unrouted, .. } = self.passed();
        BusStats { published, refused, unstored, unrouted, subscriptions, durable, abandoned, tally }
    }

    /// Stops everything at once, without waiting for it.
    pub(crate) fn abort(&self) {
        self.closing.close();
        self.stopping.cancel();
        let registering = self.registering();
        let entries = self.entries();
        drop(registering);
        for entry in entries {
            if let Some(core) = entry.end() {
                core.cut_handlers();
                core.close();
            }
        }
        let durable = self.durable.list();
        durable.iter().for_each(|core| core.cut());
        self.remotes.end();
        if let Some(log) = &self.log {
            log.schedule.stop();
            log.ending.cancel();
            log.readers.close();
            // Waits for the disk, so not here. On a runtime that has ended it is closed when the last handle of it goes.
            let (log, services) = (Arc::clone(log), Arc::clone(&self.services));
            drop(self.services.runtime.spawn(async move {
                // Nobody else may have the directory while a handler still runs: it would start a second attempt beside it.
                // One that does not end is left behind after a while.
                let until = services.clock.now() + HANDLERS_END_AFTER;
                for core in durable {
                    tokio::select! {
                        () = core.ended() => {}
                        () = services.clock.sleep_until(until) => {}
                    }
                }
                // What was decided is given to the store first.
                log.readers.wait().await;
                let runtime = services.runtime.clone();
                drop(runtime.spawn_blocking(move || {
                    log.close();
                    services.idle.touch();
                }));
            }));
        }
    }
}

/// How long the end of a bus waits for handlers that were cut short.
const HANDLERS_END_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
