//! The name of a durable subscription that is about to begin, or to be removed.

use crate::bus::BusCore;

/// A name that is about to be borne: free again unless it is kept.
pub(super) struct NameTaken<'a> {
    bus: &'a BusCore,
    name: Option<String>,
}

impl<'a> NameTaken<'a> {
    /// For one that is not to bear it: ephemeral ones may.
    pub(super) fn hold(bus: &'a BusCore, name: &str) -> Option<Self> {
        bus.durable.take_name(name).then(|| Self { bus, name: Some(name.to_owned()) })
    }

    pub(super) fn take(bus: &'a BusCore, name: &str) -> Option<Self> {
        let taken = Self::hold(bus, name)?;
        let _registering = bus.registering();
        (!bus.has_name(name)).then_some(taken)
    }

    pub(super) fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for NameTaken<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.bus.durable.free_name(name);
        }
    }
}
