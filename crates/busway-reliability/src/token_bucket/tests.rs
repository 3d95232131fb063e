//! Tests of the token bucket, on a clock that the tests move.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{MAX_PERIOD, Rate, RateError, TakeError, TokenBucket};
use crate::epoch::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn rate(n: u32, per: Duration) -> Rate {
    Rate::new(n, per).unwrap()
}

/// When a refused take may come back.
fn until(refused: Result<(), TakeError>) -> Instant {
    match refused {
        Err(TakeError::Wait { until, .. }) => until,
        other => panic!("expected a wait, got {other:?}"),
    }
}

#[test]
fn a_rate_needs_events_and_a_period_within_a_year() {
    assert_eq!(Rate::new(0, SECOND), Err(RateError::NoEvents));
    assert_eq!(Rate::new(1, Duration::ZERO), Err(RateError::NoPeriod));
    let per = MAX_PERIOD + Duration::from_nanos(1);
    assert_eq!(Rate::new(1, per), Err(RateError::PeriodTooLong { per, limit: MAX_PERIOD }));
    assert!(Rate::new(u32::MAX, MAX_PERIOD).is_ok());
    assert_eq!(Rate::per_second(count(3)), rate(3, SECOND));
}

#[test]
fn a_new_bucket_gives_its_burst_at_once_and_then_the_rate() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(4)), count(3), epoch());
    assert_eq!(bucket.available(epoch()), 3);
    assert_eq!(bucket.try_take(3, epoch()), Ok(()));
    let quarter = epoch() + Duration::from_millis(250);
    assert_eq!(until(bucket.try_take(1, epoch())), quarter);
    assert!(bucket.try_take(1, epoch() + Duration::from_nanos(249_999_999)).is_err());
    assert_eq!(bucket.try_take(1, quarter), Ok(()));
}

#[test]
fn a_quiet_time_earns_no_more_than_the_burst() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(100)), count(5), epoch());
    assert_eq!(bucket.available(epoch() + 3_600 * SECOND), 5);
}

#[test]
fn a_refused_take_takes_nothing() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(1)), count(5), epoch());
    assert_eq!(bucket.try_take(3, epoch()), Ok(()));
    assert_eq!(until(bucket.try_take(4, epoch())), epoch() + 2 * SECOND);
    assert_eq!(bucket.try_take(2, epoch()), Ok(()));
}

#[test]
fn more_than_the_burst_never_clears_and_says_so() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(1)), count(5), epoch());
    let refused = bucket.try_take(6, epoch() + 3_600 * SECOND).unwrap_err();
    assert_eq!(refused, TakeError::ExceedsBurst { asked: 6, burst: count(5) });
    assert!(!refused.is_transient());
    assert_eq!(refused.to_string(), "6 tokens exceed the burst of 5");
}

#[test]
fn a_wait_is_transient_and_says_how_long() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(1)), count(1), epoch());
    assert_eq!(bucket.try_take(1, epoch()), Ok(()));
    let refused = bucket.try_take(1, epoch() + SECOND / 4).unwrap_err();
    assert!(refused.is_transient());
    assert_eq!(refused.to_string(), "the rate is used up for 750ms");
}

#[test]
fn taking_nothing_succeeds_from_an_empty_bucket() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(1)), count(1), epoch());
    assert_eq!(bucket.try_take(1, epoch()), Ok(()));
    assert_eq!(bucket.try_take(0, epoch()), Ok(()));
}

#[test]
fn a_clock_that_stands_still_or_turns_back_gives_nothing_away() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(1)), count(1), epoch() + SECOND);
    assert_eq!(bucket.try_take(1, epoch() + SECOND), Ok(()));
    for _ in 0..10 {
        assert_eq!(until(bucket.try_take(1, epoch() + SECOND)), epoch() + 2 * SECOND);
        assert_eq!(until(bucket.try_take(1, epoch())), epoch() + 2 * SECOND);
    }
    assert_eq!(bucket.try_take(1, epoch() + 2 * SECOND), Ok(()));
}

#[test]
fn three_a_second_are_three_a_second_after_a_day_of_seconds() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(3)), count(1), epoch());
    let mut now = epoch();
    let mut taken = 0;
    while now < epoch() + 86_400 * SECOND {
        match bucket.try_take(1, now) {
            Ok(()) => taken += 1,
            refused => now = until(refused),
        }
    }
    assert_eq!(taken, 3 * 86_400);
}

#[test]
fn a_change_of_rate_keeps_what_was_earned_down_to_the_fraction() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(2)), count(10), epoch());
    assert_eq!(bucket.try_take(10, epoch()), Ok(()));
    // 1.5 tokens earned at the old rate; the missing half takes five seconds at the new one.
    let changed = epoch() + Duration::from_millis(750);
    bucket.set_rate(rate(1, 10 * SECOND), changed);
    assert_eq!(bucket.available(changed), 1);
    assert_eq!(until(bucket.try_take(2, changed)), changed + 5 * SECOND);
    assert_eq!(bucket.try_take(2, changed + 5 * SECOND), Ok(()));
}

#[test]
fn a_smaller_burst_drops_tokens_and_a_larger_one_mints_none() {
    let mut bucket = TokenBucket::new(Rate::per_second(count(1)), count(5), epoch());
    bucket.set_burst(count(2), epoch());
    assert_eq!(bucket.credits, bucket.full());
    assert_eq!(bucket.available(epoch()), 2);
    bucket.set_burst(count(10), epoch());
    assert_eq!(bucket.available(epoch()), 2);
    assert_eq!(bucket.available(epoch() + 3 * SECOND), 5);
}

