//! When a schedule ticks: by a cron expression in a time zone, or at an interval. Pure: times come in as arguments.

use std::fmt;
use std::time::Duration;

use busway_event::{DELAY_MAX, Timestamp};
use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

use super::ScheduleError;
use super::cron::Cron;

/// See the module.
#[derive(Debug, Clone)]
pub(super) enum Rule {
    Cron { cron: Cron, zone: TimeZone, text: String },
    Every(Duration),
}

impl Rule {
    pub(super) fn cron(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let cron = Cron::parse(expression)?;
        let found = match zone {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|error| ScheduleError::Zone {
                zone: name.chars().take(64).collect(),
                reason: error.to_string(),
            })?,
        };
        let words: Vec<&str> = expression.split_whitespace().collect();
        Ok(Self::Cron { cron, zone: found, text: format!("{} in {zone}", words.join(" ")) })
    }

    pub(super) fn every(interval: Duration) -> Result<Self, ScheduleError> {
        match (INTERVAL_MIN..=DELAY_MAX).contains(&interval) {
            true => Ok(Self::Every(interval)),
            false => Err(ScheduleError::Interval { interval, min: INTERVAL_MIN, max: DELAY_MAX }),
        }
    }

    /// The first tick behind `now`; of an interval, counted from `tick`, which is one.
    pub(super) fn after(&self, tick: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, zone, .. } => cron.after(zone, instant(now)?).map(timestamp)?,
            Self::Every(interval) if now < tick => Some(tick).filter(|_| !interval.is_zero()),
            Self::Every(interval) => Some(self.until(tick, now)?.saturating_add(*interval)),
        }
    }

    /// The last tick at `now` or before it, likewise.
    pub(super) fn until(&self, tick: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { cron, zone, .. } => cron.until(zone, instant(now)?).map(timestamp)?,
            Self::Every(interval) => {
                let passed = now.saturating_since(tick).as_nanos() / interval.as_nanos().max(1);
                let passed = interval.as_nanos().saturating_mul(passed);
                let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
                (now >= tick).then(|| tick.saturating_add(passed))
            }
        }
    }

    /// The last ticks from `tick` to `now`, at most so many, oldest first.
    pub(super) fn last(&self, tick: Timestamp, now: Timestamp, max: usize) -> Vec<Timestamp> {
        let mut ticks = Vec::new();
        let mut at = now;
        while ticks.len() < max
            && let Some(last) = self.until(tick, at).filter(|last| *last >= tick)
        {
            ticks.push(last);
            at = Timestamp::from_nanos(last.as_nanos().saturating_sub(1));
        }
        ticks.reverse();
        ticks
    }
}

/// How it is stored and shown. Two that say the same are the same schedule.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { text, .. } => write!(f, "cron {text}"),
            Self::Every(interval) => write!(f, "every {interval:?}"),
        }
    }
}

fn instant(time: Timestamp) -> Option<Instant> {
    Instant::from_nanosecond(i128::from(time.as_nanos())).ok()
}

fn timestamp(time: Instant) -> Option<Timestamp> {
    i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// Each tick is a commit that is synced.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(1_767_225_600_000_000_000 + seconds * 1_000_000_000)
    }

    #[test]
    fn an_interval_is_counted_from_a_tick_whatever_was_missed() {
        let rule = Rule::every(Duration::from_secs(10)).unwrap();
        assert_eq!(rule.to_string(), "every 10s");
        assert_eq!((rule.after(at(5), at(0)), rule.after(at(5), at(5))), (Some(at(5)), Some(at(15))));
        assert_eq!(
            (rule.after(at(5), at(14)), rule.after(at(5), at(99_994))),
            (Some(at(15)), Some(at(99_995)))
        );
        assert_eq!((rule.until(at(5), at(4)), rule.until(at(5), at(24))), (None, Some(at(15))));
        assert_eq!(rule.last(at(5), at(36), 9), [at(5), at(15), at(25), at(35)]);
        assert_eq!(rule.last(at(5), at(36), 2), [at(25), at(35)]);
        assert_eq!(rule.last(at(5), at(4), 2), []);
        for interval in [Duration::ZERO, Duration::from_millis(9), DELAY_MAX * 2, Duration::MAX] {
            assert!(matches!(Rule::every(interval), Err(ScheduleError::Interval { .. })), "{interval:?}");
        }
    }

    #[test]
    fn the_last_ticks_of_an_expression_are_those_since_a_tick() {
        let rule = Rule::cron(" 0  *  * * * ", "UTC").unwrap();
        assert_eq!(rule.to_string(), "cron 0 * * * * in UTC");
        let hour = 3_600;
        assert_eq!(rule.last(at(hour), at(3 * hour + 5), 9), [at(hour), at(2 * hour), at(3 * hour)]);
        assert_eq!(rule.last(at(hour), at(3 * hour - 1), 1), [at(2 * hour)]);
        assert_eq!(rule.after(at(0), at(hour)), Some(at(2 * hour)));
        assert!(matches!(Rule::cron("0 * * * *", "Nowhere/Land"), Err(ScheduleError::Zone { .. })));
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let (first, last) = (Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX));
        for rule in [Rule::cron("* * * * *", "UTC").unwrap(), Rule::every(INTERVAL_MIN).unwrap()] {
            for (tick, now) in [(first, last), (last, first), (first, first), (last, last)] {
                _ = (rule.after(tick, now), rule.until(tick, now));
                assert!(rule.last(tick, now, 3).len() <= 3);
            }
        }
    }
}
