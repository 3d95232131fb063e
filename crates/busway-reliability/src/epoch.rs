//! The one moment that the tests of this crate count from.

use std::sync::LazyLock;
use std::time::Instant;

/// The same moment on every call, so that no test depends on when it runs.
pub(crate) fn epoch() -> Instant {
    *EPOCH
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` can be made in no other way; tests only")]
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
