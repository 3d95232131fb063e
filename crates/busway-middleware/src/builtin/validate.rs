//! Rules of the application's own on metadata.

use std::fmt;
use std::sync::Arc;

use busway_event::DraftHead;

use super::Pairs;
use crate::delivery::Delivery;
use crate::middleware::{Flow, SyncMiddleware};
use crate::outcome::Outcome;
use crate::publish::{PublishMiddleware, PublishRefused};

/// Requires metadata pairs, and values that a function accepts. busway's own limits hold without this.
///
/// Rules are checked in the order in which they were added; the first that is broken counts. Around handling (put it
/// into [`Stage::Decode`](crate::Stage::Decode)), an event that breaks one is `Dead` with [`MetadataRefused`]; around
/// publishing ([`PublishStage::Validate`](crate::PublishStage::Validate)), the publisher gets its text as an error and
/// the event back.
///
/// `producer`, `version`, `trace_id`, `traceparent` and `tracestate` name the fixed fields, see [`Pairs`]. Around
/// publishing, a rule on a `producer` that the publisher did not set, or on the `version`, holds: busway fills them in
/// afterwards.
///
/// ```
/// use busway_middleware::builtin::ValidateMetadata;
///
/// let rules = ValidateMetadata::new().require("tenant").check("region", |value| value.len() == 2);
/// # drop(rules);
/// ```
#[derive(Default)]
pub struct ValidateMetadata {
    rules: Vec<(Box<str>, Rule)>,
}

impl ValidateMetadata {
    /// No rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The pair `name` must be there.
    pub fn require(mut self, name: &str) -> Self {
        self.rules.push((name.into(), Rule::Present));
        self
    }

    /// The pair `name` must be there and `accepts` its value.
    pub fn check(mut self, name: &str, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.rules.push((name.into(), Rule::Accepted(Arc::new(accepts))));
        self
    }

    /// The first rule that is broken.
    fn broken_by(&self, pairs: &Pairs<'_>) -> Option<MetadataRefused> {
        self.rules.iter().find_map(|(name, rule)| match (pairs.get(name), rule) {
            (None, _) if pairs.is_filled_in_later(name) => None,
            (None, _) => Some(MetadataRefused::Missing { name: name.to_string() }),
            (Some(value), Rule::Accepted(accepts)) if !accepts(value) => {
                Some(MetadataRefused::Value { name: name.to_string() })
            }
            _ => None,
        })
    }
}

impl SyncMiddleware for ValidateMetadata {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        let broken = self.broken_by(&delivery.event().metadata().into());
        broken.map_or(Flow::Continue, |refused| Flow::Stop(Outcome::dead(refused)))
    }
}

impl PublishMiddleware for ValidateMetadata {
    fn before(&self, draft: &mut DraftHead) -> Result<(), PublishRefused> {
        let broken = self.broken_by(&Pairs::from(&*draft));
        broken.map_or(Ok(()), |refused| Err(PublishRefused::new(refused.to_string())))
    }
}

impl fmt::Debug for ValidateMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rules.iter().map(|(name, _)| name)).finish()
    }
}

/// The rule on metadata that an event breaks. It shows no value: values may be secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataRefused {
    /// A required pair is missing.
    #[error("metadata \"{name}\" is required here and missing")]
    Missing {
        /// The pair's name.
        name: String,
    },
    /// A value was not accepted.
    #[error("the value of metadata \"{name}\" is not accepted here")]
    Value {
        /// The pair's name.
        name: String,
    },
}

enum Rule {
    Present,
    Accepted(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}
