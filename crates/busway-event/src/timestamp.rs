//! When an event happened: nanoseconds since the Unix epoch, UTC.

mod usual;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time, in whole nanoseconds since 1970-01-01T00:00:00Z. Covers the years 1677 to 2262.
///
/// It says when an event happened by its producer's wall clock. It orders nothing: offsets and ids do.
/// `Display` and `FromStr` are RFC 3339 (§5.6): a `T` between date and time, seconds, and an offset, nothing else. A leap
/// second is read as the second before it, and more than nine digits of a second are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the epoch.
    #[must_use]
    #[inline]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    #[inline]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant plus `duration`; the latest representable instant when that lies beyond it.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// This instant minus `duration`; the earliest representable instant when that lies before it.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(nanos))
    }

    /// The time from `earlier` to this instant; zero when `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        if let Some(nanos) = usual::nanos(text) {
            return Ok(Self(nanos));
        }
        let error = |reason: String| TimestampError { input: text.chars().take(64).collect(), reason };
        if !is_rfc_3339(text) {
            return Err(error(
                "it is not of the form 2026-01-31T10:00:00Z, with or without a fraction".to_owned(),
            ));
        }
        let time: jiff::Timestamp = text.parse().map_err(|cause: jiff::Error| error(cause.to_string()))?;
        i64::try_from(time.as_nanosecond())
            .map(Self)
            .map_err(|_| error("outside of the years 1677 to 2262".to_owned()))
    }
}

/// Whether the text has the form of RFC 3339. The library reads other forms of ISO 8601 too, and names of zones; the
/// numbers are left to it.
fn is_rfc_3339(text: &str) -> bool {
    let is_like = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte.eq_ignore_ascii_case(&form),
            })
    };
    let Some((head, tail)) = text.split_at_checked("0000-00-00T00:00:00".len()) else { return false };
    let fraction = tail.strip_prefix('.').map(|tail| {
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        tail.get(digits..).unwrap_or_default()
    });
    let offset = fraction.unwrap_or(tail);
    let has_digits = fraction.is_none_or(|offset| tail.len() > offset.len() + 1);
    let is_offset = ["z", "+00:00", "-00:00"].into_iter().any(|form| is_like(offset, form));
    is_like(head, "0000-00-00T00:00:00") && has_digits && is_offset
}

/// The text is no RFC 3339 time with an offset, or lies outside of the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is no RFC 3339 time: {reason}", input.escape_debug())]
pub struct TimestampError {
    input: String,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_and_read_as_rfc_3339() {
        let time = Timestamp::from_nanos(1_357_034_400_000_000_001);
        assert_eq!(time.to_string(), "2013-01-01T10:00:00.000000001Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!("2013-01-01T11:00:00.000000001+01:00".parse(), Ok(time));
    }

    #[test]
    fn a_time_without_an_offset_or_out_of_range_is_an_error() {
        assert!("2013-01-01T10:00:00".parse::<Timestamp>().is_err());
        assert!("9000-01-01T00:00:00Z".parse::<Timestamp>().unwrap_err().to_string().contains("1677"));
    }

    #[test]
    fn other_forms_of_a_time_are_refused() {
        for other in [
            "",
            "2013-01-01",
            "20130101T100000Z",
            "20130101T10Z",
            "2013-01-01T10Z",
            "2013-01-01T10:00Z",
            "2013-01-01 10:00:00Z",
            "2013-01-01T10:00:00.Z",
            "2013-01-01T10:00:00,5Z",
            "2013-01-01T10:00:00+01",
            "2013-01-01T10:00:00+0100",
            "2013-01-01T10:00:00+01:00:00",
            "2013-01-01T10:00:00+01:00[Europe/Berlin]",
            "2013-01-01T10:00:00Z[UTC]",
            "+002013-01-01T10:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-02-29T10:00:00Z",
            "2013-01-01T10:00:00Z ",
            "2013-01-01T10:00:00ß",
            "2013-01-01T10:00:0ß",
        ] {
            assert!(other.parse::<Timestamp>().is_err(), "{other:?}");
        }
        let time = Ok(Timestamp::from_nanos(1_357_034_400_000_000_000));
        for same in [
            "2013-01-01t10:00:00z",
            "2013-01-01T10:00:00.000Z",
            "2013-01-01T09:30:00-00:30",
            "2013-01-01T10:00:00-00:00",
        ] {
            assert_eq!(same.parse(), time, "{same}");
        }
        let before_the_year: Timestamp = "2016-12-31T23:59:59Z".parse().unwrap();
        assert_eq!("2016-12-31T23:59:60Z".parse(), Ok(before_the_year));
    }

    #[test]
    fn arithmetic_saturates() {
        let late = Timestamp::from_nanos(i64::MAX);
        assert_eq!(late.saturating_add(Duration::from_secs(1)), late);
        assert_eq!(Timestamp::default().saturating_since(late), Duration::ZERO);
        let early = Timestamp::from_nanos(i64::MIN);
        assert_eq!(early.saturating_sub(Duration::from_nanos(1)), early);
        assert_eq!(Timestamp::default().saturating_sub(Duration::MAX), Timestamp::from_nanos(-i64::MAX));
        assert_eq!(
            Timestamp::from_nanos(5).saturating_sub(Duration::from_nanos(7)),
            Timestamp::from_nanos(-2)
        );
        assert_eq!(Timestamp::from_nanos(-1).as_millis(), -1);
    }
}
