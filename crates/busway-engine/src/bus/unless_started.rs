//! A start that comes to nothing leaves nothing.

use std::sync::Arc;

use super::core::BusCore;

/// Hooks may keep clones of the bus: a start that fails or is given up stops it by hand.
pub(super) struct AbortUnlessStarted(Option<Arc<BusCore>>);

impl AbortUnlessStarted {
    pub(super) fn new(core: &Arc<BusCore>) -> Self {
        Self(Some(Arc::clone(core)))
    }

    pub(super) fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortUnlessStarted {
    fn drop(&mut self) {
        if let Some(core) = &self.0 {
            core.abort();
        }
    }
}
