//! Waiting until nothing is left to do.
//!
//! Workers say when they go to sleep; whoever waits looks at the counters then. Nobody polls, and a bus on which nobody
//! waits pays one load for each time a worker goes to sleep.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::Notify;

use crate::sync::fence_behind_exchange;

/// Tells those who wait that something has come to rest.
#[derive(Debug, Default)]
pub(crate) struct IdleWatch {
    watchers: AtomicUsize,
    changed: Notify,
}

impl IdleWatch {
    /// To be called after counters have changed for good: a worker found nothing more, an event was dropped.
    pub(crate) fn touch(&self) {
        // Pairs with the fence in `until`: either the watcher is seen here, or it sees the counters.
        fence(Ordering::SeqCst);
        self.touch_behind_fence();
    }

    /// As [`touch`](Self::touch), right behind a sequentially consistent change of the counters: that is a fence of its own.
    pub(crate) fn touch_after_rest(&self) {
        if self.watchers.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// As [`touch`](Self::touch), right behind an atomic exchange, whatever its order, that came behind the change of the counters.
    #[inline]
    pub(crate) fn touch_behind_exchange(&self) {
        fence_behind_exchange();
        self.touch_behind_fence();
    }

    #[inline]
    fn touch_behind_fence(&self) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Waits until `ready` says something; asks at the start and after each change.
    pub(crate) async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let _watching = Watching(&self.watchers);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            fence(Ordering::SeqCst);
            if let Some(value) = ready() {
                return value;
            }
            changed.await;
        }
    }
}

struct Watching<'a>(&'a AtomicUsize);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
