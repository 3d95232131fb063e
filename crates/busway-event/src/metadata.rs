//! What travels beside the payload: producer, schema version, trace context and free pairs.
//!
//! Limits hold when an event is published and again when one is received, so nothing that busway holds exceeds
//! them: at most 64 free pairs, 8 KiB a value, 16 KiB in all.

mod error;
mod pair;

pub use self::error::MetadataError;

use std::sync::Arc;

use self::pair::check_pair;
use crate::trace::{TraceContext, TraceContextError};

/// Valid metadata of an event. Cheap to clone; immutable.
///
/// `producer` and `version` are always there. The free pairs keep the order in which they were added; names are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    shared: Arc<Shared>,
    version: u16,
}

impl Metadata {
    /// Starts metadata of `producer` and the schema `version`; see [`MetadataDraft::build`].
    #[must_use]
    pub fn draft(producer: &str, version: u16) -> MetadataDraft {
        MetadataDraft { producer: Some(producer.into()), version, ..MetadataDraft::default() }
    }

    /// Who published the event: the name of a service or program. Never empty.
    #[must_use]
    pub fn producer(&self) -> &str {
        &self.shared.producer
    }

    /// The schema version of the payload, 1 or more.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// The trace that the event belongs to, when its producer had one.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.shared.trace.as_ref()
    }

    /// The trace id as 32 hexadecimal digits, when there is a trace.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        self.trace().map(TraceContext::trace_id_hex)
    }

    /// The value of the free pair `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The free pairs, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shared.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The same producer and pairs under another schema version: what an upcast or a shared default needs.
    /// A version of 0 becomes 1.
    #[must_use]
    #[inline]
    pub fn with_version(&self, version: u16) -> Self {
        Self { shared: Arc::clone(&self.shared), version: version.max(1) }
    }

    /// The same with one pair more, or another value of one that is there.
    ///
    /// # Errors
    /// [`MetadataError`] names the rule that this breaks; a fixed field is set by its name, see [`MetadataDraft::set`].
    pub fn with(&self, name: &str, value: &str) -> Result<Self, MetadataError> {
        let mut draft = MetadataDraft::from(self);
        draft.set(name, value);
        draft.build()
    }

    /// The same without a pair, if it is there.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let Shared { producer, trace, pairs, .. } = &*self.shared;
        let pairs: Vec<_> = pairs.iter().filter(|(there, _)| **there != *name).cloned().collect();
        let size = size_of(producer, &pairs);
        let shared = Shared { producer: producer.clone(), trace: trace.clone(), pairs, size };
        Self { shared: Arc::new(shared), version: self.version }
    }

    /// Whether this is `other` under `version`, without looking at the pairs.
    #[inline]
    pub(crate) fn is(&self, other: &Self, version: u16) -> bool {
        self.version == version && Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Bytes that count towards [`METADATA_BYTES_MAX`].
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.shared.size
    }
}

/// Metadata that is not validated yet. Adding never fails; [`build`](Self::build) finds every rule that is broken first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataDraft {
    producer: Option<Box<str>>,
    version: u16,
    trace: Option<TraceContext>,
    trace_error: Option<TraceContextError>,
    /// A `tracestate` whose `traceparent` has not been set yet.
    state_without_parent: Option<Box<str>>,
    pairs: Vec<(Box<str>, Box<str>)>,
}

impl MetadataDraft {
    /// Sets a pair; the last value of a name wins. Three names are the fixed fields: `producer` sets the producer,
    /// `traceparent` and `tracestate` the trace context, in any order.
    pub fn set(&mut self, name: &str, value: &str) {
        match name {
            "producer" => self.producer = Some(value.into()),
            "traceparent" => match value.parse() {
                Ok(trace) => (self.trace, self.trace_error) = (Some(self.with_waiting_state(trace)), None),
                Err(error) => self.trace_error = Some(error),
            },
            "tracestate" => match self.trace.take() {
                Some(trace) => self.trace = Some(trace.with_state(value)),
                None => self.state_without_parent = Some(value.into()),
            },
            _ => match self.pairs.iter_mut().find(|(key, _)| **key == *name) {
                Some((_, old)) => *old = value.into(),
                None => self.pairs.push((name.into(), value.into())),
            },
        }
    }

    fn with_waiting_state(&mut self, trace: TraceContext) -> TraceContext {
        match self.state_without_parent.take() {
            Some(state) => trace.with_state(&state),
            None => trace,
        }
    }

    pub(crate) fn unset_producer(&mut self) {
        self.producer = None;
    }

    pub(crate) const fn version(&self) -> u16 {
        self.version
    }

    /// Adds a free pair, whatever its name: a reserved one is an error of [`build`](Self::build). Gives `false`, and
    /// changes nothing, when there is one of that name. For what a stranger sends, who must not set the fixed fields
    /// under another heading, and of whose pairs none may be lost.
    #[must_use]
    pub(crate) fn add_pair(&mut self, name: &str, value: &str) -> bool {
        let is_new = self.get(name).is_none();
        if is_new {
            self.pairs.push((name.into(), value.into()));
        }
        is_new
    }

