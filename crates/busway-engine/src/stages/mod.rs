//! Middleware that needs a clock: timeout and rate limit. The decisions are in `busway-reliability`, the waiting is here.
//!
//! Unless they are given another, both take the clock of the bus whose delivery they see: a service that is tested on a
//! manual clock needs no second set of them.

mod rate_limit;
mod timeout;

use std::sync::Arc;

use busway_middleware::Delivery;

pub use self::rate_limit::{RateHandle, RateLimit};
pub use self::timeout::{Elapsed, Timeout};
use crate::bus::PublisherSource;
use crate::clock::{Clock, SystemClock};

/// The clock of the bus that delivers this; the machine's, when there is no bus (any more).
pub(crate) fn clock_of(delivery: &Delivery) -> Arc<dyn Clock> {
    let source = delivery.scope().states().get::<PublisherSource>();
    match source.and_then(|source| source.core.upgrade()) {
        Some(bus) => Arc::clone(&bus.services.clock),
        None => Arc::new(SystemClock),
    }
}
