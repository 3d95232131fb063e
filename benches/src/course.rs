//! A course: so many messages to each receiver; the clock stops when the last one has been handled.
//!
//! All contenders count with the same few instructions, so that what counting costs is in every number alike. A course
//! is run in laps: a lap is started, its messages are sent, and the thread that made the course waits for the end.

use std::fmt::Display;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::runtime::Runtime;

use crate::contest::Lap;
use crate::sample::Sample;

/// Counts the messages of a lap at each receiver.
#[derive(Debug)]
pub struct Course {
    receivers: Vec<Receiver>,
    /// Receivers that have not handled all of their messages.
    open: AtomicUsize,
    epoch: Instant,
    finished_ns: AtomicU64,
    failure: Mutex<Option<String>>,
    waiter: Thread,
}

/// One receiver's count. Written by whoever handles its messages, one after the other; on a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Receiver {
    left: AtomicU64,
    lost: AtomicU64,
    sum: AtomicU64,
}

impl Course {
    /// A course that the calling thread waits for.
    #[must_use]
    pub fn new(receivers: usize) -> Arc<Self> {
        Arc::new(Self {
            receivers: std::iter::repeat_with(Receiver::default).take(receivers).collect(),
            open: AtomicUsize::new(0),
            epoch: Instant::now(),
            finished_ns: AtomicU64::new(0),
            failure: Mutex::default(),
            waiter: thread::current(),
        })
    }

    /// Begins a lap of so many messages to each receiver. Nothing may be under way.
    pub fn start(&self, messages: u64) -> Instant {
        for receiver in &self.receivers {
            receiver.left.store(messages, Ordering::Relaxed);
            receiver.lost.store(0, Ordering::Relaxed);
            receiver.sum.store(0, Ordering::Relaxed);
        }
        self.open.store(self.receivers.len(), Ordering::Release);
        Instant::now()
    }

    /// A receiver has handled a message.
    #[inline]
    pub fn handled(&self, receiver: usize, sample: &Sample) {
        let Some(receiver) = self.receivers.get(receiver) else { return };
        // Loads and stores, no read-modify-write: a receiver handles one message at a time. Were that wrong, counts would be lost and the lap would fail.
        let left = receiver.left.load(Ordering::Relaxed).wrapping_sub(1);
        let sum = receiver.sum.load(Ordering::Relaxed).wrapping_add(std::hint::black_box(sample).number);
        receiver.sum.store(sum, Ordering::Relaxed);
        receiver.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.finish_one();
        }
    }

    /// A receiver has learnt that it will never see so many messages.
    pub fn lost(&self, receiver: usize, messages: u64) {
        let Some(receiver) = self.receivers.get(receiver) else { return };
        let left = receiver.left.load(Ordering::Relaxed).wrapping_sub(messages);
        receiver.lost.fetch_add(messages, Ordering::Relaxed);
        receiver.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.finish_one();
        }
    }

    /// Ends the lap: it cannot be finished any more.
    pub fn fail(&self, reason: &dyn Display) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{reason:#}"));
        self.waiter.unpark();
    }

    /// Waits for the last message of the lap. Only the thread that made the course is woken.
    ///
    /// # Errors
    /// A message was lost or came twice, somebody called [`fail`](Self::fail), or a minute has passed.
    pub fn wait(&self, started: Instant) -> Result<Lap> {
        while self.open.load(Ordering::Acquire) > 0 {
            if let Some(reason) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
                bail!("{reason}");
            }
            if started.elapsed() > LAP_MAX {
                let left: Vec<_> =
                    self.receivers.iter().map(|one| one.left.load(Ordering::Relaxed)).collect();
                bail!("the lap is not over after {LAP_MAX:?}; not handled at each receiver: {left:?}");
            }
            thread::park_timeout(Duration::from_millis(200));
        }
        let finished = self.epoch + Duration::from_nanos(self.finished_ns.load(Ordering::Acquire));
        Ok(Lap { handled: 0, lost: 0, elapsed: finished.saturating_duration_since(started) })
    }

    /// Fills in what was handled, once nothing can come any more.
    ///
    /// # Errors
    /// A message came twice, or another one than was sent.
    pub fn verify(&self, messages: u64, lap: Lap) -> Result<Lap> {
        let expected_sum = (0..messages).fold(0_u64, u64::wrapping_add);
        let mut lost_all = 0;
        for (at, receiver) in self.receivers.iter().enumerate() {
            let (left, lost) = (receiver.left.load(Ordering::Acquire), receiver.lost.load(Ordering::Relaxed));
            ensure!(left == 0, "receiver {at} handled {} messages too many", left.wrapping_neg());
            let sum = receiver.sum.load(Ordering::Relaxed);
            ensure!(lost > 0 || sum == expected_sum, "receiver {at} handled other messages than were sent");
            lost_all += lost;
        }
        let offered = messages.saturating_mul(self.receivers.len() as u64);
        Ok(Lap { handled: offered.saturating_sub(lost_all), lost: lost_all, ..lap })
    }

    fn finish_one(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.finished_ns.fetch_max(now, Ordering::AcqRel);
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }
}

