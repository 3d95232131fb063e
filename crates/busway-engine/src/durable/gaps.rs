//! What is gone before it was settled, and whom nobody has told of it yet: events that a cap has dropped.
//!
//! They are not settled when they are found to be gone but when an attempt that was told of them has run. Until then the stored cursor lies before
//! them, and what was parked of them stays parked: a process that starts in between finds them gone, and tells of them again. For retention, lags
//! and all else that asks what is left they count for nothing, since the log begins behind them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use busway_middleware::{self as middleware, Gap};
use busway_persistence::Position;
use parking_lot::Mutex;

use super::DurableCore;

/// What is gone and nobody was told of, by partition.
#[derive(Debug, Default)]
pub(super) struct Gaps(Mutex<BTreeMap<u32, Gone>>);

/// Offsets of a partition that are gone.
#[derive(Debug)]
pub(super) struct Gone {
    from: u64,
    to: u64,
    /// Those that were not read, start to end, the end excluded.
    unread: Vec<(u64, u64)>,
    /// Those that were parked.
    parked: Vec<u64>,
}

/// A gap that an attempt is told of.
#[derive(Debug)]
pub(super) struct Untold {
    pub(super) gap: Gap,
    partition: u32,
    /// To be settled when it is told.
    gone: Option<Gone>,
}

impl Gaps {
    fn note(&self, partition: u32, from: u64, to: u64, note: impl FnOnce(&mut Gone)) {
        let mut gaps = self.0.lock();
        let new = || Gone { from, to, unread: Vec::new(), parked: Vec::new() };
        let gone = gaps.entry(partition).or_insert_with(new);
        (gone.from, gone.to) = (gone.from.min(from), gone.to.max(to));
        note(gone);
    }
}

impl DurableCore {
    /// Offsets of a partition are gone before they were read; `events` of them were not settled.
    pub(super) fn lose_unread(&self, partition: u32, (from, to): (u64, u64), events: u64) {
        self.counts.lose(events);
        self.gaps.note(partition, from, to, |gone| gone.unread.push((from, to)));
    }

    /// A parked event is gone.
    pub(super) fn lose_parked(&self, Position { partition, offset }: Position) {
        self.counts.lose(1);
        self.gaps.note(partition, offset, offset + 1, |gone| gone.parked.push(offset));
    }

    /// The offsets of a partition that are gone, unless somebody is told of them already.
    pub(super) fn take_gap(&self, partition: u32) -> Option<Untold> {
        // Most subscriptions lose nothing, ever.
        if self.counts.lost.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let gone = self.gaps.0.lock().remove(&partition)?;
        let middleware::Position { stream, partition: index, .. } =
            self.log.position(Position { partition, offset: gone.from })?;
        let gap = Gap { stream, partition: index, from: gone.from, to: gone.to };
        Some(Untold { gap, partition, gone: Some(gone) })
    }

    /// An attempt that was told of a gap has run: what is gone is settled.
    pub(super) fn told<'a>(&self, untold: impl IntoIterator<Item = &'a mut Untold>) {
        for Untold { partition, gone, .. } in untold {
            if let Some(gone) = gone.take() {
                self.hand.lock().window.told(*partition, &gone.unread, &gone.parked);
            }
        }
    }
}
