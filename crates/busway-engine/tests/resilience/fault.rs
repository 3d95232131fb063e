//! What goes wrong with what `shop.mail` depends on.

use std::fmt;
use std::time::Duration;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Dead,
    Slow,
    Flapping,
    Poison,
    HotKey,
}

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Good,
    Refused,
    /// It would succeed, after so long.
    Slow,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [Self::Dead, Self::Slow, Self::Flapping, Self::Poison, Self::HotKey];

    /// How a call goes, so long after the fault began, for the event of this number.
    pub(crate) fn call(self, since: Duration, n: u32) -> Call {
        match self {
            Self::Dead => Call::Refused,
            Self::Slow => Call::Slow,
            Self::Flapping if since.as_secs().is_multiple_of(4) || since.as_secs() % 4 == 1 => Call::Refused,
            Self::Poison if n.is_multiple_of(10) => Call::Refused,
            Self::HotKey if is_hot(n) => Call::Refused,
            Self::Flapping | Self::Poison | Self::HotKey => Call::Good,
        }
    }

    /// Whether its events fail for ever, and not the dependency for a while.
    pub(crate) const fn is_of_events(self) -> bool {
        matches!(self, Self::Poison)
    }
}

/// Every third event bears the hot key.
pub(crate) const fn is_hot(n: u32) -> bool {
    n.is_multiple_of(3)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead => "dead dependency",
            Self::Slow => "slow dependency",
            Self::Flapping => "flapping dependency",
            Self::Poison => "poison events",
            Self::HotKey => "one hot failing key",
        })
    }
}
