//! Connecting to a server.

use std::fmt;
use std::time::Duration;

use redis::Client;

use crate::keys::RedisKeys;
use crate::link::{self, LinkError, PREFIX, PREFIX_CHARS_MAX, TIMEOUT_MAX};

/// How keys are kept in Redis. Its `Debug` says the server alone of the address, which may hold a user and a password.
#[derive(Clone)]
#[must_use = "nothing is connected before .connect()"]
pub struct RedisKeysBuilder {
    url: String,
    prefix: String,
    timeout: Duration,
}

impl RedisKeysBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), prefix: PREFIX.to_owned(), timeout: TIMEOUT }
    }

    /// What the names of all keys in Redis begin with, before a colon: programs that share keys have the same, others have others. Default `busway`; 1 to
    /// 64 characters of `[A-Za-z0-9_.-]`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// How long a call, or a connection, may take before the server counts as unreachable. Default 1 s; from 1 ms to 60 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects, and looks at how the server is set up.
    ///
    /// # Errors
    /// [`RedisError`]. Once connected, a server that goes away and comes back is connected to again by itself.
    ///
    /// # Cancel safety
    /// Safe: nothing is left of it.
    pub async fn connect(self) -> Result<RedisKeys, RedisError> {
        let Self { url, prefix, timeout } = self;
        let link = link::connect(&url, &prefix, timeout).await?;
        Ok(RedisKeys::new(link.connection, link.server, prefix, timeout))
    }
}

/// Of an address that cannot be read nothing is said.
impl fmt::Debug for RedisKeysBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server =
            Client::open(self.url.as_str()).map(|client| client.get_connection_info().addr().to_string());
        f.debug_struct("RedisKeysBuilder")
            .field("server", &server.as_deref().unwrap_or("***"))
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why there is no store of keys in Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The address is none.
    #[error("this is no address of a Redis server: {reason}; one looks like redis://127.0.0.1:6379")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The prefix breaks its rule.
    #[error("the prefix \"{}\" of keys has 1 to {PREFIX_CHARS_MAX} characters of [A-Za-z0-9_.-]", prefix.escape_debug())]
    Prefix {
        /// As asked for.
        prefix: String,
    },
    /// The timeout is out of bounds.
    #[error("the timeout is {timeout:?}: it is 1 ms at least and {TIMEOUT_MAX:?} at most")]
    Timeout {
        /// As asked for.
        timeout: Duration,
    },
    /// The server does not answer.
    #[error("the Redis server {server} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What the connection says.
        reason: String,
    },
    /// The server may evict keys.
    #[error(
        "the Redis server {server} has maxmemory-policy {policy}: it would forget what is done when its memory is full, and effects would be repeated; set it to noeviction"
    )]
    Evicts {
        /// Its address.
        server: String,
        /// Its policy.
        policy: String,
    },
}

impl RedisError {
    /// Whether connecting may succeed later without a change.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl From<LinkError> for RedisError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Url { reason } => Self::Url { reason },
            LinkError::Prefix { prefix } => Self::Prefix { prefix },
            LinkError::Timeout { timeout } => Self::Timeout { timeout },
            LinkError::Unreachable { server, reason } | LinkError::Denied { server, reason } => {
                Self::Unreachable { server, reason }
            }
            LinkError::Evicts { server, policy } => Self::Evicts { server, policy },
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_prints_a_builder_or_its_error_sees_no_credentials() {
        let shown = |url: &str| format!("{:?}", RedisKeysBuilder::new(url));
        let said = shown("redis://ann:s3cr3t@127.0.0.1:6379/2");
        assert!(said.contains("127.0.0.1:6379") && said.contains("busway"), "{said}");
        assert!(!said.contains("s3cr3t") && !said.contains("ann"), "{said}");
        for url in [
            "ann:s3cr3t@127.0.0.1",
            "redis://ann:s3cr3t@127.0.0.1:port",
            "redis://:s3cr3t@h/s3cr3t",
            "redis+unix:///x?pass=s3cr3t&db=s3cr3t",
        ] {
            let error = RedisKeysBuilder::new(url).connect().await.unwrap_err();
            let said = format!("{} {error} {error:?}", shown(url));
            assert!(!said.contains("s3cr3t"), "{said}");
        }
        assert!(!shown("redis+unix:///tmp/redis?pass=s3cr3t").contains("s3cr3t"));
    }

    #[tokio::test]
    async fn what_cannot_be_is_a_typed_error_before_anything_is_connected() {
        let error = RedisKeysBuilder::new("nowhere").connect().await.unwrap_err();
        assert!(matches!(error, RedisError::Url { .. }) && !error.is_transient(), "{error}");
        let builder = || RedisKeysBuilder::new("redis://127.0.0.1:1");
        for prefix in ["", "a b", "ä"] {
            let error = builder().prefix(prefix).connect().await.unwrap_err();
            assert!(matches!(error, RedisError::Prefix { .. }), "{error}");
        }
        let error = builder().timeout(Duration::ZERO).connect().await.unwrap_err();
        assert!(matches!(error, RedisError::Timeout { .. }), "{error}");
        // Nobody listens on port 1.
        let error = builder().connect().await.unwrap_err();
        assert!(matches!(error, RedisError::Unreachable { .. }) && error.is_transient(), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }
}
