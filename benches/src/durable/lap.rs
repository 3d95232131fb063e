//! The clock of the durable suites: appends until the time or the volume is used up, and says what that came to.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::event::{EVENT_BYTES, event};
use super::written::Written;
use crate::terms::Terms;

/// What one lap came to.
#[derive(Debug, Clone, Copy)]
pub struct SyncedLap {
    /// Events appended and synced while the clock ran.
    pub events: u64,
    /// How often that took a sync.
    pub syncs: u64,
    /// From the first append to the last sync.
    pub elapsed: Duration,
    /// What was written meanwhile, where the system counts that.
    pub written: Option<Written>,
    /// Events that the store must hold now: those before the clock ran, too.
    pub stored: u64,
}

/// What a store says that it holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Holding {
    /// How many events.
    pub count: u64,
    /// Number and bytes of the last one.
    pub last: Option<(u64, Vec<u8>)>,
}

/// Appends events from 0 on, `per_sync` at a time: first for a tenth of a block or of the volume to warm up, then for a block with
/// the clock running, or to the end of the volume. `append` returns when all events of its range are synced.
///
/// # Errors
/// Those of `append`.
pub fn appending(
    terms: &Terms,
    per_sync: usize,
    mut append: impl FnMut(Range<u64>) -> Result<()>,
) -> Result<SyncedLap> {
    let (step, limit) = (u64::try_from(per_sync)?.max(1), events_max(terms, per_sync));
    let mut append_for = |block: Duration, first: u64, limit: u64| -> Result<(u64, Duration)> {
        let (mut next, started) = (first, Instant::now());
        while next + step <= limit {
            append(next..next + step)?;
            next += step;
            if started.elapsed() >= block {
                break;
            }
        }
        Ok((next, started.elapsed()))
    };
    let (first, _) = append_for(terms.block / WARM_UP_SHARE, 0, limit / u64::from(WARM_UP_SHARE))?;
    let before = Written::so_far();
    let (stored, elapsed) = append_for(terms.block, first, limit)?;
    let written = Written::so_far().zip(before).map(|(now, before)| now.since(before));
    let events = stored - first;
    ensure!(events > 0, "{per_sync} events a sync are more than the {limit} events of a lap");
    Ok(SyncedLap { events, syncs: events / step, elapsed, written, stored })
}

/// How many events a lap appends at most: as many as fill [`VOLUME_MAX`], or as many as the fastest disk syncs in its time.
#[must_use]
pub fn events_max(terms: &Terms, per_sync: usize) -> u64 {
    let time = (terms.block + terms.block / WARM_UP_SHARE).as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number, rounded on purpose"
    )]
    let syncs = (time * SYNCS_A_SECOND_MAX).ceil() as u64;
    let step = u64::try_from(per_sync).unwrap_or(u64::MAX);
    syncs.max(SYNCS_MIN).saturating_mul(step).min(VOLUME_MAX / EVENT_BYTES as u64)
}

impl SyncedLap {
    /// The lap, if the store holds what was appended, no more and no less.
    ///
    /// # Errors
    /// It does not.
    pub fn verified(self, holding: &Holding) -> Result<Self> {
        let Holding { count, last } = holding;
        ensure!(*count == self.stored, "{count} events are stored of {} that were appended", self.stored);
        let (number, bytes) = last.as_ref().context("the store has no last event")?;
        let expected = self.stored.saturating_sub(1);
        ensure!(*number == expected, "the last event is {number}, not {expected}");
        ensure!(*bytes == event(expected), "the last event, {expected}, is stored with other bytes");
        Ok(self)
    }
}

/// As in the other suites: a tenth of a run warms it up.
const WARM_UP_SHARE: u32 = 10;

/// Bytes of events in a lap, so that a run does not wear out a disk: 300 MB.
const VOLUME_MAX: u64 = 300_000_000;

/// Only a disk that syncs from a protected cache is faster; its laps end a little early.
const SYNCS_A_SECOND_MAX: f64 = 20_000.0;

/// Even the shortest lap has room to warm up and to be measured.
const SYNCS_MIN: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { block: Duration::from_millis(10), rounds: 1 };

    #[test]
    fn events_follow_each_other_and_the_warm_up_does_not_count() {
        let mut next = 0;
        let lap = appending(&TERMS, 3, |numbers| {
            assert_eq!(numbers, next..next + 3);
            next = numbers.end;
            Ok(())
        });
        let lap = lap.unwrap();
        assert_eq!((lap.stored, lap.syncs * 3), (next, lap.events));
        assert!(lap.events < next);
    }

    #[test]
    fn a_lap_ends_by_volume_or_by_time() {
        assert_eq!(events_max(&Terms::FULL, 4_096), 300_000_000 / 256);
        assert_eq!(events_max(&Terms::FULL, 1), 8_800, "what 0.44 s can sync");
        let endless = Terms { block: Duration::from_secs(5_000), rounds: 1 };
        let lap = appending(&endless, 4_096, |_| Ok(())).unwrap();
        assert_eq!(lap.stored, 300_000_000 / 256 / 4_096 * 4_096);
        assert!(appending(&endless, 2_000_000, |_| Ok(())).is_err());
    }

    #[test]
    fn a_store_that_holds_something_else_fails_the_lap() {
        let lap = SyncedLap { events: 2, syncs: 2, elapsed: Duration::ZERO, written: None, stored: 3 };
        let says = |count, number, bytes: [u8; EVENT_BYTES]| {
            let holding = Holding { count, last: Some((number, bytes.to_vec())) };
            lap.verified(&holding).map(|lap| lap.stored).map_err(|error| error.to_string())
        };
        assert_eq!(says(3, 2, event(2)), Ok(3));
        assert_eq!(says(2, 2, event(2)).unwrap_err(), "2 events are stored of 3 that were appended");
        assert_eq!(says(3, 3, event(2)).unwrap_err(), "the last event is 3, not 2");
        assert_eq!(says(3, 2, event(1)).unwrap_err(), "the last event, 2, is stored with other bytes");
        assert!(lap.verified(&Holding { count: 3, last: None }).is_err());
    }
}
