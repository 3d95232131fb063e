//! Caution: a durable subscription whose processes died one after the other attempts its events one by one, and sets aside the one of which
//! they die.
//!
//! The store counts deaths and keeps marks, and says at which points a process may die
//! (`busway_persistence`, `attendance`); [`Caution`] decides; this carries it out:
//!
//! 1. **Behind two deaths** without getting on, one event runs at a time, in the order in which it would have started. Before each
//!    attempt its mark is stored, in a commit that the attempt waits for. The settlement of the event before may still be on its way: that
//!    event has ended well.
//! 2. **Behind the third**, if an event was under its mark, that event becomes a dead letter with the reason [`Quarantine`], in one commit
//!    with its settlement, before anything of the subscription is fetched. Then it goes on as behind the second.
//! 3. **Back to the usual path** it goes when as many events have ended as it may have in hand at once (256, or 4 a handler): the one of
//!    which the processes died was among those, for nothing behind them had been started. Or before, when it has nothing left to do.
//!
//! # What this does not find
//! A process that dies of an event now and then, and gets on in between: it is started again and goes on, as at every other death. And an event
//! that is innocent can be set aside, if two processes in a row die of something else before its subscription has stored anything, and a
//! third while the event is under its mark, whatever was stored in that life; it is kept as a dead letter then, not lost.

use std::sync::Arc;

use busway_event::{AnyEvent, Filter, Timestamp};
use busway_persistence::{DeadLetter, Mark, Position, Quarantine, Refusal, Registered, RequestError, Store};
use busway_reliability::Caution;
use tokio::sync::oneshot;

use super::DurableCore;
use super::attempt::Ended;
use super::member::Member;
use super::verdict::shortened;
use super::window::Started;
use crate::bus::Services;
use crate::log::Log;

/// Takes a subscription up as it was registered: sets aside what its processes died of. `None`: the store is closed.
///
/// # Cancel safety
/// Dropped before it returns, the event is set aside or not; the next one who takes the subscription up finds it so.
pub(super) async fn take_up(
    log: &Arc<Log>,
    services: &Arc<Services>,
    (name, filter): (&str, &Filter),
    handler: &str,
    registered: Registered,
) -> Option<Result<(Registered, Caution), RequestError>> {
    let caution = Caution::behind(registered.deaths, registered.mark.is_some());
    let (deaths, number) = (registered.deaths, registered.number);
    if caution == Caution::None {
        return Some(Ok((registered, caution)));
    }
    let Some(mark) = registered.mark.filter(|_| caution == Caution::Quarantine) else {
        tracing::warn!(
            subscription = name,
            deaths,
            "processes died one after the other without getting on: events are attempted one by one, each marked before"
        );
        return Some(Ok((registered, caution)));
    };
    let (letter, reason) = letter(&registered, &mark, handler, services.clock.utc());
    let place = Position { partition: mark.partition, offset: mark.offset };
    tracing::error!(subscription = name, %place, %reason, "an event is set aside as a dead letter");
    let set_aside = move |store: &Store, answer: oneshot::Sender<_>| {
        let done = Box::new(move |result| _ = answer.send(result));
        store.quarantine(number, mark.partition, (letter, reason), done);
    };
    if let Err(error) = log.ask(services, set_aside).await? {
        return Some(Err(error));
    }
    // Where it stands now.
    let starts = registered.places.iter().map(|place| (place.partition, place.cursor.low())).collect();
    let again = log.register(services, (name, filter), |_| starts).await?;
    Some(again.map(|registered| (registered, caution)))
}

fn letter(registered: &Registered, mark: &Mark, handler: &str, utc: Timestamp) -> (DeadLetter, Quarantine) {
    let reason = Quarantine { deaths: registered.deaths, attempt: mark.attempt, begun: mark.at };
    let place = registered.places.iter().find(|place| place.partition == mark.partition);
    let parked = place.and_then(|place| place.parked.iter().find(|parked| parked.offset == mark.offset));
    let mut attempts = parked.map(|parked| parked.attempts.clone()).unwrap_or_default();
    attempts.note(mark.at, "the process died during this attempt".to_owned());
    let letter = DeadLetter {
        offset: mark.offset,
        at: utc,
        reason: shortened(reason.to_string()),
        handler: handler.to_owned(),
        attempts,
        attempt_count: mark.attempt,
    };
    (letter, reason)
}

impl DurableCore {
    /// Marks an event before its attempt, if they are attempted one by one. `Err`: it must not be attempted, because it is wanted back, the
    /// subscription ends or its store takes nothing any more.
    pub(super) async fn marked(&self, member: &Member, started: &Started<AnyEvent>) -> Result<(), Ended> {
        if self.hand.lock().careful == 0 {
            return Ok(());
        }
        let (number, place, attempt) = (self.number, started.place, started.attempt.get());
        loop {
            let now = self.services.clock.utc();
            let mark = move |store: &Store, answer: oneshot::Sender<_>| {
                let done = Box::new(move |result| _ = answer.send(result));
                store.mark(number, place, (attempt, now), done);
            };
            match self.log.ask(&self.services, mark).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(RequestError::Refused(
                    reason @ (Refusal::StorageFull { .. } | Refusal::StoreFull { .. }),
                ))) => {
                    tracing::warn!(subscription = &*self.name, %reason, "there is no room for a mark; the event waits");
                    if let Some(ended) = self.moment_later(member).await.ended() {
                        return Err(ended);
                    }
                }
                Some(Err(error)) => {
                    self.flow.fail(&error.to_string());
                    return Err(Ended::CutShort);
                }
                None => return Err(Ended::CutShort),
            }
        }
    }

    /// Goes back to the usual path when nothing is left to do.
    pub(super) fn relax(self: &Arc<Self>) {
        let may_be_over = {
            let hand = self.hand.lock();
            // What is parked is to be attempted again: it may be the one.
            let [.., parked] = hand.window.counts();
            hand.careful > 0 && hand.goes_on() && parked == 0
        };
        if may_be_over && self.is_at_rest() {
            self.hand.lock().relax();
        }
    }
}
