//! Connecting a transport.

use std::time::Duration;

use busway_engine::transport::TransportError;

use crate::client::Settings;
use crate::fault::unmappable;
use crate::gap::LIMIT_MAX;
use crate::link::{Link, blocking};
use crate::transport::KafkaTransport;

/// How a transport is connected. Its `Debug` names settings of librdkafka and says none of their values.
#[derive(Debug, Clone)]
#[must_use = "nothing is connected before .connect()"]
pub struct KafkaBuilder {
    pub(crate) settings: Settings,
}

impl KafkaBuilder {
    pub(crate) fn new(brokers: &str) -> Self {
        let settings = Settings {
            brokers: brokers.to_owned(),
            own: Vec::new(),
            timeout: TIMEOUT,
            session: SESSION,
            message_bytes_max: MESSAGE_BYTES,
            gap_max: GAP,
            replication: None,
            transactional: None,
        };
        Self { settings }
    }

    /// Authenticates with SASL: `PLAIN`, or `SCRAM-SHA-256` and `SCRAM-SHA-512` with the feature `ssl`. Without [`tls`](Self::tls) what `PLAIN` says can be read by who listens.
    pub fn sasl(self, mechanism: &str, user: &str, password: &str) -> Self {
        let over_tls = self.has("ssl.endpoint.identification.algorithm");
        let protocol = if over_tls { "sasl_ssl" } else { "sasl_plaintext" };
        self.setting("security.protocol", protocol)
            .setting("sasl.mechanisms", mechanism)
            .setting("sasl.username", user)
            .setting("sasl.password", password)
    }

    /// Connects with TLS, and checks the brokers' names. Needs the feature `ssl`; certificates that are not of the system's by
    /// `.setting("ssl.ca.location", path)`, one of this side's by `ssl.certificate.location` and `ssl.key.location`.
    pub fn tls(self) -> Self {
        let protocol = if self.has("sasl.mechanisms") { "sasl_ssl" } else { "ssl" };
        self.setting("security.protocol", protocol).setting("ssl.endpoint.identification.algorithm", "https")
    }

    fn has(&self, name: &str) -> bool {
        self.settings.own.iter().any(|(known, _)| known == name)
    }

    /// A setting of librdkafka's for all clients, by its name there. What this crate depends on it sets itself, whatever is said here.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.own.retain(|(known, _)| known != name);
        self.settings.own.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long a broker has to answer, and a record to be acknowledged, retries included. Members of a group have patience with their brokers for
    /// twice as long and a [session](Self::session_timeout), 5 minutes at most; who waits until what was settled is committed for as long and a session: so long a group may take to form anew. Default 10 s; from 1 s to 5 minutes.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// After how long without a sign of life a member is taken for dead, and others get its events. Default 10 s; from 1 s to 5 minutes, and what the brokers allow
    /// (`group.min.session.timeout.ms`, 6 s by default).
    pub const fn session_timeout(mut self, session: Duration) -> Self {
        self.settings.session = session;
        self
    }

    /// The most bytes of a record that is sent: its key, its headers and its payload, which has 16 KiB less. Default 1,000,000, a little less than brokers take by default
    /// (`message.max.bytes`); from 32 KiB to 100 MiB. Dead letters and retries, which keep records of others as they were, may have twice as many and 64 KiB, 2 MiB at least.
    pub const fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.message_bytes_max = bytes;
        self
    }

    /// How many offsets of a partition may lie between the first that is not settled and the newest that was read, before the partition is paused: how far events flow past one
    /// that takes long. Default 2,048; from 1 to 16,384.
    pub const fn gap_max(mut self, offsets: u64) -> Self {
        self.settings.gap_max = offsets;
        self
    }

    /// In how many brokers topics lie that [`prepare`](busway_engine::transport::Transport::prepare) makes. Default: as the brokers say (`default.replication.factor`).
    pub const fn replication(mut self, brokers: u16) -> Self {
        self.settings.replication = Some(brokers as i32);
        self
    }

    /// Sends in transactions: all events of a [`send`](busway_engine::transport::Sender::send) are there or none is. The id is this process's own, the same after a
    /// restart: a second producer of the same id shuts the first one out, which is closed then. Default: no transactions.
    pub fn transactional(mut self, id: &str) -> Self {
        self.settings.transactional = Some(id.to_owned());
        self
    }

    /// Connects, and waits for a broker that answers.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] within twice the timeout, [`TransportError::AccessDenied`] when the brokers do not like user or password, [`TransportError::Refused`] for
    /// settings that librdkafka or this build does not take, [`TransportError::Unmappable`] for addresses that are none and limits out of bounds. Once connected, brokers that go away and
    /// come back are connected to again by themselves.
    ///
    /// # Cancel safety
    /// Safe: what was begun ends by itself, and nothing is left of it.
    pub async fn connect(self) -> Result<KafkaTransport, TransportError> {
        let settings = self.settings;
        checked(&settings)?;
        let link = blocking(move || Link::connect(settings)).await?;
        Ok(KafkaTransport(std::sync::Arc::new(link)))
    }
}

