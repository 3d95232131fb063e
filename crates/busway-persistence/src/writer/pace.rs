//! Pacing: settlements that nobody waits for are committed once a millisecond at most.
//!
//! A subscription that handles a backlog always has something to settle, and would have a commit, and two waits for the disk, for each handful of events: on few cores they
//! take the processor from its handlers. What is decided meanwhile goes into the next settlement, and a crash repeats the events of a millisecond more. Whatever
//! else is asked for is committed at once, and the settlements at hand with it.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::Request;
use super::cohort::now;

/// When something was committed last.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    pub(super) fn committed(&mut self) {
        self.0 = Some(now());
    }

    /// With these requests at hand and no other there: waits for another one, unless somebody waits for one of these, or a commit is due. `None`: it is.
    pub(super) fn more(&self, batch: &[Request], requests: &Receiver<Request>) -> Option<Request> {
        let rest = APART.checked_sub(self.0?.elapsed())?;
        if !batch.iter().all(Request::has_time) {
            return None;
        }
        requests.recv_timeout(rest).ok()
    }
}

impl Request {
    /// Whether nobody waits for its end.
    fn has_time(&self) -> bool {
        matches!(self, Self::Settle(request) if !request.settlement.is_awaited)
    }
}

const APART: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settle::{Settle, Settlement};

    fn settle() -> Request {
        settle_of(Settlement::default())
    }

    fn settle_of(settlement: Settlement) -> Request {
        let settlement = Arc::new(settlement);
        Request::Settle(Box::new(Settle { subscription: 1, partition: 0, settlement, done: None }))
    }

    #[test]
    fn settlements_alone_wait_for_others_and_whatever_else_does_not() {
        let (sender, requests) = crossbeam_channel::bounded(4);
        let mut pace = Pace::default();
        sender.send(settle()).unwrap();
        assert!(pace.more(&[settle()], &requests).is_none(), "nothing was committed yet");
        pace.committed();
        let awaited = settle_of(Settlement { is_awaited: true, ..Settlement::default() });
        for other in [Request::Flush(Box::new(|_| ())), awaited] {
            assert!(pace.more(&[settle(), other], &requests).is_none(), "somebody waits");
        }
        // As long as there is time at all: the machine may have taken it.
        while pace.more(&[settle()], &requests).is_none() {
            pace.committed();
        }
        assert!(requests.is_empty());
        let begun = now();
        pace.committed();
        assert!(pace.more(&[settle()], &requests).is_none(), "a commit is due");
        assert!(begun.elapsed() >= APART);
        assert!(pace.more(&[settle()], &requests).is_none(), "at once");
    }
}
