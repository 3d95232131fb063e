//! The remote subscriptions of a bus, as far as its end concerns them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    /// Nothing more is received.
    pub(super) receiving: CancellationToken,
    /// What is left in hand goes back: no handler runs any more, or none that is waited for.
    pub(super) ending: CancellationToken,
    pub(super) pumps: TaskTracker,
}

impl Remotes {
    /// Receives nothing more.
    pub(crate) fn stop(&self) {
        self.receiving.cancel();
    }

    /// Gives back what is in hand.
    pub(crate) fn end(&self) {
        self.receiving.cancel();
        self.ending.cancel();
        self.pumps.close();
    }

    /// Waits until brokers were told, behind [`end`](Self::end).
    pub(crate) async fn ended(&self) {
        self.pumps.wait().await;
    }
}
