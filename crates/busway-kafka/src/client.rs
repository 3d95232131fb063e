//! Clients of librdkafka: their settings, and what they tell of their own accord.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::TransportError;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::FutureProducer;
use tokio::time::Instant;

use crate::fault::{is_denied, of_code, said};

/// The last thing that went wrong with a client, so that an operation which only was not answered in time says why.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    last: Arc<Mutex<Option<Seen>>>,
    /// For how long it says something of what fails: what is older has nothing to do with it.
    fresh: Duration,
}

#[derive(Debug, Clone)]
struct Seen {
    code: Code,
    reason: String,
    at: Instant,
}

impl Trouble {
    pub(crate) fn new(fresh: Duration) -> Self {
        Self { last: Arc::default(), fresh }
    }

    /// A client has brought this up of its own accord.
    pub(crate) fn note(&self, error: &KafkaError, reason: &str) {
        self.note_at(error, reason, Instant::now());
    }

    fn note_at(&self, error: &KafkaError, reason: &str, at: Instant) {
        let Some(code) = error.rdkafka_error_code() else { return };
        // The end of one client says nothing of others. What it was is asked of that one.
        if code == Code::Fatal {
            return;
        }
        let is_known = self.seen(at).is_some();
        // That nobody is there at all says less than why.
        if code != Code::AllBrokersDown || !is_known {
            *self.last.lock() = Some(Seen { code, reason: reason.to_owned(), at });
        }
    }

    fn seen(&self, now: Instant) -> Option<Seen> {
        let last = self.last.lock();
        last.as_ref().filter(|seen| now.saturating_duration_since(seen.at) <= self.fresh).cloned()
    }

    /// Whether a broker does not like who this is. At its first connection one that breaks off while keys are exchanged counts; later on that may be a broker that ends.
    pub(crate) fn is_denied(&self) -> bool {
        self.seen(Instant::now()).is_some_and(|Seen { code, .. }| is_denied(code) || code == Code::SSL)
    }

    /// What is said of an operation that failed so.
    pub(crate) fn explain(&self, address: &str, what: &str, error: &KafkaError) -> TransportError {
        self.explain_at(address, what, error, Instant::now())
    }

    fn explain_at(&self, address: &str, what: &str, error: &KafkaError, now: Instant) -> TransportError {
        match (said(address, what, error), self.seen(now)) {
            (TransportError::Unreachable { reason, .. }, Some(Seen { code, reason: seen, .. })) => {
                of_code(address, &format!("{reason}; {seen}"), code)
            }
            (error, _) => error,
        }
    }
}

/// What all clients have in common.
#[derive(Debug, Clone)]
pub(crate) struct Quiet(pub(crate) Trouble);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note(&error, reason);
        if error.rdkafka_error_code() == Some(Code::Fatal) {
            tracing::error!(
                reason,
                "a Kafka client is of no use any more: it may not write, another one has its transactional id, or its brokers have lost what it was told; it is replaced unless another has its id"
            );
            return;
        }
        tracing::debug!(%error, reason, "a Kafka client has trouble; it goes on by itself");
    }
}

impl ConsumerContext for Quiet {}

/// librdkafka's own lines: it tells of brokers that come and go as errors, which are none to who only has to wait.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(facility, "librdkafka: {message}");
        }
        _ => tracing::debug!(facility, "librdkafka: {message}"),
    }
}

/// What clients are made of.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) brokers: String,
    /// Of librdkafka, by their names there. Values may be secrets.
    pub(crate) own: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    pub(crate) session: Duration,
    pub(crate) message_bytes_max: usize,
    pub(crate) gap_max: u64,
    pub(crate) replication: Option<i32>,
    pub(crate) transactional: Option<String>,
}

impl Settings {
    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        let timeout = self.timeout.as_millis().to_string();
        config.set("client.id", "busway");
        for (name, value) in &self.own {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set("socket.timeout.ms", &timeout);
        config.set("socket.connection.setup.timeout.ms", self.timeout.as_millis().max(1_000).to_string());
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        config.set("message.max.bytes", self.elsewhere_bytes_max().to_string());
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A producer that writes each record once and in order, and answers when all replicas in sync have it.
    pub(crate) fn producer(
        &self,
        transactional: Option<&str>,
        trouble: &Trouble,
    ) -> Result<FutureProducer<Quiet>, TransportError> {
        let mut config = self.base();
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "1");
        config.set("message.timeout.ms", self.timeout.as_millis().to_string());
        // A topic's limit is that of a batch: many small records together are no larger than one may be.
        config.set("batch.size", self.message_bytes_max.to_string());
        let queued = QUEUED_KIB_MAX.max(self.elsewhere_bytes_max() / 1_024 + 1);
        config
            .set("queue.buffering.max.messages", QUEUED_MAX)
            .set("queue.buffering.max.kbytes", queued.to_string());
        if let Some(id) = transactional {
            config.set("transactional.id", id);
            config.set("transaction.timeout.ms", (2 * self.timeout).as_millis().max(1_000).to_string());
        }
        let made = config.create_with_context(Quiet(trouble.clone()));
        made.map_err(|error| said(&self.brokers, "making a producer", &error))
    }

