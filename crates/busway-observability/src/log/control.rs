//! Changing the filter while the program runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::reload;

use super::filter::{DirectiveError, Passing};

/// What can be done with logs that are written: their filter changed, and asked for. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct LogControl {
    filter: Arc<Mutex<InForce>>,
    lost: Arc<AtomicU64>,
}

struct InForce {
    text: String,
    /// Puts another one in its place; `false`: nobody writes any more.
    put: Box<dyn Fn(Passing) -> bool + Send>,
}

impl LogControl {
    pub(super) fn new<S: Subscriber>(
        text: String,
        handle: reload::Handle<Passing, S>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        let put = Box::new(move |filter| handle.reload(filter).is_ok());
        Self { filter: Arc::new(Mutex::new(InForce { text, put })), lost }
    }

    /// The filter in force.
    #[must_use]
    pub fn filter(&self) -> String {
        self.filter.lock().text.clone()
    }

    /// Puts another filter in force, for all that is logged from now on. One that is wrong changes nothing. The same one again costs nothing; another one costs every place that logs a
    /// look at it, so it is for an operator's hand, not for each event.
    ///
    /// # Errors
    /// [`LogsError::Directive`], and [`LogsError::Gone`].
    pub fn set_filter(&self, filter: &str) -> Result<(), LogsError> {
        let passing = Passing::parse(filter)?;
        let mut in_force = self.filter.lock();
        if in_force.text == filter {
            return Ok(());
        }
        if !(in_force.put)(passing) {
            return Err(LogsError::Gone);
        }
        filter.clone_into(&mut in_force.text);
        Ok(())
    }

    /// Lines that their writer did not take.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for LogControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogControl").field("filter", &self.filter()).field("lost", &self.lost()).finish()
    }
}

/// Why logs do not begin, or a filter is not put in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogsError {
    /// The process has somebody who takes its events already. Nothing was changed.
    #[error("this process has a subscriber of its logs already: there is one, and it is said once")]
    AlreadyInitialised,
    /// A directive of the filter is wrong.
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    /// The subscriber that the filter is of is gone.
    #[error("the subscriber that the filter is of is gone")]
    Gone,
}
