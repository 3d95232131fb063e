//! Reloads: what is said of configurations that come while a bus runs. What they say, and how they are put in force, is `busway-config`'s.

use std::time::Instant;

use busway_observability::Signal;
use busway_observability::audit::{Action, Audit, Ending};

use super::{Bus, BusCore};

/// A configuration that is about to be put in force, for who watches the bus. Dropped without a word, as when who asked for it
/// goes away, its audit line says that it was cut short.
#[derive(Debug)]
#[must_use = "what became of it is told with .applied(…), .refused(…) or .unchanged()"]
pub struct Reloading<'a> {
    bus: &'a BusCore,
    begun: Instant,
    audit: Audit,
}

impl Bus {
    /// A configuration has come, and is about to be put in force: for crates that configure a bus, so that signals, metrics and
    /// [`health`](Bus::health) say what became of it.
    pub fn reloading(&self) -> Reloading<'_> {
        let bus = self.core();
        let audit = bus.services.shown.begin_audit(Action::Reload, "configuration".to_owned(), None);
        Reloading { bus, begun: bus.services.clock.now(), audit }
    }
}

impl Reloading<'_> {
    /// It is in force. Without a change nothing is counted, told or audited; that an earlier one was refused is no concern any more either way.
    pub fn applied(self, changes: usize) {
        {
            let mut reloads = self.bus.reloads.lock();
            reloads.problems = 0;
            reloads.applied += u64::from(changes > 0);
        }
        if changes > 0 {
            let took = self.bus.services.clock.now().saturating_duration_since(self.begun);
            self.bus.services.signals.tell(&Signal::Reloaded { changes, took });
            self.audit.end(&Ending::Done { count: u64::try_from(changes).ok() });
        } else {
            self.audit.was_nothing();
        }
    }

    /// It was refused before, for what is wrong with it still: nothing is said again.
    pub fn unchanged(self) {
        self.audit.was_nothing();
    }

    /// It is refused for so many problems, of which this is the first: what was in force stays so.
    pub fn refused(self, problems: usize, first: &str) {
        {
            let mut reloads = self.bus.reloads.lock();
            reloads.problems = u64::try_from(problems.max(1)).unwrap_or(u64::MAX);
            reloads.refused += 1;
        }
        // It may quote a value of the file.
        let first = &*self.bus.services.shown.text(first);
        self.bus.services.signals.tell(&Signal::ReloadRefused { problems, first });
        let reason = match problems {
            0 | 1 => first.to_owned(),
            more => format!("{more} problems, the first: {first}"),
        };
        self.audit.end(&Ending::Refused { reason });
    }
}
