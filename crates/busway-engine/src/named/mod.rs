//! Handlers, transports, stores of keys and kinds of middleware by name, for who sets up a bus from a file: a file can name what it cannot contain.
//!
//! They are registered when the bus is built and never change. What is registered does nothing by itself.

mod parameters;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use busway_middleware::{AnyHandler, BoxError, Durable, States, Step};
use busway_reliability::IdempotencyStore;
use parking_lot::Mutex;

use crate::transport::Transport;

pub use self::parameters::{Parameter, ParameterError};

/// See the module.
#[derive(Default)]
pub(crate) struct Named {
    pub(crate) handlers: BTreeMap<String, AnyHandler<Durable>>,
    pub(crate) transports: BTreeMap<String, Arc<dyn Transport>>,
    pub(crate) key_stores: BTreeMap<String, Arc<dyn IdempotencyStore>>,
    pub(crate) factories: BTreeMap<String, Factory>,
    /// What crates that build on the bus keep with it.
    pub(crate) attached: Mutex<States>,
}

pub(crate) type Factory = Arc<dyn Fn(&Parameter) -> Result<Step, MakeError> + Send + Sync>;

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("handlers", &self.handlers.keys())
            .field("transports", &self.transports.keys())
            .field("key_stores", &self.key_stores.keys())
            .field("factories", &self.factories.keys())
            .finish_non_exhaustive()
    }
}

/// Why a middleware could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// No kind of this name is registered.
    #[error("no such kind of middleware is registered")]
    Unknown,
    /// The parameters are not what the middleware takes.
    #[error("{0}")]
    Parameters(ParameterError),
    /// The middleware does not want to be made of them.
    #[error("{0}")]
    Refused(BoxError),
}