/// Runs a warm-up lap and a measured one, the calling thread being the publisher.
///
/// # Errors
/// Sending fails, or the lap does not end as it should.
pub fn from_this_thread(
    course: &Course,
    messages: u64,
    mut send: impl FnMut(Range<u64>) -> Result<()>,
) -> Result<Lap> {
    let mut lap = Lap::default();
    for messages in [warm_up(messages), messages] {
        let started = course.start(messages);
        send(0..messages)?;
        lap = course.wait(started)?;
    }
    Ok(lap)
}

/// Runs a warm-up lap and a measured one, the publishers being tasks: one for each range that `split` makes of the numbers.
///
/// # Errors
/// Sending fails, or the lap does not end as it should.
pub fn from_tasks<F, Fut>(
    runtime: &Runtime,
    course: &Arc<Course>,
    messages: u64,
    split: fn(u64) -> Vec<Range<u64>>,
    send: F,
) -> Result<Lap>
where
    F: Fn(Range<u64>) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let mut lap = Lap::default();
    for messages in [warm_up(messages), messages] {
        let started = course.start(messages);
        let publishers: Vec<_> = split(messages)
            .into_iter()
            .map(|numbers| {
                let (work, course) = (send(numbers), Arc::clone(course));
                runtime.spawn(async move {
                    if let Err(error) = work.await {
                        course.fail(&error);
                    }
                })
            })
            .collect();
        lap = course.wait(started)?;
        for publisher in publishers {
            runtime.block_on(publisher)?;
        }
    }
    Ok(lap)
}

/// All messages to one publisher.
#[must_use]
pub fn one_publisher(messages: u64) -> Vec<Range<u64>> {
    std::iter::once(0..messages).collect()
}

/// Half of the messages to each of two.
#[must_use]
pub fn two_publishers(messages: u64) -> Vec<Range<u64>> {
    vec![0..messages / 2, messages / 2..messages]
}

/// A tenth of the lap, so that queues, caches and allocator have been used before the clock starts.
fn warm_up(messages: u64) -> u64 {
    (messages / 10).clamp(1, 50_000)
}

/// Longer than the slowest lap; a lost message shows after this.
const LAP_MAX: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lap_ends_with_the_last_message_of_the_last_receiver() {
        let course = Course::new(2);
        let started = course.start(2);
        for number in [1, 0] {
            course.handled(0, &Sample::new(number));
            course.handled(1, &Sample::new(number));
        }
        let lap = course.wait(started).and_then(|lap| course.verify(2, lap)).unwrap();
        assert_eq!((lap.handled, lap.lost), (4, 0));
    }

    #[test]
    fn a_message_that_comes_twice_in_place_of_another_fails_the_lap() {
        let course = Course::new(1);
        let started = course.start(2);
        course.handled(0, &Sample::new(1));
        course.handled(0, &Sample::new(1));
        let lap = course.wait(started).unwrap();
        assert!(course.verify(2, lap).is_err());
    }

    #[test]
    fn a_message_too_many_fails_the_lap() {
        let course = Course::new(1);
        let started = course.start(1);
        course.handled(0, &Sample::new(0));
        course.handled(0, &Sample::new(0));
        let lap = course.wait(started).unwrap();
        assert_eq!(course.verify(1, lap).unwrap_err().to_string(), "receiver 0 handled 1 messages too many");
    }

    #[test]
    fn what_is_lost_is_not_handled() {
        let course = Course::new(1);
        let started = course.start(10);
        course.lost(0, 9);
        course.handled(0, &Sample::new(9));
        let lap = course.wait(started).and_then(|lap| course.verify(10, lap)).unwrap();
        assert_eq!((lap.handled, lap.lost), (1, 9));
    }

    #[test]
    fn a_publisher_that_fails_ends_the_lap_with_its_reason() {
        let runtime = crate::terms::one_thread().unwrap();
        let course = Course::new(1);
        course.fail(&"refused");
        let lap = from_tasks(&runtime, &course, 1, one_publisher, |_numbers| async { Ok(()) });
        assert_eq!(lap.unwrap_err().to_string(), "refused");
    }

    #[test]
    fn two_publishers_share_all_numbers() {
        let numbers: Vec<u64> = two_publishers(5).into_iter().flatten().collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }
}
