//! Cron expressions: the five fields of cron(8), read and searched.
//!
//! Read here and not by a library, because an expression that is wrong has to be answered with the place, and because what there is
//! brings along a second library of dates or procedural macros (decision record 0018). The rules are those of
//! `crontab(5)`: `minute hour day-of-month month day-of-week`, each `*`, a number, a range `a-b`, a step `*/n` or `a-b/n`, or a list of
//! those; months and days of the week by three letters too; 0 and 7 are Sunday. When both days are restricted, either will do.
//!
//! # Zones
//! A local time that a clock change leaves out happens as much later as the change is long; one that it repeats happens the first time only.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan as _};

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days are restricted: one of them has to match.
    either_day: bool,
}

/// A text that is no cron expression: where, why, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{}\" is no cron expression: at character {position}, {reason}; a good one is \"30 3 * * 1-5\": at 3:30 from Monday to Friday",
    expression.escape_debug()
)]
pub struct CronError {
    /// The text, cut at 64 characters.
    pub expression: String,
    /// The character that does not fit, from 1.
    pub position: usize,
    /// Why it does not.
    pub reason: String,
}

/// A field: what it is called, and what it may say.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of the month", min: 1, max: 31, names: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        name: "day of the week",
        min: 0,
        max: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const SHORT: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What does not fit, and at which byte.
type Misfit = (usize, String);

impl Cron {
    pub(super) fn parse(expression: &str) -> Result<Self, CronError> {
        let trimmed = expression.trim();
        let short = SHORT.iter().find(|(name, _)| name.eq_ignore_ascii_case(trimmed));
        Self::fields(short.map_or(expression, |(_, fields)| fields)).map_err(|(at, reason)| CronError {
            expression: expression.chars().take(64).collect(),
            position: expression.get(..at).unwrap_or(expression).chars().count() + 1,
            reason,
        })
    }

    fn fields(text: &str) -> Result<Self, Misfit> {
        let mut parts = Parts { text, at: 0 };
        let mut sets = [0; 5];
        let mut starred = [false; 5];
        for ((field, set), starred) in FIELDS.iter().zip(&mut sets).zip(&mut starred) {
            let (at, part) = parts.next().ok_or_else(|| {
                let hint = if text.trim_start().starts_with('@') {
                    ": of the short forms there are @yearly, @monthly, @weekly, @daily and @hourly"
                } else {
                    ""
                };
                (text.len(), format!("its {} is missing{hint}", field.name))
            })?;
            *set = field.set(at, part)?;
            *starred = part.starts_with('*');
        }
        if let Some((at, _)) = parts.next() {
            return Err((
                at,
                "there is a sixth field, and an expression has five: it goes by the minute".to_owned(),
            ));
        }
        let [minutes, hours, days, months, weekdays] = sets;
        // Sunday is 0 and 7.
        let weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        let either_day = matches!(starred, [_, _, false, _, false]);
        Ok(Self { minutes, hours, days, months, weekdays, either_day })
    }

    /// The first occurrence behind `after`; `None` when there is none within 40 years.
    pub(super) fn after(&self, zone: &TimeZone, after: Instant) -> Option<Instant> {
        let first = after.to_zoned(zone.clone()).date();
        // A day before: a time that a clock change moved may have come into the next day.
        let days = first.yesterday().ok()?.series(1.day()).take(DAYS_MAX);
        days.filter(|day| self.has_day(*day))
            .find_map(|day| self.times(zone, day).filter(|time| *time > after).min())
    }

    /// The last occurrence at `until` or before it; `None` when there is none within 40 years.
    pub(super) fn until(&self, zone: &TimeZone, until: Instant) -> Option<Instant> {
        let last = until.to_zoned(zone.clone()).date();
        let days = last.tomorrow().ok()?.series(-1.day()).take(DAYS_MAX);
        days.filter(|day| self.has_day(*day))
            .find_map(|day| self.times(zone, day).filter(|time| *time <= until).max())
    }

