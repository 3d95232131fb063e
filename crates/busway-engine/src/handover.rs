//! The hand-over between those who offer events and those who handle them: waking and closing without losing one.
//!
//! The queue itself is lock-free and knows nothing of sleepers. Two things must not happen: an event is queued while the
//! last worker goes to sleep and nobody wakes it; an event is queued while the subscription closes and nobody counts it.
//! Both are the same question, answered the same way: sleepers and the mark of the end share one word, and each side writes what it
//! brings, then changes that word, then looks for what the other side brought.
//!
//! | offering side | other side |
//! |---|---|
//! | push; change `word` from nothing to nothing: nobody sleeps. It was something: wake one | park: add one to `word`; look at the queue again; sleep |
//! | the same: it said closed: empty the queue oneself | close: set the mark in `word`; empty the queue |
//!
//! Changes of one word have one order, and whoever changes it sees all that was written before the changes that it follows. So of an offer and
//! a sleeper (or an end) the later one sees the other. Writing nothing in the place of nothing costs one locked instruction, as
//! a fence does, and no reads behind it. Checked with loom in this file; crossbeam's queue is stood in for by a model there.

use crate::sync::{AtomicUsize, Mutex, Ordering, fence};

/// What a sleeping worker is woken by. Ringing before it sleeps must not be lost: the next sleep ends at once.
pub(crate) trait Ring {
    fn ring(&self);
}

/// Parked workers of one mailbox, and whether it is closed.
#[derive(Debug)]
pub(crate) struct HandOver<B> {
    word: Word,
    sleepers: Mutex<Vec<Sleeper<B>>>,
}

/// [`SLEEPER`] times the length of `sleepers`, changed under its lock only, and [`CLOSED`] when it is closed.
///
/// On a line of its own: each publisher writes here, and workers have to read what lies beside it for each event.
#[derive(Debug)]
#[repr(align(64))]
struct Word(AtomicUsize);

const CLOSED: usize = 1;
const SLEEPER: usize = 2;

/// A worker that is about to sleep.
#[derive(Debug)]
pub(crate) struct Sleeper<B> {
    pub(crate) worker: usize,
    pub(crate) member: u64,
    pub(crate) bell: B,
}

/// What the offering side learns after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// A sleeping worker was woken.
    Woken,
    /// Nobody sleeps: either all work, or there is no worker yet.
    NobodyParked,
    /// The mailbox is closed: whoever pushed must empty the queue.
    Closed,
}

impl<B: Ring> HandOver<B> {
    pub(crate) fn new() -> Self {
        Self { word: Word(AtomicUsize::new(0)), sleepers: Mutex::new(Vec::new()) }
    }

    /// To be called after each push.
    #[inline]
    pub(crate) fn announce(&self) -> Announced {
        match self.word.0.compare_exchange(0, 0, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => Announced::NobodyParked,
            Err(_) => self.announce_to_somebody(),
        }
    }

    fn announce_to_somebody(&self) -> Announced {
        loop {
            // A change that fails is no change: only one that was made comes before, or behind, what others do.
            let Err(word) = self.word.0.compare_exchange(0, 0, Ordering::SeqCst, Ordering::SeqCst) else {
                return Announced::NobodyParked;
            };
            if word & CLOSED != 0 {
                return Announced::Closed;
            }
            match self.wake(|_| true) {
                Some(before) if before & CLOSED != 0 => return Announced::Closed,
                Some(_) => return Announced::Woken,
                // Another publisher has woken it, or it has left.
                None => {}
            }
        }
    }

    /// Enters the list of sleepers. The caller must look at the queue once more before it sleeps on its bell, and
    /// [`leave`](Self::leave) when it found something there.
    pub(crate) fn park(&self, sleeper: Sleeper<B>) {
        let mut sleepers = self.sleepers.lock();
        sleepers.push(sleeper);
        self.word.0.fetch_add(SLEEPER, Ordering::SeqCst);
    }

    /// Takes a worker off the list, if it still is on it.
    pub(crate) fn leave(&self, worker: usize) {
        let mut sleepers = self.sleepers.lock();
        let before = sleepers.len();
        sleepers.retain(|sleeper| sleeper.worker != worker);
        self.word.0.fetch_sub((before - sleepers.len()) * SLEEPER, Ordering::SeqCst);
    }

    /// Wakes one worker of `member`; `false` when none of its workers sleeps.
    pub(crate) fn wake_member(&self, member: u64) -> bool {
        self.wake(|sleeper| sleeper.member == member).is_some()
    }

    /// Wakes everybody: the state of the subscription has changed. Who parks later sees the change.
    pub(crate) fn wake_all(&self) {
        let mut sleepers = self.sleepers.lock();
        self.word.0.fetch_and(CLOSED, Ordering::SeqCst);
        let woken = std::mem::take(&mut *sleepers);
        drop(sleepers);
        woken.iter().for_each(|sleeper| sleeper.bell.ring());
    }

