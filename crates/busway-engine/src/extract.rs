//! Extractors that need the engine: [`Stopping`] here, `Publisher` beside the bus.

use busway_middleware::{Delivery, ExtractError, FromDelivery, FromScope, Mode, Scope};
use tokio_util::sync::CancellationToken;

/// Tells a handler that it should come to an end: the grace of a shutdown is over, or its subscription is aborted.
///
/// It is live: through the whole grace of a shutdown it says nothing, so that handlers can finish their work.
#[derive(Debug, Clone)]
pub struct Stopping {
    token: CancellationToken,
}

impl Stopping {
    pub(crate) const fn of(token: CancellationToken) -> Self {
        Self { token }
    }

    /// Whether it is time to stop: for loops in blocking handlers.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ends when it is time to stop.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }
}

impl<M: Mode> FromDelivery<M> for Stopping {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        <Self as FromScope<M>>::from_scope(delivery.scope())
    }
}

impl<M: Mode> FromScope<M> for Stopping {
    fn from_scope(scope: &Scope) -> Result<Self, ExtractError> {
        let stopping = scope.states().get::<Self>().cloned();
        stopping.ok_or(ExtractError::StateMissing { type_name: "Stopping" })
    }
}
