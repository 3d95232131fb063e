//! The remote subscriptions of a bus, as far as its end concerns them.

use std::sync::OnceLock;

use busway_persistence::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::builder::Members;
use crate::bus::BusCore;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    /// Nothing more is received.
    pub(super) receiving: CancellationToken,
    /// What is left in hand goes back: no handler runs any more, or none that is waited for.
    pub(super) ending: CancellationToken,
    pub(super) pumps: TaskTracker,
    /// What tells this bus from others of its producer, where it has no store.
    own: OnceLock<Uuid>,
}

impl BusCore {
    /// Who a subscription of this bus is among the members of one at a broker, unless somebody says. Where there are several it is nobody else's: a store has one bus, and in that
    /// a name is given once.
    pub(super) fn member(&self, subscription: &str, members: Members) -> String {
        let producer = self.metadata.producer();
        if members == Members::One {
            return format!("{producer}-{subscription}");
        }
        let of_the_store = self.log.as_ref().and_then(|log| log.with(Store::id));
        let own = of_the_store.unwrap_or_else(|| *self.remotes.own.get_or_init(Uuid::new_v4));
        format!("{producer}-{}-{subscription}", own.simple())
    }
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
