//! Whole numbers within bounds.

use std::fmt;

use schemars::{Schema, json_schema};

use crate::node::Kind;
use crate::read::Value;

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Count<LEAST, MOST> {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The number, as counts of things in memory are; `usize::MAX` where it does not fit.
    pub(crate) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number; `u32::MAX` where it does not fit, which the bound of the setting keeps it from.
    pub(crate) fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const LEAST: u64, const MOST: u64> fmt::Display for Count<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A whole number of 32 bits that is at least 1.
pub type Level = Count<1, { u32::MAX as u64 }>;

impl<const LEAST: u64, const MOST: u64> Value for Count<LEAST, MOST> {
    fn expecting() -> String {
        format!("a whole number from {LEAST} to {MOST}")
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        let outside = || format!("it has to be {}", Self::expecting());
        let number = match kind {
            Kind::Integer(number) => *number,
            Kind::Loose(text) => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => return Some(Err(outside())),
            },
            Kind::Float(_) => return Some(Err(outside())),
            _ => return None,
        };
        let number = u64::try_from(number).ok().filter(|number| (LEAST..=MOST).contains(number));
        Some(number.map(Self).ok_or_else(outside))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_within_their_bounds() {
        let read = |kind: Kind| Count::<1, 64>::value(&kind).map(|read| read.map(Count::number));
        assert_eq!(read(Kind::Integer(64)), Some(Ok(64)));
        assert_eq!(read(Kind::Loose(" 8 ".to_owned())), Some(Ok(8)));
        for wrong in [Kind::Integer(0), Kind::Integer(65), Kind::Integer(-1), Kind::Integer(i128::MAX)] {
            assert_eq!(read(wrong), Some(Err("it has to be a whole number from 1 to 64".to_owned())));
        }
        assert!(read(Kind::Float(1e300)).unwrap().is_err());
        assert!(read(Kind::Loose("8 events".to_owned())).unwrap().is_err());
        assert_eq!(read(Kind::Text("8".to_owned())), None);
    }
}
