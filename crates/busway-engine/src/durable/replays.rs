//! Dead letters that are given again: who gave them is told how that goes.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use busway_event::AnyEvent;
use busway_middleware::Outcome;
use busway_observability::trace::Redriven;
use busway_persistence::{LetterKey, Place, Position, Store};
use busway_reliability::{Order, SameErrors};
use parking_lot::Mutex;

use super::DurableCore;
use super::lane::{Lanes, NO_LANE};
use super::window::Started;
use crate::bus::Services;
use crate::log::Log;

/// Who watches the attempts of a subscription's dead letters, and which spans they go back to.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    watches: Mutex<Vec<Weak<ReplayWatch>>>,
    /// Of those that are on their way, where that is traced. Not stored, and gone with the subscription: when it begins anew, attempts have no such link.
    spans: Mutex<HashMap<Position, Redriven>>,
}

/// Watches for the same error coming back among the letters that one operation has moved.
#[derive(Debug)]
pub(crate) struct ReplayWatch {
    /// Those that have not come to their end. Bounded: of what is moved while there are as many, nothing is heard.
    moved: Mutex<BTreeSet<LetterKey>>,
    errors: Mutex<SameErrors>,
    /// The error that keeps coming back, once one does.
    stopped_by: Mutex<Option<String>>,
}

impl Replays {
    fn watches(&self) -> Vec<Arc<ReplayWatch>> {
        self.watches.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl ReplayWatch {
    pub(crate) fn new(errors: SameErrors) -> Arc<Self> {
        Arc::new(Self { moved: Mutex::default(), errors: Mutex::new(errors), stopped_by: Mutex::default() })
    }

    /// The error that keeps coming back, when one does.
    pub(crate) fn stopped_by(&self) -> Option<String> {
        self.stopped_by.lock().clone()
    }

    /// Letters were moved. To be told before they are attempted.
    pub(crate) fn has_moved(&self, letters: &[(LetterKey, u64)]) {
        let mut moved = self.moved.lock();
        let room = WATCHED_MAX.saturating_sub(moved.len());
        moved.extend(letters.iter().map(|(key, _)| *key).take(room));
    }

    fn is_of(&self, letter: LetterKey) -> bool {
        self.moved.lock().contains(&letter)
    }

    fn ended(&self, error: Option<&str>) {
        let Some(error) = error else { return self.errors.lock().done() };
        if self.errors.lock().failed(error) {
            self.stopped_by.lock().get_or_insert_with(|| error.to_owned());
        }
    }
}

impl DurableCore {
    /// Tells a watch of each attempt of its dead letters from now on.
    pub(crate) fn watch_replays(&self, watch: &Arc<ReplayWatch>) {
        let mut watches = self.replays.watches.lock();
        watches.retain(|watch| watch.strong_count() > 0);
        if !watches.iter().any(|known| known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, watch))) {
            watches.push(Arc::downgrade(watch));
        }
    }

    /// An attempt of a dead letter that was given again has ended.
    pub(super) fn replay_ended(&self, place: Position, outcome: &Outcome) {
        let letter = self.letter_at(place);
        let mut watches = self.replays.watches();
        watches.retain(|watch| watch.is_of(letter));
        let is_good = matches!(outcome, Outcome::Done | Outcome::Skip);
        if is_good {
            self.counts.replayed.fetch_add(1, Ordering::Relaxed);
        }
        if !watches.is_empty() {
            let error = (!is_good).then(|| self.services.shown.failure_text(outcome));
            watches.iter().for_each(|watch| watch.ended(error.as_deref()));
        }
    }

    /// The span in which a dead letter was given again.
    pub(super) fn redrive_of(&self, started: &Started<AnyEvent>) -> Option<Redriven> {
        self.replays.spans.lock().get(&started.place).cloned()
    }

    /// A dead letter that was given again has come to its end.
    pub(super) fn forget_redrive(&self, place: Position) {
        self.replays.spans.lock().remove(&place);
        let letter = self.letter_at(place);
        for watch in self.replays.watches() {
            watch.moved.lock().remove(&letter);
        }
    }

    /// The key of the dead letter of an event, whether there is one or not.
    pub(super) const fn letter_at(&self, Position { partition, offset }: Position) -> LetterKey {
        LetterKey { subscription: self.number, partition, offset }
    }

    /// Dead letters were given again, in this span if that is traced: they are parked in the store, and due.
    pub(crate) fn redriven(&self, letters: &[(LetterKey, u64)], span: Option<&Redriven>) {
        let at = self.moment();
        {
            let mut spans = self.replays.spans.lock();
            for &(LetterKey { partition, offset, .. }, _) in letters {
                let place = Position { partition, offset };
                // Of an earlier redrive of the letter, whatever became of that.
                spans.remove(&place);
                if let Some(span) = span
                    && spans.len() < SPANS_MAX
                {
                    spans.insert(place, span.clone());
                }
            }
        }
        {
            let mut hand = self.hand.lock();
            for &(LetterKey { partition, offset, .. }, lane) in letters {
                let lane = (lane != NO_LANE).then_some(lane);
                hand.window.redriven(Position { partition, offset }, lane, at);
            }
        }
        self.flow.bell.notify_one();
        self.services.idle.touch();
    }
}

/// Works out the lanes of dead letters that are on their way: who gave them again need not have known the order of their subscription, which did
/// not run, or had another one. Where one cannot be read the lane stays as it is.
pub(super) async fn with_lanes(
    log: &Arc<Log>,
    services: &Services,
    (number, order): (u32, Order),
    mut places: Vec<Place>,
) -> Vec<Place> {
    for place in &mut places {
        let Place { partition, parked, redriven, .. } = place;
        for offsets in redriven.chunks(LENT_FOR) {
            let keys = offsets.iter().map(|&offset| LetterKey {
                subscription: number,
                partition: *partition,
                offset,
            });
            let keys: Vec<LetterKey> = keys.collect();
            let read = move |store: &Store| {
                let lane = |key: LetterKey| {
                    let stored = store.redriven_event(key).ok()??;
                    Some((key.offset, Lanes::of(&stored.event).under(order)))
                };
                keys.into_iter().filter_map(lane).collect::<Vec<_>>()
            };
            for (offset, lane) in log.lend(services, read).await.unwrap_or_default() {
                // Rows lie in the order of their offsets.
                let row = parked.binary_search_by_key(&offset, |row| row.offset);
                if let Some(row) = row.ok().and_then(|at| parked.get_mut(at)) {
                    row.lane = lane;
                }
            }
        }
    }
    places
}

/// Letters on their way that are linked to where they were given again: those of a few pages of a redrive, and never all that may be parked.
const SPANS_MAX: usize = 65_536;
/// As many are watched by an operation.
const WATCHED_MAX: usize = SPANS_MAX;
/// Letters that are read while the store is lent once.
const LENT_FOR: usize = 256;
