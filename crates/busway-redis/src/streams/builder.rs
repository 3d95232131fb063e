//! Connecting a transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::TransportError;
use parking_lot::RwLock;
use redis::Client;
use tokio_util::sync::CancellationToken;

use super::RedisTransport;
use super::error::{late, of_link, said, unmappable};
use super::names::{KINDS, Names};
use super::scripts::Scripts;
use super::shared::Shared;
use super::standing::Standing;
use crate::link::{self, PREFIX, is_word};

/// How a transport is connected. Its `Debug` says the server alone of the address, which may hold a user and a password.
#[derive(Clone)]
#[must_use = "nothing is connected before .connect()"]
pub struct RedisTransportBuilder {
    url: String,
    prefix: String,
    dead: String,
    timeout: Duration,
    window: Duration,
}

impl RedisTransportBuilder {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: PREFIX.to_owned(),
            dead: DEAD.to_owned(),
            timeout: TIMEOUT,
            window: WINDOW,
        }
    }

    /// What the names of all keys in Redis begin with, before a colon. Default `busway`; 1 to 64 characters of `[A-Za-z0-9_.-]`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// What comes between prefix and stream in the names of streams of dead letters. Default `dead`; as the prefix, and none of `stream`, `meta`,
    /// `groups`, `again`, `id`.
    pub fn dead_letters(mut self, word: &str) -> Self {
        word.clone_into(&mut self.dead);
        self
    }

    /// How long a call, or a connection, may take before the server counts as unreachable. Default 5 s; from 1 ms to 60 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long the server remembers the ids of events at least; it forgets them before twice that time is over. Default 120 s; 1 ms at least, a century at most.
    pub const fn id_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Connects, and looks at how the server is set up.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] within the timeout, [`TransportError::AccessDenied`] when it does not like user or password, or does not let the user
    /// begin a transaction (the commands `MULTI` and `EXEC`),
    /// [`TransportError::Refused`] for a server that evicts keys or a timeout out of bounds, [`TransportError::Unmappable`] for an address or a word that is none.
    /// Once connected, a server that goes away and comes back is connected to again by itself.
    ///
    /// # Cancel safety
    /// Safe: nothing is left of it.
    pub async fn connect(self) -> Result<RedisTransport, TransportError> {
        let Self { url, prefix, dead, timeout, window } = self;
        if !is_word(&dead) || KINDS.contains(&dead.as_str()) {
            return Err(unmappable(
                &dead,
                "the word of dead letters has 1 to 64 characters of [A-Za-z0-9_.-], and is none of stream, meta, groups, again, id",
            ));
        }
        let mut link = link::connect(&url, &prefix, timeout).await.map_err(of_link)?;
        let looking = async {
            let standing = Standing::of(&mut link.connection).await?;
            // A server that lets nobody begin a transaction would add events one by one, and one that lets nobody end it would do nothing any more.
            redis::pipe().cmd("MULTI").cmd("EXEC").exec_async(&mut link.connection).await?;
            Ok(standing)
        };
        let standing = tokio::time::timeout(timeout, looking)
            .await
            .map_err(|_| late(&link.server, timeout))?
            .map_err(|error| said(&link.server, &error))?;
        let capabilities = standing.capabilities(window);
        for note in capabilities.notes() {
            tracing::warn!(server = link.server, note, "a Redis server promises less than it could");
        }
        Ok(RedisTransport(Arc::new(Shared {
            link,
            names: Names { prefix, dead },
            timeout,
            window,
            scripts: Scripts::new(),
            capabilities,
            streams: RwLock::default(),
            closed: CancellationToken::new(),
        })))
    }
}

/// Of an address that cannot be read nothing is said.
impl fmt::Debug for RedisTransportBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server =
            Client::open(self.url.as_str()).map(|client| client.get_connection_info().addr().to_string());
        f.debug_struct("RedisTransportBuilder")
            .field("server", &server.as_deref().unwrap_or("***"))
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("id_window", &self.window)
            .finish_non_exhaustive()
    }
}

const DEAD: &str = "dead";
const TIMEOUT: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_is_a_typed_error_and_nobody_sees_credentials() {
        let builder = || RedisTransportBuilder::new("redis://ann:s3cr3t@127.0.0.1:1");
        let error = builder().connect().await.unwrap_err();
        assert!(matches!(error, TransportError::Unreachable { .. }) && error.is_transient(), "{error}");
        let said = format!("{:?} {error} {error:?}", builder());
        assert!(said.contains("127.0.0.1:1") && !said.contains("s3cr3t"), "{said}");
        for wrong in [builder().dead_letters("stream"), builder().prefix("a:b"), builder().dead_letters("")] {
            let error = wrong.connect().await.unwrap_err();
            assert!(matches!(error, TransportError::Unmappable { .. }), "{error}");
        }
        let error = builder().timeout(Duration::ZERO).connect().await.unwrap_err();
        assert!(matches!(error, TransportError::Refused(_)), "{error}");
        let error = RedisTransportBuilder::new("x:s3cr3t").connect().await.unwrap_err();
        assert!(!format!("{error:?}").contains("s3cr3t"), "{error}");
    }
}
