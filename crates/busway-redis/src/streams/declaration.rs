//! Streams that were declared: which topics they capture, where their partitions are, what they keep.

use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_event::{AnyEvent, Topic};
use busway_persistence::{Stream, partition_of};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::unmappable;
use super::names::Names;

/// A declared stream.
#[derive(Debug)]
pub(super) struct Declared {
    stream: Stream,
    /// The keys of its partitions.
    pub(super) partitions: Vec<String>,
    /// Its filters, in the order of the alphabet.
    pub(super) filters: String,
    retention: Option<Kept>,
    trimmed: Mutex<Option<Instant>>,
}

/// What is kept at least, of what nobody needs any longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) age: Option<Duration>,
    pub(super) count: Option<u64>,
}

impl Declared {
    pub(super) fn new(stream: &Stream, names: &Names) -> Result<Self, TransportError> {
        let name = stream.name();
        let is_valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_valid) {
            return Err(unmappable(name, "the name of a stream has 1 to 64 characters of [A-Za-z0-9_-]"));
        }
        let filters = stream.captured().map(|filter| match filter {
            Ok(filter) => Ok(filter.as_str()),
            Err(error) => Err(unmappable(name, error.to_string())),
        });
        let mut filters = filters.collect::<Result<Vec<_>, _>>()?;
        filters.sort_unstable();
        filters.dedup();
        if filters.is_empty() || stream.partition_count() == 0 {
            return Err(unmappable(name, "it captures nothing, or has no partition"));
        }
        let partitions = (0..stream.partition_count()).map(|partition| names.partition(name, partition));
        Ok(Self {
            partitions: partitions.collect(),
            filters: filters.join(" "),
            retention: kept(stream),
            stream: stream.clone(),
            trimmed: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        self.stream.name()
    }

    pub(super) fn captures(&self, topic: &Topic) -> bool {
        self.stream.captures(topic)
    }

    /// The partition that an event belongs to: that of its key, and without one that of its id, as in the embedded store.
    pub(super) fn partition(&self, event: &AnyEvent) -> usize {
        let count = self.stream.partition_count();
        match event.key() {
            Some(key) => usize::from(partition_of(key, count)),
            None => usize::try_from(event.id().as_uuid().as_u128() % u128::from(count)).unwrap_or(0),
        }
    }

    /// What it keeps, when it does not keep everything.
    pub(super) const fn retention(&self) -> Option<Kept> {
        self.retention
    }

    /// The same, when it is time to trim it; it is not for a while then.
    pub(super) fn retention_due(&self, now: Instant) -> Option<Kept> {
        let kept = self.retention?;
        let mut trimmed = self.trimmed.lock();
        if trimmed.is_some_and(|last| now < last + TRIM_EVERY) {
            return None;
        }
        *trimmed = Some(now);
        Some(kept)
    }
}

/// A limit of bytes, which Redis cannot tell, keeps everything: each limit that is set has to let an event go.
fn kept(stream: &Stream) -> Option<Kept> {
    let (bytes, count, cap) = stream.size_limits();
    if bytes.is_some() || cap.is_some() {
        let stream = stream.name();
        tracing::warn!(
            stream,
            "a limit of bytes, or a cap, is nothing to Redis Streams: with the first everything is kept, the second does nothing"
        );
    }
    let age = stream.age_max();
    (bytes.is_none() && (age.is_some() || count.is_some())).then_some(Kept { age, count })
}

const NAME_BYTES_MAX: usize = 64;
const TRIM_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use busway_persistence::Retention;

    use super::*;

    fn declared(stream: &Stream) -> Result<Declared, TransportError> {
        Declared::new(stream, &Names { prefix: "busway".to_owned(), dead: "dead".to_owned() })
    }

    #[test]
    fn filters_are_the_same_in_any_order() {
        let one = declared(&Stream::new("orders").capture("b.#").capture("a.+")).unwrap();
        let other = declared(&Stream::new("orders").capture("a.+").capture("b.#").capture("a.+")).unwrap();
        assert_eq!((one.filters.as_str(), &one.filters), ("a.+ b.#", &other.filters));
        assert_eq!(one.partitions, ["busway:stream:orders:0"]);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for stream in [Stream::new("a:b").capture("a"), Stream::new("a"), Stream::new("a").capture("..")] {
            assert!(matches!(declared(&stream), Err(TransportError::Unmappable { .. })), "{stream:?}");
        }
    }

    #[tokio::test]
    async fn retention_is_due_once_in_a_while_and_never_with_a_limit_of_bytes() {
        let orders = || Stream::new("orders").capture("orders.#");
        let some = declared(&orders().retention(Retention::forever().count(5))).unwrap();
        let now = Instant::now();
        assert_eq!(some.retention_due(now).unwrap().count, Some(5));
        assert!(some.retention_due(now).is_none() && some.retention_due(now + TRIM_EVERY).is_some());
        let bytes = orders().retention(Retention::forever().count(5).bytes(1 << 20));
        assert!(declared(&bytes).unwrap().retention().is_none());
        assert!(declared(&orders()).unwrap().retention().is_none());
    }
}
