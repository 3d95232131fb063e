//! Signals: the moments of a bus that somebody may be told of. A closed list: what is not here is not told.

use std::fmt;
use std::time::Duration;

use busway_event::{AnyEvent, Filter, Timestamp, Topic};
use busway_middleware::Outcome;

use crate::collector::Wants;

/// A moment of a bus. Borrowed for the call: who keeps something of it copies that.
///
/// Which [`Wants`] a signal belongs to is said with it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// An event was accepted and offered to so many subscriptions. Of [`Wants::EVENTS`].
    Published {
        /// The event.
        event: &'a AnyEvent,
        /// Subscriptions that it was offered.
        offered: usize,
    },
    /// A subscription has handled an event, or has decided about it without its handler. Of [`Wants::EVENTS`].
    Settled {
        /// The subscription's name.
        subscription: &'a str,
        /// The event.
        event: &'a AnyEvent,
        /// What it has come to, this time.
        outcome: &'a Outcome,
    },
    /// A handler of a durable subscription was run, its chain included: how long that took. Each event of a batch is told of with the time of its call. Of
    /// [`Wants::TIMES`].
    Handled {
        /// The subscription's name.
        subscription: &'a str,
        /// The event.
        event: &'a AnyEvent,
        /// The outcome.
        outcome: &'a Outcome,
        /// From its start to its end.
        took: Duration,
        /// From the event's time to the handler's end, by the wall clocks of publisher and bus; zero when these disagree.
        since_published: Duration,
    },
    /// A durable publish has returned: how long it waited for its durability. Of [`Wants::TIMES`].
    Stored {
        /// How long.
        took: Duration,
        /// Events of the publish: more than one of a batch.
        events: usize,
    },
    /// The store has committed: how long that took, its sync included, and how many requests shared it. Of [`Wants::TIMES`].
    Committed {
        /// How long.
        took: Duration,
        /// As many: publishes, of one event or of a batch, settlements, transactions.
        requests: usize,
        /// Events that it has stored.
        events: usize,
    },
    /// An attempt of a durable subscription has failed, and the event is attempted again. Of [`Wants::ALARMS`].
    Retried {
        /// The subscription's name.
        subscription: &'a str,
        /// The event.
        event: &'a AnyEvent,
        /// The attempt that failed, from 1.
        attempt: u32,
    },
    /// A durable subscription has given an event up: it is a dead letter, or let go where the subscription discards. Of [`Wants::ALARMS`].
    DeadLetter {
        /// The subscription's name.
        subscription: &'a str,
        /// The event.
        event: &'a AnyEvent,
        /// Why, for people to read.
        reason: &'a str,
    },
    /// A subscription has as many dead letters as it may keep and is about to give up one more: its lane stops. Told once, and again when there was
    /// room in between. Of [`Wants::ALARMS`].
    DeadLettersFull {
        /// The subscription's name.
        subscription: &'a str,
        /// As many.
        max: u64,
    },
    /// A subscription has as many parked events as it may have: it reads no more until there is room. Of [`Wants::ALARMS`].
    ParkedFull {
        /// The subscription's name.
        subscription: &'a str,
        /// As many.
        max: u64,
    },
    /// A handler has overrun its deadline and cannot be cancelled: its lane waits for it. Of [`Wants::ALARMS`].
    Hung {
        /// The subscription's name.
        subscription: &'a str,
        /// The event.
        event: &'a AnyEvent,
    },
    /// The circuit of a channel has moved. Of [`Wants::ALARMS`].
    BreakerMoved {
        /// The subscription's name.
        subscription: &'a str,
        /// The channel's topic.
        topic: &'a Topic,
        /// Where it was.
        from: Circuit,
        /// Where it is.
        to: Circuit,
        /// When it is probed; `None` unless it is open by itself.
        next_probe: Option<Timestamp>,
    },
    /// A breaker has refused a call, and this was done with the event instead. Not told of an event that waits; of one that was acknowledged and is
    /// retried, each time that its call is refused. Of [`Wants::ALARMS`].
    FellBack {
        /// The subscription's name.
        subscription: &'a str,
        /// The filter of one that was given no name: it is called by that and a number.
        unnamed: Option<&'a Filter>,
        /// The event.
        event: &'a AnyEvent,
        /// What was done.
        how: FallbackKind,
    },
    /// A configuration was put in the place of another one while the bus ran, and something differed. Of [`Wants::ALARMS`].
    Reloaded {
        /// Routes that are new or gone, and fields that differ; those that wait for the next start included.
        changes: usize,
        /// From the first look at it until all of it was in force.
        took: Duration,
    },
    /// A configuration was refused: what was in force stays so. Of [`Wants::ALARMS`].
    ReloadRefused {
        /// As many things are wrong with it.
        problems: usize,
        /// The first of them, for people to read.
        first: &'a str,
    },
}

impl Signal<'_> {
    /// Whom it is told.
    #[must_use]
    pub const fn wants(&self) -> Wants {
        match self {
            Self::Published { .. } | Self::Settled { .. } => Wants::EVENTS,
            Self::Handled { .. } | Self::Stored { .. } | Self::Committed { .. } => Wants::TIMES,
            _ => Wants::ALARMS,
        }
    }

    /// The subscription that it is of, if it is of one.
    #[must_use]
    pub const fn subscription(&self) -> Option<&str> {
        match self {
            Self::Published { .. }
            | Self::Stored { .. }
            | Self::Committed { .. }
            | Self::Reloaded { .. }
            | Self::ReloadRefused { .. } => None,
            Self::Settled { subscription, .. }
            | Self::Handled { subscription, .. }
            | Self::Retried { subscription, .. }
            | Self::DeadLetter { subscription, .. }
            | Self::DeadLettersFull { subscription, .. }
            | Self::ParkedFull { subscription, .. }
            | Self::Hung { subscription, .. }
            | Self::BreakerMoved { subscription, .. }
            | Self::FellBack { subscription, .. } => Some(subscription),
        }
    }
}

/// Where a circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Circuit {
    /// Calls are made.
    Closed,
    /// No calls are made.
    Open,
    /// A few calls are made, to find out.
    HalfOpen,
}

impl fmt::Display for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// What is done in the place of a call that a breaker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FallbackKind {
    /// The event waits.
    Pause,
    /// The event was acknowledged, and is retried later.
    AckAndRetryLater,
    /// The last good answer was given.
    Cached,
    /// The degrade function has answered.
    Handler,
    /// The event is a dead letter.
    DeadLetter,
}

impl fmt::Display for FallbackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::AckAndRetryLater => "ack_and_retry_later",
            Self::Cached => "cached",
            Self::Handler => "handler",
            Self::DeadLetter => "dead_letter",
        })
    }
}
