//! What goes wrong between processes.

use std::fmt;

use busway_event::AnyEvent;

use super::Capability;

/// Why a transport did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The broker does not answer. It may have done what it was asked for.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Whom it tried to reach, without credentials.
        address: String,
        /// Why.
        reason: String,
    },
    /// The broker does not let this process do that. Check user, password, certificate and permissions.
    #[error("{address} refuses access: {reason}")]
    AccessDenied {
        /// Who refuses.
        address: String,
        /// Why, in its words.
        reason: String,
    },
    /// Something is there under this name that is not what was declared. Change the declaration, or what is there, by hand: nothing was changed.
    #[error("{what} has {setting} {found}, and {wanted} is declared")]
    Incompatible {
        /// `stream orders`, `consumer stock`.
        what: String,
        /// What differs.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// A name, topic or filter cannot be said in the broker's words.
    #[error("{name} cannot be used with {transport}: {reason}")]
    Unmappable {
        /// The topic, filter or name.
        name: String,
        /// Whose words they are.
        transport: &'static str,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// The message is larger than the broker takes. Raise the broker's limit, or send less.
    #[error("a message of {len} bytes is larger than the {limit} that the broker takes")]
    TooLarge {
        /// Its bytes.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// It was asked for what this transport cannot do.
    #[error("{transport} has no {capability}: {reason}")]
    Missing {
        /// Which transport.
        transport: &'static str,
        /// What it lacks.
        capability: Capability,
        /// Why.
        reason: String,
    },
    /// What the broker was told of is not with it any more: it was lost, removed, or given to another member.
    #[error("{what} is gone: {reason}")]
    Gone {
        /// `consumer stock`, `delivery 7`.
        what: String,
        /// Why.
        reason: String,
    },
    /// The broker said no, or the event cannot be made a message.
    #[error("{0}")]
    Refused(String),
    /// This side was closed.
    #[error("the transport is closed")]
    Closed,
}

impl TransportError {
    /// Whether the same may succeed later, with nothing changed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// An event that a broker has not taken, or of which nobody can say whether it has.
#[derive(Clone)]
pub struct SendError {
    event: AnyEvent,
    reason: TransportError,
    is_refused: bool,
}

impl SendError {
    /// The event is not there, and will not be.
    #[must_use]
    pub const fn refused(event: AnyEvent, reason: TransportError) -> Self {
        Self { event, reason, is_refused: true }
    }

    /// The event may be there.
    #[must_use]
    pub const fn unknown(event: AnyEvent, reason: TransportError) -> Self {
        Self { event, reason, is_refused: false }
    }

    /// Whether the event is certainly not there and will not be. If not, send it again under the same id.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether sending it again may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.reason.is_transient()
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> &TransportError {
        &self.reason
    }

    /// The event.
    #[must_use]
    pub const fn event(&self) -> &AnyEvent {
        &self.event
    }

    /// The event back.
    #[must_use]
    pub fn into_event(self) -> AnyEvent {
        self.event
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("id", &self.event.id())
            .field("reason", &self.reason)
            .field("is_refused", &self.is_refused)
            .finish()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, topic) = (self.event.id(), self.event.topic());
        match self.is_refused {
            true => write!(f, "event {id} on {topic} was not sent"),
            false => write!(f, "event {id} on {topic} may have been sent or not"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}
