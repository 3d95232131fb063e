//! Seeking: a subscription that runs is sent elsewhere.
//!
//! Nothing is started and nothing is read meanwhile; the handlers that run come to their end, and what they decided is stored. Then the pump,
//! which alone moves events between store and window, stores the new position and begins with an empty window.
//!
//! # Crash points
//! Each partition is sent in a commit of its own: a crash in between leaves some of them where they were. Who repeats the seek finds
//! nothing changed by the first.

use std::sync::Arc;

use busway_persistence::{Registered, RequestError};
use tokio::sync::oneshot;

use super::DurableCore;
use super::builder::window;
use super::cursor::CursorError;

/// A subscription is to be sent elsewhere.
pub(super) struct Seek {
    /// Where to, by partition.
    pub(super) to: Vec<(u32, u64)>,
    pub(super) done: oneshot::Sender<Result<(), CursorError>>,
}

impl DurableCore {
    /// Sends it elsewhere, once its handlers have come to their end.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the seek.
    pub(super) async fn seek(&self, to: Vec<(u32, u64)>) -> Result<(), CursorError> {
        let _turn = self.seek_turn.lock().await;
        let (done, is_done) = oneshot::channel();
        self.hand.lock().seek = Some(Seek { to, done });
        self.flow.bell.notify_one();
        // The pump has ended: nobody answers.
        is_done.await.unwrap_or(Err(CursorError::Closed))
    }

    /// The pump's part: carries a seek out when everything has come to rest for it.
    pub(super) async fn carry_out_seek(self: &Arc<Self>) {
        let seek = {
            let mut hand = self.hand.lock();
            let [running, ..] = hand.window.counts();
            let is_quiet = running == 0 && hand.window.unsent().is_empty() && self.flow.is_clear();
            match is_quiet {
                // It stays held: `seek` is put back empty until the window is new.
                true => hand.seek.as_mut().map(|seek| std::mem::take(&mut seek.to)),
                false => None,
            }
        };
        let Some(to) = seek else { return };
        let result = self.stored_seek(to).await.map(|registered| {
            let mut window = window(&self.settings);
            window.restore(registered.places, self.moment());
            self.hand.lock().window = window;
        });
        if let Some(Seek { done, .. }) = self.hand.lock().seek.take() {
            _ = done.send(result);
        }
        self.more.notify_waiters();
        self.services.idle.touch();
    }

    /// Stores the new positions, and says what stands then.
    async fn stored_seek(&self, to: Vec<(u32, u64)>) -> Result<Registered, CursorError> {
        let starts: Vec<(u32, u64)> = to.clone();
        for (partition, offset) in to {
            let (answer, answered) = oneshot::channel();
            let (log, number) = (Arc::clone(&self.log), self.number);
            // It may wait for a busy writer.
            let ask = move || {
                log.with(|store| {
                    store.seek(number, partition, offset, Box::new(move |result| _ = answer.send(result)));
                })
            };
            answered_by(self.services.runtime.spawn_blocking(ask).await.ok().flatten(), answered).await?;
        }
        let (answer, answered) = oneshot::channel();
        let (log, name, filter) = (Arc::clone(&self.log), Arc::clone(&self.name), self.filter.clone());
        let ask = move || {
            log.with(|store| {
                store.register(&name, &filter, starts, Box::new(move |result| _ = answer.send(result)));
            })
        };
        answered_by(self.services.runtime.spawn_blocking(ask).await.ok().flatten(), answered).await
    }
}

/// What the store's writer answers to a request that it was given, if it was.
pub(super) async fn answered_by<R>(
    asked: Option<()>,
    answered: oneshot::Receiver<Result<R, RequestError>>,
) -> Result<R, CursorError> {
    asked.ok_or(CursorError::Closed)?;
    Ok(answered.await.map_err(|_| CursorError::Closed)??)
}