    /// A consumer that is no member of a group, for questions.
    pub(crate) fn asking(&self, trouble: &Trouble) -> Result<BaseConsumer<Quiet>, TransportError> {
        let made = self.base().create_with_context(Quiet(trouble.clone()));
        made.map_err(|error| said(&self.brokers, "making a client", &error))
    }

    /// A client that makes topics.
    pub(crate) fn admin(&self, trouble: &Trouble) -> Result<AdminClient<Quiet>, TransportError> {
        let made = self.base().create_with_context(Quiet(trouble.clone()));
        made.map_err(|error| said(&self.brokers, "making a client", &error))
    }

    /// How long a member waits for an answer of its broker: while its group is formed anew, others of it may ask twice what was settled before they join.
    fn patience(&self) -> Duration {
        (2 * self.timeout + self.session).min(PATIENCE_MAX)
    }

    /// The settings of members of a group. What a group keeps is never less than all: where it knows nothing it begins at the beginning.
    pub(crate) fn member(&self, group: &str, member: &str) -> ClientConfig {
        let mut config = self.base();
        config.set("group.id", group).set("client.id", member);
        // A broker answers who joins only when all of the group have, or are taken for dead, and what is asked behind that on the same connection waits as long. A commit that were
        // given up meanwhile would take the connection with it, and the question to join: a group under load would begin to form anew again and again.
        config.set("socket.timeout.ms", self.patience().as_millis().to_string());
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest").set("isolation.level", "read_committed");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", self.session.as_millis().to_string());
        let beat = (self.session / 20).clamp(Duration::from_millis(100), Duration::from_secs(3));
        config.set("heartbeat.interval.ms", beat.as_millis().to_string());
        let fetched = self.message_bytes_max.saturating_mul(2).max(1 << 20);
        config.set("fetch.wait.max.ms", "100").set("fetch.message.max.bytes", fetched.to_string());
        // A consumer that has read so far ahead reads on after this; by default it rests for a second, in which a member has handled all of it long ago.
        config.set("queued.max.messages.kbytes", PREFETCHED_KIB_MAX).set("fetch.queue.backoff.ms", "2");
        config.set("fetch.error.backoff.ms", "100");
        config
    }
}

/// Names of settings and none of their values.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own: Vec<_> = self.own.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("settings", &own)
            .field("timeout", &self.timeout)
            .field("session", &self.session)
            .field("transactional", &self.transactional)
            .finish_non_exhaustive()
    }
}

/// Records that wait in a producer, and their bytes.
const QUEUED_MAX: &str = "100000";
const QUEUED_KIB_MAX: usize = 128 << 10;
/// The longest that librdkafka waits for an answer (`socket.timeout.ms`).
const PATIENCE_MAX: Duration = Duration::from_secs(300);
/// What a consumer reads ahead of its member.
const PREFETCHED_KIB_MAX: &str = "16384";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::KafkaBuilder;

    #[test]
    fn the_longest_times_make_a_member_that_librdkafka_takes() {
        let longest = Duration::from_secs(300);
        let settings = KafkaBuilder::new("b:9092").settings;
        let settings = Settings { timeout: longest, session: longest, ..settings };
        let made: Result<BaseConsumer<Quiet>, _> =
            settings.member("stock", "first").create_with_context(Quiet(Trouble::new(longest)));
        assert!(made.is_ok(), "{:?}", made.err());
    }

    #[test]
    fn what_went_wrong_long_ago_explains_nothing() {
        let (trouble, then) = (Trouble::new(Duration::from_secs(20)), Instant::now());
        trouble.note_at(&KafkaError::Global(Code::Authentication), "wrong password", then);
        let timed_out = KafkaError::MessageProduction(Code::MessageTimedOut);
        let said = |after| {
            let now = then + Duration::from_secs(after);
            trouble.explain_at("b:9092", "sending", &timed_out, now)
        };
        assert!(matches!(said(20), TransportError::AccessDenied { .. }), "{}", said(20));
        assert!(matches!(said(21), TransportError::Unreachable { .. }), "{}", said(21));
        // What was seen since counts, also that nobody is there.
        let later = then + Duration::from_secs(30);
        trouble.note_at(&KafkaError::Global(Code::AllBrokersDown), "all are down", later);
        assert!(said(31).is_transient() && said(31).to_string().contains("all are down"), "{}", said(31));
    }

    #[test]
    fn keys_that_could_not_be_exchanged_are_no_refusal_of_what_is_sent() {
        assert!(of_code("b:9092", "sending", Code::SSL).is_transient());
    }
}
