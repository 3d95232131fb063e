//! Connecting to a server: what the store of keys and the transport have in common.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ErrorKind, InfoDict, IntoConnectionInfo as _, ServerErrorKind};

use crate::line::{Line, is_locked_out};

/// A connection to a server that was looked at: it evicts nothing.
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) connection: Line,
    /// Its address, without credentials.
    pub(crate) server: String,
}

/// Why there is none.
pub(crate) enum LinkError {
    Url { reason: String },
    Prefix { prefix: String },
    Timeout { timeout: Duration },
    Unreachable { server: String, reason: String },
    Denied { server: String, reason: String },
    Evicts { server: String, policy: String },
}

/// Connects and asks what the server does when its memory is full.
///
/// # Cancel safety
/// Safe: nothing is left of it.
pub(crate) async fn connect(url: &str, prefix: &str, timeout: Duration) -> Result<Link, LinkError> {
    if !is_word(prefix) {
        return Err(LinkError::Prefix { prefix: prefix.to_owned() });
    }
    if !(Duration::from_millis(1)..=TIMEOUT_MAX).contains(&timeout) {
        return Err(LinkError::Timeout { timeout });
    }
    // The text may hold a password: it is not repeated.
    let unusable = |error: redis::RedisError| LinkError::Url { reason: error.to_string() };
    let address = url.into_connection_info().map_err(unusable)?;
    let client = Client::open(address.set_tcp_settings(tcp(timeout))).map_err(unusable)?;
    let server = client.get_connection_info().addr().to_string();
    let late = |_| LinkError::Unreachable {
        server: server.clone(),
        reason: format!("no answer within {timeout:?}"),
    };
    let failed = |error: redis::RedisError| {
        let (server, reason) = (server.clone(), error.to_string());
        match is_denied(&error) {
            true => LinkError::Denied { server, reason },
            false => LinkError::Unreachable { server, reason },
        }
    };
    let mut connection = Line::new(&client, timeout, Some(timeout)).map_err(failed)?;
    let mut question = redis::cmd("INFO");
    question.arg("memory");
    let info: InfoDict = tokio::time::timeout(timeout, question.query_async(&mut connection))
        .await
        .map_err(late)?
        .map_err(failed)?;
    let policy: Option<String> = info.get("maxmemory_policy");
    match policy.as_deref() {
        Some("noeviction") => Ok(Link { client, connection, server }),
        policy => Err(LinkError::Evicts { server, policy: policy.unwrap_or("unknown").to_owned() }),
    }
}

/// What was sent and is not heard of ends the connection, which then comes back: a way that swallows everything would hold it for a quarter of an hour.
fn tcp(timeout: Duration) -> TcpSettings {
    let settings = TcpSettings::default();
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(timeout.max(UNHEARD_MIN));
    settings
}

/// Whether the server says that it will not, and not that it cannot.
pub(crate) fn is_denied(error: &redis::RedisError) -> bool {
    let may_not =
        error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) || error.code() == Some("NOPERM");
    may_not || is_locked_out(error)
}

/// Whether it may be a part of a key's name.
pub(crate) fn is_word(word: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-');
    (1..=PREFIX_CHARS_MAX).contains(&word.len()) && word.chars().all(allowed)
}

pub(crate) const PREFIX: &str = "busway";
pub(crate) const PREFIX_CHARS_MAX: usize = 64;
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Packets are lost and sent again within less than that.
#[cfg(target_os = "linux")]
const UNHEARD_MIN: Duration = Duration::from_secs(5);
