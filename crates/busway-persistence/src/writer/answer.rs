//! Answering: each request is told once what became of it. The callbacks are code of others: a panic in one ends there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Request;
use super::apply::Outcome;
use crate::append::{Append, Appended, Entry};
use crate::error::{AppendError, Fault, Refusal, RequestError};
use crate::settle::{Marking, OnSettled, Register, Remove, Seek};
use crate::transact::{Transact, TransactError};

impl Request {
    /// Nothing of it was stored.
    pub(crate) fn refuse(self, reason: Refusal) {
        self.answer(Outcome::Refused(reason));
    }

    /// Nobody can say whether it was stored.
    pub(super) fn leave_open(self, fault: &Fault) {
        match self {
            Self::Append(Append { entries, done }) => {
                let ids = entries.iter().map(Entry::id).collect();
                contain(|| done(Err(AppendError::Unknown { ids, fault: fault.clone() })));
            }
            other => other.answer(Outcome::Failed(fault.clone().into())),
        }
    }

    pub(super) fn answer(self, outcome: Outcome) {
        match self {
            Self::Append(Append { entries, done }) => contain(|| {
                done(match outcome {
                    Outcome::Refused(reason) => Err(AppendError::Refused { entries, reason }),
                    _ => Ok(Appended::new(entries)),
                });
            }),
            Self::Settle(request) => tell(request.done, outcome),
            Self::Quarantine(request) => tell(request.done, outcome),
            Self::Seek(Seek { done, .. })
            | Self::Remove(Remove { done, .. })
            | Self::Mark(Marking { done, .. }) => tell(done, outcome),
            Self::Register(Register { done: Some(done), .. }) => contain(|| {
                done(match outcome {
                    Outcome::Registered(registered) => Ok(registered),
                    outcome => outcome.into_result().and(Err(RequestError::Refused(Refusal::Closed))),
                });
            }),
            Self::Transact(Transact { done: Some(done), entries, work, .. }) => {
                contain(|| {
                    done(match outcome {
                        Outcome::Transacted => Ok(Appended::new(entries)),
                        Outcome::Aborted(error) => Err(error),
                        outcome => outcome
                            .into_result()
                            .map(|()| Appended::new(Vec::new()))
                            .map_err(TransactError::from),
                    });
                });
                // What it holds is code of others too.
                contain(|| drop(work));
            }
            Self::Operate(part) => contain(|| part.answer(outcome.into_result())),
            Self::Schedule(request) => contain(|| request.answer(outcome.into_result())),
            Self::Flush(done) => contain(|| done(outcome.into_result())),
            Self::Register(_) | Self::Transact(_) | Self::Leave(..) | Self::Retain(_) | Self::End => {}
        }
    }
}

fn tell(done: Option<OnSettled>, outcome: Outcome) {
    if let Some(done) = done {
        contain(|| done(outcome.into_result()));
    }
}

pub(super) fn contain(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("a callback of the store panicked");
    }
}
