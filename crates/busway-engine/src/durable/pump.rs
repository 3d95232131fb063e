//! The pump of a durable subscription: the one task that moves events between the store and the window.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_event::AnyEvent;
use busway_observability::Wants;
use busway_persistence::{Busy, LetterKey, Page, Position, ReadError, ReadLimits, Store, StoredEvent};
use busway_router::KeyHash;

use super::DurableCore;
use super::lane::{home_of, lane_of};
use super::verdict::shortened;
use super::window::{Due, Fetched, Verdict};
use crate::stats::State;

/// Works until the subscription ends and everything that it decided is stored.
pub(super) async fn pump(core: Arc<DurableCore>) {
    let mut commits = core.log.commits();
    // The store had no room: until then it is not asked again.
    let mut full_until = None;
    loop {
        // Before anything is looked at: an end that comes while this looks wakes it below.
        let is_ending = core.ending.is_cancelled();
        commits.borrow_and_update();
        if core.take_back_refused() {
            full_until = Some(core.services.clock.now() + AGAIN_AFTER);
        }
        if full_until.is_none_or(|until| core.services.clock.now() >= until) {
            full_until = None;
            core.store_decisions();
        }
        if core.flow.has_failed() {
            core.advance(State::Stopped);
            core.hand.lock().seek = None;
        }
        if core.is_pumped_out() {
            // Nobody carries it out any more.
            core.hand.lock().seek = None;
            core.services.idle.touch();
            return;
        }
        core.carry_out_seek().await;
        core.expire_letters();
        let probe = core.release_paused();
        let has_moved = core.goes_on() && (core.bring_back() | core.fetch());
        core.look_at_parked();
        let hang = core.look_for_hung();
        core.relax();
        core.supply();
        core.services.idle.touch();
        if has_moved {
            tokio::task::yield_now().await;
            continue;
        }
        let is_running = core.goes_on();
        let due = core.hand.lock().window.next_due().filter(|_| is_running);
        let is_unreadable = core.is_unreadable.swap(false, Ordering::Relaxed);
        let again = is_unreadable.then(|| core.services.clock.now() + AGAIN_AFTER);
        let due = [due, full_until, again, probe.filter(|_| is_running), hang].into_iter().flatten().min();
        let due = async {
            match due {
                Some(due) => core.services.clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.flow.bell.notified() => {}
            () = core.channel_moved() => {}
            () = core.ending.cancelled(), if !is_ending => {}
            // The log outlives the sender.
            changed = commits.changed() => if changed.is_err() { return },
            () = due => {}
        }
    }
}

impl DurableCore {
    fn goes_on(&self) -> bool {
        self.hand.lock().goes_on()
    }

    /// Whether the pump has nothing more to do for good.
    fn is_pumped_out(&self) -> bool {
        if !self.ending.is_cancelled() {
            return false;
        }
        let hand = self.hand.lock();
        let [running, ..] = hand.window.counts();
        let is_stored = hand.window.unsent().is_empty() && self.flow.is_clear();
        drop(hand);
        // A handler that does not stop when it is cut short decides nothing any more.
        let is_decided = running == 0 || self.abort.is_cancelled();
        (is_decided && is_stored) || self.flow.has_failed() || self.log.with(|_| ()).is_none()
    }

    /// Takes back what the store had no room for; `false` when there was nothing.
    fn take_back_refused(&self) -> bool {
        // Under the lock, as all that goes from one to the other: see `Flow::is_clear`.
        let mut hand = self.hand.lock();
        let refused = self.flow.take_refused();
        let has_refused = !refused.is_empty();
        for (partition, settlement) in refused {
            hand.window.put_back(partition, Arc::unwrap_or_clone(settlement));
        }
        has_refused
    }

    /// Gives the store what was decided, where nothing is on its way already.
    fn store_decisions(&self) {
        let unsent = self.hand.lock().window.unsent();
        for partition in unsent {
            if self.flow.has_failed() || !self.flow.is_free(partition) {
                continue;
            }
            let settlement = {
                let mut hand = self.hand.lock();
                let Some(settlement) = hand.window.take_settlement(partition) else { continue };
                let settlement = Arc::new(settlement);
                self.flow.begin(partition, Arc::clone(&settlement));
                settlement
            };
            let flow = Arc::clone(&self.flow);
            let done = Box::new(move |answer| flow.answered(partition, answer));
            match self.log.with(|store| store.settle(self.number, partition, settlement, Some(done))) {
                // Closed before it was stored: its events are attempted again, see `unstored`.
                Some(Ok(())) | None => {}
                Some(Err(Busy(refused))) => {
                    let (settlement, _) = *refused;
                    // Under the lock: see `Flow::is_clear`.
                    let mut hand = self.hand.lock();
                    self.flow.end(partition);
                    hand.window.put_back(partition, Arc::unwrap_or_clone(settlement));
                    drop(hand);
                    self.ring_when_there_is_room();
                }
            }
        }
    }

    /// The writer has as many requests as it holds: asks it, where a thread may block, to ring when it has come to an end.
    fn ring_when_there_is_room(&self) {
        let (log, flow) = (Arc::clone(&self.log), Arc::clone(&self.flow));
        drop(self.services.runtime.spawn_blocking(move || {
            log.with(|store| store.flush(Box::new(move |_| flow.bell.notify_one())));
        }));
    }

    /// Takes parked events that are due into hand again; `false` when there were none.
    fn bring_back(&self) -> bool {
        let due = self.hand.lock().window.take_due(self.services.clock.now());
        // The pump comes by at each turn, and mostly nothing is due.
        if due.is_empty() {
            return false;
        }
        let (without_room, due): (Vec<Due>, Vec<Due>) = due.into_iter().partition(|due| due.lacks_room);
        without_room.into_iter().for_each(|due| self.give_up_when_there_is_room(due));
        if !due.is_empty() {
            let read = self.log.with(|store| self.read_parked(store, &due));
            self.came_back(read.unwrap_or_else(|| due.iter().map(|due| (due.place, Ok(None))).collect()));
        }
        true
    }

    fn came_back(&self, all: Vec<ReadParked>) {
        let mut unreadable = Vec::new();
        {
            let (at, mut hand) = (self.moment(), self.hand.lock());
            for (place, found) in all {
                match found {
                    Ok(Some(StoredEvent { event, appended, .. })) => {
                        let (home, expires) = (self.home(&event), self.expires(&event, appended));
                        hand.window.loaded(place, (event.priority(), expires), (event, home));
                    }
                    Ok(None) => hand.window.not_loaded(place, at.now + AGAIN_AFTER),
                    Err(error) => unreadable.push((place, error)),
                }
            }
        }
        unreadable.iter().for_each(|(place, error)| self.cannot_bring_back(*place, error));
    }

    /// Reads parked events: from the log, and behind these, from their dead letters, those that were redriven.
    fn read_parked(&self, store: &Store, all: &[Due]) -> Vec<ReadParked> {
        let places =
            |is_replay| all.iter().filter(move |due| due.is_replay == is_replay).map(|due| due.place);
        let logged: Vec<Position> = places(false).collect();
        let of_log = store.read_each(&logged);
        let of_letter = |place: Position| {
            let Position { partition, offset } = place;
            (place, store.redriven_event(LetterKey { subscription: self.number, partition, offset }))
        };
        logged.into_iter().zip(of_log).chain(places(true).map(of_letter)).collect()
    }

    /// Gives up what waits for room for its letter, when there is some.
    fn give_up_when_there_is_room(&self, due: Due) {
        let place = due.place;
        let Some((reason, handler)) = self.hand.lock().window.waits_for_room(place) else { return };
        let (at, has_room) = (self.moment(), self.has_room_for_letter(place));
        // Its event is not in memory; of one that cannot be read nothing is told.
        if has_room
            && self.services.signals.want(Wants::ALARMS)
            && let Some(found) = self.log.with(|store| self.read_parked(store, &[due]))
            && let Some((_, Ok(Some(stored)))) = found.into_iter().next()
        {
            self.tell_of_letter(&stored.event, &reason);
        }
        let mut hand = self.hand.lock();
        if has_room {
            self.counts.dead.fetch_add(1, Ordering::Relaxed);
            hand.window.lost(place, Verdict::Dead { error: None, reason, handler }, at);
        } else {
            hand.window.not_loaded(place, at.now + AGAIN_AFTER);
        }
    }

    fn cannot_bring_back(&self, place: Position, error: &ReadError) {
        tracing::error!(subscription = &*self.name, %place, %error, "a parked event cannot be read");
        let at = self.moment();
        let verdict = match error {
            ReadError::BeforeStart { .. } => {
                self.lose_parked(place);
                Verdict::Gone
            }
            ReadError::Corrupt(corrupt) => {
                let (reason, handler) = self.given_up_unread(corrupt);
                Verdict::Dead { error: None, reason, handler }
            }
            _ => return self.hand.lock().window.not_loaded(place, at.now + AGAIN_AFTER),
        };
        self.hand.lock().window.lost(place, verdict, at);
    }

    /// What lies at a damaged place is a dead letter, counted as one: with what reason, and of which handler.
    fn given_up_unread(&self, corrupt: &impl std::fmt::Display) -> (String, String) {
        self.counts.dead.fetch_add(1, Ordering::Relaxed);
        self.reserve_letter();
        (shortened(corrupt.to_string()), self.handler_name())
    }

    /// Reads on in each partition while the window has room; `false` when nothing was there.
    fn fetch(&self) -> bool {
        let (mut reading, room, is_supplied) = {
            let hand = self.hand.lock();
            (hand.window.reading(), hand.room(), hand.is_supplied())
        };
        // A full window is filled again by the portion, not by the event.
        if room < PORTION && is_supplied {
            return false;
        }
        // Where one had its turn the next one begins: a partition with a backlog takes nothing from the others.
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % reading.len().max(1);
        reading.rotate_left(first);
        let mut has_moved = false;
        for (place, others) in reading.iter().zip((0..reading.len()).rev()) {
            let place = *place;
            // Its part of what is left: a partition with many events does not keep the others from being read.
            let events = self.hand.lock().room().div_ceil(others + 1).min(PAGE.events);
            if events == 0 {
                break;
            }
            let limits = ReadLimits { events, ..PAGE };
            let read =
                |filter| self.log.with(|store| store.read(place.partition, place.offset, filter, limits));
            let page = match read(Some(&self.filter)) {
                // Among events that are not wanted the damaged one has to be looked for: without the filter those before it
                // come first.
                Some(Err(ReadError::Corrupt(_))) => read(None),
                page => page,
            };
            has_moved |= match page {
                Some(Ok(page)) if page.next > place.offset => self.fetched(place.partition, page),
                Some(Ok(_)) | None => false,
                Some(Err(error)) => self.cannot_fetch(place, &error),
            };
        }
        has_moved
    }

    fn fetched(&self, partition: u32, page: Page) -> bool {
        let wanted = |stored: &StoredEvent| self.filter.matches(stored.event.topic());
        let fetched = |StoredEvent { offset, event, appended, .. }: StoredEvent| -> Fetched<AnyEvent> {
            let (lane, home) = (lane_of(self.settings.order, &event), self.home(&event));
            let expires = self.expires(&event, appended);
            Fetched { offset, lane, priority: event.priority(), home, expires, event }
        };
        let events = page.events.into_iter().filter(wanted).map(fetched).collect();
        self.hand.lock().window.fetched(partition, events, page.next, self.moment());
        true
    }

    /// Without a group there is nobody to choose among.
    fn home(&self, event: &AnyEvent) -> Option<KeyHash> {
        self.group.as_ref().and_then(|_| home_of(self.settings.order, event))
    }

    fn cannot_fetch(&self, place: Position, error: &ReadError) -> bool {
        tracing::error!(subscription = &*self.name, %place, %error, "an event cannot be read");
        let at = self.moment();
        match error {
            ReadError::BeforeStart { first, .. } => {
                let events = self.hand.lock().window.gap(place.partition, *first);
                self.lose_unread(place.partition, (place.offset, *first), events);
                true
            }
            ReadError::Corrupt(corrupt) => {
                let (reason, handler) = self.given_up_unread(corrupt);
                self.hand.lock().window.unreadable(place.partition, reason, handler, at);
                true
            }
            _ => {
                self.is_unreadable.store(true, Ordering::Relaxed);
                false
            }
        }
    }
}

/// A parked event that was read; `None` where nothing lies.
type ReadParked = (Position, Result<Option<StoredEvent>, ReadError>);

/// Room that is worth a read while there is something to do.
const PORTION: usize = 64;
/// A page of the log.
const PAGE: ReadLimits = ReadLimits { events: 256, bytes: 1 << 20 };

/// When the storage itself cannot be read, or has no room.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(1);
