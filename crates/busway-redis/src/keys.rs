//! The store: keys of several processes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_reliability::{Answer, Claim, IdempotencyStore, Rate, StoreFuture, Unreachable};
use redis::{RedisError, ScriptInvocation};

use crate::builder::RedisKeysBuilder;
use crate::line::Line;
use crate::script::Scripts;

/// Idempotency keys in a Redis server, for several processes. Clones share one connection, which carries many calls at once and comes back by itself.
///
/// In Redis a key is a string `<prefix>:<subscription>:<key>` that runs out by itself: `leased:<owner>:<epoch>` or `done`.
#[derive(Clone)]
pub struct RedisKeys(Arc<Inner>);

struct Inner {
    connection: Line,
    server: String,
    prefix: String,
    timeout: Duration,
    scripts: Scripts,
}

impl RedisKeys {
    /// Connects with defaults.
    ///
    /// # Errors
    /// [`RedisError`](crate::RedisError).
    pub async fn connect(url: &str) -> Result<Self, crate::RedisError> {
        Self::builder(url).connect().await
    }

    /// With settings.
    pub fn builder(url: &str) -> RedisKeysBuilder {
        RedisKeysBuilder::new(url)
    }

    pub(crate) fn new(connection: Line, server: String, prefix: String, timeout: Duration) -> Self {
        Self(Arc::new(Inner { connection, server, prefix, timeout, scripts: Scripts::new() }))
    }

    fn key(&self, claim: &Claim) -> String {
        format!("{}:{}:{}", self.0.prefix, claim.subscription, claim.key)
    }

    /// Runs a script, within the timeout.
    async fn run(&self, invocation: &ScriptInvocation<'_>) -> Result<i64, Unreachable> {
        let mut connection = self.0.connection.clone();
        let answer =
            tokio::time::timeout(self.0.timeout, invocation.invoke_async::<i64>(&mut connection)).await;
        let answer: Result<i64, RedisError> =
            answer.map_err(|_| self.unreachable(format!("no answer within {:?}", self.0.timeout)))?;
        answer.map_err(|error| self.unreachable(error.to_string()))
    }

    fn unreachable(&self, reason: String) -> Unreachable {
        Unreachable { store: self.name(), reason }
    }
}

impl IdempotencyStore for RedisKeys {
    fn lease<'a>(&'a self, claim: &'a Claim, lease: Duration) -> StoreFuture<'a, Answer> {
        Box::pin(async move {
            let mut script = self.0.scripts.lease.key(self.key(claim));
            script.arg(owner(claim)).arg(claim.epoch).arg(millis(lease));
            Ok(match self.run(&script).await? {
                0 => Answer::Leased,
                rest if rest > 0 => Answer::Busy { rest: Duration::from_millis(rest.unsigned_abs()) },
                _ => Answer::Done,
            })
        })
    }

    fn done<'a>(&'a self, claim: &'a Claim, ttl: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut script = self.0.scripts.done.key(self.key(claim));
            script.arg(millis(ttl));
            self.run(&script).await.map(drop)
        })
    }

    fn release<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut script = self.0.scripts.release.key(self.key(claim));
            script.arg(owner(claim)).arg(claim.epoch);
            self.run(&script).await.map(drop)
        })
    }

    fn take<'a>(&'a self, claim: &'a Claim, rate: Rate, burst: u32) -> StoreFuture<'a, Option<Duration>> {
        Box::pin(async move {
            // In whole microseconds, rounded up: never more than the rate.
            let token = rate.per().as_nanos().div_ceil(1_000 * u128::from(rate.events().get()));
            let mut script = self.0.scripts.take.key(format!("{}:rate", self.key(claim)));
            script.arg(u64::try_from(token).unwrap_or(u64::MAX)).arg(burst.max(1));
            let wait = self.run(&script).await?;
            Ok((wait > 0).then(|| Duration::from_millis(wait.unsigned_abs())))
        })
    }

    fn name(&self) -> String {
        format!("redis {}", self.0.server)
    }
}

impl fmt::Debug for RedisKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisKeys").field("server", &self.0.server).field("prefix", &self.0.prefix).finish()
    }
}

fn owner(claim: &Claim) -> String {
    format!("{:016x}", claim.owner)
}

/// At least one: a time of none is an error to Redis.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
