//! Dead letters that are given again: who gave them is told how that goes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use busway_event::AnyEvent;
use busway_middleware::Outcome;
use busway_persistence::{LetterKey, Position};
use busway_reliability::{Order, SameErrors};
use parking_lot::Mutex;

use super::DurableCore;
use super::lane::{NO_LANE, lane_of};
use crate::stats::failure_text;

/// Who watches the attempts of a subscription's dead letters.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<Vec<Weak<ReplayWatch>>>);

/// Watches for the same error coming back.
#[derive(Debug)]
pub(crate) struct ReplayWatch {
    errors: Mutex<SameErrors>,
    /// The error that keeps coming back, once one does.
    stopped_by: Mutex<Option<String>>,
}

impl ReplayWatch {
    pub(crate) fn new(errors: SameErrors) -> Arc<Self> {
        Arc::new(Self { errors: Mutex::new(errors), stopped_by: Mutex::default() })
    }

    /// The error that keeps coming back, when one does.
    pub(crate) fn stopped_by(&self) -> Option<String> {
        self.stopped_by.lock().clone()
    }

    fn ended(&self, error: Option<&str>) {
        let Some(error) = error else { return self.errors.lock().done() };
        if self.errors.lock().failed(error) {
            self.stopped_by.lock().get_or_insert_with(|| error.to_owned());
        }
    }
}

impl DurableCore {
    /// Tells a watch of each attempt of a dead letter from now on.
    pub(crate) fn watch_replays(&self, watch: &Arc<ReplayWatch>) {
        let mut watches = self.replays.0.lock();
        watches.retain(|watch| watch.strong_count() > 0);
        if !watches.iter().any(|known| known.upgrade().is_some_and(|known| Arc::ptr_eq(&known, watch))) {
            watches.push(Arc::downgrade(watch));
        }
    }

    /// An attempt of a dead letter that was given again has ended.
    pub(super) fn replay_ended(&self, outcome: &Outcome) {
        let watches: Vec<_> = self.replays.0.lock().iter().filter_map(Weak::upgrade).collect();
        let is_good = matches!(outcome, Outcome::Done | Outcome::Skip);
        if is_good {
            self.counts.replayed.fetch_add(1, Ordering::Relaxed);
        }
        if !watches.is_empty() {
            let error = (!is_good).then(|| failure_text(outcome));
            watches.iter().for_each(|watch| watch.ended(error.as_deref()));
        }
    }

    pub(crate) const fn no_lane() -> u64 {
        NO_LANE
    }

    /// The lane of an event of a subscription that does not run.
    pub(crate) fn usual_lane(event: &AnyEvent) -> u64 {
        lane_of(Order::default(), event).unwrap_or(NO_LANE)
    }

    /// The lane of an event of a dead letter, as it is stored.
    pub(crate) fn letter_lane(&self, event: &AnyEvent) -> u64 {
        lane_of(self.settings.order, event).unwrap_or(NO_LANE)
    }

    /// Dead letters were given again: they are parked in the store, and due.
    pub(crate) fn redriven(&self, letters: &[(LetterKey, u64)]) {
        let at = self.moment();
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
