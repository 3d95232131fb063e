//! The shutdown latch: who may still publish. It only moves forward: open, handlers only, closed.
//!
//! Nobody holds a lock while publishing, so a publish that the latch let through may still be on its way when it closes.
//! It is not lost, because the publisher counts its offer before it looks whether the mailbox is closed
//! (`Mailbox::offer`), and whoever stops the bus closes the mailboxes before it reads the counts
//! (`BusCore::end_all`): at least one of them sees the other. Checked with loom below.

use super::dispatch::Source;
use crate::sync::{AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct Latch {
    state: AtomicUsize,
}

impl Latch {
    pub(super) fn new() -> Self {
        Self { state: AtomicUsize::new(OPEN) }
    }

    /// Whether a publish passes.
    #[inline]
    pub(super) fn admits(&self, from: Source) -> bool {
        match self.state.load(Ordering::Acquire) {
            OPEN => true,
            HANDLERS_ONLY => matches!(from, Source::Handler(_)),
            _ => false,
        }
    }

    /// Lets only running handlers pass from now on. Does not open what is closed already.
    pub(super) fn refuse_outside(&self) {
        self.state.fetch_max(HANDLERS_ONLY, Ordering::AcqRel);
    }

    /// Lets nothing pass any more.
    pub(super) fn close(&self) {
        self.state.fetch_max(CLOSED, Ordering::AcqRel);
    }
}

/// Further is larger: the latch is moved by taking the maximum.
const OPEN: usize = 0;
const HANDLERS_ONLY: usize = 1;
const CLOSED: usize = 2;

#[cfg(all(test, not(busway_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_lets_pass_less_and_less_and_never_more_again() {
        let latch = Latch::new();
        let passes = || [Source::Outside, Source::Handler(7)].map(|from| latch.admits(from));
        assert_eq!(passes(), [true, true]);
        latch.refuse_outside();
        assert_eq!(passes(), [false, true]);
        latch.close();
        assert_eq!(passes(), [false, false]);
        latch.refuse_outside();
        assert_eq!(passes(), [false, false]);
    }
}

#[cfg(all(test, busway_loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;
    use crate::handover::{HandOver, Ring};
    use crate::sync::fence;

    /// Nobody sleeps in these models.
    #[derive(Debug)]
    struct NoBell;

    impl Ring for NoBell {
        fn ring(&self) {}
    }

    /// A bus with one subscription: the latch, the mark of its mailbox, and its account (`mailbox/account.rs`).
    struct Model {
        latch: Latch,
        hand: HandOver<NoBell>,
        offered: AtomicUsize,
        settled: AtomicUsize,
    }

    impl Model {
        fn new(offered: usize) -> Arc<Self> {
            Arc::new(Self {
                latch: Latch::new(),
                hand: HandOver::new(),
                offered: AtomicUsize::new(offered),
                settled: AtomicUsize::new(0),
            })
        }

        /// As `BusCore::accept` and `Mailbox::offer`: whether the event was taken in.
        fn publish(&self, from: Source) -> bool {
            if !self.latch.admits(from) {
                return false;
            }
            self.offered.fetch_add(1, Ordering::SeqCst);
            // Of sequential consistency loom knows that of fences alone; outside of it the orders of the two accesses do.
            fence(Ordering::SeqCst);
            if self.hand.is_closed() {
                self.offered.fetch_sub(1, Ordering::Release);
                return false;
            }
            true
        }

        /// As `BusCore::outstanding`: what is settled is read before what was offered.
        fn is_drained(&self) -> bool {
            let settled = self.settled.load(Ordering::Acquire);
            self.offered.load(Ordering::Acquire) == settled
        }
    }

    #[test]
    fn loom_a_latch_that_is_closed_meanwhile_does_not_open_again() {
        loom::model(|| {
            let model = Model::new(0);
            let stopping = thread::spawn({
                let model = Arc::clone(&model);
                move || model.latch.refuse_outside()
            });
            // The last handle of the bus is dropped at the same time.
            model.latch.close();
            stopping.join().unwrap();
            assert!(!model.latch.admits(Source::Handler(0)));
        });
    }

    #[test]
    fn loom_a_publish_that_was_admitted_is_seen_by_who_closes() {
        loom::model(|| {
            let model = Model::new(0);
            let publisher = thread::spawn({
                let model = Arc::clone(&model);
                move || model.publish(Source::Outside)
            });
            model.latch.refuse_outside();
            model.latch.close();
            model.hand.close();
            let seen = model.offered.load(Ordering::Acquire);
            let accepted = publisher.join().unwrap();
            assert!(seen >= usize::from(accepted), "accepted, and not in the report");
            assert_eq!(model.offered.load(Ordering::Acquire), usize::from(accepted));
        });
    }

    #[test]
    fn loom_what_a_running_handler_publishes_keeps_the_bus_from_being_drained() {
        loom::model(|| {
            // The handler's own event was offered before.
            let model = Model::new(1);
            let handler = thread::spawn({
                let model = Arc::clone(&model);
                move || {
                    let accepted = model.publish(Source::Handler(0));
                    model.settled.fetch_add(1, Ordering::Release);
                    accepted
                }
            });
            model.latch.refuse_outside();
            let drained = model.is_drained();
            if drained {
                model.latch.close();
                model.hand.close();
            }
            assert!(handler.join().unwrap(), "refused while it ran");
            assert!(!drained, "drained with an event waiting");
        });
    }
}
