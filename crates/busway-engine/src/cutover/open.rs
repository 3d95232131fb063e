//! Opening a cut-over: who leads is found and, when the mode wants it otherwise, turned.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_event::Filter;
use busway_middleware::Stage;
use busway_persistence::{ReadTables as _, WriteTables as _};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CutOverMode;
use super::carrier::Carrier;
use super::compare::Comparison;
use super::lead::{LEADS, Lead, Leader};
use super::led::{Guarding, Led};
use super::stamping::Stamping;
use crate::bridge::BridgeError;
use crate::bus::{Bus, WeakBus};
use crate::durable::{CursorError, DurableBuilder, StartAt};
use crate::remote::RemoteBuilder;
use crate::subscription::SubscribeBuilder;
use crate::transact::TransactionError;
use crate::transport::{LocalTransport, Receiver, Reception, Transport, TransportError};

/// A stream of which it is known who handles its events. See the [module](crate::cutover).
#[derive(Debug)]
pub struct CutOver {
    /// Weak: what is kept with a bus does not keep it alive.
    bus: WeakBus,
    mode: CutOverMode,
    led: Arc<Led>,
    filters: Vec<Filter>,
    patience: Duration,
}

/// Why a cut-over did not come about. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutOverError {
    /// The bus has no such stream.
    #[error("the bus has no stream {stream}: who leads is decided for a stream of its own store")]
    NoStream {
        /// The stream.
        stream: String,
    },
    /// A subscription of the mode before still runs: what it handles would be somebody else's too.
    #[error("subscription {subscription} of stream {stream} still runs in the mode before: stop it first")]
    StillRunning {
        /// The stream.
        stream: String,
        /// The subscription.
        subscription: String,
    },
    /// Who leads could not be read or stored.
    #[error("who leads stream {stream} could not be stored")]
    Store {
        /// The stream.
        stream: String,
        /// Why.
        #[source]
        reason: Box<TransactionError>,
    },
    /// The bus is gone.
    #[error("the bus of stream {stream} is gone")]
    Closed {
        /// The stream.
        stream: String,
    },
    /// What carries it did not begin.
    #[error("stream {stream} is not carried")]
    Bridge {
        /// The stream.
        stream: String,
        /// Why.
        #[source]
        reason: Box<BridgeError>,
    },
    /// The comparison did not begin.
    #[error("stream {stream} is not compared")]
    Transport {
        /// The stream.
        stream: String,
        /// Why.
        #[source]
        reason: Box<TransportError>,
    },
}

/// The cut-overs of a bus that were opened last, by their streams.
#[derive(Debug, Default)]
struct Opened(Mutex<HashMap<String, Weak<Led>>>);

impl Bus {
    /// Says who handles the events of a stream from now on: see [`cutover`](crate::cutover). Subscriptions that were made of the cut-over before have to be stopped.
    ///
    /// # Errors
    /// [`CutOverError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the lead was turned; opening again finds out.
    pub async fn cut_over(&self, stream: &str, mode: CutOverMode) -> Result<CutOver, CutOverError> {
        let (filters, partitions) = self.cut_stream(stream)?;
        let opened = self.attached::<Opened>();
        let before = opened.0.lock().get(stream).and_then(Weak::upgrade);
        if let Some(subscription) = before.and_then(|led| led.still_running(self.core())) {
            return Err(CutOverError::StillRunning { stream: stream.to_owned(), subscription });
        }
        let first = partitions.start;
        let lead = self.lead(stream, mode, partitions).await?;
        let stream = Arc::new(Led::new(stream.into(), lead, first));
        opened.0.lock().insert(stream.stream.to_string(), Arc::downgrade(&stream));
        Ok(CutOver { bus: self.downgrade(), mode, led: stream, filters, patience: PATIENCE })
    }

    fn cut_stream(&self, stream: &str) -> Result<(Vec<Filter>, std::ops::Range<u32>), CutOverError> {
        let log = self.core().log.as_ref();
        let found = log.and_then(|log| {
            let (declared, ..) = log.streams().find(|(declared, ..)| declared.name() == stream)?;
            let filters = declared.captured().flatten().cloned().collect();
            Some((filters, log.partitions_named(stream)?))
        });
        found.ok_or_else(|| CutOverError::NoStream { stream: stream.to_owned() })
    }

