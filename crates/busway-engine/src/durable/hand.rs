//! What the lock of a durable subscription holds together: its window, its members and their workers, and whether anything may
//! start. Held for moments, never across an await.

use std::num::NonZeroU32;
use std::sync::Arc;

use busway_event::AnyEvent;
use busway_persistence::Position;
use busway_reliability::{Caution, PriorityLimits, Running};
use busway_router::{GroupRule, MemberId, MemberLoad, Rotation, Share, choose};

use super::deadline::HUNG_MAX;
use super::member::Member;
use super::seek::Seek;
use super::watch::Watch;
use super::window::{Made, Moment, Started, Verdict, Window};
use super::{DurableCore, worker};
use crate::settings::Effective;
use crate::stats::State;

/// See the module.
pub(super) struct Hand {
    pub(super) window: Window<AnyEvent>,
    pub(super) state: State,
    /// Its members, and those that have left while their handlers still run.
    pub(super) seats: Vec<Seat>,
    /// Who of several that are free is given an event that sticks to nobody.
    pub(super) rule: GroupRule,
    /// Attempts that run, where there is a deadline.
    pub(super) watch: Watch,
    rotation: Rotation,
    next_member: u64,
    /// It is to be sent elsewhere: until then nothing starts and nothing is read.
    pub(super) seek: Option<Seek>,
    /// It is being sent elsewhere.
    pub(super) is_sought: bool,
    /// Events that are still to be attempted one by one, see [`caution`](super::caution): as many as there was room for at once.
    pub(super) careful: usize,
    /// The room that counts in it; `None` when the subscription goes the usual path.
    counted_room: Option<usize>,
}

/// A member and its workers.
pub(super) struct Seat {
    pub(super) member: Arc<Member>,
    pub(super) presence: Presence,
    pub(super) workers: usize,
    pub(super) asleep: usize,
    /// Workers whose handler is hung.
    pub(super) hung: usize,
}

/// Whether a member is given events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    Paused,
    /// Its workers end behind what they run.
    Left,
}

impl Hand {
    /// One without members.
    pub(super) fn new(window: Window<AnyEvent>, caution: Caution) -> Self {
        Self {
            window,
            state: State::Running,
            seats: Vec::new(),
            rule: GroupRule::default(),
            watch: Watch::default(),
            rotation: Rotation::default(),
            next_member: 0,
            seek: None,
            is_sought: false,
            careful: 0,
            // Members say how many there are.
            counted_room: (caution != Caution::None).then_some(0),
        }
    }

    /// Whether it is to be sent elsewhere, or is.
    pub(super) const fn is_held(&self) -> bool {
        self.seek.is_some() || self.is_sought
    }

    /// Whether events may be read and started.
    pub(super) fn goes_on(&self) -> bool {
        self.state == State::Running && !self.is_held()
    }

    /// Whether an event may start.
    pub(super) fn may_start(&self) -> bool {
        let has_its_turn = self.careful == 0 || self.window.counts().first() == Some(&0);
        has_its_turn && self.window.may_start()
    }

    /// Takes the next batch of a member, of `max` events at most: one while events are attempted one by one.
    pub(super) fn start_batch(&mut self, member: &Member, max: usize) -> Option<Vec<Started<AnyEvent>>> {
        match self.careful {
            0 => self.window.start_batch(member.id, max),
            _ => self.start(member).map(|one| vec![one]),
        }
    }

    /// Takes the next event of a member: the one that came first of all, while events are attempted one by one.
    pub(super) fn start(&mut self, member: &Member) -> Option<Started<AnyEvent>> {
        match self.careful {
            0 => self.window.start(member.id),
            _ => self.window.start_first(member.id),
        }
    }

    /// An event that was started is decided, and nothing of it runs any more.
    pub(super) fn ended(
        &mut self,
        core: &Arc<DurableCore>,
        place: Position,
        (verdict, made): (Verdict, Made),
        at: Moment,
    ) {
        let is_over = !matches!(verdict, Verdict::Wait(_) | Verdict::Later { .. });
        match made {
            Made::Attempt => self.window.ended(place, verdict, at),
            Made::Nothing => self.window.ended_unattempted(place, verdict, at),
        }
        if self.careful == 0 || !is_over {
            return;
        }
        self.careful -= 1;
        // It was the last one that had to be by itself.
        if self.careful == 0 {
            self.relax();
            if self.goes_on() && self.window.may_start() {
                self.supply(core);
            }
        }
    }

    /// Goes back to the usual path.
    pub(super) const fn relax(&mut self) {
        (self.careful, self.counted_room) = (0, None);
    }

    /// Moves on to `state`, unless it is further already; `false` then. Only a pause is taken back.
    pub(super) fn advance(&mut self, state: State) -> bool {
        let is_back = self.state == State::Paused && state == State::Running;
        let moves = is_back || rank(state) > rank(self.state);
        if moves {
            self.state = state;
        }
        moves
    }

    pub(super) const fn take_member_id(&mut self) -> u64 {
        self.next_member += 1;
        self.next_member - 1
    }

