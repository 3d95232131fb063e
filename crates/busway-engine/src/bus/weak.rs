//! A bus that is not kept alive.

use std::sync::{Arc, Weak};

use super::{Bus, Handle};

/// A bus that this does not keep alive: for who works beside it and ends with it.
#[derive(Debug, Clone)]
pub struct WeakBus {
    handle: Weak<Handle>,
}

impl Bus {
    /// The bus, without keeping it alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakBus {
        WeakBus { handle: Arc::downgrade(&self.handle) }
    }
}

impl WeakBus {
    /// The bus, when it is still there.
    #[must_use]
    pub fn upgrade(&self) -> Option<Bus> {
        self.handle.upgrade().map(|handle| Bus { handle })
    }
}
