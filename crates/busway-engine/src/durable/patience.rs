//! Waiting for what passes by itself, with an event in hand: room in the store, a shared store that is away. For a moment at a time, and for as
//! long as nobody waits for the event to be let go.

use std::time::Duration;

use busway_middleware::BoxError;
use busway_persistence::{Position, Refusal};

use super::DurableCore;
use super::attempt::Ended;
use super::hand::Presence;
use super::member::Member;
use super::once::Wait;
use super::pump::AGAIN_AFTER;
use crate::bus::Refused;
use crate::stats::State;

/// Whether something that could not be done is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A moment has passed.
    Again,
    /// The event is to be handed back, uncharged: its member leaves, or the subscription is sent elsewhere.
    HandBack,
    /// The subscription ends.
    Over,
}

impl Patience {
    /// How the attempt ends that cannot go on; `None`: it is tried again.
    pub(super) const fn ended(self) -> Option<Ended> {
        match self {
            Self::Again => None,
            Self::HandBack => Some(Ended::Waits(Wait::behind(AGAIN_AFTER))),
            Self::Over => Some(Ended::CutShort),
        }
    }
}

/// Waits for a moment in which the store may find room for what was done with the events at these places.
pub(super) async fn later(
    core: &DurableCore,
    member: &Member,
    (reason, places): (&BoxError, &[Position]),
) -> Patience {
    let (subscription, text) = (&*core.name, reason.to_string());
    let reason_shown = core.services.shown.log_text(&text);
    match own_partition(core, reason, places) {
        Some((stream, partition)) => tracing::warn!(
            subscription,
            stream,
            partition,
            reason = reason_shown,
            "a handler emits into the full partition that its own event lies in, and is settled only when there is room: it may wait for itself for ever"
        ),
        None => tracing::warn!(
            subscription,
            reason = reason_shown,
            "there is no room for what a handler has done; it runs again"
        ),
    }
    core.moment_later(member).await
}

/// The partition that is at its cap, and in which one of the events lies: unsettled, it is kept there.
fn own_partition<'a>(
    core: &DurableCore,
    reason: &'a BoxError,
    places: &[Position],
) -> Option<(&'a str, u16)> {
    let Some(Refused::Store(Refusal::Capped { stream, partition, .. })) = reason.downcast_ref() else {
        return None;
    };
    let mut places = places.iter().filter_map(|place| core.log.position(*place));
    let is_own = places.any(|place| *place.stream == **stream && place.partition == *partition);
    is_own.then_some((stream, *partition))
}

impl DurableCore {
    /// Waits for a moment, or until the event in hand is wanted back.
    pub(super) async fn moment_later(&self, member: &Member) -> Patience {
        let until = self.services.clock.now() + AGAIN_AFTER;
        loop {
            let changed = member.recalled.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let patience = self.patience(member);
            if patience != Patience::Again {
                return patience;
            }
            tokio::select! {
                biased;
                () = self.services.clock.sleep_until(until) => return Patience::Again,
                () = changed => {}
            }
        }
    }

    /// Waits for a moment, whoever waits: an effect has happened that somebody has to be told of.
    pub(super) async fn moment_regardless(&self) {
        let clock = &self.services.clock;
        clock.sleep_until(clock.now() + AGAIN_AFTER).await;
    }

    fn patience(&self, member: &Member) -> Patience {
        let mut hand = self.hand.lock();
        if matches!(hand.state, State::Draining | State::Stopped) {
            return Patience::Over;
        }
        let has_left = hand.seat(member).is_none_or(|seat| seat.presence == Presence::Left);
        match has_left || hand.is_held() {
            true => Patience::HandBack,
            false => Patience::Again,
        }
    }
}

/// An effect that a shared store cannot be told of is told of for so long after the subscription was asked to end, behind the question that is under way then.
pub(super) const TELL_MAX: Duration = Duration::from_secs(5);
