//! Why a remote subscription did not begin.

use crate::subscription::SubscribeError;
use crate::transport::TransportError;

/// Why a remote subscription did not begin. Nothing has begun then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// What is wrong with the handler or the settings.
    #[error(transparent)]
    Subscription(SubscribeError),
    /// The transport lacks what the subscription needs, or the broker says no.
    #[error("subscription \"{name}\" did not begin at {transport}: {reason}{}", hint(.advice))]
    Transport {
        /// Its name.
        name: String,
        /// What kind of transport.
        transport: &'static str,
        /// Why.
        #[source]
        reason: Box<TransportError>,
        /// What to do about it, where that is known.
        advice: &'static str,
    },
}

impl RemoteError {
    /// Whether the same may begin later with nothing changed: the broker cannot be reached now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Subscription(error) => error.is_transient(),
            Self::Transport { reason, .. } => reason.is_transient(),
        }
    }
}

fn hint(advice: &str) -> String {
    match advice.is_empty() {
        true => String::new(),
        false => format!("; {advice}"),
    }
}
