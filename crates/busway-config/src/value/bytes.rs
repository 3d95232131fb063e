//! Sizes in bytes, as a number or as text with a unit.

use std::fmt;

use schemars::{Schema, json_schema};

use crate::node::Kind;
use crate::read::Value;

/// A size of `LEAST` to `MOST` bytes: `65536`, `"64KiB"`, `"1GiB"`. Units are those of 1,024; `"kB"`, `"MB"`, `"GB"`, `"TB"` are those of 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Bytes<LEAST, MOST> {
    /// The number of bytes.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The number of bytes in memory.
    pub(crate) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<const LEAST: u64, const MOST: u64> fmt::Display for Bytes<LEAST, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(self.0, f)
    }
}

/// In the largest unit that divides it.
fn shown(bytes: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = BINARY.iter().rev().find(|(_, each)| bytes > 0 && bytes.is_multiple_of(*each));
    match unit {
        Some((unit, each)) => write!(f, "{}{unit}", bytes / each),
        None => write!(f, "{bytes}"),
    }
}

impl<const LEAST: u64, const MOST: u64> Value for Bytes<LEAST, MOST> {
    fn expecting() -> String {
        "a size in bytes, as 65536 or \"64KiB\"".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        let number = match kind {
            Kind::Integer(number) => u64::try_from(*number).ok(),
            Kind::Text(text) | Kind::Loose(text) => match size(text) {
                Some(bytes) => Some(bytes),
                None => return Some(Err(format!("it has to be {}", Self::expecting()))),
            },
            Kind::Float(_) => None,
            _ => return None,
        };
        let number = number.filter(|number| (LEAST..=MOST).contains(number));
        Some(number.map(Self).ok_or_else(|| format!("it has to be from {LEAST} to {MOST} bytes")))
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": LEAST, "maximum": MOST },
            { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$" },
        ] })
    }
}

fn size(text: &str) -> Option<u64> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let unit = unit.trim();
    let each = match unit {
        "" | "B" => 1,
        _ => BINARY.iter().chain(&DECIMAL).find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(each)
}

const BINARY: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const DECIMAL: [(&str, u64); 4] =
    [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];

#[cfg(test)]
mod tests {
    use super::*;

    type Any = Bytes<0, { u64::MAX }>;

    #[test]
    fn a_size_is_a_number_or_has_a_unit() {
        let read = |text: &str| Any::value(&Kind::Text(text.to_owned())).unwrap().map(Any::number).ok();
        assert_eq!(read("64KiB"), Some(65_536));
        assert_eq!(read("2 MB"), Some(2_000_000));
        assert_eq!(read("12"), Some(12));
        for wrong in ["", "KiB", "-1", "1.5GiB", "1XB", "99999999999TiB"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(Bytes::<1, 10>::value(&Kind::Integer(11)).unwrap().is_err());
    }

    #[test]
    fn a_size_is_shown_in_its_largest_unit() {
        let shown = |number| Any::value(&Kind::Integer(number)).unwrap().unwrap().to_string();
        assert_eq!([shown(0), shown(1_000), shown(3 << 20)], ["0", "1000", "3MiB"]);
    }
}
