//! The server's errors in the words of transports.

use std::time::Duration;

use busway_engine::transport::TransportError;

use super::KIND;
use crate::link::{LinkError, TIMEOUT_MAX, is_denied};

/// What a server says, or the connection to it.
pub(super) fn said(server: &str, error: &redis::RedisError) -> TransportError {
    let (address, reason) = (server.to_owned(), error.to_string());
    if is_denied(error) {
        return TransportError::AccessDenied { address, reason };
    }
    let is_lost = error.code() == Some("NOGROUP") || reason.contains("NOGROUP") || reason.contains(NO_KEY);
    if is_lost {
        return gone_group(&reason);
    }
    match error.code() {
        None => TransportError::Unreachable { address, reason },
        Some(code) if is_for_now(code) => TransportError::Unreachable { address, reason },
        Some(_) => TransportError::Refused(format!("the Redis server {server} says no: {reason}")),
    }
}

/// The same of a text that a script answers.
pub(super) fn answered(server: &str, text: &str) -> TransportError {
    match text {
        text if text.contains("NOGROUP") || text.contains(NO_KEY) => gone_group(text),
        text if text.split_whitespace().next().is_some_and(is_for_now) => {
            TransportError::Unreachable { address: server.to_owned(), reason: text.to_owned() }
        }
        text => TransportError::Refused(format!("the Redis server {server} says no: {text}")),
    }
}

/// Whether it is a state of the server, which says nothing of what it was asked for: it is loading its data, has no primary or not enough replicas, a script of somebody runs, its memory or
/// its disk is full.
fn is_for_now(code: &str) -> bool {
    const STATES: [&str; 9] = [
        "LOADING",
        "MASTERDOWN",
        "TRYAGAIN",
        "CLUSTERDOWN",
        "BUSY",
        "READONLY",
        "OOM",
        "MISCONF",
        "NOREPLICAS",
    ];
    STATES.contains(&code)
}

fn gone_group(reason: &str) -> TransportError {
    TransportError::Gone {
        what: "the subscription".to_owned(),
        reason: format!(
            "the server has lost its data, or somebody has removed it ({reason}); nothing is made anew by itself: prepare the stream again, and receive with the beginning that is right now"
        ),
    }
}

pub(super) fn late(server: &str, timeout: Duration) -> TransportError {
    TransportError::Unreachable {
        address: server.to_owned(),
        reason: format!("no answer within {timeout:?}"),
    }
}

pub(super) fn unmappable(name: &str, reason: impl Into<String>) -> TransportError {
    TransportError::Unmappable { name: name.to_owned(), transport: KIND, reason: reason.into() }
}

/// Why there is no connection.
pub(super) fn of_link(error: LinkError) -> TransportError {
    match error {
        LinkError::Url { reason } => {
            unmappable("the address", format!("{reason}; one looks like redis://127.0.0.1:6379"))
        }
        LinkError::Prefix { prefix } => {
            unmappable(&prefix, "a prefix has 1 to 64 characters of [A-Za-z0-9_.-]")
        }
        LinkError::Timeout { timeout } => TransportError::Refused(format!(
            "the timeout is {timeout:?}: it is 1 ms at least and {TIMEOUT_MAX:?} at most"
        )),
        LinkError::Unreachable { server, reason } => TransportError::Unreachable { address: server, reason },
        LinkError::Denied { server, reason } => TransportError::AccessDenied { address: server, reason },
        LinkError::Evicts { server, policy } => TransportError::Refused(format!(
            "the Redis server {server} has maxmemory-policy {policy}: it would remove streams when its memory is full; set it to noeviction"
        )),
    }
}

const NO_KEY: &str = "no such key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_the_server_is_no_refusal_of_what_it_was_asked_for() {
        for text in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured",
            "NOREPLICAS Not enough",
        ] {
            assert!(answered("redis", text).is_transient(), "{text}");
        }
        assert!(matches!(answered("redis", "ERR Elements are too large"), TransportError::Refused(_)));
        assert!(matches!(answered("redis", "NOGROUP No such key"), TransportError::Gone { .. }));
    }
}