    /// Who leads: as it is stored, turned if the mode wants it otherwise.
    async fn lead(
        &self,
        stream: &str,
        mode: CutOverMode,
        partitions: std::ops::Range<u32>,
    ) -> Result<Lead, CutOverError> {
        let failed = |reason| CutOverError::Store { stream: stream.to_owned(), reason: Box::new(reason) };
        let stored = self.read(|tables| tables.get(&LEADS, stream)).map_err(failed)?.unwrap_or_default();
        let leader = match mode {
            CutOverMode::Remote => Leader::There,
            CutOverMode::Local | CutOverMode::Mirror | CutOverMode::Compare => Leader::Here,
        };
        let log = self.core().log.as_ref();
        let ends = log.and_then(|log| {
            log.with(|store| {
                let ends = partitions.enumerate().map(|(place, number)| {
                    let end = store.bounds(number).map_or(0, |(_, end)| end);
                    (u16::try_from(place).unwrap_or(u16::MAX), end)
                });
                ends.collect::<Vec<_>>()
            })
        });
        let Some(turned) = stored.turned(leader, &ends.unwrap_or_default()) else { return Ok(stored) };
        let (name, lead) = (stream.to_owned(), turned.clone());
        let put = move |tx: &mut crate::transact::StoreTx<'_>| tx.put(&LEADS, &name, &lead);
        self.transaction(put).await.map_err(failed)?;
        tracing::info!(stream, ?mode, "a stream is led by somebody else from now on");
        Ok(turned)
    }
}

impl CutOver {
    /// Who handles its events.
    #[must_use]
    pub const fn mode(&self) -> CutOverMode {
        self.mode
    }

    /// How long one side of a comparison may be behind the other before that is a difference. Default 30 s.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes a durable subscription one that handles what is led here, and skips the rest. Begin it before [`begin`](Self::begin): what is led there waits for it.
    pub fn local(&self, subscription: DurableBuilder) -> DurableBuilder {
        self.led.handled_by(subscription.name());
        subscription.middleware(Stage::Trace, GUARD, Guarding(Arc::clone(&self.led)))
    }

