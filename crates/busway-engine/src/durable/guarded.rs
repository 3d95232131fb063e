//! The breaker of a durable subscription.
//!
//! An event is asked for when it is about to be attempted. While its channel makes no calls it is parked in the store without a charge
//! (`window/pausing.rs`): so it takes no place in the window, where it would keep other channels from being read. When the channel is probed, as many
//! come back as may be probes; when it closes, all do. The pump sees to that, and waits for the time of the next probe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_event::{AnyEvent, Filter};
use busway_middleware::chain::drop_contained;
use busway_middleware::{Outcome, Reply};
use busway_reliability::{FailureClass, Room};

use super::attempt::{conclude, contained};
use super::ending::{Ending, Storing, judge};
use super::member::Member;
use super::window::{LaneOf, Made, Started, Verdict, Wait};
use super::{DurableBuilder, DurableCore};
use crate::breaker::{Breaker, BreakerStatus, Call, Channel, Guard, NoCall, Reach, Substitute};
use crate::bus::BusCore;
use crate::stats::State;
use crate::transact::Committed;

impl DurableBuilder {
    /// A circuit breaker around the handler, one for each topic. While a channel is open its events wait in the store, no attempt is spent, and the
    /// events of other topics flow on; or what its [`Fallback`](crate::Fallback) says is done. Default: none.
    ///
    /// The lanes of events that wait are closed behind them: an event of the same key waits too, whatever its topic, unless the order is
    /// [`Order::None`](busway_reliability::Order::None) or the fallback leaves the lane.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// The guard of the subscription that this begins, which is to be named when it does.
    pub(super) fn guard(&self, bus: &BusCore, filter: &Filter) -> Option<Arc<Guard>> {
        let breaker = self.breaker.as_ref()?;
        let inherited = self.heritage.as_ref().and_then(|heritage| heritage.guard(filter, breaker));
        let new = || Arc::new(Guard::new(Arc::clone(&bus.services), breaker.clone()));
        Some(inherited.unwrap_or_else(new))
    }
}

/// A breaker for people to read, or that there is none.
pub(super) fn shown(breaker: Option<&Breaker>) -> String {
    breaker.map_or_else(|| "none".to_owned(), Breaker::to_string)
}

/// What is to be done with an event that is about to be attempted.
pub(super) enum Asked {
    /// It is attempted; with a breaker its end is to be recorded.
    Attempt(Option<Call>),
    /// It waits, or was answered.
    Over,
    /// Nothing more can be stored: it is left as it is.
    CutShort,
}

/// Asks for the call of an event that has been started. Where it is refused the event ends here.
pub(super) async fn ask(
    core: &Arc<DurableCore>,
    member: &Member,
    reach: Option<&mut Reach>,
    started: &Started<AnyEvent>,
) -> Asked {
    let Some(reach) = reach else { return Asked::Attempt(None) };
    let channel = reach.channel(started.event.topic());
    match reach.guard().permit(channel) {
        Ok(call) => {
            if started.is_released {
                core.hand.lock().window.asked(started.place);
            }
            Asked::Attempt(Some(call))
        }
        Err(NoCall { channel, until }) => refused(core, member, (reach, &channel, until), started).await,
    }
}

async fn refused(
    core: &Arc<DurableCore>,
    member: &Member,
    (reach, channel, until): (&Reach, &Channel, Option<Instant>),
    started: &Started<AnyEvent>,
) -> Asked {
    let guard = reach.guard();
    let (verdict, fell_back) = match guard.substitute(&core.delivery(started, 0, None)) {
        Substitute::Wait => (wait(core, channel, until, LaneOf::Held), false),
        Substitute::WaitAside => (wait(core, channel, until, LaneOf::Left), true),
        Substitute::Answer(reply) => match answer(core, member, started, reply).await {
            Answered::Is(verdict) => (verdict, true),
            Answered::Not => (wait(core, channel, until, LaneOf::Held), false),
            Answered::Lost => {
                core.cut_short([started.place]);
                return Asked::CutShort;
            }
        },
    };
    if fell_back {
        guard.fell_back(channel, &started.event, guard.breaker().fallback.kind());
    }
    let at = core.moment();
    core.hand.lock().ended(core, started.place, (verdict, Made::Nothing), at);
    core.flow.bell.notify_one();
    Asked::Over
}

