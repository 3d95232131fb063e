//! What laps wrote, and how often they synced: the suites that come beside an answer.

use super::lap::SyncedLap;
use super::written::Written;
use crate::report::{Contender, Suite};

/// A contender and the laps that count.
#[derive(Debug)]
pub struct Counted {
    /// Its name in the report.
    pub name: &'static str,
    /// Which version ran.
    pub version: String,
    /// One a round.
    pub laps: Vec<SyncedLap>,
}

/// `<question>-syncs`: `what` a sync is.
#[must_use]
pub fn syncs<'a>(question: &str, counted: impl IntoIterator<Item = &'a Counted>, what: &str) -> Suite {
    let row = |Counted { name, version, laps }: &Counted| {
        let samples = laps.iter().map(|lap| per_event(lap.syncs, lap)).collect();
        Contender::new(*name, version, samples)
    };
    Suite {
        name: format!("{question}-syncs"),
        unit: "syncs/event".to_owned(),
        higher_is_better: false,
        note: format!("how often all that was written so far was made durable, while {question} ran: {what}"),
        contenders: counted.into_iter().map(row).collect(),
        curves: Vec::new(),
    }
}

/// `<question>-bytes`, from `source`. `None` where the system does not count them.
#[must_use]
pub fn bytes(question: &str, counted: &[Counted], source: &str) -> Option<Suite> {
    let mut contenders = Vec::new();
    for (suffix, bytes) in COUNTS {
        for Counted { name, version, laps } in counted {
            let samples = laps.iter().filter_map(|lap| Some(per_event(bytes(lap.written?), lap)));
            contenders.push(Contender::new(format!("{name}{suffix}"), version, samples.collect()));
        }
    }
    contenders.retain(|contender| contender.runs() > 0);
    (!contenders.is_empty()).then(|| Suite {
        name: format!("{question}-bytes"),
        unit: "bytes/event".to_owned(),
        higher_is_better: false,
        note: format!(
            "written while {question} ran, 256 of them the event's own: {source}, in the units of the page cache (pages, or larger \
             folios, whole even where one page changed), without the file system's own journal; -wchar: what was handed to \
             write calls"
        ),
        contenders,
        curves: Vec::new(),
    })
}

/// A count of the kernel's, and what its rows are called after their contender.
type Count = (&'static str, fn(Written) -> u64);

const COUNTS: [Count; 2] = [("", |written| written.to_disk), ("-wchar", |written| written.by_calls)];

#[expect(clippy::cast_precision_loss, reason = "a ratio is no count")]
fn per_event(part: u64, lap: &SyncedLap) -> f64 {
    part as f64 / lap.events.max(1) as f64
}