    pub(super) fn seat(&mut self, member: &Member) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.member.id == member.id)
    }

    /// Members that have not left.
    pub(super) fn members(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| seat.presence != Presence::Left)
    }

    /// Whether nobody is here who could start anything.
    pub(super) fn is_deserted(&self) -> bool {
        self.seats.iter().all(|seat| seat.presence != Presence::Here)
    }

    /// Lets those go that have left and run nothing any more.
    pub(super) fn dismiss(&mut self, limits: PriorityLimits) {
        self.seats.retain(|seat| seat.presence != Presence::Left || seat.workers > 0);
        self.resize(limits);
    }

    /// Takes the place of the window, with the members that are here.
    pub(super) fn replace_window(&mut self, window: Window<AnyEvent>, limits: PriorityLimits) {
        self.window = window;
        let here = self.seats.iter().filter(|seat| seat.presence == Presence::Here);
        here.for_each(|seat| self.window.join(seat.member.id));
        self.resize(limits);
    }

    /// Members have come or gone. Who has left counts while its handlers run: else they would take the places of the others.
    pub(super) fn resize(&mut self, limits: PriorityLimits) {
        let all = self.seats.iter().map(|seat| seat.member.concurrency.get());
        let concurrency = all.fold(0_u32, u32::saturating_add);
        let at_once = self.seats.iter().map(|seat| seat.member.events_at_once());
        let at_once = at_once.fold(0_usize, usize::saturating_add);
        let room = at_once.saturating_mul(ROOM_AN_EVENT).clamp(ROOM_MIN, ROOM_MAX);
        if let Some(counted) = &mut self.counted_room {
            self.careful += room.saturating_sub(*counted);
            *counted = room.max(*counted);
        }
        self.window.resize(room, limits, NonZeroU32::new(concurrency).unwrap_or(NonZeroU32::MIN));
    }

    /// Events that may be read now. Who takes events comes for many at once, so of those that may start no more are read than it comes for next: what lies long is cold when it is taken.
    /// Those that wait behind others of their lanes do not count: one busy key does not keep the others from being read.
    pub(super) fn room(&self) -> usize {
        let room = self.window.room();
        if self.seats.iter().any(|seat| seat.member.taken.is_none()) {
            return room;
        }
        let at_once = self.seats.iter().map(|seat| seat.member.events_at_once());
        let ahead = at_once.fold(0_usize, usize::saturating_add) / AHEAD;
        room.min(ahead.max(ROOM_MIN).saturating_sub(self.window.startable()))
    }

    /// Whether each member that is here has something that it may start. While one has not, more is to be read.
    pub(super) fn is_supplied(&self) -> bool {
        if !self.window.may_start() {
            return false;
        }
        let mut here = self.seats.iter().filter(|seat| seat.presence == Presence::Here);
        self.window.has_shared() || here.all(|seat| self.window.has_own(seat.member.id))
    }

    /// Sees to it that workers look for what may start, where it is known that something may: one of each member that has
    /// something of its own, and one for what sticks to nobody. Whoever takes an event does the same for the next one.
    pub(super) fn supply(&mut self, core: &Arc<DurableCore>) {
        if let [only] = &mut *self.seats {
            return only.supply(core);
        }
        let Self { seats, window, .. } = self;
        seats.iter_mut().filter(|seat| window.has_own(seat.member.id)).for_each(|seat| seat.supply(core));
        if !window.has_shared() {
            return;
        }
        let free = seats.iter_mut().filter(|seat| seat.is_free());
        let (mut free, loads): (Vec<&mut Seat>, Vec<MemberLoad>) = free.map(Seat::with_load).unzip();
        let chosen = choose(self.rule, &mut self.rotation, None, &loads);
        // Nobody is free: who ends an event looks for the next one.
        if let Some(seat) = chosen.and_then(|at| free.get_mut(at)) {
            seat.supply(core);
        }
    }
}

/// A window without members: they make room in it.
pub(super) fn window<E>(settings: &Effective) -> Window<E> {
    let running = Running::new(settings.limits, settings.concurrency);
    let mut window = Window::new(ROOM_MIN, settings.parked_max, running, Share::new(settings.share));
    window.set_budget(settings.retry_budget);
    window
}

impl Seat {
    pub(super) const fn new(member: Arc<Member>) -> Self {
        Self { member, presence: Presence::Here, workers: 0, asleep: 0, hung: 0 }
    }

    fn supply(&mut self, core: &Arc<DurableCore>) {
        if self.presence != Presence::Here {
            return;
        }
        if self.asleep > 0 {
            self.member.more.notify_one();
        } else if self.has_place() {
            // Without a thread for it the next one who looks tries again.
            self.workers += usize::from(worker::start(core, &self.member));
        }
    }

    fn is_free(&self) -> bool {
        self.presence == Presence::Here && (self.asleep > 0 || self.has_place())
    }

    fn has_place(&self) -> bool {
        // Who takes events comes for them: it has no workers.
        self.member.taken.is_none() && self.workers < self.workers_max()
    }

    /// Whether a hung worker came back after another one had taken its place.
    pub(super) fn has_too_many(&self) -> bool {
        self.workers > self.workers_max()
    }

    /// Workers that it may have: those that are hung do not count, up to a bound.
    fn workers_max(&self) -> usize {
        let concurrency = usize::try_from(self.member.concurrency.get()).unwrap_or(usize::MAX);
        concurrency.saturating_add(self.hung.min(HUNG_MAX))
    }

    fn with_load(&mut self) -> (&mut Self, MemberLoad) {
        let load = self.workers.saturating_sub(self.asleep);
        let load = MemberLoad { id: MemberId(self.member.id), load };
        (self, load)
    }
}

const fn rank(state: State) -> u8 {
    match state {
        State::Running => 0,
        State::Paused => 1,
        State::Draining => 2,
        State::Stopped => 3,
    }
}

/// Events in hand: a page, or some for each that may be handled at once, so that a handler that has ended finds the next one there.
const ROOM_MIN: usize = 256;
const ROOM_AN_EVENT: usize = 4;
/// Of what who takes events may have under way, such a part is read ahead.
const AHEAD: usize = 4;
/// More would not fit into one settlement, should all of them wait for one that fails.
const ROOM_MAX: usize = 16_384;
