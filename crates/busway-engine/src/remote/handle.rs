//! The handle of a remote subscription.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::stats::RemoteStats;
use crate::bus::Services;
use crate::subscription::Subscription;

/// A remote subscription that runs. Dropping this changes nothing: it goes on until the bus stops.
#[derive(Debug)]
pub struct RemoteSubscription {
    pub(super) subscription: Subscription,
    pub(super) feed: Arc<Feed>,
    pub(super) services: Arc<Services>,
    pub(super) stop: CancellationToken,
    /// Dropped by the pump when it has ended.
    pub(super) ended: CancellationToken,
}

impl RemoteSubscription {
    /// Its name, by which the broker knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.subscription.name()
    }

    /// Starts no further event and receives none until [`resume`](Self::resume). What runs goes on; what is in hand stays there and is renewed, so
    /// who pauses for long had better [`stop`](Self::stop): then other members have it.
    pub fn pause(&self) {
        self.feed.pause(true);
        self.subscription.pause();
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.subscription.resume();
        self.feed.pause(false);
    }

    /// What became of its events.
    #[must_use]
    pub fn stats(&self) -> RemoteStats {
        self.feed.figures.read(self.subscription.stats(), self.feed.in_hand())
    }

    /// The subscription in this process: middleware, traces, and waiting for its end.
    #[must_use]
    pub const fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// Leaves: nothing more is received, what is in hand is handled and settled, and what a paused one has in hand goes back. The subscription stays at the broker, for
    /// other members and for who comes back.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the stop.
    pub async fn stop(self) -> RemoteStats {
        let Self { subscription, feed, services, stop, ended } = self;
        stop.cancel();
        let stats = subscription.stats();
        // A task of its own: the stop goes on when its caller gives up.
        let stopped = services.runtime.spawn(subscription.stop()).await;
        ended.cancelled().await;
        feed.figures.read(stopped.unwrap_or(stats), feed.in_hand())
    }
}
