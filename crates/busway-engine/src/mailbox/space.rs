//! Waiting for room: publishers whose event found none, under the policy to block.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Mailbox, Offer, Waiting};

/// An event whose publisher waits for room.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(super) waiting: Waiting,
    pub(super) deadline: Option<Duration>,
}

/// Publishers that wait for room.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Whether anybody has said that it waits since the last time that all were woken.
    wanted: AtomicBool,
    freed: Notify,
}

impl Space {
    /// To be called after a place became free.
    ///
    /// Wakes all of them: they wait for places in different queues and for different numbers of bytes, so only they know
    /// whom the place fits.
    pub(super) fn freed(&self) {
        // Pairs with the fence in `wait_for_space`: a waiter is seen here, or it sees the place.
        fence(Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed) {
            self.freed.notify_waiters();
        }
    }

    pub(super) fn wake_all(&self) {
        self.freed.notify_waiters();
    }
}

impl Mailbox {
    /// Waits until a blocked event finds room. Its account is settled whatever happens: queued; dropped at the deadline
    /// or when this future is dropped; abandoned when the mailbox closes.
    pub(crate) async fn wait_for_space(&self, blocked: Blocked) -> Offer {
        let Blocked { waiting, deadline } = blocked;
        let mut waiter = Waiter { mailbox: self, waiting: Some(waiting) };
        let until = deadline.and_then(|deadline| self.clock.now().checked_add(deadline));
        // A running worker makes room within moments, sooner than a sleep could begin and end; and a publisher that slept
        // would be run again by the worker's own thread, after its stretch (see `worker/linger.rs`).
        for turn in 0..PLACE_TURNS {
            for _ in 0..PLACE_SPINS {
                std::hint::spin_loop();
            }
            if let Some(offer) = waiter.try_place() {
                return offer;
            }
            if turn >= PLACE_TURNS_ALONE {
                tokio::task::yield_now().await;
                // Others may have run for long.
                if until.is_some_and(|until| self.clock.now() >= until) {
                    break;
                }
            }
        }
        let placed = async {
            loop {
                let freed = self.space.freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                self.space.wanted.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
                if let Some(offer) = waiter.try_place() {
                    return offer;
                }
                freed.await;
            }
        };
        let offer = match until {
            None => Some(placed.await),
            Some(until) => tokio::select! {
                biased;
                offer = placed => Some(offer),
                () = self.clock.sleep_until(until) => None,
            },
        };
        offer.unwrap_or_else(|| {
            drop(waiter);
            Offer::Dropped
        })
    }
}

/// A publisher that waits; counts its event as dropped when it gives up.
struct Waiter<'a> {
    mailbox: &'a Mailbox,
    waiting: Option<Waiting>,
}

impl Waiter<'_> {
    fn try_place(&mut self) -> Option<Offer> {
        let waiting = self.waiting.take()?;
        if self.mailbox.hand.is_closed() {
            if self.mailbox.keeps.load(Ordering::SeqCst) {
                self.mailbox.account.retract();
                return Some(Offer::Closed(waiting.event));
            }
            self.mailbox.account.abandoned(1);
            return Some(Offer::Late(Some(waiting.event)));
        }
        if self.mailbox.budget.try_reserve(waiting.weight()).is_err() {
            self.waiting = Some(waiting);
            return None;
        }
        match self.mailbox.push(waiting) {
            Ok(offer) => Some(offer),
            Err(back) => {
                self.mailbox.budget.release(back.weight());
                self.waiting = Some(back);
                None
            }
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.waiting.take().is_some() {
            self.mailbox.dropped(1);
            if let Some(supervisor) = self.mailbox.supervisor.get().and_then(Weak::upgrade) {
                supervisor.at_rest();
            }
        }
    }
}

/// How often a publisher looks for room before it sleeps, how long it pauses in between, and from which turn on it lets other
/// tasks run: a microsecond alone and then some ten together with others, as much as a sleep and a wake cost.
const PLACE_TURNS: usize = 24;
const PLACE_TURNS_ALONE: usize = 8;
const PLACE_SPINS: usize = 16;