    /// The value of the free pair `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find_map(|(key, value)| (**key == *name).then_some(&**value))
    }

    /// Whether it may have this pair, too, or this value of one that is there, within the limits of how many there are and of their bytes. A producer that
    /// is not set yet is counted as the longest that there can be. What is wrong with the pair itself is not looked at.
    #[must_use]
    pub fn has_room_for(&self, name: &str, value: &str) -> bool {
        let producer = self.producer().map_or(PRODUCER_BYTES_MAX, str::len);
        let others = self.pairs.iter().filter(|(key, _)| **key != *name);
        let (count, bytes) =
            others.fold((0, 0), |(count, bytes), (key, value)| (count + 1, bytes + key.len() + value.len()));
        count < PAIRS_MAX && producer + bytes + name.len() + value.len() <= METADATA_BYTES_MAX
    }

    /// Sets the trace context.
    pub fn set_trace(&mut self, trace: TraceContext) {
        (self.trace, self.trace_error, self.state_without_parent) = (Some(trace), None, None);
    }

    /// The trace context, when one was set and is valid.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// Whether a trace was named, valid or not: then it is not for others to name one.
    #[must_use]
    pub const fn names_trace(&self) -> bool {
        self.trace.is_some() || self.trace_error.is_some() || self.state_without_parent.is_some()
    }

    /// The producer, when one was set.
    #[must_use]
    pub fn producer(&self) -> Option<&str> {
        self.producer.as_deref()
    }

    /// Sets the schema version; the engine sets the one of the payload's type.
    pub fn set_version(&mut self, version: u16) {
        self.version = version;
    }

    /// Whether nothing but a version is set: then the bus's shared default metadata serves, without an allocation.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.producer.is_none()
            && self.trace.is_none()
            && self.trace_error.is_none()
            && self.state_without_parent.is_none()
            && self.pairs.is_empty()
    }

    /// Validates and freezes.
    ///
    /// # Errors
    /// [`MetadataError`] names the first rule that is broken; the draft is unchanged.
    pub fn build(&self) -> Result<Metadata, MetadataError> {
        self.clone().freeze()
    }

    /// As [`build`](Self::build), of a draft that nobody needs afterwards.
    pub(crate) fn freeze(self) -> Result<Metadata, MetadataError> {
        let size = self.checked_size()?;
        let Self { producer, version, trace, pairs, .. } = self;
        let producer = producer.ok_or(MetadataError::ProducerMissing)?;
        Ok(Metadata { shared: Arc::new(Shared { producer, trace, pairs, size }), version })
    }

    /// Bytes of producer, names and values, when no rule is broken.
    fn checked_size(&self) -> Result<usize, MetadataError> {
        let producer = match self.producer.as_deref() {
            None | Some("") => return Err(MetadataError::ProducerMissing),
            Some(producer) if producer.len() > PRODUCER_BYTES_MAX => {
                return Err(MetadataError::ProducerTooLong {
                    len: producer.len(),
                    limit: PRODUCER_BYTES_MAX,
                });
            }
            Some(producer) => match producer.chars().position(char::is_control) {
                Some(position) => return Err(MetadataError::ProducerCharacter { position }),
                None => producer,
            },
        };
        if self.version == 0 {
            return Err(MetadataError::VersionMissing);
        }
        if let Some(error) = &self.trace_error {
            return Err(MetadataError::Trace(error.clone()));
        }
        if self.state_without_parent.is_some() {
            let reason = "belongs to a traceparent, and there is none".to_owned();
            return Err(MetadataError::Name { name: "tracestate".to_owned(), reason });
        }
        if self.pairs.len() > PAIRS_MAX {
            return Err(MetadataError::TooManyPairs { count: self.pairs.len(), limit: PAIRS_MAX });
        }
        self.pairs.iter().try_for_each(|(name, value)| check_pair(name, value))?;
        let size = size_of(producer, &self.pairs);
        if size > METADATA_BYTES_MAX {
            return Err(MetadataError::TooLarge { len: size, limit: METADATA_BYTES_MAX });
        }
        Ok(size)
    }
}

impl From<&Metadata> for MetadataDraft {
    fn from(metadata: &Metadata) -> Self {
        Self {
            producer: Some(metadata.producer().into()),
            version: metadata.version,
            trace: metadata.shared.trace.clone(),
            trace_error: None,
            state_without_parent: None,
            pairs: metadata.shared.pairs.clone(),
        }
    }
}

/// Free pairs an event may carry.
pub const PAIRS_MAX: usize = 64;
/// Bytes of one value.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of producer, names and values together.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a pair's name.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of the producer's name.
pub const PRODUCER_BYTES_MAX: usize = 255;

