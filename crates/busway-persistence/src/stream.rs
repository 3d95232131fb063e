//! Streams: named durable logs, what they capture and how long they keep it.

use std::time::Duration;

use busway_event::{Durability, Filter, FilterError, Key, Topic};

use crate::audit::Audit;

/// A named durable log that captures the topics of its filters.
///
/// It has one or more partitions, each totally ordered; the events of one key lie in one partition. How many there are is
/// fixed when the stream is made: a store that holds the stream with another number refuses to open.
#[derive(Debug, Clone)]
pub struct Stream {
    pub(crate) name: String,
    pub(crate) captures: Vec<Result<Filter, FilterError>>,
    pub(crate) partitions: u16,
    pub(crate) retention: Retention,
    pub(crate) audit: Option<Audit>,
    durability: Option<Durability>,
}

impl Stream {
    /// A stream of one partition that captures nothing yet and keeps everything. Names have 1 to
    /// [`STREAM_NAME_BYTES_MAX`] characters of `[A-Za-z0-9_-]`; a name that breaks the rule is an error when the store opens.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            captures: Vec::new(),
            partitions: 1,
            retention: Retention::default(),
            audit: None,
            durability: None,
        }
    }

    /// Captures the topics of a filter too. A filter that is none is an error when the store opens.
    pub fn capture(mut self, filter: &str) -> Self {
        self.captures.push(Filter::new(filter));
        self
    }

    /// Partitions, 1 to [`PARTITIONS_MAX`]. Default 1.
    pub const fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// How long events are kept. Default: for ever.
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Makes it an audit stream: its records cannot be altered, removed or reordered without [`verify`](crate::Store::verify) finding it,
    /// and are kept for the audit's term whatever its retention says; a retention or cap that would free them earlier is an error
    /// when the store opens. A stream that was audited once stays so. Default: it is none.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = Some(audit);
        self
    }

    /// What its events survive when their publish returns, unless the event says otherwise. Default: what the bus says, which is
    /// [`Durability::Synced`] unless it says otherwise too. [`Durability::Memory`] is for events whose loss nobody would have to explain, but which
    /// are worth keeping: they are stored like all others, with the next commit, and nobody waits for that.
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// What it says of the durability of its events, if it does.
    #[must_use]
    pub const fn own_durability(&self) -> Option<Durability> {
        self.durability
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For how long it keeps events that nobody needs any longer, when that goes by their age.
    #[must_use]
    pub const fn age_max(&self) -> Option<Duration> {
        self.retention.age
    }

    /// What it captures: each filter, or why it is none.
    pub fn captured(&self) -> impl Iterator<Item = Result<&Filter, &FilterError>> {
        self.captures.iter().map(Result::as_ref)
    }

    /// How many partitions it has.
    #[must_use]
    pub const fn partition_count(&self) -> u16 {
        self.partitions
    }

    /// Limits that its retention sets besides age: bytes and events of a partition, and its hard cap.
    #[must_use]
    pub fn size_limits(&self) -> (Option<u64>, Option<u64>, Option<(u64, AtCap)>) {
        let Retention { bytes, count, cap, .. } = self.retention;
        (bytes, count, cap.map(|cap| (cap.bytes, cap.then)))
    }

    /// Whether something becomes of it as time passes, also when nobody publishes: retention by age, heads of an audit. Then the store has to
    /// be [told the time](crate::Store::retain).
    #[must_use]
    pub const fn goes_by_time(&self) -> bool {
        self.retention.age.is_some() || self.audit.is_some()
    }

    /// Whether it captures all topics that a filter means, by one filter of its own.
    #[must_use]
    pub fn covers(&self, filter: &Filter) -> bool {
        self.captures.iter().flatten().any(|its_own| its_own.covers(filter))
    }

    /// Whether it captures topics that a filter means.
    #[must_use]
    pub fn overlaps(&self, filter: &Filter) -> bool {
        self.captures.iter().flatten().any(|its_own| its_own.overlaps(filter))
    }

    /// Whether a filter matches all that it captures, as far as that is plain to see: it is `#`, or the only filter that the stream captures.
    #[must_use]
    pub fn is_within(&self, filter: &Filter) -> bool {
        let mut captures = self.captures.iter().flatten();
        filter.as_str() == "#" || captures.all(|captured| captured == filter)
    }

    /// Whether it captures a topic.
    #[must_use]
    pub fn captures(&self, topic: &Topic) -> bool {
        self.captures.iter().flatten().any(|filter| filter.matches(topic))
    }
}

