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

use crate::fault::{is_denied, of_code, said};

/// The last thing that went wrong with a client, so that an operation which only was not answered in time says why.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<(Code, String)>>>);

impl Trouble {
    /// A client has brought this up of its own accord.
    pub(crate) fn note(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut last = self.0.lock();
        // That nobody is there at all says less than why.
        if code != Code::AllBrokersDown || last.is_none() {
            *last = Some((code, reason.to_owned()));
        }
    }

    /// Whether a broker does not like who this is.
    pub(crate) fn is_denied(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|(code, _)| is_denied(*code))
    }

    /// What is said of an operation that failed so.
    pub(crate) fn explain(&self, address: &str, what: &str, error: &KafkaError) -> TransportError {
        match (said(address, what, error), self.0.lock().clone()) {
            (TransportError::Unreachable { reason, .. }, Some((code, seen))) => {
                of_code(address, &format!("{reason}; {seen}"), code)
            }
            (error, _) => error,
        }
    }
}

/// What all clients have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet(pub(crate) Trouble);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.note(&error, reason);
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
        config.set("message.max.bytes", self.message_bytes_max.to_string());
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
        config
            .set("queue.buffering.max.messages", QUEUED_MAX)
            .set("queue.buffering.max.kbytes", QUEUED_KIB_MAX);
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

    /// The settings of members of a group. What a group keeps is never less than all: where it knows nothing it begins at the beginning.
    pub(crate) fn member(&self, group: &str, member: &str) -> ClientConfig {
        let mut config = self.base();
        config.set("group.id", group).set("client.id", member);
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest").set("isolation.level", "read_committed");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", self.session.as_millis().to_string());
        let beat = (self.session / 20).clamp(Duration::from_millis(100), Duration::from_secs(3));
        config.set("heartbeat.interval.ms", beat.as_millis().to_string());
        let fetched = self.message_bytes_max.saturating_mul(2).max(1 << 20);
        config.set("fetch.wait.max.ms", "100").set("fetch.message.max.bytes", fetched.to_string());
        config.set("queued.max.messages.kbytes", PREFETCHED_KIB_MAX);
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
const QUEUED_KIB_MAX: &str = "131072";
/// What a consumer reads ahead of its member.
const PREFETCHED_KIB_MAX: &str = "16384";
