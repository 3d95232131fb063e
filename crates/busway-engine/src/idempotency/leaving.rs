//! A subscription in memory, or at a broker, that ends or is replaced while its shared store is away.
//!
//! Nobody waits for that store for ever then. What was not handled yet is let go of: at a broker it is handed back, in memory it has failed, as what an aborted
//! subscription abandons is lost. What was handled is settled as handled, and counted as untold: it must not be handled again for that alone.

use std::time::Duration;

use busway_middleware::Delivery;

use super::LOOK_AGAIN;
use crate::bus::PublisherSource;
use crate::clock::Clock;
use crate::extract::Stopping;
use crate::stats::State;

/// Whether the subscription of a delivery drains, or another one takes its place.
pub(super) fn is_leaving(delivery: &Delivery) -> bool {
    let Some(source) = delivery.scope().states().get::<PublisherSource>() else { return false };
    let core = source.core.upgrade().and_then(|bus| bus.subscription(source.subscription));
    core.is_none_or(|core| core.has_heir() || matches!(core.state(), State::Draining | State::Stopped))
}

/// Ends when a shared store has had its time to be told of what was handled: some time behind the end of its subscription, and before its handlers are cut short.
///
/// # Cancel safety
/// Safe.
pub(super) async fn too_late(delivery: &Delivery, clock: &dyn Clock) {
    let left = async {
        while !is_leaving(delivery) {
            clock.guard_until(clock.now() + LOOK_AGAIN).await;
        }
        clock.guard_until(clock.now() + TELL_MAX).await;
    };
    let stopped = async {
        match delivery.scope().states().get::<Stopping>() {
            Some(stopping) => stopping.stopped().await,
            None => std::future::pending().await,
        }
        clock.guard_until(clock.now() + TELL_MAX_WHEN_STOPPED).await;
    };
    tokio::select! {
        () = left => {}
        () = stopped => {}
    }
}

/// As long as [durable subscriptions](crate::durable) give it.
const TELL_MAX: Duration = Duration::from_secs(5);
/// A shutdown cuts handlers short a second after it has told them to stop.
const TELL_MAX_WHEN_STOPPED: Duration = Duration::from_millis(500);
