//! The filter of the log, which the program sets as its configurations say.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_engine::Bus;
use busway_middleware::BoxError;
use parking_lot::Mutex;

use super::state::InForce;
use crate::problem::{Problem, panicked};
use crate::read::Given;

/// See the module. Without somebody who sets it, nothing is done.
#[derive(Debug, Default)]
pub(super) struct LogFilter(Mutex<Option<Setter>>);

struct Setter {
    set: Arc<SetFilter>,
    /// In force when no configuration names one.
    otherwise: String,
    now: String,
}

type SetFilter = dyn Fn(&str) -> Result<(), BoxError> + Send + Sync;

impl fmt::Debug for Setter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { otherwise, now, .. } = self;
        f.debug_struct("Setter").field("otherwise", otherwise).field("now", now).finish_non_exhaustive()
    }
}

impl LogFilter {
    /// Sets the one that a configuration names, or the one without, unless it is in force.
    pub(super) fn set(&self, wanted: Option<&Given<String>>) -> Result<(), Problem> {
        let (set, filter) = {
            let setter = self.0.lock();
            let Some(setter) = &*setter else { return Ok(()) };
            let filter = wanted.map_or(&setter.otherwise, Given::value);
            if *filter == setter.now {
                return Ok(());
            }
            (Arc::clone(&setter.set), filter.clone())
        };
        // Code of the program: no lock is held.
        let message = match catch_unwind(AssertUnwindSafe(|| set(&filter))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("it is no filter of logs: {error}")),
            Err(panic) => Some(panicked("what sets the filter of the log", &*panic)),
        };
        if let Some(message) = message {
            return Err(match wanted {
                Some(wanted) => Problem::at(wanted.place(), message),
                None => Problem::without_place(message),
            });
        }
        self.0.lock().iter_mut().for_each(|setter| setter.now.clone_from(&filter));
        Ok(())
    }
}

/// Has `observability.log.filter` set by a function: called when a configuration is applied on this bus that names another one than is in force, and with `otherwise`
/// when one is applied that names none. It says whether the text is a filter at all; when it is not, the configuration is not applied. `otherwise` is in force when this is
/// called.
pub fn on_log_filter<E: Into<BoxError>>(
    bus: &Bus,
    otherwise: impl Into<String>,
    set: impl Fn(&str) -> Result<(), E> + Send + Sync + 'static,
) {
    let otherwise = otherwise.into();
    let set = Arc::new(move |filter: &str| set(filter).map_err(Into::into));
    let now = otherwise.clone();
    *bus.attached::<InForce>().log_filter.0.lock() = Some(Setter { set, otherwise, now });
}