    fn has_day(&self, day: Date) -> bool {
        let weekday = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        let day_of_month = has(self.days, day.day());
        let is_the_day = match self.either_day {
            true => weekday || day_of_month,
            false => weekday && day_of_month,
        };
        is_the_day && has(self.months, day.month())
    }

    /// The times of a day.
    fn times<'a>(&'a self, zone: &'a TimeZone, day: Date) -> impl Iterator<Item = Instant> + 'a {
        let hours = (0..24).filter(|hour| has(self.hours, *hour));
        let times = hours.flat_map(|hour| {
            (0..60).filter(|minute| has(self.minutes, *minute)).map(move |minute| (hour, minute))
        });
        times.filter_map(move |(hour, minute)| {
            Some(day.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?.timestamp())
        })
    }
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set & (1 << value) != 0)
}

/// The parts of a text between spaces, with their places.
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..)?;
        let start = self.at + (rest.len() - rest.trim_start().len());
        let part = self.text.get(start..)?.split_whitespace().next()?;
        self.at = start + part.len();
        Some((start, part))
    }
}

impl Field {
    /// The values that a list means.
    fn set(&self, mut at: usize, list: &str) -> Result<u64, Misfit> {
        let mut set = 0;
        for item in list.split(',') {
            set |= self.item(at, item)?;
            at += item.len() + 1;
        }
        Ok(set)
    }

    fn item(&self, at: usize, item: &str) -> Result<u64, Misfit> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some((at + range.len() + 1, step))),
            None => (item, None),
        };
        // The second Sunday is for ranges that say so.
        let last = self.max - u32::from(self.max == 7);
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.min, last),
            Some((from, to)) => (self.value(at, from)?, self.value(at + from.len() + 1, to)?),
            None => {
                let value = self.value(at, range)?;
                // As cron does: from here to the end.
                (value, if step.is_some() { value.max(last) } else { value })
            }
        };
        if from > to {
            return Err((at, format!("the range of the {} ends before it begins", self.name)));
        }
        let step = match step {
            None => 1,
            Some((at, step)) => match step.parse::<u32>() {
                Ok(step) if (1..=self.max).contains(&step) => step,
                _ => {
                    return Err((
                        at,
                        format!("a step of the {} is a number from 1 to {}", self.name, self.max),
                    ));
                }
            },
        };
        let values = (from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX));
        Ok(values.fold(0, |set, value| set | (1 << value)))
    }

    fn value(&self, at: usize, text: &str) -> Result<u32, Misfit> {
        let by_name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(number) = by_name.and_then(|place| u32::try_from(place).ok()) {
            return Ok(number + self.min);
        }
        let Field { name, min, max, .. } = self;
        if text.is_empty() {
            return Err((at, format!("a {name} is missing: it is {min} to {max}, or * for each")));
        }
        match text.parse::<u32>() {
            Ok(value) if (*min..=*max).contains(&value) => Ok(value),
            _ => {
                let text: String = text.chars().take(16).collect();
                Err((at, format!("\"{}\" is no {name}: it is {min} to {max}", text.escape_debug())))
            }
        }
    }
}

