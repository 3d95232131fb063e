//! What subscriptions need of their bus.

use std::fmt;
use std::sync::Arc;

use busway_middleware::Registry;
use busway_observability::{Collectors, Tracing};
use tokio::runtime;

use crate::clock::Clock;
use crate::idle::IdleWatch;
use crate::shown::Shown;

/// They may keep it alive, and it does not keep the bus alive.
pub(crate) struct Services {
    pub(crate) clock: Arc<dyn Clock>,
    /// What of it may be read by whom.
    pub(crate) shown: Shown,
    /// Shared with publishers' handles, which outlive a bus.
    pub(crate) idle: Arc<IdleWatch>,
    pub(crate) middleware: Registry,
    /// Who is told what happens.
    pub(crate) signals: Collectors,
    /// What is published and handled is in traces.
    pub(crate) tracing: Option<Tracing>,
    pub(crate) runtime: runtime::Handle,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("clock", &self.clock).finish_non_exhaustive()
    }
}
