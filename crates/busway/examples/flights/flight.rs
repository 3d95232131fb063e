//! The event: one departure, or a cancelled one.

use busway::prelude::*;
use serde::{Deserialize, Serialize};

/// A flight that left, late or not, or did not leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, EventType)]
#[event(name = "flight", version = 1)]
pub(crate) struct Flight {
    /// The airline's code, lower case.
    pub(crate) carrier: String,
    /// The airport that it leaves from, lower case.
    pub(crate) origin: String,
    /// The aircraft, `unknown` when the row does not say.
    pub(crate) tail_number: String,
    /// Whether and how it left.
    pub(crate) status: Status,
}

/// Whether and how a flight left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Status {
    /// It did not leave.
    Cancelled,
    /// It left 15 minutes late or more.
    Delayed {
        /// Minutes.
        minutes: i64,
    },
    /// It left, in time or nearly so.
    Departed {
        /// Minutes, negative when it was early.
        minutes: i64,
    },
}

impl Status {
    /// From the delay of a flight that left.
    pub(crate) const fn of_delay(minutes: i64) -> Self {
        if minutes >= DELAYED_FROM_MINUTES { Self::Delayed { minutes } } else { Self::Departed { minutes } }
    }

    /// The words for each, see [`word`](Status::word).
    pub(crate) const WORDS: [&'static str; 3] = ["cancelled", "delayed", "departed"];

    /// The word for it, which is a segment of the topic.
    pub(crate) const fn word(self) -> &'static str {
        let [cancelled, delayed, departed] = Self::WORDS;
        match self {
            Self::Cancelled => cancelled,
            Self::Delayed { .. } => delayed,
            Self::Departed { .. } => departed,
        }
    }

    /// The delay in minutes, when the flight left.
    pub(crate) const fn minutes(self) -> Option<i64> {
        match self {
            Self::Cancelled => None,
            Self::Delayed { minutes } | Self::Departed { minutes } => Some(minutes),
        }
    }
}

impl Flight {
    /// `flights.{status}.{origin}.{carrier}`
    pub(crate) fn topic(&self) -> String {
        format!("flights.{}.{}.{}", self.status.word(), self.origin, self.carrier)
    }

    /// Cancelled flights first, delayed ones next.
    pub(crate) const fn priority(&self) -> Priority {
        match self.status {
            Status::Cancelled => Priority::P0,
            Status::Delayed { .. } => Priority::P1,
            Status::Departed { .. } => Priority::P2,
        }
    }
}

const DELAYED_FROM_MINUTES: i64 = 15;
