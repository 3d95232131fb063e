//! The answer to one append: given once, by the store's writer or by the deadline, whichever comes first.
//!
//! Thousands of publishes wait at once, so each is one small allocation that its future, the writer's callback and the list of
//! [deadlines](super::deadlines) share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use busway_persistence::{AppendError, Appended};
use parking_lot::Mutex;

use super::NotAppended;
use super::append::Account;
use crate::bus::UnknownCause;

/// What became of an append.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The writer says so.
    Decided(Result<Appended, Box<AppendError>>),
    /// The writer has not said anything for as long as a publish waits.
    TimedOut {
        /// So long.
        waited: Duration,
    },
    /// The writer ended without a word.
    Abandoned,
}

impl Answer {
    /// What it comes to.
    pub(crate) fn told(self) -> Result<Appended, NotAppended> {
        match self {
            Self::Decided(decided) => decided.map_err(|error| (*error).into()),
            Self::TimedOut { waited } => Err(NotAppended::Unknown(UnknownCause::TimedOut { waited })),
            Self::Abandoned => Err(NotAppended::Unknown(UnknownCause::WriterEnded)),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pending {
    // Held for moments, by who gives the answer and who asks for it. Nothing is called meanwhile.
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// There is none yet; whoever is to be woken when there is.
    Open(Option<Waker>),
    /// With what the writer held for the publisher's sake: counted where it was counted before, by the publisher's thread.
    Answered(Answer, Option<Account>),
    /// It was taken.
    Over,
}

impl Pending {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Open(None)) })
    }

    /// Gives the answer, unless there was one.
    pub(super) fn answer(&self, answer: Answer) {
        self.answer_with(answer, None);
    }

    /// The same, and leaves it to the publisher to let go of `account`.
    pub(super) fn answer_with(&self, answer: Answer, account: Option<Account>) {
        let mut state = self.state.lock();
        let State::Open(waker) = &mut *state else {
            drop(state);
            // What is not told any more goes outside of the lock: it holds events, whose drop is the user's code.
            return drop((answer, account));
        };
        let waker = waker.take();
        *state = State::Answered(answer, account);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was answered.
    pub(super) fn is_decided(&self) -> bool {
        !matches!(&*self.state.lock(), State::Open(_))
    }
}

/// Ends with the answer. Dropping it leaves the append as it is.
#[derive(Debug)]
pub(crate) struct Answered(pub(super) Arc<Pending>);

impl Future for Answered {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.0.state.lock();
        match &mut *state {
            State::Open(Some(waker)) if waker.will_wake(context.waker()) => Poll::Pending,
            State::Open(waker) => {
                let before = waker.replace(context.waker().clone());
                drop(state);
                // Not under the lock: with the last waker of a task goes all that it holds.
                drop(before);
                Poll::Pending
            }
            State::Over => Poll::Pending,
            State::Answered(..) => match std::mem::replace(&mut *state, State::Over) {
                State::Answered(answer, account) => {
                    drop(state);
                    // Nor this: it may be the last that holds what the publishes of a log have in common.
                    drop(account);
                    Poll::Ready(answer)
                }
                _ => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bells(AtomicUsize);

    impl Wake for Bells {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_first_answer_counts_and_wakes_who_asked_last() {
        let pending = Pending::new();
        let mut answered = Answered(Arc::clone(&pending));
        let bells = [Arc::new(Bells::default()), Arc::new(Bells::default())];
        for bells in bells.iter().cycle().take(4) {
            let waker = Waker::from(Arc::clone(bells));
            assert!(Pin::new(&mut answered).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(!pending.is_decided());
        pending.answer(Answer::TimedOut { waited: Duration::ZERO });
        pending.answer(Answer::Abandoned);
        assert!(pending.is_decided());
        assert_eq!(bells.map(|bells| bells.0.load(Ordering::Relaxed)), [0, 1]);
        let mut context = Context::from_waker(Waker::noop());
        let answer = Pin::new(&mut answered).poll(&mut context);
        assert!(matches!(answer, Poll::Ready(Answer::TimedOut { .. })), "{answer:?}");
        assert!(Pin::new(&mut answered).poll(&mut context).is_pending(), "there is one answer");
    }
}
