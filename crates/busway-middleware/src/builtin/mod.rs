//! Middleware that comes with busway.
//!
//! [`Authorize`] and [`ValidateMetadata`] (around publishing too), [`ConcurrencyLimit`], [`IsolatePanics`],
//! [`LogOutcome`]. Those that need a clock (timeout, rate limit) live in the engine.

mod authorize;
mod concurrency;
mod log;
mod pairs;
mod panics;
mod validate;

pub use self::authorize::{Authorize, Refusal};
pub use self::concurrency::ConcurrencyLimit;
pub use self::log::{LogOutcome, log_text};
pub use self::pairs::Pairs;
pub use self::panics::{IsolatePanics, PanicOutcome};
pub use self::validate::{MetadataRefused, ValidateMetadata};
