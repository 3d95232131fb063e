//! Seeking: a subscription that runs is sent elsewhere.
//!
//! Nothing is started and nothing is read meanwhile; the handlers that run come to their end, and what they decided is stored. Then the pump,
//! which alone moves events between store and window, stores the new position and begins with an empty window.
//!
//! # Crash points
//! Each partition is sent in a commit of its own: a crash in between leaves some of them where they were. Who repeats the seek finds
//! nothing changed by the first.

use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::DurableCore;
use super::cursor::CursorError;
use super::hand::window;
use super::replays::with_lanes;

/// A subscription is to be sent elsewhere.
pub(super) struct Seek {
    /// Where to, by partition.
    pub(super) to: Vec<(u32, u64)>,
    pub(super) done: oneshot::Sender<Result<(), CursorError>>,
    /// Until it is done, whether somebody waits for it or not: no letter is given again between what the store says and the window made of it.
    turn: OwnedMutexGuard<()>,
}

impl DurableCore {
    /// Whether everything of a partition before `end` is settled. One whose partitions it is not among is nothing of it.
    pub(crate) fn is_through(&self, partition: u32, end: u64) -> bool {
        let lowest = self.hand.lock().window.lowest_unsettled();
        lowest.iter().filter(|at| at.partition == partition).all(|at| at.offset >= end)
    }

    /// Sends it elsewhere, once its handlers have come to their end.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the seek; a later one waits for it.
    pub(super) async fn seek(&self, to: Vec<(u32, u64)>) -> Result<(), CursorError> {
        let turn = Arc::clone(&self.name_turn).lock_owned().await;
        let (done, is_done) = oneshot::channel();
        {
            let mut hand = self.hand.lock();
            // The pump would answer no more.
            if self.ending.is_cancelled() || self.flow.has_failed() {
                return Err(CursorError::Closed);
            }
            hand.seek = Some(Seek { to, done, turn });
        }
        self.flow.bell.notify_one();
        // Who waits for something else with an event in hand hands it back.
        self.wake_all();
        // Let go by a pump that has ended.
        is_done.await.unwrap_or(Err(CursorError::Closed))
    }

    /// The pump's part: carries a seek out when everything has come to rest for it.
    pub(super) async fn carry_out_seek(self: &Arc<Self>) {
        let seek = {
            let mut hand = self.hand.lock();
            let [running, ..] = hand.window.counts();
            let is_quiet = running == 0 && hand.window.unsent().is_empty() && self.flow.is_clear();
            let seek = hand.seek.take_if(|_| is_quiet);
            hand.is_sought |= seek.is_some();
            seek.map(|seek| (seek, hand.window.reading()))
        };
        let Some((Seek { to, done, turn }, reading)) = seek else { return };
        // Partitions of streams that the program no longer declares are not read.
        let is_read = |partition: u32| reading.iter().any(|place| place.partition == partition);
        let to: Vec<(u32, u64)> = to.into_iter().filter(|(partition, _)| is_read(*partition)).collect();
        let moved = self.log.seek(&self.services, self.number, &to).await;
        // Also when only some were moved: what is in hand has to be what is stored.
        let places = self.log.register(&self.services, (&self.name, &self.filter), |_| to).await;
        let places = places.ok_or(CursorError::Closed).and_then(|places| Ok(places?));
        let result = match places {
            Ok(registered) => {
                let who = (self.number, self.settings.order);
                let places = with_lanes(&self.log, &self.services, who, registered.places).await;
                let mut window = window(&self.settings);
                window.restore(places, self.moment());
                self.hand.lock().replace_window(window, self.settings.limits);
                moved.ok_or(CursorError::Closed).and_then(|moved| Ok(moved?))
            }
            Err(error) => {
                self.flow.fail(&error.to_string());
                Err(error)
            }
        };
        self.hand.lock().is_sought = false;
        drop(turn);
        // Nobody may wait any more: it is done all the same.
        _ = done.send(result);
        self.wake_all();
        self.services.idle.touch();
    }
}
