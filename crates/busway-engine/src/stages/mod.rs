//! Middleware that needs a clock: timeout and rate limit. The decisions are in `busway-reliability`, the waiting is here.

mod rate_limit;
mod timeout;

pub use self::rate_limit::{RateHandle, RateLimit};
pub use self::timeout::{Elapsed, Timeout};
