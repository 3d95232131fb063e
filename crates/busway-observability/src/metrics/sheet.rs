//! The series of a bus, and what they are as text.
//!
//! A series is its labels, as they are written, and a number that whoever counts holds a handle of: to render is to write one behind the other, and nothing is hashed,
//! copied or escaped for it. A thousand durable subscriptions are 69,000 lines.
//!
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::atomics::AtomicU64;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Label};
use parking_lot::Mutex;

use super::names::{self, Family, Is};

/// The families in the order in which they were described, with their series in the order in which they were first asked for.
#[derive(Default)]
pub(super) struct Sheet {
    // A rendering holds it, and who wants a series that is not there waits for that: once for each that there ever is.
    families: Mutex<Vec<OfFamily>>,
}

struct OfFamily {
    name: &'static str,
    is: Is,
    meaning: &'static str,
    series: Vec<(Labels, Number)>,
    places: HashMap<Labels, usize>,
}

/// As they are written between braces.
type Labels = Arc<str>;

#[derive(Clone)]
enum Number {
    Counter(Arc<AtomicU64>),
    /// The bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

impl Sheet {
    pub(super) fn describe(&self, &(name, is, meaning): &Family) {
        let (series, places) = (Vec::new(), HashMap::new());
        self.families.lock().push(OfFamily { name, is, meaning, series, places });
    }

    /// The series of a counter; one that counts for nobody where no counter has that name.
    pub(super) fn counter(&self, name: &'static str, labels: &[Label]) -> Counter {
        match self.number(name, labels) {
            Some(Number::Counter(count)) => Counter::from_arc(count),
            _ => Counter::noop(),
        }
    }

    pub(super) fn gauge(&self, name: &'static str, labels: &[Label]) -> Gauge {
        match self.number(name, labels) {
            Some(Number::Gauge(value)) => Gauge::from_arc(value),
            _ => Gauge::noop(),
        }
    }

    pub(super) fn histogram(&self, name: &'static str, labels: &[Label]) -> Histogram {
        match self.number(name, labels) {
            Some(Number::Histogram(buckets)) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }

    fn number(&self, name: &'static str, labels: &[Label]) -> Option<Number> {
        let labels: Labels = written(labels).into();
        let mut families = self.families.lock();
        let family = families.iter_mut().find(|family| family.name == name)?;
        if let Some((_, number)) = family.places.get(&labels).and_then(|place| family.series.get(*place)) {
            return Some(number.clone());
        }
        let number = match family.is {
            Is::Counter => Number::Counter(Arc::default()),
            Is::Gauge => Number::Gauge(Arc::default()),
            Is::Histogram => Number::Histogram(Arc::new(Buckets::new(names::bounds(name)))),
        };
        family.places.insert(Arc::clone(&labels), family.series.len());
        family.series.push((labels, number.clone()));
        Some(number)
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let families = self.families.lock();
        for family in families.iter().filter(|family| !family.series.is_empty()) {
            family.write(&mut text);
        }
        text
    }
}

impl OfFamily {
    fn write(&self, text: &mut String) {
        let (name, is) = (self.name, self.is.word());
        _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {is}", self.meaning);
        let bounds: Vec<String> = names::bounds(name).iter().map(|bound| format!("le=\"{bound}\"")).collect();
        for (labels, number) in &self.series {
            match number {
                Number::Counter(count) => line(text, [name, ""], [labels, ""], count.load(Ordering::Acquire)),
                Number::Gauge(value) => {
                    line(text, [name, ""], [labels, ""], f64::from_bits(value.load(Ordering::Acquire)));
                }
                Number::Histogram(buckets) => {
                    let bounds = bounds.iter().map(String::as_str).chain(["le=\"+Inf\""]);
                    let mut below = 0;
                    for (bound, count) in bounds.zip(&buckets.counts) {
                        below += count.load(Ordering::Acquire);
                        line(text, [name, "_bucket"], [labels, bound], below);
                    }
                    line(
                        text,
                        [name, "_sum"],
                        [labels, ""],
                        f64::from_bits(buckets.sum.load(Ordering::Acquire)),
                    );
                    line(text, [name, "_count"], [labels, ""], below);
                }
            }
        }
        text.push('\n');
    }
}

/// A line of a name and its suffix, of labels and one more.
fn line(text: &mut String, name: [&str; 2], labels: [&str; 2], value: impl Display) {
    name.iter().for_each(|part| text.push_str(part));
    match labels {
        ["", ""] => {}
        [labels, more] => {
            text.push('{');
            text.push_str(labels);
            if !labels.is_empty() && !more.is_empty() {
                text.push(',');
            }
            text.push_str(more);
            text.push('}');
        }
    }
    _ = writeln!(text, " {value}");
}

fn written(labels: &[Label]) -> String {
    let mut text = String::new();
    for label in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(label.key());
        text.push_str("=\"");
        for character in label.value().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// What was measured: how often up to each bound and not up to the one before, and beyond the last; and the sum.
struct Buckets {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Buckets {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Self { bounds, counts, sum: AtomicU64::new(0.0_f64.to_bits()) }
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Release);
        }
        let added = |bits| Some((f64::from_bits(bits) + value).to_bits());
        _ = self.sum.fetch_update(Ordering::Release, Ordering::Relaxed, added);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: &str) -> Vec<Label> {
        vec![Label::new("subscription", value.to_owned())]
    }

    fn sheet() -> Sheet {
        let sheet = Sheet::default();
        names::FAMILIES.iter().for_each(|family| sheet.describe(family));
        sheet
    }

    #[test]
    fn a_series_that_is_asked_for_again_is_the_same_and_names_that_are_odd_spoil_no_line() {
        let sheet = sheet();
        sheet.counter(names::RETRIED, &labels("a\"b\\c\nd")).increment(2);
        sheet.counter(names::RETRIED, &labels("a\"b\\c\nd")).increment(1);
        let text = sheet.text();
        assert!(
            text.contains("busway_attempts_retried_total{subscription=\"a\\\"b\\\\c\\nd\"} 3\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4, "help, type, the series and an end: {text}");
    }

    #[test]
    fn a_bucket_counts_what_is_as_large_as_its_bound_and_what_is_beyond_all_is_counted_too() {
        let sheet = sheet();
        let histogram = sheet.histogram(names::COMMIT_EVENTS, &[]);
        [1.0, 2.0, 2.5, 5_000.0].into_iter().for_each(|value| histogram.record(value));
        let text = sheet.text();
        for line in [
            "busway_commit_requests_bucket{le=\"1\"} 1",
            "busway_commit_requests_bucket{le=\"2\"} 2",
            "busway_commit_requests_bucket{le=\"4\"} 3",
            "busway_commit_requests_bucket{le=\"4096\"} 3",
            "busway_commit_requests_bucket{le=\"+Inf\"} 4",
            "busway_commit_requests_sum 5005.5",
            "busway_commit_requests_count 4",
        ] {
            assert!(text.lines().any(|one| one == line), "no {line} in {text}");
        }
    }

    #[test]
    fn a_name_that_no_family_has_or_one_of_another_kind_counts_for_nobody() {
        let sheet = sheet();
        sheet.counter("unheard_of", &[]).increment(1);
        sheet.counter(names::QUEUE_DEPTH, &[]).increment(1);
        assert!(!sheet.text().contains("unheard_of"));
    }
}
