//! A connection that comes back by itself, also to a server that has refused it.
//!
//! The client's own manager connects anew when a connection breaks. When the server then says that it lets nobody in (it starts without its users, its
//! password is being changed), the manager keeps that answer for ever. So a line lets go of such a manager, and the next call has another one connect: once a timeout
//! at most, however many ask.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::time::Instant;

/// See the module. Clones are one line.
#[derive(Clone)]
pub(crate) struct Line(Arc<Inner>);

struct Inner {
    client: Client,
    config: ConnectionManagerConfig,
    /// How long a manager is kept at least.
    timeout: Duration,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    since: Instant,
}

impl Line {
    /// Connects with the first call. `response`: how long an answer may take; `None` for one that waits.
    pub(crate) fn new(client: &Client, timeout: Duration, response: Option<Duration>) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(response)
            .set_number_of_retries(RECONNECTS)
            .set_max_delay(RECONNECT_DELAY_MAX);
        let current = RwLock::new(Current::new(client, &config)?);
        Ok(Self(Arc::new(Inner { client: client.clone(), config, timeout, current })))
    }

    fn manager(&self) -> ConnectionManager {
        self.0.current.read().manager.clone()
    }

    /// Looks at an answer: when the server lets nobody in, the next call asks it again.
    fn hear<T>(&self, answer: &RedisResult<T>) {
        if answer.as_ref().is_err_and(is_locked_out) {
            self.renew();
        }
    }

    #[cold]
    fn renew(&self) {
        let mut current = self.0.current.write();
        if current.since.elapsed() < self.0.timeout {
            return;
        }
        // It is a server that answers: what cannot be made anew stays.
        if let Ok(new) = Current::new(&self.0.client, &self.0.config) {
            let before = std::mem::replace(&mut *current, new);
            drop(current);
            drop(before);
        }
    }
}

impl Current {
    fn new(client: &Client, config: &ConnectionManagerConfig) -> RedisResult<Self> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())?;
        Ok(Self { manager, since: Instant::now() })
    }
}

impl ConnectionLike for Line {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async {
            let answer = self.manager().req_packed_command(cmd).await;
            self.hear(&answer);
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let answer = self.manager().req_packed_commands(cmd, offset, count).await;
            self.hear(&answer);
            answer
        })
    }

    fn get_db(&self) -> i64 {
        self.manager().get_db()
    }
}

/// Whether the server would not have whoever calls.
pub(crate) fn is_locked_out(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"))
}

/// Of a call that finds the connection gone: whoever called is told soon, and asks again later.
const RECONNECTS: usize = 2;
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
