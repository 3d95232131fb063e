//! Times, as text with their unit.

use std::fmt;
use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::node::Kind;
use crate::read::Value;

/// A time of at least so many milliseconds, and at most 366 days: `"200ms"`, `"1.5s"`, `"2h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time<const LEAST_MILLIS: u64>(Duration);

impl<const LEAST_MILLIS: u64> Time<LEAST_MILLIS> {
    /// The time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl<const LEAST_MILLIS: u64> fmt::Display for Time<LEAST_MILLIS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<const LEAST_MILLIS: u64> Value for Time<LEAST_MILLIS> {
    fn expecting() -> String {
        "a time with its unit, as \"200ms\", \"30s\", \"5m\", \"2h\" or \"7d\"".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        let text = match kind {
            Kind::Text(text) | Kind::Loose(text) => text,
            Kind::Integer(_) | Kind::Float(_) => {
                return Some(Err(format!("its unit is missing: it has to be {}", Self::expecting())));
            }
            _ => return None,
        };
        let time = duration(text).ok_or_else(|| format!("it has to be {}", Self::expecting()));
        Some(time.and_then(|time| {
            let least = Duration::from_millis(LEAST_MILLIS);
            match time >= least && time <= LONGEST {
                true => Ok(Self(time)),
                false => Err(format!("it has to be from {least:?} to 366d")),
            }
        }))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?(us|ms|s|m|h|d)$" })
    }
}

/// A number with up to nine decimals and its unit.
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
    let (number, unit) = text.split_at_checked(split)?;
    let nanos_each: u128 = match unit.trim() {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let has_no_digits = number.ends_with('.') || whole.is_empty();
    if has_no_digits || decimals.len() > 9 || whole.len() > 18 {
        return None;
    }
    let nanos = whole.parse::<u128>().ok()?.checked_mul(nanos_each)?;
    let decimals = format!("{decimals:0<9}").parse::<u128>().ok()?.checked_mul(nanos_each)? / 1_000_000_000;
    let nanos = u64::try_from(nanos.checked_add(decimals)?).ok()?;
    Some(Duration::from_nanos(nanos))
}

const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        let read = |text: &str| duration(text).map(|time| time.as_micros());
        assert_eq!(read("200ms"), Some(200_000));
        assert_eq!(read("1.5s"), Some(1_500_000));
        assert_eq!(read("0.000001s"), Some(1));
        assert_eq!(read("7d"), Some(7 * 86_400_000_000));
        for wrong in ["", "200", "ms", "-1s", "1e3s", "1.s", ".5s", "1s2s", "1 year", "9999999999999999999d"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_without_a_unit_says_so_and_bounds_hold() {
        let read = |kind: Kind| Time::<1>::value(&kind).unwrap().unwrap_err();
        assert!(read(Kind::Integer(200)).contains("unit is missing"));
        assert_eq!(read(Kind::Text("0ms".to_owned())), "it has to be from 1ms to 366d");
        assert_eq!(read(Kind::Text("367d".to_owned())), "it has to be from 1ms to 366d");
    }
}
