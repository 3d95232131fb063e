//! A carrier that runs: the forwarder of a stream, and the comparison.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CutOverMode;
use super::compare::Comparison;
use super::comparer::Compared;
use super::led::Led;
use crate::bridge::{Bridge, BridgeStats};

/// What carries a stream to a transport. Dropping this changes nothing: it runs until the bus stops.
#[derive(Debug)]
pub struct Carrier {
    pub(super) mode: CutOverMode,
    pub(super) led: Arc<Led>,
    pub(super) forwarder: Option<Bridge>,
    pub(super) comparison: Option<Arc<Comparison>>,
    pub(super) stop: CancellationToken,
    pub(super) comparing: TaskTracker,
}

/// What a carrier did since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CarrierStats {
    /// What was sent, unless the carrier is at rest: in the mode [`Local`](CutOverMode::Local), of a stream that was never led there.
    pub forwarder: Option<BridgeStats>,
    /// Durable subscriptions here that it waits for at the moment: what is led there is held back until they have settled what is led here.
    pub waits_for: Vec<String>,
    /// What was compared, in the mode [`Compare`](CutOverMode::Compare). Each difference is also logged as it is found, with the event's id.
    pub compared: Option<Compared>,
}

impl Carrier {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.led.stream
    }

    /// Who handles its events.
    #[must_use]
    pub const fn mode(&self) -> CutOverMode {
        self.mode
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> CarrierStats {
        CarrierStats {
            forwarder: self.forwarder.as_ref().map(Bridge::stats),
            waits_for: self.led.awaited(),
            compared: self.comparison.as_ref().map(|comparison| comparison.compared()),
        }
    }

    /// Ends it: what is on its way is waited for, the rest goes on when it is begun again.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the stop.
    pub async fn stop(self) -> CarrierStats {
        self.stop.cancel();
        let compared = self.comparison.as_ref().map(|comparison| comparison.compared());
        self.comparing.close();
        let stopping = async {
            match self.forwarder {
                Some(forwarder) => Some(forwarder.stop().await),
                None => None,
            }
        };
        let (forwarder, ()) = tokio::join!(stopping, self.comparing.wait());
        CarrierStats { forwarder, waits_for: Vec::new(), compared }
    }
}
