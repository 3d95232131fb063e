//! How urgent an event is: four fixed levels, not a number.
//!
//! Few fixed levels keep a queue per level cheap and let a weighted share guarantee that the lowest always moves;
//! an open-ended number would need a heap and could starve.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Urgency of an event. [`P0`](Priority::P0) is the most urgent, [`P2`](Priority::P2) the default.
///
/// Priority decides which waiting event of a subscription starts next, how many of a level may run at once and how
/// long an event of that level may wait. It never interrupts a running handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Act now: alarms, cancellations.
    P0,
    /// Soon: a person waits for it.
    P1,
    /// The ordinary event.
    #[default]
    P2,
    /// Whenever there is time: backfills, statistics.
    P3,
}

impl Priority {
    /// All levels, the most urgent first; `ALL[p.index()] == p`.
    pub const ALL: [Self; 4] = [Self::P0, Self::P1, Self::P2, Self::P3];

    /// Position in [`Priority::ALL`], 0 to 3: for tables with one entry a level.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// `p0` to `p3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P0 => "p0",
            Self::P1 => "p1",
            Self::P2 => "p2",
            Self::P3 => "p3",
        }
    }

    /// The level at `index`, `None` above 3. The inverse of [`Priority::index`].
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        match text {
            "p0" | "P0" | "0" => Ok(Self::P0),
            "p1" | "P1" | "1" => Ok(Self::P1),
            "p2" | "P2" | "2" => Ok(Self::P2),
            "p3" | "P3" | "3" => Ok(Self::P3),
            _ => Err(PriorityError { input: text.chars().take(16).collect() }),
        }
    }
}

/// The text is no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is no priority; write p0, p1, p2 or p3", input.escape_debug())]
pub struct PriorityError {
    input: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_ordinary_level_and_the_order_is_by_urgency() {
        assert_eq!(Priority::default(), Priority::P2);
        assert!(Priority::P0 < Priority::P3);
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!((priority.index(), Priority::from_index(index)), (index, Some(priority)));
            assert_eq!(priority.to_string().parse(), Ok(priority));
        }
        assert_eq!(Priority::from_index(4), None);
    }

    #[test]
    fn another_text_is_an_error_that_shows_it() {
        let error = "urgent\n".parse::<Priority>().unwrap_err();
        assert_eq!(error.to_string(), "\"urgent\\n\" is no priority; write p0, p1, p2 or p3");
    }
}
