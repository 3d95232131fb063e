//! Who may publish or be handled: a function of the metadata.

use std::fmt;

use busway_event::{DraftHead, Topic};

use super::Pairs;
use crate::delivery::Delivery;
use crate::middleware::{Flow, SyncMiddleware};
use crate::outcome::Outcome;
use crate::publish::{PublishMiddleware, PublishRefused};

/// Asks a function of topic and metadata whether an event may pass. The function reaches each field by its name, see
/// [`Pairs`].
///
/// Around handling (put it into [`Stage::Decode`](crate::Stage::Decode)), a refusal is a `Dead` outcome with the
/// [`Refusal`] as its reason; around publishing, the publisher gets it as an error and the event back. It is a guard
/// against mistakes: code in the same process can always reach around it.
///
/// ```
/// use busway_middleware::builtin::{Authorize, Refusal};
///
/// let authorize = Authorize::new(|_topic, metadata| match metadata.get("tenant") {
///     Some(_) => Ok(()),
///     None => Err(Refusal::new("no tenant")),
/// });
/// # drop(authorize);
/// ```
pub struct Authorize<F> {
    check: F,
}

impl<F> Authorize<F>
where
    F: Fn(&Topic, &Pairs<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
{
    /// `check` says whether an event on this topic with this metadata may pass.
    pub const fn new(check: F) -> Self {
        Self { check }
    }
}

impl<F> SyncMiddleware for Authorize<F>
where
    F: Fn(&Topic, &Pairs<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
{
    fn before(&self, delivery: &mut Delivery) -> Flow {
        let event = delivery.event();
        match (self.check)(event.topic(), &Pairs::from(event.metadata())) {
            Ok(()) => Flow::Continue,
            Err(refusal) => Flow::Stop(Outcome::dead(refusal)),
        }
    }
}

impl<F> PublishMiddleware for Authorize<F>
where
    F: Fn(&Topic, &Pairs<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
{
    fn before(&self, draft: &mut DraftHead) -> Result<(), PublishRefused> {
        // A draft without a valid topic is refused by validation, which says why.
        let Ok(topic) = draft.topic() else { return Ok(()) };
        (self.check)(topic, &Pairs::from(&*draft)).map_err(|refusal| PublishRefused::new(refusal.to_string()))
    }
}

impl<F> fmt::Debug for Authorize<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorize")
    }
}

/// Why an event may not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not authorized: {reason}")]
pub struct Refusal {
    reason: String,
}

impl Refusal {
    /// A refusal with its reason, for people to read.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}
