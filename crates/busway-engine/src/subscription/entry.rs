//! A subscription's entry in the routing table: all that there is of it before its first event.
//!
//! A program may subscribe to ten thousand topics of which ten are busy. So a subscription begins as what it was asked for
//! (a filter, settings, a handler), and what it needs to handle events (mailbox, account, tokens, scope) is made when the first
//! one comes, or when somebody pauses it. Groups, inline handlers and whatever has lanes to keep are made at once.
//!
//! # Ending
//! An entry that ends before it was made is marked so, in the same word in which it would be made: of who publishes and who ends
//! it, one comes first, and the other finds out.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};

use busway_event::Filter;
use busway_middleware::{ModeKind, Run};
use busway_observability::audit::Action;
use busway_reliability::Tally;
use busway_router::RouteId;

use super::core::{SubscriptionCore, SubscriptionParts};
use super::member::Member;
use super::place::Place;
use crate::bus::{BusCore, PublisherSource};
use crate::extract::Stopping;
use crate::mailbox::{CoalesceKey, Handling, Mailbox};
use crate::remote::Feed;
use crate::settings::Effective;
use crate::stats::{State, SubscriptionStats};

/// See the module.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// The name that it was given.
    name: Option<Arc<str>>,
    pub(crate) filter: Filter,
    pub(crate) settings: Arc<Effective>,
    /// The first member; others are the core's.
    pub(crate) member: Arc<Member>,
    /// Weak: a subscription never keeps its bus alive.
    bus: Weak<BusCore>,
    route: OnceLock<RouteId>,
    /// Set when another one takes its place, or it takes another one's.
    place: OnceLock<Arc<Place>>,
    /// `None` inside: it has ended without having been made.
    core: OnceLock<Option<Arc<SubscriptionCore>>>,
}

/// What a subscription is made of that its entry does not keep.
#[derive(Default)]
pub(crate) struct Making {
    pub(crate) group: Option<Arc<str>>,
    pub(crate) coalesce: CoalesceKey,
    pub(crate) feed: Option<Arc<Feed>>,
}

