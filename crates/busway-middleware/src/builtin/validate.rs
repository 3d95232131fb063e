//! Rules of the application's own on metadata.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use busway_event::Metadata;

use crate::delivery::Delivery;
use crate::middleware::{Flow, SyncMiddleware};
use crate::outcome::Outcome;

/// Requires metadata pairs, and values that a function accepts. busway's own limits hold without this.
///
/// An event that breaks a rule is `Dead` with [`MetadataRefused`]; rules are checked in the order in which they were added.
/// `producer` and `traceparent` name the fixed fields, as they do for a publisher.
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
}

impl SyncMiddleware for ValidateMetadata {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        let metadata = delivery.event().metadata();
        let broken = self.rules.iter().find_map(|(name, rule)| match (value_of(metadata, name), rule) {
            (None, _) => Some(MetadataRefused::Missing { name: name.to_string() }),
            (Some(value), Rule::Accepted(accepts)) if !accepts(&value) => {
                Some(MetadataRefused::Value { name: name.to_string() })
            }
            _ => None,
        });
        broken.map_or(Flow::Continue, |refused| Flow::Stop(Outcome::dead(refused)))
    }
}

/// A free pair, or the fixed field of that name.
fn value_of<'a>(metadata: &'a Metadata, name: &str) -> Option<Cow<'a, str>> {
    match name {
        "producer" => Some(metadata.producer().into()),
        "traceparent" => metadata.trace().map(|trace| trace.to_string().into()),
        _ => metadata.get(name).map(Cow::from),
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
