//! Opening a cut-over: who leads is found and, when the mode wants it otherwise, turned.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use busway_event::Filter;
use busway_middleware::{Identity, Stage};
use busway_persistence::{ReadTables as _, WriteTables as _};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CutOverMode;
use super::carrier::Carrier;
use super::compare::Comparison;
use super::comparing::Telling;
use super::lead::{LEADS, Lead, Leader};
use super::led::{Guarding, Led};
use super::stamping::Stamping;
use crate::bridge::{Bridge, BridgeError, Forwarders};
use crate::bus::{Bus, WeakBus};
use crate::clock::WAIT_MAX;
use crate::durable::{CursorError, DurableBuilder, StartAt};
use crate::remote::RemoteBuilder;
use crate::subscription::SubscribeBuilder;
use crate::transact::TransactionError;
use crate::transport::{Receiver, Transport, TransportError};

/// A stream of which it is known who handles its events. See the [module](crate::cutover).
#[derive(Debug)]
pub struct CutOver {
    /// Weak: what is kept with a bus does not keep it alive.
    bus: WeakBus,
    mode: CutOverMode,
    pub(super) led: Arc<Led>,
    pub(super) filters: Vec<Filter>,
    pub(super) patience: Duration,
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
    /// The transport does not take the stream, or a subscription of its comparison.
    #[error("the transport does not take stream {stream}")]
    Transport {
        /// The stream.
        stream: String,
        /// Why.
        #[source]
        reason: Box<TransportError>,
    },
}

/// Who leads a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLead {
    /// This process, and nobody else ever did.
    AlwaysHere,
    /// This process, as before; some of its events were led at a broker.
    HereAgain,
    /// Whoever is subscribed at the broker.
    There,
}

/// The cut-overs of a bus that were opened last, by their streams.
#[derive(Debug, Default)]
struct Opened(Mutex<HashMap<String, Weak<Led>>>);