impl Entry {
    pub(crate) fn new(
        bus: &Arc<BusCore>,
        name: Option<Arc<str>>,
        filter: Filter,
        settings: Arc<Effective>,
        member: Arc<Member>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: bus.next_subscription(),
            name,
            filter,
            settings,
            member,
            bus: Arc::downgrade(bus),
            route: OnceLock::new(),
            place: OnceLock::new(),
            core: OnceLock::new(),
        })
    }

    /// The name that it was given, or its filter with a number.
    pub(crate) fn name(&self) -> Arc<str> {
        match &self.name {
            Some(name) => Arc::clone(name),
            None => format!("{} #{}", self.filter, self.id).into(),
        }
    }

    /// Whether it was given none.
    pub(crate) const fn is_unnamed(&self) -> bool {
        self.name.is_none()
    }

    /// The name that it has for good: without one it is called by its number until it is made, perhaps as a group.
    pub(crate) fn fixed_name(&self) -> Option<&Arc<str>> {
        self.awake().map(|core| &core.name).or(self.name.as_ref())
    }

    /// Whether this is what it is called.
    pub(crate) fn bears(&self, name: &str) -> bool {
        match self.fixed_name() {
            Some(own) => **own == *name,
            None => name.starts_with(self.filter.as_str()) && *self.name() == *name,
        }
    }

    /// The subscription at work, made now if it was not; `None` when it has ended before.
    #[inline]
    pub(crate) fn core(self: &Arc<Self>) -> Option<&Arc<SubscriptionCore>> {
        match self.core.get() {
            Some(core) => core.as_ref(),
            None => self.wake(Making::default()),
        }
    }

    /// The subscription at work, if it was made and has not ended before.
    #[inline]
    pub(crate) fn awake(&self) -> Option<&Arc<SubscriptionCore>> {
        self.core.get()?.as_ref()
    }

    /// Ends it, and takes it off the bus, if it was not made yet; otherwise the caller has to end what was made.
    pub(crate) fn end(&self) -> Option<&Arc<SubscriptionCore>> {
        let core = self.core.get_or_init(|| None).as_ref();
        if core.is_none() {
            self.unroute();
            if let Some(bus) = self.bus.upgrade() {
                bus.forget_entry(self.id);
            }
        }
        core
    }

    /// Ends it if it was not made yet, and leaves its route where it is; otherwise the caller has to end what was made.
    pub(super) fn end_in_place(&self) -> Option<&Arc<SubscriptionCore>> {
        self.core.get_or_init(|| None).as_ref()
    }

    pub(crate) fn route(&self) -> Option<RouteId> {
        self.route.get().copied()
    }

    /// Who has its place now, when that is another one.
    pub(crate) fn successor(&self) -> Option<Arc<Self>> {
        self.place.get()?.owner().filter(|owner| !std::ptr::eq(&raw const **owner, self))
    }

    /// Its place, for who comes behind it.
    pub(super) fn place(&self) -> &Arc<Place> {
        self.place.get_or_init(Arc::default)
    }

    /// Takes a place; `false` when it has one already.
    pub(super) fn takes(&self, place: &Arc<Place>) -> bool {
        self.place.set(Arc::clone(place)).is_ok()
    }

    pub(super) fn bus(&self) -> Option<Arc<BusCore>> {
        self.bus.upgrade()
    }

    pub(crate) fn state(&self) -> State {
        match self.core.get() {
            None => State::Running,
            Some(None) => State::Stopped,
            Some(Some(core)) => core.state(),
        }
    }

    /// Writes the audit line of a pause or its end, by where it has come to.
    pub(super) fn audit_turn(&self, action: Action, name: &str, to: State) {
        if let Some(bus) = self.bus.upgrade() {
            bus.services.shown.audit_turn(action, name, self.state() == to);
        }
    }

    /// Whether it is over and nothing of it runs.
    pub(crate) fn has_ended(&self) -> bool {
        match self.core.get() {
            None => false,
            Some(None) => true,
            Some(Some(core)) => core.state() == State::Stopped && core.has_ended(),
        }
    }

    /// Notes its route. One that was over before has to be taken off the table by the caller.
    pub(crate) fn routed(&self, route: RouteId) {
        _ = self.route.set(route);
    }

    /// Takes it off the routing table: no new publish finds it. After its state has said that it ends.
    pub(crate) fn unroute(&self) {
        fence(Ordering::SeqCst);
        let Some(bus) = self.bus.upgrade() else { return };
        if let Some(route) = self.route.get() {
            bus.router.remove(*route);
        }
        bus.has_to_be_forgotten(self.id);
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        match self.awake() {
            Some(core) => core.stats(),
            None => SubscriptionStats {
                name: self.name(),
                state: self.state(),
                tally: Tally::default(),
                done: 0,
                failed: 0,
                dead: 0,
                skipped: 0,
                retried: 0,
                over_budget: 0,
                running: 0,
                queued_bytes: 0,
                idempotency: self.member.keeper.as_ref().map(|keeper| keeper.stats()),
                last_failure: None,
            },
        }
    }

    /// Who takes its events out, when it is no group.
    pub(crate) fn handling(&self) -> Handling {
        match self.member.handler.run() {
            Run::Inline => Handling::Inline,
            _ if self.settings.concurrency.get() > 1 => Handling::Scheduled,
            _ => Handling::OneWorker,
        }
    }

    /// Makes the subscription.
    #[cold]
    pub(crate) fn wake(self: &Arc<Self>, making: Making) -> Option<&Arc<SubscriptionCore>> {
        self.core.get_or_init(|| Some(self.made(&*self.bus.upgrade()?, making))).as_ref()
    }

    fn made(
        self: &Arc<Self>,
        bus: &BusCore,
        Making { group, coalesce, feed }: Making,
    ) -> Arc<SubscriptionCore> {
        let handling = match group {
            Some(_) => Handling::Scheduled,
            None => self.handling(),
        };
        let name = match (&self.name, &group) {
            (None, Some(group)) => format!("{} @{group}", self.filter).into(),
            _ => self.name(),
        };
        let stopping = bus.stopping.child_token();
        let mut states = bus.states.clone();
        states.insert(PublisherSource { core: Weak::clone(&self.bus), subscription: self.id });
        states.insert(Stopping::of(stopping.clone()));
        let scope = bus.services.shown.scope(&name, self.filter.clone(), ModeKind::Ephemeral, states);
        // Of a group each member has its own.
        let scope = match group {
            Some(_) => scope,
            None => scope.with_identity(self.member.identity.clone()),
        };
        let clock = Arc::clone(&bus.services.clock);
        let core = SubscriptionCore::new(SubscriptionParts {
            entry: Arc::downgrade(self),
            services: Arc::clone(&bus.services),
            id: self.id,
            name,
            filter: self.filter.clone(),
            group,
            mailbox: Mailbox::new(Arc::clone(&self.settings), coalesce, handling, clock),
            settings: Arc::clone(&self.settings),
            scope: Arc::new(scope),
            bus: Weak::clone(&self.bus),
            stopping,
            feed,
        });
        if handling == Handling::Inline {
            bus.has_inline_from_now_on();
            _ = core.inline.set(Arc::clone(&self.member));
        }
        core.add(Arc::clone(&self.member));
        core.mailbox.join(self.member.id);
        core
    }
}