    /// The subscription at the broker that handles what is led there, under a name that is the same in all processes. In this one it is called after that and the transport's kind, unless it has a name already. `None` when
    /// nothing is, nor ever was: then there is nothing for it to do.
    #[must_use]
    pub fn remote<'a>(
        &self,
        subscription: SubscribeBuilder,
        transport: &'a dyn Transport,
        name: &str,
    ) -> Option<RemoteBuilder<'a>> {
        let is_wanted = self.mode == CutOverMode::Remote || self.led.lead.was_ever_turned();
        // A new one begins with all that the broker has: copies are marked, so nothing of that is done twice.
        let builder = || {
            let mut subscription = subscription;
            // The durable one of this process may have the same.
            subscription.name.get_or_insert_with(|| format!("{name}@{}", transport.kind()));
            subscription.on(transport, &*self.led.stream, name).carried().start_at(StartAt::Earliest)
        };
        is_wanted.then(builder)
    }

    /// Begins to carry: the broker's stream is made or checked, and forwarders run, one for each filter that the stream captures.
    ///
    /// In the mode [`Local`](CutOverMode::Local) nothing is copied; what was led there before still is forwarded. In the others all that the log keeps is copied when it is carried for
    /// the first time, or again after the mode `Local`: the broker knows ids only for a while. A carrier that is at rest keeps no cursor.
    ///
    /// # Errors
    /// [`CutOverError`].
    pub async fn begin(&self, transport: &dyn Transport) -> Result<Carrier, CutOverError> {
        let closed = || CutOverError::Closed { stream: self.led.stream.to_string() };
        let bus = self.bus.upgrade().ok_or_else(closed)?;
        let stop = stopping(&bus);
        let mut forwarders = Vec::new();
        let is_carried = self.mode != CutOverMode::Local || self.led.lead.was_ever_turned();
        for (place, filter) in self.filters.iter().enumerate().filter(|_| is_carried) {
            let forwarder =
                bus.forwarder(self.carrier_name(place), filter.clone()).through(Box::new(self.stamp(&bus)));
            let begun = forwarder.to(transport).await;
            let stream = || self.led.stream.to_string();
            forwarders.push(
                begun
                    .map_err(|reason| CutOverError::Bridge { stream: stream(), reason: Box::new(reason) })?,
            );
        }
        // A cursor that nobody moves any more would keep the log from being let go.
        if !is_carried {
            self.forget(&bus, Self::carrier_name).await;
        }
        if self.mode != CutOverMode::Compare {
            self.forget(&bus, Self::compare_name).await;
        }
        let comparing = TaskTracker::new();
        let comparison = match self.mode {
            CutOverMode::Compare => Some(self.compare(&bus, transport, (&stop, &comparing)).await?),
            _ => None,
        };
        let stream = Arc::clone(&self.led.stream);
        Ok(Carrier { stream, mode: self.mode, forwarders, comparison, stop, comparing })
    }

    fn carrier_name(&self, place: usize) -> String {
        format!("{}-carrier-{place}", self.led.stream)
    }

    fn compare_name(&self, place: usize) -> String {
        format!("{}-compare-{place}", self.led.stream)
    }

    /// Removes the cursors of a mode before.
    async fn forget(&self, bus: &Bus, name: impl Fn(&Self, usize) -> String) {
        for place in 0..self.filters.len() {
            match bus.cursor(name(self, place)).remove().await {
                Ok(()) | Err(CursorError::Unknown { .. }) => {}
                Err(error) => {
                    tracing::warn!(stream = &*self.led.stream, %error, "a cursor of the mode before still keeps the log");
                }
            }
        }
    }

    fn stamp(&self, bus: &Bus) -> impl FnOnce(Arc<dyn Receiver>) -> Arc<dyn Receiver> + Send + use<> {
        let core = bus.core();
        let (led, services) = (Arc::clone(&self.led), Arc::clone(&core.services));
        let (ending, copies) = (stopping(bus), self.mode != CutOverMode::Local);
        let bus = Arc::downgrade(core);
        move |from| Arc::new(Stamping { from, led, copies, bus, services, ending })
    }

    async fn compare(
        &self,
        bus: &Bus,
        transport: &dyn Transport,
        (stop, comparing): (&CancellationToken, &TaskTracker),
    ) -> Result<Arc<Comparison>, CutOverError> {
        let core = bus.core();
        let stream = || self.led.stream.to_string();
        let failed = |reason| CutOverError::Transport { stream: stream(), reason: Box::new(reason) };
        let (mut log, mut broker) = (Vec::new(), Vec::new());
        for (place, filter) in self.filters.iter().enumerate() {
            let name = self.compare_name(place);
            // Of this process alone: each has its own log to compare with.
            let there = format!("{name}-{}", core.metadata.producer());
            let reception = |name: &str| {
                Reception::new(&*self.led.stream, name, filter.clone()).start_at(StartAt::Latest)
            };
            broker.push(transport.receiver(&reception(&there)).await.map_err(failed)?);
            let local = LocalTransport::new(bus);
            log.push(local.receiver(&reception(&name)).await.map_err(failed)?);
        }
        let services = Arc::clone(&core.services);
        let stream = Arc::clone(&self.led.stream);
        let comparison = Comparison::new(services, stream, self.patience, stop.clone());
        let work = Arc::clone(&comparison).run(log, broker);
        let work = comparing.track_future(work);
        drop(match &core.log {
            Some(log) => core.services.runtime.spawn(log.readers.track_future(work)),
            None => core.services.runtime.spawn(work),
        });
        Ok(comparison)
    }
}

fn stopping(bus: &Bus) -> CancellationToken {
    match &bus.core().log {
        Some(log) => log.ending.child_token(),
        None => CancellationToken::new(),
    }
}

/// The name of the step that skips what is led elsewhere.
const GUARD: &str = "cut-over";
const PATIENCE: Duration = Duration::from_secs(30);
