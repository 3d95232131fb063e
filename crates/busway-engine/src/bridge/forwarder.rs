//! Store and forward: from the log to a transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_event::{Filter, FilterError};
use busway_middleware::Identity;
use busway_reliability::Rate;

use super::pump::{FIRST_WAIT, LONGEST_WAIT, Work};
use super::{Bridge, BridgeError, Forwarders};
use crate::bus::Bus;
use crate::durable::StartAt;
use crate::subscription::IntoFilter;
use crate::transport::{AS_LONG_AS_IT_TAKES, LocalTransport, Receiver, Reception, Sender, Transport};

/// A forwarder that has not begun: it will send what streams of a bus capture to a transport.
///
/// Where it stands is the cursor of a durable subscription of its name. Middleware that the bus has when it begins runs around each of its events; what is added later does not. What it sends has its own id: a broker that remembers ids takes it once.
#[derive(Debug)]
#[must_use = "a forwarder begins with .to(transport)"]
pub struct Forwarder {
    bus: Bus,
    name: String,
    filter: Result<Filter, FilterError>,
    stream: Option<String>,
    start_at: StartAt,
    in_flight: usize,
    rate: Option<Rate>,
    longest_wait: Duration,
    through: Option<Through>,
    sent_through: Option<SentThrough>,
    identity: Identity,
}

/// What stands between the log and the bridge.
struct Through(Wrap);

/// Puts something around a receiver.
pub(crate) type Wrap = Box<dyn FnOnce(Arc<dyn Receiver>) -> Arc<dyn Receiver> + Send>;

impl fmt::Debug for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Through")
    }
}

/// What stands between the bridge and its goal.
struct SentThrough(WrapSender);

/// Puts something around a sender.
pub(crate) type WrapSender = Box<dyn FnOnce(Arc<dyn Sender>) -> Arc<dyn Sender> + Send>;

impl fmt::Debug for SentThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SentThrough")
    }
}

impl Bus {
    /// Builds a forwarder of this name: it sends what the filter matches, of what streams capture, to a transport. See [`bridge`](crate::bridge).
    pub fn forwarder(&self, name: impl Into<String>, filter: impl IntoFilter) -> Forwarder {
        Forwarder {
            bus: self.clone(),
            name: name.into(),
            filter: filter.into_filter(),
            stream: None,
            start_at: StartAt::Earliest,
            in_flight: IN_FLIGHT,
            rate: None,
            longest_wait: LONGEST_WAIT,
            through: None,
            sent_through: None,
            identity: Identity::Name,
        }
    }
}

impl Forwarder {
    /// Sends what this stream captures, and nothing of others. Default: of all streams.
    pub fn of_stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Where a new one begins. Default [`StartAt::Earliest`]: all that is kept.
    pub const fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }

    /// Events that are on their way at once. Default 1,024, 1 to 65,536.
    pub fn in_flight(mut self, events: usize) -> Self {
        self.in_flight = events.clamp(1, IN_FLIGHT_MAX);
        self
    }

    /// No more than so many events in a time: so that a backlog does not flood the broker. Default: as fast as it takes them.
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// The longest time between two attempts while the broker cannot be reached. The first is 100 ms, and each may be twice the one before, with jitter. Default 30 s, 100 ms at least.
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait.max(FIRST_WAIT);
        self
    }

    /// What comes from the log passes this.
    pub(crate) fn through(mut self, wrap: Wrap) -> Self {
        self.through = Some(Through(wrap));
        self
    }

    /// What is sent passes this.
    pub(crate) fn sent_through(mut self, wrap: WrapSender) -> Self {
        self.sent_through = Some(SentThrough(wrap));
        self
    }

    /// Sets who it is to rules of access.
    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Begins.
    ///
    /// # Errors
    /// [`BridgeError`]. One of this name that was told to end is waited for. A broker that cannot be reached now is an error of [`Transport::sender`] for some transports; when it is lost later the forwarder waits for it.
    pub async fn to(self, transport: &dyn Transport) -> Result<Bridge, BridgeError> {
        let Self { bus, name, filter, stream, start_at, in_flight, rate, longest_wait, .. } = self;
        let Self { through, sent_through, identity, .. } = self;
        let filter = filter.map_err(|reason| BridgeError::Filter { name: name.clone(), reason })?;
        let core = bus.core();
        let Some(log) = &core.log else { return Err(BridgeError::NoStore { name }) };
        if log.partitions_of(&filter).is_empty() {
            return Err(BridgeError::NothingCaptured { name, filter: filter.to_string() });
        }
        if let Some(stream) =
            stream.as_ref().filter(|stream| log.partitions_within(&filter, stream).is_empty())
        {
            return Err(BridgeError::NoStream { name, stream: stream.clone() });
        }
        let stop = log.ending.child_token();
        let Some(taken) = bus.attached::<Forwarders>().take(&name, &stop).await else {
            return Err(BridgeError::Running { name });
        };
        let refused = |reason| BridgeError::Transport { name: name.clone(), reason };
        let to = transport.sender().await.map_err(refused)?;
        let to = match sent_through {
            Some(SentThrough(wrap)) => wrap(to),
            None => to,
        };
        // Nobody else takes over what this one has in hand, so it may take its time.
        let reception = Reception::new(stream.unwrap_or_default(), &*name, filter)
            .start_at(start_at)
            .in_flight_max(in_flight)
            .ack_wait(FOREVER)
            .identity(identity);
        let from = LocalTransport::new(&bus).by_the_page(&reception).await.map_err(refused)?;
        let from = match through {
            Some(Through(wrap)) => wrap(from),
            None => from,
        };
        Ok(Work {
            name,
            taken: Some(taken),
            from,
            to,
            batch: in_flight,
            rate,
            longest_wait,
            renewed_every: FOREVER / 3,
            stop,
        }
        .begin(core, log))
    }
}

const IN_FLIGHT: usize = 1024;
const IN_FLIGHT_MAX: usize = 65_536;
/// Longer than any outage; a time that clocks can still add.
const FOREVER: Duration = AS_LONG_AS_IT_TAKES;