#[derive(Debug, PartialEq, Eq)]
struct Shared {
    producer: Box<str>,
    trace: Option<TraceContext>,
    pairs: Vec<(Box<str>, Box<str>)>,
    size: usize,
}

/// Bytes of producer, names and values.
fn size_of(producer: &str, pairs: &[(Box<str>, Box<str>)]) -> usize {
    producer.len() + pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft_with(pairs: &[(&str, &str)]) -> MetadataDraft {
        let mut draft = Metadata::draft("shop", 1);
        pairs.iter().for_each(|(name, value)| draft.set(name, value));
        draft
    }

    #[test]
    fn the_last_value_of_a_name_wins_and_order_is_kept() {
        let metadata = draft_with(&[("b", "1"), ("a", "2"), ("b", "3")]).build().unwrap();
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("b", "3"), ("a", "2")]);
        assert_eq!((metadata.producer(), metadata.version(), metadata.get("c")), ("shop", 1, None));
    }

    #[test]
    fn producer_and_trace_are_fixed_fields() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let draft = draft_with(&[("producer", "bank"), ("traceparent", parent), ("tracestate", "a=1")]);
        let metadata = draft.build().unwrap();
        assert_eq!(metadata.producer(), "bank");
        assert_eq!(metadata.trace_id().as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(metadata.trace().and_then(TraceContext::state), Some("a=1"));
        assert_eq!(metadata.iter().count(), 0);
        assert_eq!(MetadataDraft::from(&metadata), draft);
        let other_order = draft_with(&[("tracestate", "a=1"), ("producer", "bank"), ("traceparent", parent)]);
        assert_eq!(other_order, draft);
    }

    #[test]
    fn every_rule_has_its_own_error() {
        let many: Vec<_> = (0..65).map(|i| format!("k{i}")).collect();
        let mut crowded = Metadata::draft("shop", 1);
        many.iter().for_each(|name| crowded.set(name, ""));
        let value = "x".repeat(8 * 1024);
        let full = draft_with(&[("a", &value), ("b", &value)]);
        let long = "x".repeat(8 * 1024 + 1);
        let name = "n".repeat(129);
        let cases = [
            (Metadata::draft("", 1), "the producer is missing"),
            (Metadata::draft(&"p".repeat(256), 1), "256 bytes, more than 255"),
            (Metadata::draft("sh\nop", 1), "control character at position 2"),
            (Metadata::draft("shop", 0), "versions start at 1"),
            (draft_with(&[("traceparent", "00-0")]), "the trace context is not valid"),
            (crowded, "65 metadata pairs, more than 64"),
            (draft_with(&[("tracestate", "a=1")]), "\"tracestate\" belongs to a traceparent"),
            (draft_with(&[("trace_id", "1")]), "is reserved"),
            (draft_with(&[("", "x")]), "is empty"),
            (draft_with(&[(&name, "x")]), "has 129 bytes, more than 128"),
            (draft_with(&[("version", "2")]), "is reserved"),
            (draft_with(&[("a b", "x")]), "at position 1"),
            (draft_with(&[("a", &long)]), "has 8193 bytes, more than 8192"),
            (full, "16390 bytes in all, more than 16384"),
        ];
        for (draft, expected) in cases {
            let message = draft.build().unwrap_err().to_string();
            assert!(message.contains(expected), "{message} should say {expected}");
        }
    }

    #[test]
    fn what_fills_each_limit_exactly_fits_and_a_byte_more_does_not() {
        // 4 + 64 pairs of 3 + 252 bytes, and 60 more in the last: 16 KiB.
        let full = |more: usize| {
            let mut draft = Metadata::draft("shop", 1);
            (0..63).for_each(|i| draft.set(&format!("k{i:02}"), &"x".repeat(252)));
            draft.set("k63", &"x".repeat(252 + 60 + more));
            draft.build()
        };
        assert_eq!(full(0).map(|metadata| (metadata.size(), metadata.iter().count())), Ok((16_384, 64)));
        assert_eq!(full(1), Err(MetadataError::TooLarge { len: 16_385, limit: 16_384 }));
        let room = |draft: &MetadataDraft, len: usize| draft.has_room_for("k63", &"x".repeat(len));
        let mut draft = MetadataDraft::from(&full(0).unwrap());
        assert!(room(&draft, 312) && !room(&draft, 313) && !draft.has_room_for("k64", ""));
        draft.unset_producer();
        assert!(room(&draft, 312 + 4 - 255) && !room(&draft, 313 + 4 - 255));
        let pair = |name: usize, value: usize| draft_with(&[(&"n".repeat(name), &"v".repeat(value))]).build();
        assert!(pair(128, 8_192).is_ok() && pair(129, 0).is_err() && pair(1, 8_193).is_err());
        let producer = |len: usize| Metadata::draft(&"p".repeat(len), 1).build();
        assert!(producer(255).is_ok() && producer(256).is_err() && producer(1).is_ok());
    }
}
