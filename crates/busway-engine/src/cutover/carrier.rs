//! A carrier that runs: the forwarders of a stream, and the comparison.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CutOverMode;
use super::compare::Comparison;
use super::comparer::Compared;
use crate::bridge::{Bridge, BridgeStats};

/// What carries a stream to a transport. Dropping this changes nothing: it runs until the bus stops.
#[derive(Debug)]
pub struct Carrier {
    pub(super) stream: Arc<str>,
    pub(super) mode: CutOverMode,
    pub(super) forwarders: Vec<Bridge>,
    pub(super) comparison: Option<Arc<Comparison>>,
    pub(super) stop: CancellationToken,
    pub(super) comparing: TaskTracker,
}

/// What a carrier did since it began.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CarrierStats {
    /// Of its forwarders, one for each filter that the stream captures.
    pub forwarders: Vec<BridgeStats>,
    /// What was compared, in the mode [`Compare`](CutOverMode::Compare). Each difference is also logged as it is found, with the event's id.
    pub compared: Option<Compared>,
}

impl Carrier {
    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
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
            forwarders: self.forwarders.iter().map(Bridge::stats).collect(),
            compared: self.comparison.as_ref().map(|comparison| comparison.compared()),
        }
    }

    /// Ends it: what is on its way is waited for, the rest goes on when it is begun again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves those running that it had not come to.
    pub async fn stop(self) -> CarrierStats {
        self.stop.cancel();
        let compared = self.comparison.as_ref().map(|comparison| comparison.compared());
        let mut forwarders = Vec::new();
        for forwarder in self.forwarders {
            forwarders.push(forwarder.stop().await);
        }
        self.comparing.close();
        self.comparing.wait().await;
        CarrierStats { forwarders, compared }
    }
}
