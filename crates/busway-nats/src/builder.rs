//! How a server is connected to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{AccountErrorKind, ContextBuilder};
use async_nats::{ConnectOptions, Event, ServerAddr};
use busway_engine::transport::TransportError;
use tokio::sync::watch;

use crate::address::{address, decoded, servers};
use crate::fault;
use crate::layout::Layouts;
use crate::link::Link;
use crate::subject::{self, Subjects};
use crate::syncing::Syncing;
use crate::transport::NatsTransport;

/// How a server is connected to. Its `Debug` shows no credentials.
#[derive(Clone)]
#[must_use = "nothing is connected before .connect()"]
pub struct NatsBuilder {
    urls: String,
    name: String,
    login: Login,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    timeout: Duration,
    heartbeat: Duration,
    replicas: usize,
    prefix: String,
    dead_stream: String,
    syncing: Syncing,
}

#[derive(Clone)]
enum Login {
    /// What the address says, if it says anything.
    Address,
    Password(String, String),
    Token(String),
    File(PathBuf),
}

impl NatsBuilder {
    pub(crate) fn new(urls: &str) -> Self {
        Self {
            urls: urls.to_owned(),
            name: "busway".to_owned(),
            login: Login::Address,
            ca: None,
            certificate: None,
            timeout: TIMEOUT,
            heartbeat: HEARTBEAT,
            replicas: 1,
            prefix: String::new(),
            dead_stream: DEAD_STREAM.to_owned(),
            syncing: Syncing::Unknown,
        }
    }