fn wait(core: &DurableCore, channel: &Channel, until: Option<Instant>, lane: LaneOf) -> Verdict {
    let now = core.services.clock.now();
    let about = until.map_or(ABOUT_A_PROBE, |until| until.saturating_duration_since(now));
    Verdict::Wait(Wait { channel: channel.topic().clone(), about, lane })
}

/// What became of an answer.
enum Answered {
    Is(Verdict),
    /// It cannot be stored: the event waits for its handler instead.
    Not,
    /// Nothing more can be stored.
    Lost,
}

/// Settles an event with an answer that is not its handler's.
async fn answer(
    core: &Arc<DurableCore>,
    member: &Member,
    started: &Started<AnyEvent>,
    Reply { outcome, emits }: Reply,
) -> Answered {
    let storing = match outcome.is_done() && !emits.is_empty() {
        false => Storing::ToBe,
        true => {
            match contained(conclude(core, || core.event(started.place, None), None, &outcome, emits)).await {
                None => Storing::ToBe,
                Some(Committed::Stored | Committed::Before) => Storing::Is,
                Some(Committed::Lost(reason)) => {
                    core.flow.fail(&reason);
                    return Answered::Lost;
                }
                Some(Committed::Again | Committed::Later(_) | Committed::Failed(_)) => return Answered::Not,
            }
        }
    };
    let class = core.class_of(&outcome);
    let ending = Ending { outcome: &outcome, class, storing, cut_by: Some("breaker") };
    let verdict = judge(core, member, started, &ending, core.moment());
    drop_contained(outcome);
    Answered::Is(verdict)
}

impl DurableCore {
    /// A call has ended, or nothing is known of it.
    pub(super) fn call_ended(&self, call: Option<&Call>, outcome: Option<(&Outcome, FailureClass)>) {
        if let (Some(guard), Some(call)) = (&self.guard, call) {
            guard.ended(call.made(), outcome);
        }
    }

    /// Lets events come back whose channel makes calls again, and says when the next one is probed.
    pub(super) fn release_paused(&self) -> Option<Instant> {
        let guard = self.guard.as_ref()?;
        let (at, mut hand, mut next) = (self.moment(), self.hand.lock(), None);
        let channels: Vec<_> = hand.window.paused().map(|(channel, _)| channel.clone()).collect();
        for channel in channels {
            match guard.room(&channel) {
                Room::All => hand.window.release_all(&channel, at),
                Room::Probes(calls) => {
                    let calls = usize::try_from(calls).unwrap_or(usize::MAX);
                    hand.window.release_probes(&channel, calls, at);
                }
                Room::Until(time) => next = next.into_iter().chain([time]).min(),
                Room::Forced => {}
            }
        }
        next
    }

    /// Whether an event waits that may come back now.
    pub(super) fn has_released(&self, hand: &super::hand::Hand) -> bool {
        let Some(guard) = &self.guard else { return false };
        hand.state == State::Running && hand.window.paused().any(|(channel, _)| guard.room(channel).has_any())
    }

    /// Waits until a channel has moved.
    pub(super) async fn channel_moved(&self) {
        match &self.guard {
            Some(guard) => guard.moved.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Its channels at this moment.
    pub(crate) fn breakers(&self) -> Vec<BreakerStatus> {
        let Some(guard) = &self.guard else { return Vec::new() };
        let waiting: std::collections::BTreeMap<_, _> = {
            let hand = self.hand.lock();
            hand.window.paused().map(|(channel, events)| (channel.clone(), events)).collect()
        };
        let waiting = |channel: &_| waiting.get(channel).copied().unwrap_or_default();
        guard.statuses(|channel| u64::try_from(waiting(channel)).unwrap_or(u64::MAX))
    }
}

/// What is stored as the wait of an event that waits for a probe to end: only who restarts goes by it.
const ABOUT_A_PROBE: Duration = Duration::from_secs(1);
