//! Sheets: recorders of the exporter, each with some of the metrics, which two threads render side by side.
//!
//! A rendering copies, hashes and escapes the labels of each series, and again for each line of a histogram: of a thousand durable subscriptions these are 54,000
//! lines. All lines of a metric must be together in the text, so it is by their names that metrics are parted. Who renders takes the next sheet that nobody has
//! taken, the longest first, so that none waits for the other for longer than the last sheet takes.
//!
//! # Races
//! A sheet is rendered as it is when its turn comes: what is recorded meanwhile is in this text or in the next one, as it ever was with series of one recorder. What is
//! read of the bus is set by the thread that asked while the second one renders the sheets that have nothing of it. The first one sets `is_read` behind that, and takes
//! sheets behind that: until then only the second one takes any, and of the others none.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
        // By their places the last of the others are the longest: those of most subscriptions' gauges.
        Handles(self.own.iter().chain(self.others.iter().rev()).map(PrometheusRecorder::handle).collect())
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
    /// Begins a rendering. `are_many`: there are so many histograms that a second thread is less than what it saves; it begins with those that have a sheet
    /// of their own, of which nothing is read from the bus.
    pub(super) fn begin(&self, are_many: bool) -> Begun {
        let (next, is_read) = (AtomicUsize::new(0), AtomicBool::new(false));
        let rendering = Arc::new(Rendering { sheets: self.0.clone(), next, is_read });
        // Without a second thread, as there may be no more, the first one renders all.
        let second = are_many.then(|| start(Arc::clone(&rendering)).ok()).flatten();
        Begun { rendering, second }
    }

    /// Takes samples in that wait.
    pub(super) fn run_upkeep(&self) {
        self.0.iter().for_each(PrometheusHandle::run_upkeep);
    }
}

/// A rendering that has begun. Dropped, as when reading the bus panics, its second thread ends when it comes to what is read of that.
pub(super) struct Begun {
    rendering: Arc<Rendering>,
    second: Option<JoinHandle<Vec<u8>>>,
}

impl Begun {
    /// The text of all, with the samples that wait taken in: no upkeep is needed before. What is read of the bus has been set by now. The second thread has ended
    /// when this returns.
    pub(super) fn finish(self) -> String {
        // Pairs with the load of the second thread.
        self.rendering.is_read.store(true, Ordering::Release);
        let mut text = self.rendering.run();
        match self.second.map(JoinHandle::join) {
            Some(Ok(other)) => text.extend_from_slice(&other),
            Some(Err(panic)) => resume_unwind(panic),
            None => {}
        }
        String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// What both threads know of a rendering.
struct Rendering {
    sheets: Vec<PrometheusHandle>,
    /// The first that nobody has taken.
    next: AtomicUsize,
    /// Whether what is read of the bus has been set.
    is_read: AtomicBool,
}

impl Rendering {
    /// The text of those that the other thread does not take. A thread that comes to what is read of the bus too early leaves it all to the other one, which is
    /// reading, so neither waits.
    fn run(&self) -> Vec<u8> {
        let mut text = Vec::new();
        while self.is_read.load(Ordering::Acquire) || self.next.load(Ordering::Relaxed) < OWN.len() {
            // Who looked just before the other one had read, and took a sheet just behind it, sees by this what had been read.
            let Some(sheet) = self.sheets.get(self.next.fetch_add(1, Ordering::AcqRel)) else { break };
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn many_have_a_second_thread_and_few_have_none_and_either_way_all_is_rendered() {
        let Ok(sheets) = Sheets::new(|| Ok::<_, Infallible>(PrometheusBuilder::new().build_recorder()));
        let metadata = Metadata::new("tests", metrics::Level::INFO, None);
        for (name, ..) in names::FAMILIES {
            sheets.register_counter(&Key::from_name(name), &metadata).increment(1);
        }
        let handles = sheets.handles();
        for are_many in [true, false] {
            let begun = handles.begin(are_many);
            assert_eq!(begun.second.is_some(), are_many);
            let text = begun.finish();
            let is_there = |name: &str| text.lines().any(|line| line == format!("{name} 1"));
            assert!(names::FAMILIES.iter().all(|(name, ..)| is_there(name)), "{text}");
        }
        // Who begins and never finishes, as when reading the bus panics: its thread ends where it may render nothing more.
        let begun = handles.begin(true);
        let text = begun.second.unwrap().join().unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(OWN.iter().all(|name| text.contains(name)) && !text.contains(names::QUEUE_DEPTH), "{text}");
    }
}
