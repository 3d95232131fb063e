//! What senders and receivers of a transport share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{Capabilities, TransportError};
use busway_event::Topic;
use parking_lot::RwLock;
use redis::{FromRedisValue, ScriptInvocation};
use tokio_util::sync::CancellationToken;

use super::declaration::{Declared, Kept};
use super::error::{late, said};
use super::names::Names;
use super::scripts::Scripts;
use crate::link::Link;

pub(super) struct Shared {
    pub(super) link: Link,
    pub(super) names: Names,
    pub(super) timeout: Duration,
    pub(super) window: Duration,
    pub(super) scripts: Scripts,
    pub(super) capabilities: Capabilities,
    /// Written when streams are prepared; few, so that they are looked through.
    pub(super) streams: RwLock<Vec<Arc<Declared>>>,
    pub(super) closed: CancellationToken,
}

impl Shared {
    /// Runs a script, within the timeout.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        invocation: &ScriptInvocation<'_>,
    ) -> Result<T, TransportError> {
        let mut connection = self.link.connection.clone();
        let answer = tokio::time::timeout(self.timeout, invocation.invoke_async(&mut connection)).await;
        answer.map_err(|_| late(&self.link.server, self.timeout))?.map_err(|error| self.said(&error))
    }

    pub(super) fn said(&self, error: &redis::RedisError) -> TransportError {
        said(&self.link.server, error)
    }

    /// The declared stream that captures a topic.
    pub(super) fn capturing(&self, topic: &Topic) -> Option<Arc<Declared>> {
        self.streams.read().iter().find(|declared| declared.captures(topic)).cloned()
    }

    pub(super) fn is_closed(&self) -> Result<(), TransportError> {
        match self.closed.is_cancelled() {
            true => Err(TransportError::Closed),
            false => Ok(()),
        }
    }

    /// The script that trims a stream.
    pub(super) fn trimming(&self, declared: &Declared, kept: Kept) -> ScriptInvocation<'_> {
        let mut script = self.scripts.trim.prepare_invoke();
        for key in &declared.partitions {
            script.key(key);
        }
        let text = |number: Option<u128>| number.map_or_else(String::new, |number| number.to_string());
        script
            .arg(text(kept.age.map(|age| age.as_millis())))
            .arg(text(kept.count.map(u128::from)))
            .arg(TRIM_AT_ONCE);
        script
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("server", &self.link.server)
            .field("prefix", &self.names.prefix)
            .finish_non_exhaustive()
    }
}

/// Of a partition. Nobody else is served meanwhile.
const TRIM_AT_ONCE: u64 = 256;
