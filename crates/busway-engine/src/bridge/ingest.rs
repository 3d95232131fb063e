//! Ingest: from a transport into the log.

use std::time::Duration;

use busway_reliability::Rate;

use super::pump::{FIRST_WAIT, LONGEST_WAIT, Work};
use super::{Bridge, BridgeError};
use crate::bus::Bus;
use crate::transport::{Ability, Capability, LocalTransport, Reception, Transport, TransportError};

/// An ingest that has not begun: it will publish on a bus what a transport delivers.
///
/// The broker is told that an event is settled when it is synced here, and not before. Events keep their ids, by which the stream of the bus absorbs what is
/// delivered twice within its window. Events of topics that no stream captures are refused by [`from`](Self::from): they would be settled there, and kept nowhere.
#[derive(Debug)]
#[must_use = "an ingest begins with .from(transport)"]
pub struct Ingest {
    bus: Bus,
    reception: Reception,
    rate: Option<Rate>,
    longest_wait: Duration,
}

impl Bus {
    /// Builds an ingest: it takes part in a subscription of a transport, and publishes what it receives on this bus. See [`bridge`](crate::bridge).
    pub fn ingest(&self, reception: Reception) -> Ingest {
        Ingest { bus: self.clone(), reception, rate: None, longest_wait: LONGEST_WAIT }
    }
}

impl Ingest {
    /// No more than so many events in a time. Default: as fast as they are stored.
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// The longest time between two attempts while the broker or the store does not answer, as with a [forwarder](super::Forwarder::longest_wait).
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait.max(FIRST_WAIT);
        self
    }

    /// Begins.
    ///
    /// # Errors
    /// [`BridgeError`]. What is no event is given up: the transport has to keep dead letters.
    pub async fn from(self, transport: &dyn Transport) -> Result<Bridge, BridgeError> {
        let Self { bus, reception, rate, longest_wait } = self;
        let name = reception.name.clone();
        let core = bus.core();
        let Some(log) = &core.log else { return Err(BridgeError::NoStore { name }) };
        if !log.streams().any(|(stream, ..)| stream.covers(&reception.filter)) {
            return Err(BridgeError::NothingCaptured { name, filter: reception.filter.to_string() });
        }
        let refused = |reason| BridgeError::Transport { name: name.clone(), reason };
        if let Ability::Missing(reason) =
            transport.capabilities_of(&reception.stream).of(Capability::DeadLetters)
        {
            let (transport, capability) = (transport.kind(), Capability::DeadLetters);
            return Err(refused(TransportError::Missing {
                transport,
                capability,
                reason: reason.to_owned(),
            }));
        }
        let to = LocalTransport::new(&bus).sender().await.map_err(refused)?;
        let from = transport.receiver(&reception).await.map_err(refused)?;
        let (batch, renewed_every) = (reception.in_flight_max.get(), reception.ack_wait / 3);
        let stop = core.stopping.child_token();
        let work = Work { name, taken: None, from, to, batch, rate, longest_wait, renewed_every, stop };
        Ok(work.begin(core, log))
    }
}
