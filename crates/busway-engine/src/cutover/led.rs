//! A stream whose lead is known, and the subscriptions of this process that handle what is led here.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use busway_middleware::{Delivery, Flow, Outcome, SyncMiddleware};
use busway_persistence::Store;
use parking_lot::Mutex;

use super::lead::{Lead, Leader};
use crate::bus::{BusCore, Services};

/// See the module.
#[derive(Debug)]
pub(super) struct Led {
    pub(super) stream: Arc<str>,
    pub(super) lead: Lead,
    /// The store's number of the stream's first partition.
    pub(super) first_partition: u32,
    local: Mutex<Local>,
}

#[derive(Debug, Default)]
struct Local {
    /// Durable subscriptions that handle what is led here.
    names: Vec<String>,
    /// By partition: up to where all of them have settled what is led here. It is not asked for again.
    settled: HashMap<u16, u64>,
    /// What a carrier waits for.
    awaited: Vec<String>,
}

impl Led {
    pub(super) fn new(stream: Arc<str>, lead: Lead, first_partition: u32) -> Self {
        Self { stream, lead, first_partition, local: Mutex::default() }
    }

    pub(super) fn handled_by(&self, durable: &str) {
        let mut local = self.local.lock();
        if !local.names.iter().any(|name| name == durable) {
            local.names.push(durable.to_owned());
        }
    }

    /// Forgets those that are not kept.
    pub(super) fn retain(&self, is_kept: impl Fn(&str) -> bool) {
        self.local.lock().names.retain(|name| is_kept(name));
    }

    /// What a carrier waits for: subscriptions of this process that have something left which is led here.
    pub(super) fn awaited(&self) -> Vec<String> {
        self.local.lock().awaited.clone()
    }

    /// One of them that still runs; those that end are waited for.
    pub(super) async fn still_running(&self, core: &BusCore) -> Option<String> {
        let names = self.local.lock().names.clone();
        for name in names {
            let is_ending = core.durable.named(&name).is_some_and(|core| core.ending.is_cancelled());
            match is_ending {
                true => core.durable.until_free(&name, &core.services.idle).await,
                false if core.durable.has_name(&name) => return Some(name),
                false => {}
            }
        }
        None
    }

    /// Returns when all subscriptions here have settled what is led here before an offset, or the bus is gone. One that does not run stands where the store says; one that the
    /// store does not know has nothing to settle.
    ///
    /// # Cancel safety
    /// Safe: nothing but what is said to be [awaited](Self::awaited) is changed.
    pub(super) async fn settled_before(
        &self,
        bus: &Weak<BusCore>,
        services: &Services,
        partition: u16,
        end: u64,
    ) {
        let is_known = |local: &Local| local.settled.get(&partition).is_some_and(|settled| *settled >= end);
        if end == 0 || is_known(&self.local.lock()) {
            return;
        }
        let _quiet = Quiet(self);
        loop {
            // Whatever changes behind this is seen below.
            let before = (self.local.lock().names.clone(), bus.upgrade().map(|bus| bus.durable.removals()));
            // Not before all that run have come so far.
            let running = services.idle.until(|| {
                let Some(bus) = bus.upgrade() else { return Some(None) };
                let (behind, stopped) = self.behind(&bus, partition, end);
                self.wait_for(&behind);
                behind.is_empty().then_some(Some(stopped))
            });
            let Some(stopped) = running.await else { return };
            let behind = match bus.upgrade() {
                Some(bus) => self.stored_behind(&bus, stopped, partition, end).await,
                None => return,
            };
            if behind.is_empty() {
                self.local.lock().settled.insert(partition, end);
                return;
            }
            self.wait_for(&behind);
            // Until one of them begins, or is removed, or is no longer one of them.
            let moved = || {
                let Some(bus) = bus.upgrade() else { return Some(()) };
                let now = (self.local.lock().names.clone(), Some(bus.durable.removals()));
                let runs = behind.iter().any(|name| bus.durable.named(name).is_some());
                (now != before || runs).then_some(())
            };
            services.idle.until(moved).await;
        }
    }

    /// Those that run and are not so far, and those that do not run.
    fn behind(&self, bus: &BusCore, partition: u16, end: u64) -> (Vec<String>, Vec<String>) {
        let number = self.first_partition + u32::from(partition);
        let (mut behind, mut stopped) = (Vec::new(), Vec::new());
        for name in self.local.lock().names.clone() {
            match bus.durable.named(&name) {
                Some(core) if core.is_through(number, end) => {}
                Some(_) => behind.push(name),
                None => stopped.push(name),
            }
        }
        (behind, stopped)
    }

    /// Those of them that have something left, by what the store says. What cannot be asked has.
    async fn stored_behind(
        &self,
        bus: &Arc<BusCore>,
        names: Vec<String>,
        partition: u16,
        end: u64,
    ) -> Vec<String> {
        if names.is_empty() {
            return names;
        }
        let number = self.first_partition + u32::from(partition);
        let (Some(log), asked) = (&bus.log, names.clone()) else { return names };
        let those_behind = move |store: &Store| -> Vec<String> {
            let is_behind = |name: &String| {
                let Ok(found) = store.subscription(name) else { return true };
                // What is gone is left to nobody.
                let first = store.bounds(number).map_or(0, |(first, _)| first);
                let standings = found.iter().flat_map(|stored| &stored.standings);
                let mut here = standings.filter(|(partition, ..)| *partition == number);
                here.any(|(_, cursor, parked)| cursor.unsettled_between(first, end) > 0 || *parked > 0)
            };
            asked.into_iter().filter(is_behind).collect()
        };
        log.lend(&bus.services, those_behind).await.unwrap_or(names)
    }

    fn wait_for(&self, names: &[String]) {
        let mut local = self.local.lock();
        if local.awaited != names {
            local.awaited = names.to_vec();
            drop(local);
            if !names.is_empty() {
                let (stream, names) = (&*self.stream, names.join(", "));
                tracing::info!(
                    stream,
                    names,
                    "a carrier waits until subscriptions here have settled what is led here"
                );
            }
        }
    }
}

/// Nothing is waited for when this is gone.
struct Quiet<'a>(&'a Led);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.local.lock().awaited.clear();
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
