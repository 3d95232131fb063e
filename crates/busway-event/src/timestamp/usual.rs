//! The form that nearly all times have that arrive, [written](super::Timestamp) by busway itself: `2026-01-31T10:00:00.123456789Z`, with a fraction of nine digits or fewer, or none.
//!
//! The library reads it too, among many others, at ten times the cost. What is not exactly of this form is left to it: that is a matter of
//! speed alone, and a test holds both against each other.

/// Nanoseconds since the epoch, of a time of this form within the years that are whole in 64 bits.
pub(super) fn nanos(text: &str) -> Option<i64> {
    let (head, fraction) = text.as_bytes().split_first_chunk()?;
    // Of the form, and the numbers are looked at below.
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] = head else {
        return None;
    };
    let year = pair(*y1, *y2)? * 100 + pair(*y3, *y4)?;
    let (month, day) = (pair(*m1, *m2)?, pair(*d1, *d2)?);
    let (hour, minute, second) = (pair(*h1, *h2)?, pair(*n1, *n2)?, pair(*s1, *s2)?);
    // A leap second is the library's to judge.
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000_000 + billionths(fraction)?)
}

fn pair(tens: u8, ones: u8) -> Option<i64> {
    Some(digit(tens)? * 10 + digit(ones)?)
}

fn digit(byte: u8) -> Option<i64> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(i64::from(value))
}

/// Of a second, up to the `Z` and no further.
fn billionths(text: &[u8]) -> Option<i64> {
    let digits = match text {
        [b'Z'] => return Some(0),
        [b'.', digits @ .., b'Z'] if (1..=FRACTION_DIGITS).contains(&digits.len()) => digits,
        _ => return None,
    };
    let number = digits.iter().try_fold(0, |number, byte| Some(number * 10 + digit(*byte)?))?;
    let missing = FRACTION_DIGITS - digits.len();
    Some((0..missing).fold(number, |number, _| number * 10))
}

/// From the epoch to a day of the Gregorian calendar that there is, by the count of days in eras of 400 years that begin in March, when the odd day comes last (Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !YEARS.contains(&year) || !(1..=last).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - DAYS_BEFORE_EPOCH)
}

const FRACTION_DIGITS: usize = 9;
/// Those that are whole in 64 bits of nanoseconds.
const YEARS: std::ops::RangeInclusive<i64> = 1_678..=2_261;
/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_EPOCH: i64 = 719_468;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the library says.
    fn library(text: &str) -> Option<i64> {
        let time: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(time.as_nanosecond()).ok()
    }

    #[test]
    fn each_day_of_all_years_is_the_librarys() {
        for year in 1_677..=2_262 {
            for month in 0..=13 {
                for day in 0..=32 {
                    let text = format!("{year}-{month:02}-{day:02}T23:59:59.5Z");
                    let is_whole = YEARS.contains(&year);
                    assert_eq!(nanos(&text), library(&text).filter(|_| is_whole), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_exactly_of_the_form_is_left_to_the_library() {
        for text in [
            "",
            "2026-01-31T10:00:00",
            "2026-01-31t10:00:00Z",
            "2026-01-31T10:00:00z",
            "2026-01-31T10:00:00+00:00",
            "2026-01-31T10:00:00.Z",
            "2026-01-31T10:00:00.1234567890Z",
            "2026-01-31T10:00:60Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T10:60:00Z",
            "2026-01-31T10:00:00.1 Z",
            "2026-01-31T10:00:00Z ",
            "1677-12-31T10:00:00Z",
            "2262-01-01T00:00:00Z",
            "2026/01-31T10:00:00Z",
            "202a-01-31T10:00:00Z",
        ] {
            assert_eq!(nanos(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_what_the_library_reads(
            text in "(16|17|19|20|22)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?[Zz]"
        ) {
            if let Some(read) = nanos(&text) {
                prop_assert_eq!(Some(read), library(&text));
            }
        }

        #[test]
        fn what_busway_writes_is_read_here(written in any::<i64>()) {
            let text = super::super::Timestamp::from_nanos(written).to_string();
            let year: i64 = text.get(..4).and_then(|year| year.parse().ok()).unwrap();
            prop_assert_eq!(nanos(&text), Some(written).filter(|_| YEARS.contains(&year)));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            if let Some(read) = nanos(&text) {
                prop_assert_eq!(Some(read), library(&text));
            }
        }
    }
}
