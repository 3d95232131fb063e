//! The pager: it is away for its first calls, and nobody else waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use busway::prelude::*;

use crate::windows::Summary;

/// Counts its calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pager {
    calls: Arc<AtomicU64>,
    told: Arc<AtomicU64>,
}

impl Pager {
    pub(crate) fn page(&self, hot: &Summary) -> Result<(), BoxError> {
        if self.calls.fetch_add(1, Ordering::Relaxed) < CALLS_AWAY {
            return Err(format!("no carrier for {}", hot.site).into());
        }
        self.told.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Somebody has mended it.
    pub(crate) fn is_back(&self) {
        self.calls.fetch_add(CALLS_AWAY, Ordering::Relaxed);
    }

    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

const CALLS_AWAY: u64 = 5;
