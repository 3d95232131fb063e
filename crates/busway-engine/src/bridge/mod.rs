//! Bridges: what carries events from a bus's log to a transport, and from a transport into the log.
//!
//! | | from | to | settled there when |
//! |---|---|---|---|
//! | [`Forwarder`] | the log of this bus | a transport | the broker has taken the event |
//! | [`Ingest`] | a transport | the log of this bus | the event is synced here |
//!
//! Both are one pump between a receiver and a sender. A publish on this bus waits for neither: with the broker down it succeeds all the same, and what waits is
//! in the log. Where a forwarder stands is a cursor of the bus's store, by its name.
//!
//! # What is promised
//! - An event is settled at its source when it has been taken at its goal, never before: at least once, and under its own id, by which goals absorb what
//!   is sent twice within their window.
//! - Events of one key are taken in the order in which the source gave them: the next is not sent before the one before was taken, or given up. Events of other keys are
//!   sent meanwhile, several batches at once.
//! - What the goal refuses for good, and what is no event, is given up as a dead letter of the source, with the reason. Nothing is skipped.
//! - While the goal cannot be reached, or lets nobody in, or what it should hold the events in is gone, the whole bridge waits, longer and longer, up to [`Forwarder::longest_wait`], and then tries with one event before it sends the others:
//!   the breaker of a bridge.
//!
//! # Crash points
//! Between the goal's word and the settlement at the source: the event is sent again. Anywhere before: likewise. Nothing else is kept in memory. A forwarder takes events of the log by the page and
//! settles them by the page, but each as what became of it says: of a page that was sent in part, only what was not settled is sent again.
//!
//! # Both ways
//! A forwarder and an ingest of the same topics send in a circle what each has from the other. The goal's id window breaks it, for as long as it is: better give each
//! its own topics.

mod figures;
mod flights;
mod forwarder;
mod ingest;
mod names;
mod pump;
mod waiting;

pub use self::figures::{BridgeState, BridgeStats};
pub use self::forwarder::Forwarder;
pub use self::ingest::Ingest;
pub(crate) use self::names::Forwarders;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::figures::Figures;

/// A bridge that runs. Dropping this changes nothing: it runs until the bus stops.
#[derive(Debug)]
pub struct Bridge {
    name: Arc<str>,
    figures: Arc<Figures>,
    stop: CancellationToken,
    /// Dropped by the pump when it has ended.
    ended: CancellationToken,
}

impl Bridge {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it did so far, and what it does now.
    #[must_use]
    pub fn stats(&self) -> BridgeStats {
        self.figures.read()
    }

    /// Ends it: what is on its way is waited for, what has not been sent goes back to its source. A bridge of the same name goes on from there.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the stop.
    pub async fn stop(self) -> BridgeStats {
        self.stop.cancel();
        self.ended.cancelled().await;
        self.figures.read()
    }
}

/// Why a bridge did not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The bus has no store to send from or to keep in.
    #[error("bridge {name} needs a bus with a store: build it with Bus::open(path)")]
    NoStore {
        /// The bridge.
        name: String,
    },
    /// The filter breaks a rule.
    #[error("bridge {name} has no filter")]
    Filter {
        /// The bridge.
        name: String,
        /// What is wrong with it.
        #[source]
        reason: busway_event::FilterError,
    },
    /// No stream of the bus captures any topic of the filter.
    #[error("no stream of the bus has topics in common with {filter}: bridge {name} would carry nothing")]
    NothingCaptured {
        /// The bridge.
        name: String,
        /// Its filter.
        filter: String,
    },
    /// A forwarder of this name runs: each would send a part of the events.
    #[error("a forwarder {name} runs already; stop it first, or take another name")]
    Running {
        /// The bridge.
        name: String,
    },
    /// The bus has no such stream.
    #[error("bridge {name}: the bus has no stream {stream} with topics in common with its filter")]
    NoStream {
        /// The bridge.
        name: String,
        /// The stream.
        stream: String,
    },
    /// The transport says no.
    #[error("bridge {name} did not begin")]
    Transport {
        /// The bridge.
        name: String,
        /// Why.
        #[source]
        reason: crate::transport::TransportError,
    },
}