fn checked(settings: &Settings) -> Result<(), TransportError> {
    let Settings { brokers, timeout, session, message_bytes_max, gap_max, .. } = settings;
    if brokers.split(',').any(|broker| broker.trim().is_empty() || broker.contains(['@', ' '])) {
        let reason =
            "brokers are written host:port, with commas between them and no credentials: those go to .sasl()";
        return Err(unmappable("the address", reason));
    }
    let times = TIME_MIN..=TIME_MAX;
    let rules = [
        (times.contains(timeout), "timeout", "from 1 s to 5 minutes"),
        (times.contains(session), "session_timeout", "from 1 s to 5 minutes"),
        (MESSAGE_BYTES_RANGE.contains(message_bytes_max), "message_bytes_max", "from 32 KiB to 100 MiB"),
        ((1..=LIMIT_MAX).contains(gap_max), "gap_max", "from 1 to 16,384"),
        (settings.replication != Some(0), "replication", "one broker at least"),
        (settings.transactional.as_deref() != Some(""), "transactional", "not empty"),
    ];
    match rules.into_iter().find(|(is_kept, ..)| !is_kept) {
        Some((_, name, bounds)) => Err(unmappable(name, format!("it is out of bounds: {bounds}"))),
        None => Ok(()),
    }
}

impl Settings {
    /// What is left of a record for its payload.
    pub(crate) const fn payload_bytes_max(&self) -> usize {
        self.message_bytes_max.saturating_sub(HEADERS_BYTES)
    }

    /// The most bytes of a record that is written elsewhere as it was: others may write larger ones than this side sends, and a dead letter says more than its record did.
    pub(crate) const fn elsewhere_bytes_max(&self) -> usize {
        let bytes = self.message_bytes_max.saturating_mul(2).saturating_add(4 * HEADERS_BYTES);
        if bytes < ELSEWHERE_BYTES_MIN { ELSEWHERE_BYTES_MIN } else { bytes }
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const SESSION: Duration = Duration::from_secs(10);
const TIME_MIN: Duration = Duration::from_secs(1);
const TIME_MAX: Duration = Duration::from_secs(300);
const MESSAGE_BYTES: usize = 1_000_000;
const MESSAGE_BYTES_RANGE: std::ops::RangeInclusive<usize> = 32 << 10..=100 << 20;
const HEADERS_BYTES: usize = 16 << 10;
/// Twice of what brokers take by default.
const ELSEWHERE_BYTES_MIN: usize = 2 << 20;
const GAP: u64 = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_out_of_bounds_is_said_before_anything_is_connected() {
        let builder = || KafkaBuilder::new("127.0.0.1:1");
        let wrong = [
            KafkaBuilder::new(""),
            KafkaBuilder::new("ann:secret@host:9092"),
            builder().timeout(Duration::ZERO),
            builder().gap_max(20_000),
            builder().message_bytes_max(1),
            builder().replication(0),
            builder().transactional(""),
        ];
        for wrong in wrong {
            let error = wrong.connect().await.unwrap_err();
            assert!(matches!(error, TransportError::Unmappable { .. }), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn nobody_sees_credentials() {
        let builder =
            KafkaBuilder::new("127.0.0.1:1").sasl("PLAIN", "ann", "s3cr3t").setting("no.such", "s3cr3t");
        let error = builder.clone().connect().await.unwrap_err();
        assert!(matches!(&error, TransportError::Refused(reason) if reason.contains("no.such")), "{error}");
        let said = format!("{builder:?} {error} {error:?}");
        assert!(said.contains("sasl.password") && !said.contains("s3cr3t"), "{said}");
    }
}