    /// Closes. The caller must empty the queue afterwards; whoever pushes later finds it closed and does the same.
    pub(crate) fn close(&self) {
        self.word.0.fetch_or(CLOSED, Ordering::SeqCst);
        // For those who count an offer and then look for the mark, see `mailbox/account.rs`.
        fence(Ordering::SeqCst);
        self.wake_all();
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.word.0.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Wakes the last sleeper of those that are wanted: it has the warmest cache. Says what the word was.
    fn wake(&self, wanted: impl Fn(&Sleeper<B>) -> bool) -> Option<usize> {
        let mut sleepers = self.sleepers.lock();
        let last = sleepers.iter().rposition(wanted)?;
        let sleeper = sleepers.remove(last);
        let before = self.word.0.fetch_sub(SLEEPER, Ordering::SeqCst);
        drop(sleepers);
        sleeper.bell.ring();
        Some(before)
    }
}

#[cfg(all(test, busway_loom))]
mod loom_models {
    use std::collections::VecDeque;

    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::*;

    impl Ring for Arc<Notify> {
        fn ring(&self) {
            self.notify();
        }
    }

    struct Model {
        queue: Mutex<VecDeque<u32>>,
        hand: HandOver<Arc<Notify>>,
        taken: AtomicUsize,
        abandoned: AtomicUsize,
    }

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                queue: Mutex::new(VecDeque::new()),
                hand: HandOver::new(),
                taken: AtomicUsize::new(0),
                abandoned: AtomicUsize::new(0),
            })
        }

        fn offer(&self, event: u32) {
            self.queue.lock().push_back(event);
            if self.hand.announce() == Announced::Closed {
                self.abandon();
            }
        }

        fn take(&self) -> bool {
            let taken = self.queue.lock().pop_front().is_some();
            if taken {
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
            taken
        }

        fn abandon(&self) {
            while self.queue.lock().pop_front().is_some() {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
            }
        }

        /// A worker that ends when the mailbox is closed, or when it has taken `until` events.
        fn work(&self, worker: usize, until: usize) {
            let bell = Arc::new(Notify::new());
            loop {
                if self.hand.is_closed() || self.taken.load(Ordering::Relaxed) >= until {
                    return;
                }
                if self.take() {
                    continue;
                }
                self.hand.park(Sleeper { worker, member: 0, bell: Arc::clone(&bell) });
                if self.take() || self.hand.is_closed() {
                    self.hand.leave(worker);
                    continue;
                }
                bell.wait();
                self.hand.leave(worker);
            }
        }
    }

    #[test]
    fn loom_no_event_is_queued_beside_a_sleeping_worker() {
        loom::model(|| {
            let model = Model::new();
            let worker = thread::spawn({
                let model = Arc::clone(&model);
                move || model.work(0, 2)
            });
            model.offer(1);
            model.offer(2);
            worker.join().unwrap();
            assert_eq!(model.taken.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn loom_two_publishers_wake_one_worker_for_both_events() {
        loom::model(|| {
            let model = Model::new();
            let publisher = thread::spawn({
                let model = Arc::clone(&model);
                move || model.offer(1)
            });
            let worker = thread::spawn({
                let model = Arc::clone(&model);
                move || model.work(0, 2)
            });
            model.offer(2);
            publisher.join().unwrap();
            worker.join().unwrap();
            assert_eq!(model.taken.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn loom_an_event_offered_while_closing_is_taken_or_abandoned() {
        loom::model(|| {
            let model = Model::new();
            let publisher = thread::spawn({
                let model = Arc::clone(&model);
                move || model.offer(1)
            });
            let worker = thread::spawn({
                let model = Arc::clone(&model);
                move || model.work(0, usize::MAX)
            });
            model.hand.close();
            model.abandon();
            publisher.join().unwrap();
            worker.join().unwrap();
            let settled = model.taken.load(Ordering::Relaxed) + model.abandoned.load(Ordering::Relaxed);
            assert_eq!(settled, 1);
        });
    }
    /// The entrance of a mailbox whose place another one has taken, see `Mailbox::shut`: a publisher counts its offer and then looks, and who waits for the end closes
    /// and then reads the count. Loom takes sequentially consistent operations for weaker ones, so a fence stands for the order that they have.
    #[test]
    fn loom_an_event_offered_while_the_entrance_closes_is_taken_or_sent_on() {
        loom::model(|| {
            let (model, offered) = (Model::new(), Arc::new(AtomicUsize::new(0)));
            let publisher = thread::spawn({
                let (model, offered) = (Arc::clone(&model), Arc::clone(&offered));
                move || {
                    offered.fetch_add(1, Ordering::SeqCst);
                    fence(Ordering::SeqCst);
                    if model.hand.is_closed() {
                        offered.fetch_sub(1, Ordering::SeqCst);
                        return 1;
                    }
                    model.queue.lock().push_back(1);
                    model.hand.announce();
                    0
                }
            });
            model.hand.close();
            while offered.load(Ordering::SeqCst) > model.taken.load(Ordering::Relaxed) {
                if !model.take() {
                    thread::yield_now();
                }
            }
            let taken = model.taken.load(Ordering::Relaxed);
            assert_eq!(taken + publisher.join().unwrap(), 1, "nothing comes behind the end");
        });
    }
}
