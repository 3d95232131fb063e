//! Handles: made once, and kept by who counts.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};

use super::names::{self, Family, Is};

/// The recorder, with the metrics of a bus described.
pub(super) struct Recorded {
    recorder: Arc<dyn Recorder + Send + Sync>,
}

impl Recorded {
    pub(super) fn new(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        let all = Self { recorder };
        names::FAMILIES.iter().for_each(|family| all.describe(family));
        let version = vec![Label::new("version", env!("CARGO_PKG_VERSION"))];
        all.gauge(names::BUILD, version).set(1.0);
        all
    }

    pub(super) fn recorder(&self) -> &(dyn Recorder + Send + Sync) {
        &*self.recorder
    }

    pub(super) fn describe(&self, &(name, is, unit, meaning): &Family) {
        let (name, unit) = (KeyName::from_const_str(name), Some(unit));
        match is {
            Is::Counter => self.recorder.describe_counter(name, unit, meaning.into()),
            Is::Gauge => self.recorder.describe_gauge(name, unit, meaning.into()),
            Is::Histogram => self.recorder.describe_histogram(name, unit, meaning.into()),
        }
    }

    pub(super) fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
    }

    pub(super) fn rising(&self, name: &'static str, labels: Vec<Label>) -> Rising {
        Rising { counter: self.counter(name, labels), last: 0 }
    }

    pub(super) fn gauge(&self, name: &'static str, labels: Vec<Label>) -> Gauge {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    pub(super) fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(name, labels), &METADATA)
    }
}

const METADATA: Metadata<'static> = Metadata::new("busway", Level::INFO, None);

/// A counter that follows a count of somebody's own. Where that begins anew, with another subscription of the name,
/// the counter goes on from where it is: it never falls, and nothing is counted twice.
pub(super) struct Rising {
    counter: Counter,
    last: u64,
}

impl Rising {
    pub(super) fn rise_to(&mut self, count: u64) {
        self.counter.increment(count.checked_sub(self.last).unwrap_or(count));
        self.last = count;
    }

    /// Follows a sum of counts of which some may have gone: what they were has been counted.
    pub(super) fn rise_by_sum(&mut self, sum: u64) {
        self.counter.increment(sum.saturating_sub(self.last));
        self.last = sum;
    }
}

/// Events by tenant and outcome.
pub(super) struct TenantCounters {
    tenants: HashMap<String, ByOutcome>,
    other: ByOutcome,
    none: ByOutcome,
}

type ByOutcome = [(&'static str, Counter); 5];

impl TenantCounters {
    pub(super) fn new(recorded: &Recorded, tenants: Vec<String>) -> Self {
        let of = |tenant: &str| {
            OUTCOMES.map(|outcome| {
                let labels = vec![Label::new("tenant", tenant.to_owned()), Label::new("outcome", outcome)];
                (outcome, recorded.counter(names::TENANT, labels))
            })
        };
        let (other, none) = (of("other"), of("none"));
        Self {
            tenants: tenants.into_iter().map(|tenant| (tenant.clone(), of(&tenant))).collect(),
            other,
            none,
        }
    }

    pub(super) fn count(&self, tenant: Option<&str>, outcome: &str) {
        let counters = match tenant {
            Some(tenant) => self.tenants.get(tenant).unwrap_or(&self.other),
            None => &self.none,
        };
        if let Some((_, counter)) = counters.iter().find(|(label, _)| *label == outcome) {
            counter.increment(1);
        }
    }
}

/// The words of outcomes, see [`Outcome::label`](busway_middleware::Outcome::label).
const OUTCOMES: [&str; 5] = ["done", "failed", "retry", "dead", "skipped"];