/// How long a stream keeps its events. An event goes when every durable subscription has settled it *and* each limit that is
/// set allows it to; whole segments go at once, so somewhat more is kept than the limits say, never less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    pub(crate) age: Option<Duration>,
    pub(crate) bytes: Option<u64>,
    pub(crate) count: Option<u64>,
    pub(crate) cap: Option<Cap>,
}

/// What happens when a partition has grown to its hard cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cap {
    pub(crate) bytes: u64,
    pub(crate) then: AtCap,
}

/// What becomes of publishes to a partition that is full, because a subscription has not settled what lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AtCap {
    /// They are refused until there is room.
    #[default]
    RefusePublish,
    /// The oldest segment goes, settled or not; each subscription that had not settled it is told of the gap.
    DropOldest,
}

impl Retention {
    /// Everything is kept.
    #[must_use]
    pub const fn forever() -> Self {
        Self { age: None, bytes: None, count: None, cap: None }
    }

    /// Events older than this may go, by the time at which the store took them.
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Events beyond so many bytes a partition may go, oldest first.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Events beyond so many a partition may go, oldest first.
    pub const fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// A partition grows no larger than this many bytes, whatever its subscriptions have settled. Default: no cap. At the cap what everybody has
    /// settled goes although a limit by number or bytes would keep it; what an age keeps, or [`forever`](Self::forever), stays.
    pub const fn cap(mut self, bytes: u64, then: AtCap) -> Self {
        self.cap = Some(Cap { bytes, then });
        self
    }
}

/// The partition of an event with this key: the same for ever, in every program.
#[must_use]
pub fn partition_of(key: &Key, partitions: u16) -> u16 {
    let hash = u64::from(crc32c::crc32c(key.as_str().as_bytes()));
    // Multiply and shift instead of a remainder: every partition gets its share of the 32 bits.
    u16::try_from((hash * u64::from(partitions)) >> 32).unwrap_or(0)
}

/// Why a stream cannot be what its builder says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamProblem {
    /// The name breaks a rule.
    #[error("its name has to be 1 to {STREAM_NAME_BYTES_MAX} characters of [A-Za-z0-9_-]")]
    Name,
    /// Two streams bear it.
    #[error("its name is borne by another one too; give it another name")]
    Twice,
    /// A filter is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Its cap is too small for segments to come and go below it.
    #[error("its cap is {cap} bytes, at least {CAP_BYTES_MIN} are needed")]
    CapTooSmall {
        /// The cap.
        cap: u64,
    },
    /// It captures nothing.
    #[error("it captures nothing; add .capture(filter)")]
    NoCapture,
    /// No partition, or too many.
    #[error("it has {partitions} partitions, of 1 to {PARTITIONS_MAX}")]
    Partitions {
        /// As many as were asked for.
        partitions: u16,
    },
    /// The store holds it with another number of partitions.
    #[error(
        "the store holds it with {stored} partitions, not {asked}; open it with {stored}, or publish into a new stream"
    )]
    OtherPartitions {
        /// As many as there are.
        stored: u16,
        /// As many as were asked for.
        asked: u16,
    },
    /// Retention would let events go before the term of the audit.
    #[error(
        "its retention lets events go before the term of its audit, {}; set an age of that term at least, or no limit", term_text(*term)
    )]
    AuditRetention {
        /// The term. `None`: for ever.
        term: Option<Duration>,
    },
    /// At its cap the oldest events would go, whatever their age.
    #[error("its cap drops the oldest events, which an audit stream keeps; refuse publishes at the cap")]
    AuditCap,
    /// The store holds it as an audit stream.
    #[error(
        "the store holds it as an audit stream; declare it with .audit(..) and the term that it was made with"
    )]
    AuditMissing,
    /// The key is not the one that it was made with.
    #[error("{}", key_text(*stored, *asked))]
    AuditKey {
        /// Whether it was made with a key.
        stored: bool,
        /// Whether the program brings one.
        asked: bool,
    },
    /// The term of its audit may not become shorter.
    #[error(
        "the store holds it as an audit stream with the term {}, which may become longer but not {}", term_text(*stored), term_text(*asked)
    )]
    AuditTerm {
        /// The term that it has. `None`: for ever.
        stored: Option<Duration>,
        /// The term that was asked for.
        asked: Option<Duration>,
    },
    /// A topic may be captured by one stream only.
    #[error(
        "{filter} and {other} of stream {stream} have topics in common; a topic is captured by one stream"
    )]
    Overlap {
        /// Its own filter.
        filter: String,
        /// The filter of the other one.
        other: String,
        /// The other one.
        stream: String,
    },
}

