//! The deadlines of publishes that wait for the disk: one timer for all of them.
//!
//! All publishes of a log wait for the same time, so as a rule those that were handed over first are due first; a list in the order of their
//! deadlines needs one timer: that of its head. A timer for each publish would be set and taken back thousands of times a commit, and fire for none of them.
//!
//! Publishes that were answered leave the list when they come to its head: by the next ones that enter, two for each, or when the timer
//! fires. So it holds twice as many as were under way at once, at most, each a few words.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::pending::{Answer, Pending};
use crate::clock::Clock;

/// See the module.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// How long each of them waits.
    patience: Duration,
    // Held for moments; no answer is given meanwhile.
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The earliest deadline first.
    list: VecDeque<(Instant, Weak<Pending>)>,
    /// Which time is waited for.
    watched: Option<Instant>,
    is_over: bool,
}

impl Deadlines {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, waiting: Mutex::default(), changed: Notify::new() }
    }

    /// Answers `pending` at that time, unless it was answered before.
    pub(super) fn enter(&self, until: Instant, pending: &Arc<Pending>) {
        let mut waiting = self.waiting.lock();
        // Two for each that comes: so the list shrinks when there are fewer of them.
        let passed = [(); 2].map(|()| waiting.leave_head(|_, pending| pending.is_decided()));
        // Behind the last one, unless it had to wait for its permit.
        let later = waiting.list.iter().rev().take_while(|(other, _)| *other > until).count();
        let at = waiting.list.len() - later;
        waiting.list.insert(at, (until, Arc::downgrade(pending)));
        let is_watched = waiting.watched.is_some_and(|watched| watched <= until);
        if !is_watched {
            waiting.watched = Some(until);
        }
        drop(waiting);
        // Not under the lock: whoever was the last to hold an answer lets go of events, whose drop is the user's code.
        drop(passed);
        if !is_watched {
            self.changed.notify_one();
        }
    }

    /// Answers those whose time has come, until [`end`](Self::end).
    pub(super) async fn watch(self: Arc<Self>, clock: Arc<dyn Clock>) {
        loop {
            let (due, next) = self.due(clock.now());
            due.iter().for_each(|pending| pending.answer(Answer::TimedOut { waited: self.patience }));
            drop(due);
            match next {
                Next::Over => return,
                Next::Idle => self.changed.notified().await,
                Next::At(until) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = clock.guard_until(until) => {}
                },
            }
        }
    }

    /// No more is entered: the store is closed, and has answered all.
    pub(super) fn end(&self) {
        self.waiting.lock().is_over = true;
        self.changed.notify_one();
    }

    /// Those whose time has come, and when the next one's does.
    fn due(&self, now: Instant) -> (Vec<Arc<Pending>>, Next) {
        let (mut due, mut passed) = (Vec::new(), Vec::new());
        let mut waiting = self.waiting.lock();
        loop {
            let Head { pending, has_left } =
                waiting.leave_head(|until, pending| until <= now || pending.is_decided());
            match pending {
                Some(pending) if has_left && !pending.is_decided() => due.push(pending),
                pending => passed.extend(pending),
            }
            if !has_left {
                break;
            }
        }
        let next = match waiting.list.front() {
            _ if waiting.is_over => Next::Over,
            Some((until, _)) => Next::At(*until),
            None => Next::Idle,
        };
        waiting.watched = waiting.list.front().map(|(until, _)| *until);
        drop(waiting);
        drop(passed);
        (due, next)
    }
}

impl Waiting {
    /// Takes the head out if it is to go, or if nobody holds it any more. What it was looked at through is for the caller to drop, behind the lock.
    fn leave_head(&mut self, goes: impl FnOnce(Instant, &Arc<Pending>) -> bool) -> Head {
        let Some((until, head)) = self.list.front() else { return Head { pending: None, has_left: false } };
        let pending = head.upgrade();
        let has_left = pending.as_ref().is_none_or(|pending| goes(*until, pending));
        if has_left {
            self.list.pop_front();
        }
        Head { pending, has_left }
    }
}

/// The head of the list as it was looked at.
struct Head {
    pending: Option<Arc<Pending>>,
    has_left: bool,
}

#[derive(Debug)]
enum Next {
    At(Instant),
    Idle,
    Over,
}

#[cfg(test)]
mod tests {
    use super::super::pending::Answered;
    use super::*;
    use crate::clock::SystemClock;

    const PATIENCE: Duration = Duration::from_secs(7);

    fn entered(deadlines: &Deadlines, until: Instant) -> (Arc<Pending>, Answered) {
        let pending = Pending::new();
        deadlines.enter(until, &pending);
        (Arc::clone(&pending), Answered(pending))
    }

    #[test]
    fn what_was_answered_or_let_go_leaves_the_list_with_those_that_enter() {
        let deadlines = Deadlines::new(PATIENCE);
        let now = SystemClock.now();
        let later = now + Duration::from_secs(1);
        let all: Vec<_> = (0..100).map(|_| entered(&deadlines, later)).collect();
        assert_eq!(deadlines.waiting.lock().list.len(), 100);
        all.iter().step_by(2).for_each(|(pending, _)| pending.answer(Answer::Abandoned));
        drop(all);
        let kept: Vec<_> = (0..100).map(|_| entered(&deadlines, later)).collect();
        assert_eq!(deadlines.waiting.lock().list.len(), 100);
        let (due, next) = deadlines.due(now);
        assert!(due.is_empty() && matches!(next, Next::At(at) if at == later));
        kept.iter().take(60).for_each(|(pending, _)| pending.answer(Answer::Abandoned));
        let (due, next) = deadlines.due(later);
        assert_eq!((due.len(), kept.len() - 60), (40, 40));
        assert!(matches!(next, Next::Idle));
    }

    #[test]
    fn the_earliest_deadline_is_the_head_and_a_later_one_changes_nothing() {
        let deadlines = Deadlines::new(PATIENCE);
        let now = SystemClock.now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let _kept = [5, 6, 3, 4].map(|seconds| entered(&deadlines, at(seconds)));
        let order: Vec<_> = deadlines.waiting.lock().list.iter().map(|(until, _)| *until).collect();
        assert_eq!(order, [3, 4, 5, 6].map(at));
        assert_eq!(deadlines.waiting.lock().watched, Some(at(3)));
        let (due, next) = deadlines.due(at(4));
        assert!(due.len() == 2 && matches!(next, Next::At(until) if until == at(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_publish_that_is_late_is_told_so_and_the_watch_ends_with_its_log() {
        let deadlines = Arc::new(Deadlines::new(PATIENCE));
        let watch =
            tokio::runtime::Handle::current().spawn(Arc::clone(&deadlines).watch(Arc::new(SystemClock)));
        // Tokio's time stands still while anything can run, and then goes on to the next timer.
        for _ in 0..2 {
            let (_pending, answered) = entered(&deadlines, tokio::time::Instant::now().into_std());
            assert!(matches!(answered.await, Answer::TimedOut { waited: PATIENCE }));
        }
        let (pending, answered) = entered(&deadlines, SystemClock.now() + Duration::from_secs(3_600));
        pending.answer(Answer::Abandoned);
        assert!(matches!(answered.await, Answer::Abandoned));
        deadlines.end();
        watch.await.unwrap();
    }
}
