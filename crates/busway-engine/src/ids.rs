//! Generated event ids: UUID version 7, monotonic within a thread.
//!
//! RFC 9562 §6.2, method 1 (a counter behind the time): 48 bits of milliseconds and a 16-bit counter live in one word a
//! thread. An id takes the larger of "now, counter 0" and "the last one plus 1"; when more than 65,536 ids are made in a
//! millisecond the counter runs over into the time, which the RFC allows, so the ids of a thread are unique and rise whatever
//! the clock does. 58 random bits, drawn by each thread once a millisecond, make them unique between threads and processes; they are not secret. Ids of two threads
//! are in the order of their milliseconds, as long as the clock does not go back. One word for all threads would order them within the millisecond too, and make
//! every publish of every thread wait for that one cache line.

use std::cell::Cell;

use busway_event::{EventId, Timestamp};
use uuid::Uuid;

/// Makes the next id; `time` is the wall clock now. All buses draw from the counter of their thread.
#[inline]
pub(crate) fn next(time: Timestamp) -> EventId {
    LAST.with(|latest| {
        let word = latest.word.get().wrapping_add(1);
        // A clock that went back is far behind the beginning, as a number without a sign.
        let since = time.as_nanos().wrapping_sub(latest.began.get()).cast_unsigned();
        if since >= NANOS_OF_MILLI || word & COUNTER_MAX == 0 {
            return begun(latest, time);
        }
        latest.word.set(word);
        of(word, latest.tail.get())
    })
}

/// The first id of a millisecond, as this thread sees it, or the first behind a counter that ran over.
#[cold]
fn begun(latest: &Last, time: Timestamp) -> EventId {
    let millis = time.as_millis();
    let floor = (u64::try_from(millis).unwrap_or(0) & MILLIS_MAX) << COUNTER_BITS;
    let last = latest.word.get();
    let word = floor.max(last.wrapping_add(1));
    latest.word.set(word);
    // Of a clock that went back this is a time before that of the word: the next id is the last one plus 1 all the same.
    latest.began.set(millis.saturating_mul(NANOS_OF_MILLI.cast_signed()));
    // The counter tells the ids of one thread and millisecond apart; random bits are for those of others.
    if (word ^ last) >> COUNTER_BITS != 0 {
        latest.tail.set(tail_of(fastrand::u64(..)));
    }
    of(word, latest.tail.get())
}

/// What stays the same for a millisecond: the variant, room for 4 bits of the counter, 58 random bits.
const fn tail_of(random: u64) -> u64 {
    VARIANT | random >> 6
}

#[inline]
fn of(word: u64, tail: u64) -> EventId {
    let counter = word & COUNTER_MAX;
    // 12 bits of the counter fill rand_a, behind the version; the other 4 the top of rand_b, behind the variant.
    let high = word & !COUNTER_MAX | VERSION_7 | counter >> 4;
    let low = tail | (counter & 0xf) << 58;
    EventId::new(Uuid::from_u64_pair(high, low))
}

/// What the latest id of a thread was made of.
struct Last {
    word: Cell<u64>,
    /// The nanoseconds at which the millisecond began that was looked at last: an id of the same one needs no division.
    began: Cell<i64>,
    tail: Cell<u64>,
}

thread_local! {
    /// The counter is full, so that the first id of a thread draws its random bits.
    static LAST: Last =
        const { Last { word: Cell::new(COUNTER_MAX), began: Cell::new(0), tail: Cell::new(tail_of(0)) } };
}

const NANOS_OF_MILLI: u64 = 1_000_000;

const COUNTER_BITS: u32 = 16;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;
const VERSION_7: u64 = 0x7000;
const VARIANT: u64 = 0b10 << 62;
const MILLIS_MAX: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    #[test]
    fn an_id_is_version_7_and_bears_its_time() {
        let id = of(0x0192_f0c1_2b3d << COUNTER_BITS | 0xabcd, tail_of(u64::MAX));
        assert_eq!(id.as_uuid().get_version_num(), 7);
        assert_eq!(id.as_uuid().get_variant(), uuid::Variant::RFC4122);
        assert!(id.to_string().starts_with("0192f0c1-2b3d-7abc-b7"), "{id}");
    }

    #[test]
    fn ids_rise_and_differ_also_when_the_clock_stands_still_or_goes_back() {
        let mut last = next(Timestamp::from_nanos(2_000_000_000));
        for step in 0..200_000_i64 {
            let id = next(Timestamp::from_nanos(2_000_000_000 - step * 1_000_000));
            assert!(id > last, "{id} after {last}");
            last = id;
        }
    }

    #[test]
    fn ids_of_one_moment_rise_past_the_end_of_its_counter_and_say_its_millisecond() {
        let millis_of = |id: EventId| id.as_uuid().as_u128() >> 80;
        let moment = 4_000_000_000_000_000_000;
        let mut last = next(Timestamp::from_nanos(moment));
        assert_eq!(millis_of(last), 4_000_000_000_000);
        for _ in 0..70_000 {
            let id = next(Timestamp::from_nanos(moment + 999_999));
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        assert_eq!(millis_of(last), 4_000_000_000_001, "the counter ran over into the time");
        let behind = [2_000_000, 2_999_999, 3_000_000]
            .map(|nanos| millis_of(next(Timestamp::from_nanos(moment + nanos))));
        assert_eq!(behind, [4_000_000_000_002, 4_000_000_000_002, 4_000_000_000_003]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test needs threads")]
    fn ids_of_many_threads_are_all_different() {
        let make = || (0..10_000).map(|_| next(Timestamp::from_nanos(1))).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(make)).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 40_000);
    }
}
