//! Transactions: handed to the store's writer like appends, and under the same permits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_persistence::{Appended, Busy, Fault, Refusal, RequestError, TransactError, TxError, Work};
use tokio::sync::oneshot;

use super::{Log, Placed};
use crate::bus::{Refused, Services, UnknownCause};

/// A transaction came to nothing, or nobody can say what it came to.
#[derive(Debug)]
pub(crate) enum NotTransacted {
    /// It gave up, or was not let through: nothing of it is stored.
    Aborted(TxError),
    /// It panicked: nothing of it is stored.
    Panicked(String),
    /// The store or the bus refused it: nothing of it is stored.
    Refused(Refused),
    /// It names a subscription that cannot settle so: nothing of it is stored.
    Settlement(RequestError),
    /// It may be stored or not.
    Unknown(UnknownCause),
}

/// How long the answer to a transaction is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// As long as a publish waits for the store.
    ToDeadline,
    /// Until it is decided. It finishes events, and may use what the store keeps in reserve for that.
    UntilDecided,
}

impl Log {
    /// Runs work in a transaction of the store's, and says what became of its events when all of it is synced.
    ///
    /// # Cancel safety
    /// What was handed over is run and stored, whether somebody waits for it or not; before that, dropping the future gives it up.
    pub(crate) async fn transact(
        &self,
        services: &Arc<Services>,
        work: Work,
        wait: Wait,
    ) -> Result<Vec<Placed>, NotTransacted> {
        let until = services.clock.now() + self.patience;
        let Some(permit) = self.permit(services, until).await else {
            return Err(NotTransacted::Refused(Refused::Busy { waited: self.patience }));
        };
        let (answer, answered) = oneshot::channel();
        let (passing, its_services) = (Arc::clone(&self.passing), Arc::clone(services));
        let done = Box::new(move |result: Result<Appended, TransactError>| {
            let result = result.map(|appended| appended.entries().iter().map(Placed::of).collect::<Vec<_>>());
            if let Ok(placed) = &result {
                let events = placed.iter().filter(|placed| placed.position().is_some()).count();
                let published = &passing.counts.published;
                published.fetch_add(u64::try_from(events).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            drop(permit);
            // Nobody may wait any more: it is stored all the same.
            _ = answer.send(result);
            its_services.idle.touch();
        });
        let asked = self.with(|store| match wait {
            Wait::ToDeadline => store.transact(work, done),
            Wait::UntilDecided => store.transact_to_settle(work, done),
        });
        match asked {
            Some(Ok(())) => {}
            Some(Err(Busy(_))) => {
                return Err(NotTransacted::Refused(Refused::Busy { waited: Duration::ZERO }));
            }
            None => return Err(NotTransacted::Refused(Refused::Closed)),
        }
        let late = async {
            match wait {
                Wait::ToDeadline => services.clock.sleep_until(until).await,
                Wait::UntilDecided => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = answered => match answer {
                Ok(answer) => answer.map_err(NotTransacted::from),
                Err(_) => Err(NotTransacted::Unknown(UnknownCause::WriterEnded)),
            },
            () = late => {
                Err(NotTransacted::Unknown(UnknownCause::TimedOut { waited: self.patience }))
            }
        }
    }
}

impl From<TransactError> for NotTransacted {
    fn from(error: TransactError) -> Self {
        match error {
            TransactError::Aborted(error) => Self::Aborted(error),
            TransactError::Panicked { message } => Self::Panicked(message),
            TransactError::Request(RequestError::Refused(Refusal::Closed)) => Self::Refused(Refused::Closed),
            TransactError::Request(RequestError::Refused(refusal)) => Self::Refused(refusal.into()),
            TransactError::Request(RequestError::Unknown(fault)) => Self::Unknown(fault.into()),
            TransactError::Request(error) => Self::Settlement(error),
            error => Self::Unknown(Fault { doing: "a transaction", reason: error.to_string() }.into()),
        }
    }
}