#[test]
fn the_slowest_rate_and_the_largest_burst_do_not_overflow() {
    let mut bucket = TokenBucket::new(rate(1, MAX_PERIOD), count(u32::MAX), epoch());
    assert_eq!(bucket.try_take(u32::MAX, epoch()), Ok(()));
    // Four billion years: beyond the clock or not, the moment lies ahead.
    assert!(until(bucket.try_take(u32::MAX, epoch())) > epoch() + 29 * MAX_PERIOD);
    bucket.set_rate(rate(u32::MAX, Duration::from_nanos(1)), epoch());
    assert_eq!(bucket.available(epoch()), 0);
    assert_eq!(bucket.available(epoch() + MAX_PERIOD), u32::MAX);
    bucket.set_rate(rate(u32::MAX, MAX_PERIOD), epoch() + MAX_PERIOD);
    assert_eq!(bucket.available(epoch() + MAX_PERIOD), u32::MAX);
}

/// Rates from one event a year to four billion a nanosecond, most of them near each other.
fn any_rate() -> impl Strategy<Value = Rate> {
    let year = u64::try_from(MAX_PERIOD.as_nanos()).unwrap();
    let events = prop_oneof![4 => 1_u32..100, 1 => 1..=u32::MAX];
    let per = prop_oneof![4 => 1_u64..10_000_000_000, 1 => 1..=year];
    (events, per).prop_map(|(n, per)| rate(n, Duration::from_nanos(per)))
}

/// Times between calls: none, short, long.
fn any_steps() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let step = prop_oneof![2 => Just(0), 4 => 1_u64..2_000_000_000, 1 => 0_u64..1 << 50];
    vec((step, 0_u32..12), 1..60)
}

proptest! {
    #[test]
    fn no_window_is_given_more_than_the_burst_and_its_share_of_the_rate(
        rate in any_rate(),
        burst in 1_u32..10,
        steps in any_steps(),
    ) {
        let mut bucket = TokenBucket::new(rate, count(burst), epoch());
        let mut elapsed = 0_u64;
        let mut given = Vec::new();
        for (step, n) in steps {
            elapsed += step;
            if bucket.try_take(n, epoch() + Duration::from_nanos(elapsed)).is_ok() {
                given.push((u128::from(elapsed), u128::from(n)));
            }
        }
        // Both sides times the period, so that the comparison is exact.
        let (events, per) = (u128::from(rate.events().get()), rate.per().as_nanos());
        for first in 0..given.len() {
            let mut sum = 0;
            for &(at, n) in &given[first..] {
                sum += n;
                let window = at - given[first].0;
                prop_assert!(sum * per <= u128::from(burst) * per + window * events);
            }
        }
    }

    #[test]
    fn whoever_waits_until_the_moment_named_gets_the_tokens_and_no_earlier(
        rate in any_rate(),
        burst in 1_u32..10,
        steps in any_steps(),
    ) {
        let mut bucket = TokenBucket::new(rate, count(burst), epoch());
        let mut now = epoch();
        for (step, n) in steps {
            now += Duration::from_nanos(step);
            match bucket.clone().try_take(n, now) {
                Err(TakeError::Wait { until, wait }) => {
                    prop_assert!(until > now);
                    prop_assert_eq!(until, now + wait);
                    let too_soon = until.checked_sub(Duration::from_nanos(1)).unwrap();
                    prop_assert!(bucket.clone().try_take(n, too_soon).is_err());
                    prop_assert_eq!(bucket.try_take(n, until), Ok(()));
                    now = until;
                }
                Err(TakeError::ExceedsBurst { .. }) => prop_assert!(n > burst),
                Ok(()) => prop_assert_eq!(bucket.try_take(n, now), Ok(())),
            }
        }
    }

    #[test]
    fn asking_often_or_seldom_comes_to_the_same(
        rate in any_rate(),
        burst in 1_u32..10,
        steps in any_steps(),
    ) {
        let mut asked = TokenBucket::new(rate, count(burst), epoch());
        prop_assert_eq!(asked.try_take(burst, epoch()), Ok(()));
        let mut left_alone = asked.clone();
        let mut now = epoch();
        for (step, _) in steps {
            now += Duration::from_nanos(step);
            asked.available(now);
        }
        left_alone.available(now);
        prop_assert_eq!(asked.credits, left_alone.credits);
    }

    #[test]
    fn changing_the_rate_back_and_forth_mints_nothing(
        rates in vec(any_rate(), 1..8),
        burst in 1..=u32::MAX,
        taken in any::<u32>(),
    ) {
        let start = rates[0];
        let mut bucket = TokenBucket::new(start, count(burst), epoch());
        let _ = bucket.try_take(taken.min(burst), epoch());
        let before = bucket.credits;
        for rate in rates.into_iter().chain([start]) {
            bucket.set_rate(rate, epoch());
            prop_assert!(bucket.credits <= bucket.full());
        }
        prop_assert!(bucket.credits <= before);
    }

    #[test]
    fn no_settings_and_no_clock_overflow(
        rate in any_rate(),
        other in any_rate(),
        burst in 1..=u32::MAX,
        calls in vec((0_u64..1 << 61, any::<u32>()), 1..20),
    ) {
        let mut bucket = TokenBucket::new(rate, count(burst), epoch());
        for (at, n) in calls {
            let now = epoch() + Duration::from_nanos(at);
            let refused = bucket.try_take(n, now).is_err();
            prop_assert!(!refused || bucket.available(now) < n);
            bucket.set_rate(if at % 2 == 0 { rate } else { other }, now);
            prop_assert!(bucket.credits <= bucket.full());
        }
    }
}
