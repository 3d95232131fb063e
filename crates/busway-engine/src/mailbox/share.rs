//! A thread's share of the account of an inline subscription.
//!
//! An inline handler runs on its publisher's thread, so what became of its events can be counted there, by plain loads and
//! stores, and be summed when somebody asks: [`Account`](super::Account) has the list.
//!
//! # Who sees what
//! One thread writes, and a publish has two moments at which it must not miss somebody else.
//!
//! | publisher | the other one |
//! |---|---|
//! | counts itself in; fence; looks whether it may run | closes or pauses; fence; reads the count |
//! | counts the end, or itself out; fence; looks for somebody who waits | says that it waits; fence; reads the counts |
//!
//! Of the two one comes first, and the other sees it: a handler that runs is seen by who closes, or does not run, and who waits for its
//! end is woken, or sees it. The publisher has two atomic exchanges to do anyway, the claim of an envelope and the end of its claim on the bus; each
//! is the fence on machines where it is one (`fence_behind_exchange`). Checked with loom below.
//!
//! Between the two no code of the user's runs. A thread that finds that it may not run takes back what it has counted in.

use std::sync::atomic::compiler_fence;

use super::account::Ended;
use crate::idle::IdleWatch;
use crate::sync::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Share {
    offered: AtomicU64,
    /// By outcome: done, failed, dead, skipped.
    ends: [AtomicU64; 4],
}

impl Share {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { offered: zero(), ends: [zero(), zero(), zero(), zero()] }
    }

    /// Counts its thread in. What follows must be a fence, and then a look at whether the handler may run; and no code of the user's before that, for which somebody who
    /// closes would wait.
    #[inline]
    pub(crate) fn begin<'a>(&'a self, idle: &'a IdleWatch) -> Beginning<'a> {
        self.offered.store(self.offered.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // Where the fence that follows is an exchange, the compiler must not move the count behind it.
        compiler_fence(Ordering::SeqCst);
        Beginning(self, idle)
    }

    /// Counts an event that was handled.
    #[inline]
    pub(crate) fn ended(&self, ended: Ended) {
        let [done, failed, dead, skipped] = &self.ends;
        let counter = match ended {
            Ended::Done => done,
            Ended::Failed => failed,
            Ended::Dead => dead,
            Ended::Skipped => skipped,
        };
        // Released: who sees the end sees what the handler did.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// To be read before what was [offered](Self::offered) in any share, with a fence in between.
    pub(super) fn outcomes(&self) -> [u64; 4] {
        self.ends.each_ref().map(|counter| counter.load(Ordering::Acquire))
    }

    pub(super) fn offered(&self) -> u64 {
        self.offered.load(Ordering::Acquire)
    }
}

/// A thread that is counted in. Taken back when it is dropped, which is told to those who have seen it and wait.
#[derive(Debug)]
pub(crate) struct Beginning<'a>(&'a Share, &'a IdleWatch);

impl Beginning<'_> {
    /// The event is offered.
    #[inline]
    pub(crate) fn stays(self) {
        std::mem::forget(self);
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        let offered = &self.0.offered;
        offered.store(offered.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Release);
        self.1.touch();
    }
}

#[cfg(all(test, not(busway_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_that_does_not_stay_is_taken_back() {
        let (share, idle) = (Share::new(), IdleWatch::default());
        drop(share.begin(&idle));
        assert_eq!(share.offered(), 0);
        share.begin(&idle).stays();
        share.ended(Ended::Dead);
        assert_eq!((share.offered(), share.outcomes()), (1, [0, 0, 1, 0]));
    }
}

#[cfg(all(test, busway_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    use super::*;
    use crate::sync::{fence, fence_behind_exchange};

    #[derive(Debug)]
    struct Model {
        share: Share,
        idle: IdleWatch,
        closed: AtomicBool,
        waited_for: AtomicBool,
        /// Stands for the exchanges: of whatever order, and of no word that the other side reads.
        exchanged: AtomicU64,
    }

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                share: Share::new(),
                idle: IdleWatch::default(),
                closed: AtomicBool::new(false),
                waited_for: AtomicBool::new(false),
                exchanged: AtomicU64::new(0),
            })
        }

        fn exchange(&self) {
            self.exchanged.fetch_add(1, Ordering::Relaxed);
            fence_behind_exchange();
        }

        fn running(&self) -> u64 {
            let ended: u64 = self.share.outcomes().iter().sum();
            fence(Ordering::SeqCst);
            self.share.offered().wrapping_sub(ended)
        }
    }

    #[test]
    fn loom_a_handler_that_runs_is_seen_by_who_closes() {
        loom::model(|| {
            let model = Model::new();
            let publisher = thread::spawn({
                let model = Arc::clone(&model);
                move || {
                    let beginning = model.share.begin(&model.idle);
                    model.exchange();
                    let runs = !model.closed.load(Ordering::Relaxed);
                    if runs {
                        beginning.stays();
                    }
                    runs
                }
            });
            model.closed.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let seen = model.running();
            let runs = publisher.join().unwrap();
            assert!(seen >= u64::from(runs), "it runs, and nobody waits for it");
            assert_eq!(model.running(), u64::from(runs));
        });
    }

    #[test]
    fn loom_who_waits_for_the_end_is_woken_or_sees_it() {
        loom::model(|| {
            let model = Model::new();
            model.share.begin(&model.idle).stays();
            let publisher = thread::spawn({
                let model = Arc::clone(&model);
                move || {
                    model.share.ended(Ended::Done);
                    model.exchange();
                    model.waited_for.load(Ordering::Relaxed)
                }
            });
            model.waited_for.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let runs = model.running() > 0;
            let wakes = publisher.join().unwrap();
            assert!(wakes || !runs, "it waits, and nobody wakes it");
        });
    }
}