impl Bus {
    /// Says who handles the events of a stream from now on: see [`cutover`](crate::cutover). Subscriptions that were made [local](CutOver::local) of the cut-over before, and its carrier,
    /// have to be stopped; those that are being stopped are waited for.
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
        let still_running =
            |subscription| CutOverError::StillRunning { stream: stream.to_owned(), subscription };
        if let Some(led) = before
            && let Some(subscription) = led.still_running(self.core()).await
        {
            return Err(still_running(subscription));
        }
        // It would go on saying who led before. Nobody begins one until it is known who leads.
        let name = carrier_name(stream);
        let (forwarders, turning) = (self.attached::<Forwarders>(), CancellationToken::new());
        let Some(_turning) = forwarders.take(&name, &turning).await else { return Err(still_running(name)) };
        let first = partitions.start;
        let lead = self.lead(stream, mode, partitions).await?;
        let stream = Arc::new(Led::new(stream.into(), lead, first));
        opened.0.lock().insert(stream.stream.to_string(), Arc::downgrade(&stream));
        Ok(CutOver { bus: self.downgrade(), mode, led: stream, filters, patience: PATIENCE })
    }

    /// Who leads a stream now, as it is stored.
    ///
    /// # Errors
    /// [`CutOverError`].
    pub fn stream_lead(&self, stream: &str) -> Result<StreamLead, CutOverError> {
        self.cut_stream(stream)?;
        let failed = |reason| CutOverError::Store { stream: stream.to_owned(), reason: Box::new(reason) };
        let stored = self.read(|tables| tables.get(&LEADS, stream)).map_err(failed)?.unwrap_or_default();
        Ok(match (stored.was_ever_turned(), stored.is_led_there()) {
            (false, _) => StreamLead::AlwaysHere,
            (true, false) => StreamLead::HereAgain,
            (true, true) => StreamLead::There,
        })
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

    /// How long one side of a comparison may be behind the other before that is a difference. Default 30 s, at most a year.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(WAIT_MAX);
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

    /// Nothing waits for local subscriptions of other names than these any longer: they will not come back.
    pub fn retain_local(&self, is_kept: impl Fn(&str) -> bool) {
        self.led.retain(is_kept);
        if let Some(bus) = self.bus.upgrade() {
            bus.core().services.idle.touch();
        }
    }

    /// The broker's stream is made, or checked: before subscriptions there begin. [`begin`](Self::begin) does it too.
    ///
    /// # Errors
    /// [`CutOverError`].
    pub async fn prepare(&self, transport: &dyn Transport) -> Result<(), CutOverError> {
        let bus = self.bus()?;
        let declared = bus.core().log.as_ref().and_then(|log| {
            let mut streams = log.streams().map(|(declared, ..)| declared.clone());
            streams.find(|declared| declared.name() == &*self.led.stream)
        });
        transport.prepare(declared.as_slice()).await.map_err(|reason| self.not_taken(reason))
    }

    /// Begins to carry: the broker's stream is made or checked, and a forwarder runs.
    ///
    /// In the mode [`Local`](CutOverMode::Local) nothing is copied; what was led there before still is forwarded. In the others all that the log keeps is copied when it is carried for
    /// the first time, or again after the mode `Local`: the broker knows ids only for a while. A carrier that is at rest keeps no cursor.
    ///
    /// A comparison that was begun before has left subscriptions at its broker, of names `<stream>-compare-…`: they are removed here, whatever the mode is now. So a mode [`Compare`](CutOverMode::Compare)
    /// is left by beginning the next one with the transport that it had. What cannot be removed is logged, and tried again at the next beginning; Kafka forgets it by itself.
    ///
    /// # Errors
    /// [`CutOverError`]. Nothing runs then.
    ///
    /// # Cancel safety
    /// Dropped before it returns, nothing goes on running.
    pub async fn begin(&self, transport: &dyn Transport) -> Result<Carrier, CutOverError> {
        let bus = self.bus()?;
        let (stop, comparing) = (stopping(&bus), TaskTracker::new());
        let unless_begun = stop.clone().drop_guard();
        let is_carried = self.mode != CutOverMode::Local || self.led.lead.was_ever_turned();
        if is_carried {
            self.prepare(transport).await?;
        } else {
            // A cursor that nobody moves any more would keep the log from being let go.
            self.forget(&bus, &[carrier_name(&self.led.stream)]).await;
        }
        let comparison = match self.mode {
            CutOverMode::Compare => Some(self.compare(&bus, transport, (&stop, &comparing)).await?),
            _ => {
                self.forget_comparison(&bus, transport).await?;
                None
            }
        };
        // The last to begin: what was begun before ends when this does not come about.
        let forwarder = match is_carried {
            true => Some(self.forward(&bus, transport, comparison.as_ref()).await?),
            false => None,
        };
        unless_begun.disarm();
        let led = Arc::clone(&self.led);
        Ok(Carrier { mode: self.mode, led, forwarder, comparison, stop, comparing })
    }

    fn bus(&self) -> Result<Bus, CutOverError> {
        self.bus.upgrade().ok_or_else(|| CutOverError::Closed { stream: self.led.stream.to_string() })
    }

    /// One forwarder for all that the stream captures, so that keys keep their order. Whoever handles an event at the broker is judged there.
    async fn forward(
        &self,
        bus: &Bus,
        transport: &dyn Transport,
        comparison: Option<&Arc<Comparison>>,
    ) -> Result<Bridge, CutOverError> {
        let stream = &*self.led.stream;
        let forwarder = bus.forwarder(carrier_name(stream), "#").of_stream(stream).identity(Identity::Bus);
        let forwarder = forwarder.through(Box::new(self.stamp(bus)));
        let forwarder = match comparison.map(Arc::clone) {
            Some(comparison) => forwarder.sent_through(Box::new(|to| Arc::new(Telling { to, comparison }))),
            None => forwarder,
        };
        let begun = forwarder.to(transport).await;
        begun.map_err(|reason| CutOverError::Bridge { stream: stream.to_owned(), reason: Box::new(reason) })
    }

    /// Removes cursors of a mode before.
    pub(super) async fn forget(&self, bus: &Bus, names: &[String]) {
        for name in names {
            match bus.cursor(name).remove().await {
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
}

fn stopping(bus: &Bus) -> CancellationToken {
    match &bus.core().log {
        Some(log) => log.ending.child_token(),
        None => CancellationToken::new(),
    }
}

/// Of the forwarder of a stream, and so of its cursor.
pub(super) fn carrier_name(stream: &str) -> String {
    format!("{stream}-carrier")
}

/// The name of the step that skips what is led elsewhere.
const GUARD: &str = "cut-over";
const PATIENCE: Duration = Duration::from_secs(30);
