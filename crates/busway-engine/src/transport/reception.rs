//! What a member of a subscription asks for.

use std::num::NonZeroUsize;
use std::time::Duration;

use busway_event::Filter;
use busway_middleware::Identity;

use crate::durable::StartAt;

/// A named subscription at a broker, as one of its members wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reception {
    /// Its name. Members of the same name share its events, wherever they are.
    pub name: String,
    /// The stream that it reads.
    pub stream: String,
    /// Who this member is among those of the subscription: the same after a restart, and nobody else's at the same time. Default: `member`; a subscription of a
    /// bus has [one of its own](crate::remote::RemoteBuilder::member).
    pub member: String,
    /// Which of the stream's topics. Default: all.
    pub filter: Filter,
    /// Where a new one begins. One that the broker knows goes on where it stands. Default: [`StartAt::Stored`].
    pub start_at: StartAt,
    /// How long a delivery may take before it goes to another member, unless it is [renewed](super::Receiver::renew). Default 30 s, 100 ms at least.
    pub ack_wait: Duration,
    /// Deliveries that may be under way at this member. Default 256.
    pub in_flight_max: NonZeroUsize,
    /// Who it is to rules of access, where it is a subscription of a bus.
    pub(crate) identity: Identity,
}

impl Reception {
    /// All of a stream's events.
    #[must_use]
    pub fn new(stream: impl Into<String>, name: impl Into<String>, filter: Filter) -> Self {
        const IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(256).unwrap();
        Self {
            name: name.into(),
            stream: stream.into(),
            member: "member".to_owned(),
            filter,
            start_at: StartAt::Stored,
            ack_wait: Duration::from_secs(30),
            in_flight_max: IN_FLIGHT,
            identity: Identity::Name,
        }
    }

    /// Who this member is.
    pub fn member(mut self, member: impl Into<String>) -> Self {
        self.member = member.into();
        self
    }

    /// Where a new one begins.
    pub const fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }

    /// How long a delivery may take.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait.max(ACK_WAIT_MIN);
        self
    }

    /// Deliveries that may be under way; one at least.
    pub const fn in_flight_max(mut self, events: usize) -> Self {
        if let Some(events) = NonZeroUsize::new(events) {
            self.in_flight_max = events;
        }
        self
    }

    /// Sets who it is to rules of access.
    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }
}

/// Less than a broker's own timers tell apart.
const ACK_WAIT_MIN: Duration = Duration::from_millis(100);