/// 40 years: a 29th of February that is a given day of the week comes within 28, or 40 across a century without one.
const DAYS_MAX: usize = 40 * 366;

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Instant {
        text.parse().unwrap()
    }

    #[track_caller]
    fn next(expression: &str, after: &str) -> Option<String> {
        let cron = Cron::parse(expression).unwrap();
        let next = cron.after(&TimeZone::UTC, instant(after))?;
        // Each way finds what the other does.
        assert_eq!(cron.until(&TimeZone::UTC, next), Some(next), "{expression}");
        Some(next.to_string())
    }

    #[test]
    fn an_expression_means_what_cron_means() {
        let now = "2026-01-01T00:00:00Z";
        let cases = [
            ("* * * * *", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:15:00Z"),
            ("5/20 * * * *", "2026-01-01T00:05:00Z"),
            ("30 3 * * 1-5", "2026-01-01T03:30:00Z"),
            ("30 3 * * sat,SUN", "2026-01-03T03:30:00Z"),
            ("0 12 * * 7", "2026-01-04T12:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("0 0 29 feb mon", "2026-02-02T00:00:00Z"),
            ("0 0 13 * fri", "2026-01-02T00:00:00Z"),
            ("0 0 13 * */5", "2026-02-13T00:00:00Z"),
            ("59 23 31 12 *", "2026-12-31T23:59:00Z"),
            ("0 9-17/4 * * *", "2026-01-01T09:00:00Z"),
            ("@hourly", "2026-01-01T01:00:00Z"),
            (" @Monthly ", "2026-02-01T00:00:00Z"),
            ("0 0 1 1 *", "2027-01-01T00:00:00Z"),
        ];
        for (expression, expected) in cases {
            assert_eq!(next(expression, now).as_deref(), Some(expected), "{expression}");
        }
        assert_eq!(next("0 0 30 2 *", now), None, "there is no such day");
        assert_eq!(next("0 0 29 2 1", "2096-03-01T00:00:00Z").as_deref(), Some("2097-02-04T00:00:00Z"));
    }

    #[test]
    fn the_last_occurrence_is_the_one_before_the_next() {
        let (cron, zone) = (Cron::parse("7 */6 * * mon,thu").unwrap(), TimeZone::UTC);
        let mut time = instant("2026-01-01T00:00:00Z");
        for _ in 0..100 {
            let next = cron.after(&zone, time).unwrap();
            let just_before = Instant::from_nanosecond(next.as_nanosecond() - 1).unwrap();
            assert!(cron.until(&zone, just_before).unwrap() <= time.max(instant("2026-01-01T00:00:00Z")));
            time = next;
        }
    }

    #[test]
    fn a_clock_change_neither_doubles_a_local_time_nor_leaves_it_out() {
        // UTC+1, and UTC+2 from the last Sunday of March to that of October.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let cron = Cron::parse("30 2 * * *").unwrap();
        let times = |from: &str| {
            let mut time = instant(from);
            let mut next = || {
                time = cron.after(&zone, time).unwrap();
                time.to_string()
            };
            [next(), next(), next()]
        };
        // On the 29th of March there is no half past two: it happens an hour later by the clock on the wall.
        let spring = ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(times("2026-03-28T00:00:00Z"), spring);
        // On the 25th of October there are two.
        let autumn = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(times("2026-10-24T00:00:00Z"), autumn);
    }

    #[test]
    fn what_is_no_expression_is_answered_with_the_place_and_a_good_one() {
        let cases = [
            ("", 1, "its minute is missing"),
            ("0 25 * * *", 3, "\"25\" is no hour: it is 0 to 23"),
            ("0 3 * *", 8, "its day of the week is missing"),
            ("0 0 3 * * *", 11, "there is a sixth field, and an expression has five: it goes by the minute"),
            ("*/0 * * * *", 3, "a step of the minute is a number from 1 to 59"),
            ("1,2,x * * * *", 5, "\"x\" is no minute: it is 0 to 59"),
            ("0 0 5-1 * *", 5, "the range of the day of the month ends before it begins"),
            ("0 0 L * *", 5, "\"L\" is no day of the month: it is 1 to 31"),
            ("0 0 1 ßß *", 7, "\"ßß\" is no month: it is 1 to 12"),
            ("1, * * * *", 3, "a minute is missing: it is 0 to 59, or * for each"),
            ("@never", 1, "\"@never\" is no minute: it is 0 to 59"),
            ("99999999999 * * * *", 1, "\"99999999999\" is no minute: it is 0 to 59"),
        ];
        for (expression, position, reason) in cases {
            let error = Cron::parse(expression).unwrap_err();
            assert_eq!((error.position, &*error.reason), (position, reason), "{expression:?}");
            assert!(
                error.to_string().ends_with("\"30 3 * * 1-5\": at 3:30 from Monday to Friday"),
                "{error}"
            );
        }
    }
}