fn term_text(term: Option<Duration>) -> String {
    term.map_or_else(|| "for ever".to_owned(), |term| format!("of {term:?}"))
}

const fn key_text(stored: bool, asked: bool) -> &'static str {
    match (stored, asked) {
        (true, true) => "its audit was made with another key; open it with that one",
        (true, false) => "its audit was made with a key; open it with that one",
        (false, _) => "its audit was made without a key; open it without one, or publish into a new stream",
    }
}

impl Stream {
    /// Every rule that it breaks by itself.
    pub(crate) fn problems(&self) -> Vec<StreamProblem> {
        let mut problems = Vec::new();
        let is_valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        if self.name.is_empty() || self.name.len() > STREAM_NAME_BYTES_MAX || !self.name.chars().all(is_valid)
        {
            problems.push(StreamProblem::Name);
        }
        problems
            .extend(self.captures.iter().filter_map(|filter| Some(filter.as_ref().err()?.clone().into())));
        if self.captures.is_empty() {
            problems.push(StreamProblem::NoCapture);
        }
        if let Some(cap) = self.retention.cap.map(|cap| cap.bytes).filter(|&cap| cap < CAP_BYTES_MIN) {
            problems.push(StreamProblem::CapTooSmall { cap });
        }
        problems.extend(self.audit.iter().flat_map(|audit| self.audit_problems(audit)));
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            problems.push(StreamProblem::Partitions { partitions: self.partitions });
        }
        problems
    }
}

impl Stream {
    /// What of its retention would break the term.
    fn audit_problems(&self, audit: &Audit) -> Vec<StreamProblem> {
        let Retention { age, bytes, count, cap } = self.retention;
        let has_limit = age.is_some() || bytes.is_some() || count.is_some();
        // Each limit that is set has to allow it: one of age is enough.
        let keeps = !has_limit || audit.term.is_some_and(|term| age.is_some_and(|age| age >= term));
        let drops = cap.is_some_and(|cap| cap.then == AtCap::DropOldest);
        let problems = [
            (!keeps).then_some(StreamProblem::AuditRetention { term: audit.term }),
            drops.then_some(StreamProblem::AuditCap),
        ];
        problems.into_iter().flatten().collect()
    }
}

/// Bytes of a partition's cap: segments of 64 KiB come and go below it.
pub const CAP_BYTES_MIN: u64 = 256 << 10;
/// Bytes of a stream's name.
pub const STREAM_NAME_BYTES_MAX: usize = 64;
/// Partitions of a stream. Each has a ring of segments, and every transaction pays for each of those.
pub const PARTITIONS_MAX: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_gets_its_share_of_keys_and_a_key_stays_where_it_is() {
        let mut counts = [0; 7];
        for number in 0..7_000 {
            let key = Key::new(format!("order-{number}")).unwrap();
            let partition = partition_of(&key, 7);
            assert_eq!(partition, partition_of(&key, 7));
            counts[usize::from(partition)] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        // Fixed for ever: where events lie depends on it.
        assert_eq!(partition_of(&Key::new("A-1").unwrap(), 64), 31);
    }

    #[test]
    fn a_stream_is_within_everything_and_within_its_only_filter() {
        let filter = |text: &str| Filter::new(text).unwrap();
        let one = Stream::new("orders").capture("orders.#");
        let two = one.clone().capture("payments.#");
        let within = |stream: &Stream, text: &str| stream.is_within(&filter(text));
        assert!(within(&one, "#") && within(&one, "orders.#") && within(&two, "#"));
        assert!(!within(&one, "orders.+") && !within(&two, "orders.#") && !within(&one, "payments.#"));
    }

    #[test]
    fn each_rule_of_a_stream_has_its_problem_and_all_are_listed() {
        let stream = Stream::new("a b").capture("x..y").partitions(0);
        let problems = stream.problems();
        assert!(
            matches!(
                problems[..],
                [StreamProblem::Name, StreamProblem::Filter(_), StreamProblem::Partitions { partitions: 0 }]
            ),
            "{problems:?}"
        );
        assert_eq!(Stream::new("orders").problems(), [StreamProblem::NoCapture]);
        assert_eq!(Stream::new("orders").capture("orders.#").partitions(64).problems(), []);
    }
}
