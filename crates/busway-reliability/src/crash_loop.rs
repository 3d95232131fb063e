//! Crash loops: what is done with a subscription whose processes die of its events, one after the other.
//!
//! | deaths without getting on | an event was under a mark | then |
//! |---|---|---|
//! | 0, 1 | – | [`Caution::None`]: a process may die for many reasons |
//! | 2 | – | [`Caution::OneByOne`]: an event at a time, each under a mark |
//! | 3 or more | yes | [`Caution::Quarantine`]: that event is set aside, the others go on one by one |
//! | 3 or more | no | [`Caution::OneByOne`]: it died before it came to an event |

/// What a subscription is begun with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caution {
    /// As always.
    None,
    /// One event at a time, each under a mark that is stored before its attempt, until the subscription has got past what it may have
    /// been at when the processes died.
    OneByOne,
    /// The marked event is given up, and the others go on one by one.
    Quarantine,
}

impl Caution {
    /// For a subscription that is taken up behind so many deaths, held against it one after the other. `is_marked`: an event was
    /// under its mark when the last of them was.
    #[must_use]
    pub const fn behind(deaths: u32, is_marked: bool) -> Self {
        match (deaths, is_marked) {
            (0..DEATHS_BORNE, _) => Self::None,
            (DEATHS_BORNE, _) | (_, false) => Self::OneByOne,
            (_, true) => Self::Quarantine,
        }
    }
}

/// Deaths behind which events are attempted one by one; the next one tells which it is.
const DEATHS_BORNE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_death_tells_which_event_it_is() {
        let behind = |deaths| [Caution::behind(deaths, false), Caution::behind(deaths, true)];
        assert_eq!(behind(0), [Caution::None, Caution::None]);
        assert_eq!(behind(1), [Caution::None, Caution::None], "one death under a mark is not the third");
        assert_eq!(behind(2), [Caution::OneByOne, Caution::OneByOne]);
        assert_eq!(behind(3), [Caution::OneByOne, Caution::Quarantine]);
        assert_eq!(behind(u32::MAX), [Caution::OneByOne, Caution::Quarantine]);
    }
}