    /// What the connection is called in the server's lists. Default `busway`.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// User and password, instead of those in the address. Default: those, or none.
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.login = Login::Password(user.to_owned(), password.to_owned());
        self
    }

    /// A token. Default: none.
    pub fn token(mut self, token: &str) -> Self {
        self.login = Login::Token(token.to_owned());
        self
    }

    /// A file of credentials, as `nsc` makes it: a signed token and the seed of its key. It is read once. Default: none.
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.login = Login::File(path.into());
        self
    }

    /// A PEM file of the authorities that may have signed the server's certificate; with it, nothing but TLS is spoken. Default: those of the system, where the
    /// address says `tls://` or the server asks for TLS. Read at each connect and reconnect.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// PEM files of this side's certificate and its key, for servers that ask for one. Default: none. Read at each connect and reconnect: replace both,
    /// and [reconnect](NatsTransport::reconnect).
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((certificate.into(), key.into()));
        self
    }

    /// How long connecting, an answer, or the word that an event is there may take. Default 5 s; from 10 ms to 60 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often the server says, while there are no events, that it still waits for some; two that stay away are a stall, and the receiver asks anew. Default 5 s; from
    /// 100 ms to 60 s.
    pub const fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// On how many servers of a cluster a stream that is made lies. Default 1; 1 to 5.
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// What all subjects begin with, before a dot: `shop` makes topic `orders.created` the subject `shop.orders.created`. It follows the rules of topics. Default: nothing. A stream
    /// that captures `#` needs one.
    pub fn subject_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// What the stream of dead letters is called, and what their subjects begin with. Default `busway_dead`.
    pub fn dead_stream(mut self, name: &str) -> Self {
        name.clone_into(&mut self.dead_stream);
        self
    }

    /// When the server syncs. Default: nobody has said.
    pub const fn syncing(mut self, syncing: Syncing) -> Self {
        self.syncing = syncing;
        self
    }

    /// Connects, and finds out what the server can do. Once connected, a server that goes away and comes back is connected to again by itself, for ever.
    ///
    /// # Errors
    /// Within the timeout: [`TransportError::Unreachable`], [`TransportError::AccessDenied`] for wrong credentials and certificates that one side does not trust,
    /// [`TransportError::Refused`] for what can never be: no address, a setting out of bounds, files that cannot be read, a server without `JetStream`;
    /// [`TransportError::Unmappable`] for the prefix or the name of the stream of dead letters.
    ///
    /// # Cancel safety
    /// Safe: nothing is left of it.
    pub async fn connect(self) -> Result<NatsTransport, TransportError> {
        self.check()?;
        let subjects = Subjects::new(&self.prefix)?;
        let servers = servers(&self.urls)?;
        let address = address(&servers);
        let (told, mut connects) = watch::channel(0);
        let options = self.options(&servers, &address, told).await?;
        let connecting = tokio::time::timeout(self.timeout, options.connect(servers)).await;
        let late = |what: &str| TransportError::Unreachable {
            address: address.clone(),
            reason: format!("{what} within {:?}", self.timeout),
        };
        let client = connecting
            .map_err(|_| late("no connection"))?
            .map_err(|error| fault::connect(&address, &error))?;
        // What comes later is a reconnect, and receivers ask anew then.
        let first = tokio::time::timeout(self.timeout, connects.wait_for(|times| *times > 0)).await;
        drop(first.map_err(|_| late("no connection"))?);
        let context = ContextBuilder::new()
            .timeout(self.timeout)
            .ack_timeout(self.timeout)
            // Batches are as large as the caller makes them, and all of one are on their way at once.
            .max_ack_inflight(ACKS_MAX)
            .build(client.clone());
        let limit = ack_pending_limit(&context, &address).await?;
        let has_many_filters = client.is_server_compatible(2, 10, 0);
        Ok(NatsTransport::new(Link {
            client,
            context,
            address,
            timeout: self.timeout,
            heartbeat: self.heartbeat,
            subjects,
            layouts: Layouts::default(),
            replicas: self.replicas,
            syncing: self.syncing,
            dead_stream: self.dead_stream,
            has_many_filters,
            ack_pending_limit: limit.filter(|limit| *limit > 0),
            connects,
            closed: watch::Sender::new(false),
        }))
    }

    fn check(&self) -> Result<(), TransportError> {
        let refused = |reason: String| Err(TransportError::Refused(reason));
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&self.timeout) {
            return refused(format!(
                "the timeout is {:?}: it is {TIMEOUT_MIN:?} at least and {TIMEOUT_MAX:?} at most",
                self.timeout
            ));
        }
        if !(HEARTBEAT_MIN..=TIMEOUT_MAX).contains(&self.heartbeat) {
            return refused(format!(
                "the heartbeat is {:?}: it is {HEARTBEAT_MIN:?} at least and {TIMEOUT_MAX:?} at most",
                self.heartbeat
            ));
        }
        if !(1..=REPLICAS_MAX).contains(&self.replicas) {
            return refused(format!("{} replicas: a stream has 1 to {REPLICAS_MAX}", self.replicas));
        }
        subject::check_name("stream", &self.dead_stream)
    }

    /// What the client is told.
    async fn options(
        &self,
        servers: &[ServerAddr],
        address: &str,
        told: watch::Sender<u64>,
    ) -> Result<ConnectOptions, TransportError> {
        let each =
            self.timeout.checked_div(u32::try_from(servers.len()).unwrap_or(1)).unwrap_or(self.timeout);
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(each)
            .request_timeout(Some(self.timeout))
            .event_callback(move |event| {
                heard(&event, &told);
                std::future::ready(())
            });
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone()).require_tls(true);
        }
        if self.ca.is_some() || self.certificate.is_some() || servers.iter().any(ServerAddr::tls_required) {
            name_a_provider();
        }
        let in_address = servers.iter().find(|server| server.has_user_pass());
        match (&self.login, in_address) {
            (Login::Password(user, password), _) => {
                Ok(options.user_and_password(user.clone(), password.clone()))
            }
            (Login::Token(token), _) => Ok(options.token(token.clone())),
            (Login::File(path), _) => options.credentials_file(path).await.map_err(|error| {
                // Its text may hold what the file holds.
                let reason =
                    format!("the credentials in {} cannot be used: {}", path.display(), error.kind());
                TransportError::AccessDenied { address: address.to_owned(), reason }
            }),
            (Login::Address, None) => Ok(options),
            (Login::Address, Some(server)) => {
                let user = decoded(server.username());
                Ok(match server.password() {
                    Some(password) => options.user_and_password(user, decoded(Some(password))),
                    None => options.token(user),
                })
            }
        }
    }
}

impl fmt::Debug for NatsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of an address that cannot be read nothing is said.
        let servers = servers(&self.urls).map_or_else(|_| "***".to_owned(), |servers| address(&servers));
        f.debug_struct("NatsBuilder")
            .field("servers", &servers)
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("heartbeat", &self.heartbeat)
            .field("replicas", &self.replicas)
            .field("subject_prefix", &self.prefix)
            .field("dead_stream", &self.dead_stream)
            .field("syncing", &self.syncing)
            .finish_non_exhaustive()
    }
}

