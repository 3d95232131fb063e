//! Collectors: told of signals where they happen, never asked.

use std::fmt;
use std::ops::BitOr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::signal::Signal;

/// Is told of the signals of a bus: metrics, audit, test kits.
///
/// It is called on the thread where something happens, a publisher's or a worker's, so it must be quick and must not wait. A panic in it is contained
/// and logged: it never becomes the publisher's or the worker's.
pub trait Collector: Send + Sync + 'static {
    /// What it wants to be told of. Asked once, when the bus is built. Default: everything.
    fn wants(&self) -> Wants {
        Wants::ALL
    }

    /// Something has happened that it wants to know of.
    fn collect(&self, signal: &Signal<'_>);
}

/// Which signals somebody wants. They are told apart by what they cost: each event is told twice with [`EVENTS`](Self::EVENTS), now and then a clock
/// is read with [`TIMES`](Self::TIMES), and [`ALARMS`](Self::ALARMS) cost nothing while all is well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Wants(u8);

impl Wants {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Each event that is published and each that is settled.
    pub const EVENTS: Self = Self(1);
    /// How long things took.
    pub const TIMES: Self = Self(2);
    /// What failed, and what somebody should look at.
    pub const ALARMS: Self = Self(4);
    /// Everything.
    pub const ALL: Self = Self(7);

    /// Whether all of `other` is wanted.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Wants {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Wants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::EVENTS, "events"), (Self::TIMES, "times"), (Self::ALARMS, "alarms")];
        f.debug_set()
            .entries(names.iter().filter(|(one, _)| self.contains(*one)).map(|(_, name)| name))
            .finish()
    }
}

/// The collectors of a bus, in the order in which they were added.
#[derive(Clone, Default)]
pub struct Collectors {
    collectors: Vec<(Wants, Arc<dyn Collector>)>,
    wants: Wants,
}

impl Collectors {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { collectors: Vec::new(), wants: Wants::NONE }
    }

    /// Adds one.
    pub fn add(&mut self, collector: Arc<dyn Collector>) {
        // The program's own code.
        let wants = catch_unwind(AssertUnwindSafe(|| collector.wants())).unwrap_or(Wants::NONE);
        self.wants = self.wants | wants;
        self.collectors.push((wants, collector));
    }

    /// Whether one of them wants this.
    #[inline]
    #[must_use]
    pub const fn want(&self, what: Wants) -> bool {
        self.wants.contains(what)
    }

    /// Tells those that want to know. Signals that nobody wants cost a test of a bit; who has to make one up looks at [`want`](Self::want) first.
    #[inline]
    pub fn tell(&self, signal: &Signal<'_>) {
        if self.want(signal.wants()) {
            self.tell_all(signal);
        }
    }

    #[cold]
    fn tell_all(&self, signal: &Signal<'_>) {
        let wants = signal.wants();
        for (_, collector) in self.collectors.iter().filter(|(wanted, _)| wanted.contains(wants)) {
            if catch_unwind(AssertUnwindSafe(|| collector.collect(signal))).is_err() {
                tracing::error!("a collector panicked");
            }
        }
    }
}

impl fmt::Debug for Collectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { collectors, wants } = self;
        f.debug_struct("Collectors").field("collectors", &collectors.len()).field("wants", wants).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    struct Counts(Wants, AtomicU64);

    impl Collector for Counts {
        fn wants(&self) -> Wants {
            self.0
        }

        fn collect(&self, _: &Signal<'_>) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Panics;

    impl Collector for Panics {
        fn collect(&self, _: &Signal<'_>) {
            panic!("a bug of a collector")
        }
    }

    #[test]
    fn each_is_told_what_it_wants_and_a_panic_costs_the_others_nothing() {
        let all = Arc::new(Counts(Wants::ALL, AtomicU64::new(0)));
        let alarms = Arc::new(Counts(Wants::ALARMS, AtomicU64::new(0)));
        let mut collectors = Collectors::new();
        collectors.add(alarms.clone());
        assert!(collectors.want(Wants::ALARMS) && !collectors.want(Wants::TIMES));
        collectors.add(Arc::new(Panics));
        collectors.add(all.clone());
        collectors.tell(&Signal::Stored { took: Duration::ZERO, events: 1 });
        collectors.tell(&Signal::DeadLettersFull { subscription: "stock", max: 1 });
        assert_eq!((all.1.load(Ordering::Relaxed), alarms.1.load(Ordering::Relaxed)), (2, 1));
        assert_eq!(format!("{:?}", Wants::EVENTS | Wants::ALARMS), r#"{"events", "alarms"}"#);
    }
}
