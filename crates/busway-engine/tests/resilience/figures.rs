//! What came of a run.

use std::collections::HashMap;
use std::time::Duration;

/// An event, and when it was published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) topic: usize,
    pub(crate) n: u32,
    pub(crate) at: Duration,
}

/// The figures of a run.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Of the topic whose dependency failed: before, during and behind that.
    pub(crate) failing: [Phase; 3],
    /// Of all other topics.
    pub(crate) neighbours: [Phase; 3],
    pub(crate) published: usize,
    /// In time or later.
    pub(crate) delivered: usize,
    pub(crate) failed_calls: u64,
    pub(crate) dead_letters: u64,
    pub(crate) opened: u64,
}

/// Events that were published in a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    /// How many were handled within [`IN_TIME`], in percent.
    pub(crate) in_time: f64,
    /// From publishing to the end of the handler; `None` when more than one in a hundred was never handled.
    pub(crate) p99: Option<Duration>,
}

impl Figures {
    pub(crate) fn new(
        published: &[Published],
        done: &HashMap<(usize, u32), Duration>,
        phase: Duration,
        (failed_calls, dead_letters, opened): (u64, u64, u64),
    ) -> Self {
        let of = |is_of: fn(usize) -> bool| {
            [0, 1, 2].map(|number: u32| {
                let span = phase * number..phase * (number + 1);
                let events = published.iter().filter(|event| is_of(event.topic) && span.contains(&event.at));
                let waits =
                    events.map(|event| Some(done.get(&(event.topic, event.n))?.saturating_sub(event.at)));
                Phase::new(waits.collect())
            })
        };
        Self {
            failing: of(|topic| topic == 0),
            neighbours: of(|topic| topic != 0),
            published: published.len(),
            delivered: done.len(),
            failed_calls,
            dead_letters,
            opened,
        }
    }
}

impl Phase {
    /// Of how long each event waited; `None` is for ever.
    fn new(mut waits: Vec<Option<Duration>>) -> Self {
        let in_time = waits.iter().filter(|wait| wait.is_some_and(|wait| wait <= IN_TIME)).count();
        waits.sort_by_key(|wait| wait.unwrap_or(Duration::MAX));
        let at = (waits.len() * 99).div_ceil(100).saturating_sub(1);
        let count = |events: usize| f64::from(u32::try_from(events).unwrap_or(u32::MAX));
        let percent = 100.0 * count(in_time) / count(waits.len().max(1));
        Self { in_time: percent, p99: waits.get(at).copied().flatten() }
    }
}

/// Later than that is no use to whoever waits.
pub(crate) const IN_TIME: Duration = Duration::from_secs(1);
