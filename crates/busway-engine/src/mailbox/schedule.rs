//! The schedule: keeps lanes apart and members supplied, where more than one event runs at once.
//!
//! An event comes out of the queues, gets its lane (or waits for it), is assigned to a member, and starts when a worker of
//! that member asks and the limits of its priority allow it. Pure but for its place behind a lock.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU32;

use busway_event::{Key, Priority};
use busway_reliability::{Admission, Lane, Lanes, Order, PriorityLimits, Running, Start};
use busway_router::{GroupRule, MemberId, MemberLoad, Rotation, Share, choose};

use super::take::WorkerShare;
use super::{Ticket, Waiting};
use crate::settings::Effective;

pub(super) struct Schedule {
    lanes: Lanes<Lane<Key>, Ready>,
    running: Running,
    share: Share,
    /// Whose turn it is to be taken out of the queues.
    pub(super) intake: WorkerShare,
    members: Vec<Member>,
    rule: GroupRule,
    rotation: Rotation,
    assigned: usize,
    window: usize,
    supplied: BTreeSet<u64>,
    limits: PriorityLimits,
    concurrency: NonZeroU32,
}

/// An event whose turn has come in its lane.
#[derive(Debug)]
struct Ready {
    waiting: Waiting,
    lane: Option<Lane<Key>>,
}

struct Member {
    id: u64,
    ready: [VecDeque<Ready>; 4],
    running: usize,
}

impl Schedule {
    pub(super) fn new(settings: &Effective) -> Self {
        let window = settings.capacity.get();
        Self {
            lanes: Lanes::new(window),
            running: Running::new(settings.limits, settings.concurrency),
            share: Share::new(settings.share),
            intake: WorkerShare::new(settings.share),
            members: Vec::new(),
            rule: GroupRule::default(),
            rotation: Rotation::default(),
            assigned: 0,
            window,
            supplied: BTreeSet::new(),
            limits: settings.limits,
            concurrency: settings.concurrency,
        }
    }

    pub(super) fn set_rule(&mut self, rule: GroupRule) {
        self.rule = rule;
    }

    pub(super) fn join(&mut self, id: u64) {
        self.members.push(Member { id, ready: Default::default(), running: 0 });
        self.limit();
    }

    pub(super) fn part(&mut self, id: u64) {
        let Some(at) = self.members.iter().position(|member| member.id == id) else { return };
        let left = self.members.remove(at);
        for ready in left.ready.into_iter().flatten() {
            self.assigned -= 1;
            self.supply(ready);
        }
        self.limit();
    }

    /// The concurrency holds for each member.
    fn limit(&mut self) {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let all = NonZeroU32::new(members).map_or(self.concurrency, |m| self.concurrency.saturating_mul(m));
        self.running.set_limits(self.limits, all);
    }

    /// Whether another event may be taken out of the queues.
    pub(super) fn has_room(&self) -> bool {
        !self.members.is_empty() && self.waiting() < self.window
    }

    /// Whether an event of this priority may be taken out of its queue beyond that: what fills the room is of priorities that are at their limits, none of
    /// this one is among it, and it could start. One of each priority at most.
    pub(super) fn has_room_for(&self, priority: Priority) -> bool {
        let lacks = |member: &Member| member.ready.get(priority.index()).is_some_and(VecDeque::is_empty);
        self.assigned > 0
            && self.waiting() < self.window + Priority::ALL.len()
            && self.running.has_room(priority)
            && self.members.iter().all(lacks)
    }

    /// Events that wait for their lane or for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.lanes.held() + self.assigned
    }

    /// Takes in an event from the queues: it waits for its lane, or for a worker.
    pub(super) fn assign(&mut self, waiting: Waiting, order: Order) {
        let lane = order.lane(waiting.event.key().cloned(), waiting.priority);
        let ready = Ready { waiting, lane: lane.clone() };
        if let Admission::Start(ready) = self.lanes.admit(lane, ready) {
            self.supply(ready);
        }
    }

    /// Starts the next event of `member` that the limits allow.
    pub(super) fn start(&mut self, member: u64) -> Option<(Waiting, Option<Lane<Key>>)> {
        let member = self.members.iter_mut().find(|candidate| candidate.id == member)?;
        let running = &mut self.running;
        let ready = &mut member.ready;
        let (_, next) = self.share.take(|priority| {
            let queue = ready.get_mut(priority.index()).filter(|queue| !queue.is_empty())?;
            match running.try_start(priority) {
                Start::Granted => queue.pop_front(),
                Start::PriorityFull { .. } | Start::SubscriptionFull { .. } => None,
            }
        })?;
        self.assigned -= 1;
        member.running += 1;
        Some((next.waiting, next.lane))
    }

    /// Ends a started event: its lane opens for the next one.
    pub(super) fn finish(&mut self, ticket: &Ticket) {
        self.running.finish(ticket.priority);
        if let Some(member) = self.members.iter_mut().find(|member| member.id == ticket.member) {
            member.running = member.running.saturating_sub(1);
        }
        if let Some(next) = ticket.lane.as_ref().and_then(|lane| self.lanes.settle(lane)) {
            self.supply(next);
        }
        // A limit may have kept others from starting.
        self.supplied.extend(self.members.iter().map(|member| member.id));
    }

    /// Members that got something to start since this was last asked and still have it.
    pub(super) fn take_supplied(&mut self) -> Vec<u64> {
        let supplied = std::mem::take(&mut self.supplied);
        let has_work = |member: &&Member| {
            supplied.contains(&member.id) && member.ready.iter().any(|queue| !queue.is_empty())
        };
        self.members.iter().filter(has_work).map(|member| member.id).collect()
    }

    /// Gives up everything that waits. Lanes of running events stay closed and end with them.
    pub(super) fn drain(&mut self) -> Vec<Waiting> {
        let held = self.lanes.drain();
        let queues = self.members.iter_mut().flat_map(|member| &mut member.ready);
        let ready = queues.flat_map(std::mem::take);
        self.assigned = 0;
        held.into_iter().chain(ready).map(|ready| ready.waiting).collect()
    }

    /// Hands an event to the member that should run it.
    fn supply(&mut self, ready: Ready) {
        let loads: Vec<MemberLoad> = self.members.iter().map(Member::load).collect();
        let key = ready.waiting.event.key().filter(|_| ready.lane.is_some()).map(Key::as_str);
        let chosen = choose(self.rule, &mut self.rotation, key, &loads).unwrap_or(0);
        let priority = ready.waiting.priority;
        let Some(member) = self.members.get_mut(chosen) else { return };
        if let Some(queue) = member.ready.get_mut(priority.index()) {
            queue.push_back(ready);
            self.assigned += 1;
            self.supplied.insert(member.id);
        }
    }
}

impl Member {
    fn load(&self) -> MemberLoad {
        let waiting: usize = self.ready.iter().map(VecDeque::len).sum();
        MemberLoad { id: MemberId(self.id), load: waiting + self.running }
    }
}
