//! Handles: made once, and kept by who counts.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Label, Recorder};

use super::names::{self, Family};
use super::sheet::Sheet;

/// The metrics of a bus, and a recorder for those of its program.
pub(super) struct Recorded {
    recorder: Arc<dyn Recorder + Send + Sync>,
    sheet: Sheet,
}

impl Recorded {
    pub(super) fn new(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        let all = Self { recorder, sheet: Sheet::default() };
        names::FAMILIES.iter().for_each(|family| all.describe(family));
        let version = Label::new("version", env!("CARGO_PKG_VERSION"));
        all.gauge(names::BUILD, &[version]).set(1.0);
        all
    }

    pub(super) fn recorder(&self) -> &(dyn Recorder + Send + Sync) {
        &*self.recorder
    }

    pub(super) fn describe(&self, family: &Family) {
        self.sheet.describe(family);
    }

    pub(super) fn counter(&self, name: &'static str, labels: &[Label]) -> Counter {
        self.sheet.counter(name, labels)
    }

    pub(super) fn rising(&self, name: &'static str, labels: &[Label]) -> Rising {
        Rising { counter: self.counter(name, labels), last: 0 }
    }

    pub(super) fn gauge(&self, name: &'static str, labels: &[Label]) -> Gauge {
        self.sheet.gauge(name, labels)
    }

    pub(super) fn histogram(&self, name: &'static str, labels: &[Label]) -> Histogram {
        self.sheet.histogram(name, labels)
    }

    /// The metrics of the bus as text.
    pub(super) fn text(&self) -> String {
        self.sheet.text()
    }
}

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
                let labels = [Label::new("tenant", tenant.to_owned()), Label::new("outcome", outcome)];
                (outcome, recorded.counter(names::TENANT, &labels))
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
