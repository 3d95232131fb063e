//! A stream whose lead is known, and the subscriptions of this process that handle what is led here.

use std::sync::Arc;

use busway_middleware::{Delivery, Flow, Outcome, SyncMiddleware};
use parking_lot::Mutex;

use super::lead::{Lead, Leader};
use crate::bus::BusCore;

/// See the module.
#[derive(Debug)]
pub(super) struct Led {
    pub(super) stream: Arc<str>,
    pub(super) lead: Lead,
    /// The store's number of the stream's first partition.
    pub(super) first_partition: u32,
    /// Durable subscriptions that handle what is led here.
    local: Mutex<Vec<String>>,
}

impl Led {
    pub(super) fn new(stream: Arc<str>, lead: Lead, first_partition: u32) -> Self {
        Self { stream, lead, first_partition, local: Mutex::default() }
    }

    pub(super) fn handled_by(&self, durable: &str) {
        self.local.lock().push(durable.to_owned());
    }

    /// One of them that still runs.
    pub(super) fn still_running(&self, core: &BusCore) -> Option<String> {
        self.local.lock().iter().find(|name| core.durable.has_name(name)).cloned()
    }

    /// Whether what is led here before an offset is settled, by all of them.
    pub(super) fn is_settled_before(&self, core: &BusCore, partition: u16, end: u64) -> bool {
        let number = self.first_partition + u32::from(partition);
        let names = self.local.lock().clone();
        names.iter().all(|name| core.durable.named(name).is_some_and(|core| core.is_through(number, end)))
    }
}

/// Skips what somebody else leads.
pub(super) struct Guarding(pub(super) Arc<Led>);

impl SyncMiddleware for Guarding {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        let Self(led) = self;
        match delivery.position() {
            Some(position)
                if position.stream == led.stream
                    && led.lead.leader(position.partition, position.offset) == Leader::There =>
            {
                Flow::Stop(Outcome::Skip)
            }
            _ => Flow::Continue,
        }
    }
}