/// Counts connects: whoever waits for messages asks anew after one.
fn heard(event: &Event, told: &watch::Sender<u64>) {
    match event {
        Event::Connected => told.send_modify(|times| *times += 1),
        Event::ServerError(_) | Event::ClientError(_) | Event::SlowConsumer(_) => {
            tracing::warn!(%event, "the connection to NATS");
        }
        _ => tracing::info!(%event, "the connection to NATS"),
    }
}

/// rustls panics where a program is built with two providers and names none: ours is named then, if nobody has named one.
fn name_a_provider() {
    use async_nats::rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // Somebody may be faster, which is as good.
        drop(ring::default_provider().install_default());
    }
}

/// Whether there is `JetStream` for this account, and how many deliveries it lets a consumer have under way, where it says so.
async fn ack_pending_limit(context: &Context, address: &str) -> Result<Option<i64>, TransportError> {
    let without = |reason: String| {
        TransportError::Refused(format!(
            "{address} has no JetStream for this account ({reason}); start the server with it, or enable it for the account"
        ))
    };
    let error = match context.query_account().await {
        Ok(account) => return Ok(Some(account.limits.max_ack_pending)),
        Err(error) => error,
    };
    match error.kind() {
        AccountErrorKind::JetStreamUnavailable | AccountErrorKind::JetStream(_) => {
            Err(without(fault::chain(&error)))
        }
        // Servers before 2.10 say less than the client understands; that they answer is enough.
        AccountErrorKind::Other => {
            let answer = context.client().request("$JS.API.INFO", bytes::Bytes::new()).await;
            let answer = answer.map_err(|error| fault::request(address, ASKING, &error))?;
            let text = String::from_utf8_lossy(&answer.payload);
            match text.contains("\"error\"") {
                true => Err(without(text.chars().take(ANSWER_CHARS_MAX).collect())),
                false => Ok(None),
            }
        }
        AccountErrorKind::TimedOut => Err(fault::request(address, ASKING, &error)),
    }
}

const ASKING: &str = "asking for JetStream";
/// As much of an answer as an error repeats.
const ANSWER_CHARS_MAX: usize = 200;
const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(5);
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const REPLICAS_MAX: usize = 5;
const DEAD_STREAM: &str = "busway_dead";
/// Answers that all senders of a connection wait for together: more are sent when some have come.
const ACKS_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_prints_a_builder_or_its_error_sees_no_credentials() {
        for url in [
            "nats://zoe:s3cr3t@127.0.0.1:1",
            "nats://s3cr3t@127.0.0.1:1",
            "s3cr3t@",
            "http://s3cr3t:s3cr3t@h",
        ] {
            let builder = NatsBuilder::new(url).timeout(Duration::from_millis(500));
            let error = builder.clone().connect().await.unwrap_err();
            let said = format!("{builder:?} {error} {error:?}");
            assert!(!said.contains("s3cr3t") && !said.contains("zoe"), "{said}");
        }
        let said = format!("{:?}", NatsBuilder::new("nats://h:4").password("zoe", "s3cr3t").token("s3cr3t"));
        assert!(said.contains("h:4") && !said.contains("s3cr3t"), "{said}");
    }

    #[tokio::test]
    async fn what_cannot_be_is_a_typed_error_before_anything_is_connected() {
        let builder = || NatsBuilder::new("nats://127.0.0.1:1");
        for bad in [
            builder().timeout(Duration::ZERO),
            builder().heartbeat(Duration::ZERO),
            builder().replicas(0),
            builder().replicas(6),
            NatsBuilder::new("nats://127.0.0.1:1,,"),
        ] {
            let error = bad.connect().await.unwrap_err();
            assert!(matches!(error, TransportError::Refused(_)), "{error}");
        }
        for bad in [builder().subject_prefix("a b"), builder().dead_stream("a.b")] {
            let error = bad.connect().await.unwrap_err();
            assert!(matches!(error, TransportError::Unmappable { .. }), "{error}");
        }
        let error = builder().credentials_file("/nowhere/x.creds").connect().await.unwrap_err();
        assert!(matches!(error, TransportError::AccessDenied { .. }), "{error}");
        // Nobody listens on port 1.
        let error = builder().connect().await.unwrap_err();
        assert!(matches!(error, TransportError::Unreachable { .. }) && error.is_transient(), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
