//! Reloads: what is said of configurations that come while a bus runs. What they say, and how they are put in force, is `busway-config`'s.

use std::borrow::Cow;
use std::time::Instant;

use busway_observability::Signal;
use busway_observability::audit::{Action, Audit, Ending};

use super::{Bus, BusCore};

/// A configuration that is about to be put in force, for who watches the bus. Dropped without a word, as when who asked for it
/// goes away, its audit line says that it was cut short.
///
/// What is said of it may quote values of a file: it passes the [redaction](crate::BusBuilder::redact) of the bus first, all of it.
#[derive(Debug)]
#[must_use = "what became of it is told with .applied(…), .refused(…) or .unchanged()"]
pub struct Reloading<'a> {
    bus: &'a BusCore,
    begun: Instant,
    audit: Audit,
    /// The first one of a bus is no reload: it is logged and audited, and neither counted nor told.
    is_first: bool,
}

impl Bus {
    /// A configuration has come, and is about to be put in force: for crates that configure a bus, so that signals, metrics, log, audit and
    /// [`health`](Bus::health) say what became of it.
    pub fn reloading(&self) -> Reloading<'_> {
        Reloading::new(self.core(), false)
    }

    /// The same for the one that the bus starts with.
    pub fn configuring(&self) -> Reloading<'_> {
        Reloading::new(self.core(), true)
    }

    /// A text as it may be shown: what the [redaction](crate::BusBuilder::redact) hides is hidden. For crates that log what they were given for this bus.
    #[must_use]
    pub fn redacted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.core().services.shown.text(text)
    }
}

impl<'a> Reloading<'a> {
    fn new(bus: &'a BusCore, is_first: bool) -> Self {
        let audit = bus.services.shown.begin_audit(Action::Reload, "configuration".to_owned(), None);
        Self { bus, begun: bus.services.clock.now(), audit, is_first }
    }

    /// It is in force, and this is what differed. Without a change nothing is counted, told or audited; that an earlier one was refused is no concern any more
    /// either way.
    pub fn applied(self, changes: usize, said: &str) {
        {
            let mut reloads = self.bus.reloads.lock();
            reloads.problems = 0;
            reloads.applied += u64::from(changes > 0 && !self.is_first);
        }
        if changes == 0 {
            return self.audit.was_nothing();
        }
        let said = &*self.bus.services.shown.text(said);
        tracing::info!(changes = said, "configuration applied");
        if !self.is_first {
            let took = self.bus.services.clock.now().saturating_duration_since(self.begun);
            self.bus.services.signals.tell(&Signal::Reloaded { changes, took });
        }
        self.audit.end(&Ending::Done { count: u64::try_from(changes).ok() });
    }

    /// It was refused before, for what is wrong with it still: nothing is said again.
    pub fn unchanged(self) {
        self.audit.was_nothing();
    }

    /// It is refused for so many problems, of which this is the first: what was in force stays so.
    pub fn refused(self, problems: usize, first: &str) {
        let first = &*self.bus.services.shown.text(first);
        tracing::error!(problems, first, "configuration refused: what was in force stays so");
        if !self.is_first {
            {
                let mut reloads = self.bus.reloads.lock();
                reloads.problems = u64::try_from(problems.max(1)).unwrap_or(u64::MAX);
                reloads.refused += 1;
            }
            self.bus.services.signals.tell(&Signal::ReloadRefused { problems, first });
        }
        let reason = match problems {
            0 | 1 => first.to_owned(),
            more => format!("{more} problems, the first: {first}"),
        };
        self.audit.end(&Ending::Refused { reason });
    }
}
