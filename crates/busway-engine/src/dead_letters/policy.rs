//! What a durable subscription does with events that it gives up.

use std::fmt;
use std::time::Duration;

/// What a durable subscription does with events that it gives up. Default: they are kept for ever, up to 1,000,000 of them.
///
/// When as many are kept as may be, nothing more is given up: the lane of the event that would be stops, its event waits, everybody
/// else goes on. An alarm is given once, and again when an eighth was free in between ([`Signal::DeadLettersFull`](busway_observability::Signal::DeadLettersFull) and the log),
/// [`DurableStats::no_room`](crate::DurableStats) counts the events that wait. When there is room again they are given up without a further attempt,
/// within a second; after a restart behind one further attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterPolicy {
    keeping: Keeping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Kept { capacity: u64, expire_after: Option<Duration>, with_expired: bool },
    Discarded,
}

impl DeadLetterPolicy {
    /// They are kept, for ever and up to 1,000,000 unless said otherwise.
    pub const fn keep() -> Self {
        Self { keeping: Keeping::Kept { capacity: CAPACITY, expire_after: None, with_expired: false } }
    }

    /// They are let go, counted and warned of: [`DurableStats::discarded`](crate::DurableStats). Events of which processes die, and records that
    /// are damaged in the log, are kept all the same.
    pub const fn discard() -> Self {
        Self { keeping: Keeping::Discarded }
    }

    /// As many as are kept of the subscription. Default 1,000,000, at least 1. Of no effect where they are discarded.
    pub const fn capacity(mut self, letters: u64) -> Self {
        if let Keeping::Kept { expire_after, with_expired, .. } = self.keeping {
            let capacity = if letters == 0 { 1 } else { letters };
            self.keeping = Keeping::Kept { capacity, expire_after, with_expired };
        }
        self
    }

    /// For how long each is kept. Default for ever, at least 1 s. Those that are older are let go when the subscription begins, and within an hour while it has
    /// something to do; each time is an operation of the trail. Of no effect where they are discarded.
    pub const fn expire_after(mut self, age: Duration) -> Self {
        if let Keeping::Kept { capacity, with_expired, .. } = self.keeping {
            let age = if age.as_secs() == 0 { Duration::from_secs(1) } else { age };
            self.keeping = Keeping::Kept { capacity, expire_after: Some(age), with_expired };
        }
        self
    }

    /// Events whose time to live is over before an attempt begins are kept too, as letters with the reason. Default: they are settled and
    /// counted ([`DurableStats::expired`](crate::DurableStats)), and nothing is kept of them. Of no effect where letters are discarded.
    pub const fn with_expired(mut self) -> Self {
        if let Keeping::Kept { capacity, expire_after, .. } = self.keeping {
            self.keeping = Keeping::Kept { capacity, expire_after, with_expired: true };
        }
        self
    }

    pub(crate) fn is_discarded(self) -> bool {
        self.keeping == Keeping::Discarded
    }

    /// As many as may be kept; of what is kept although all others are discarded, as many as there are.
    pub(crate) const fn max(self) -> u64 {
        match self.keeping {
            Keeping::Kept { capacity, .. } => capacity,
            Keeping::Discarded => u64::MAX,
        }
    }

    pub(crate) const fn keeps_expired(self) -> bool {
        matches!(self.keeping, Keeping::Kept { with_expired: true, .. })
    }

    pub(crate) const fn age_max(self) -> Option<Duration> {
        match self.keeping {
            Keeping::Kept { expire_after, .. } => expire_after,
            Keeping::Discarded => None,
        }
    }
}

impl Default for DeadLetterPolicy {
    fn default() -> Self {
        Self::keep()
    }
}

/// `kept, 1000000 at most`, `kept for 30s, 5 at most, with expired ones`, `discarded`.
impl fmt::Display for DeadLetterPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.keeping {
            Keeping::Discarded => return f.write_str("discarded"),
            Keeping::Kept { capacity, expire_after: Some(age), .. } => {
                write!(f, "kept for {age:?}, {capacity} at most")?;
            }
            Keeping::Kept { capacity, expire_after: None, .. } => write!(f, "kept, {capacity} at most")?,
        }
        match self.keeps_expired() {
            true => f.write_str(", with expired ones"),
            false => Ok(()),
        }
    }
}

/// So many rows of a store are looked through in seconds.
const CAPACITY: u64 = 1_000_000;
