//! Sheets: recorders of the exporter, each with some of the metrics, which two threads render side by side.
//!
//! A rendering copies, hashes and escapes the labels of each series, and again for each line of a histogram: of a thousand durable subscriptions these are 50,000
//! lines. All lines of a metric must be together in the text, so it is by their names that metrics are parted. Who renders takes the next sheet that nobody has
//! taken, the longest first, so that none waits for the other for longer than the last sheet takes.
//!
//! # Races
//! A sheet is rendered as it is when its turn comes: what is recorded meanwhile is in this text or in the next one, as it ever was with series of one recorder. What is
//! read of the bus has been set before the first sheet is begun.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};

use super::names;

/// See the module.
pub(super) struct Sheets {
    /// The longest first.
    own: [PrometheusRecorder; OWN.len()],
    others: [PrometheusRecorder; OTHERS],
}

/// All of them, to be rendered.
pub(super) struct Handles(Vec<PrometheusHandle>);

/// Metrics with a sheet of their own: histograms, of each subscription.
const OWN: [&str; 2] = [names::HANDLER, names::END_TO_END];

/// The others are on as many, the longest of them with a ninth of the lines: a thread waits for no more than one such sheet of the other one.
const OTHERS: usize = 6;

impl Sheets {
    /// On recorders that are all alike.
    pub(super) fn new<E>(recorder: impl Fn() -> Result<PrometheusRecorder, E>) -> Result<Self, E> {
        let own = [recorder()?, recorder()?];
        let others = [recorder()?, recorder()?, recorder()?, recorder()?, recorder()?, recorder()?];
        Ok(Self { own, others })
    }

    pub(super) fn handles(&self) -> Handles {
        Handles(self.own.iter().chain(&self.others).map(PrometheusRecorder::handle).collect())
    }

    /// A name is on one sheet for ever. Those of the program are on the first of the others, all on one: nobody knows how long they are.
    fn of(&self, name: &str) -> &PrometheusRecorder {
        let [first, ..] = &self.others;
        if let Some((_, own)) = OWN.iter().zip(&self.own).find(|(own, _)| **own == name) {
            return own;
        }
        let place = names::FAMILIES.iter().position(|(family, ..)| *family == name);
        place.and_then(|place| self.others.get(place % OTHERS)).unwrap_or(first)
    }
}

impl Handles {
    /// The text of all, with the samples that wait taken in: no upkeep is needed before. `are_many`: there are so many series that a second thread is
    /// less than what it saves. It has ended when this returns.
    pub(super) fn render(&self, are_many: bool) -> String {
        let rendering = Arc::new(Rendering { sheets: self.0.clone(), next: AtomicUsize::new(0) });
        // Without a second thread, as there may be no more, the first one renders all.
        let second = are_many.then(|| start(Arc::clone(&rendering)).ok()).flatten();
        let mut text = rendering.run();
        match second.map(JoinHandle::join) {
            Some(Ok(other)) => text.extend_from_slice(&other),
            Some(Err(panic)) => resume_unwind(panic),
            None => {}
        }
        String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Takes samples in that wait.
    pub(super) fn run_upkeep(&self) {
        self.0.iter().for_each(PrometheusHandle::run_upkeep);
    }
}

/// One rendering, by as many threads as run it.
struct Rendering {
    sheets: Vec<PrometheusHandle>,
    /// The first that nobody has taken.
    next: AtomicUsize,
}

impl Rendering {
    /// The text of those that no other thread takes. When it panics, as the exporter might, the other thread ends with the last sheet all the same.
    fn run(&self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some(sheet) = self.sheets.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            // There is always room in a vector.
            _ = sheet.render_to_write(&mut text);
        }
        text
    }
}

#[expect(clippy::disallowed_methods, reason = "a rendering owns its thread, and waits for its end")]
fn start(rendering: Arc<Rendering>) -> io::Result<JoinHandle<Vec<u8>>> {
    thread::Builder::new().name("busway-scrape".to_owned()).spawn(move || rendering.run())
}

impl Recorder for Sheets {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.of(name.as_str()).describe_counter(name, unit, meaning);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.of(name.as_str()).describe_gauge(name, unit, meaning);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.of(name.as_str()).describe_histogram(name, unit, meaning);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.of(key.name()).register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.of(key.name()).register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.of(key.name()).register_histogram(key, metadata)
    }
}
