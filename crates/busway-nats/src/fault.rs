//! What went wrong at the server, in the words of transports.

use std::error::Error;
use std::fmt::Write as _;

use async_nats::ConnectErrorKind;
use async_nats::jetstream::{self, ErrorCode};
use busway_engine::transport::TransportError;

/// An error with all that is behind it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        // Some say what is behind them too.
        if !text.contains(&said) {
            _ = write!(text, ": {said}");
        }
        source = error.source();
    }
    text
}

/// What the server itself has said, if it has.
pub(crate) fn said<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a jetstream::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(said) = error.downcast_ref() {
            return Some(said);
        }
        next = error.source();
    }
    None
}

/// A refusal of the server. What it cannot do for now may be asked for again.
pub(crate) fn refused(address: &str, what: &str, said: &jetstream::Error) -> TransportError {
    match said.code() {
        503 => TransportError::Unreachable { address: address.to_owned(), reason: format!("{what}: {said}") },
        401 | 403 => {
            TransportError::AccessDenied { address: address.to_owned(), reason: format!("{what}: {said}") }
        }
        _ => TransportError::Refused(format!("{what}: {said}")),
    }
}

/// Whether it says that something is not there.
pub(crate) fn is_missing(said: &jetstream::Error) -> bool {
    matches!(said.error_code(), ErrorCode::STREAM_NOT_FOUND | ErrorCode::CONSUMER_NOT_FOUND)
}

/// A request that failed. Without an answer the server may have done what it was asked for.
pub(crate) fn request(address: &str, what: &str, error: &(dyn Error + 'static)) -> TransportError {
    match said(error) {
        Some(said) => refused(address, what, said),
        None => TransportError::Unreachable {
            address: address.to_owned(),
            reason: format!("{what}: {}", chain(error)),
        },
    }
}

/// Why there is no connection. The texts name files and addresses, never credentials.
pub(crate) fn connect(address: &str, error: &async_nats::ConnectError) -> TransportError {
    let (address, reason) = (address.to_owned(), chain(error));
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            TransportError::AccessDenied { address, reason }
        }
        ConnectErrorKind::ServerParse => {
            TransportError::Refused(format!("{address} is no address: {reason}"))
        }
        // Certificate files, not the server: it is asked in vain again.
        ConnectErrorKind::Tls => TransportError::Refused(format!("TLS to {address} is not set up: {reason}")),
        ConnectErrorKind::Io if is_handshake(error) => TransportError::AccessDenied { address, reason },
        _ => TransportError::Unreachable { address, reason },
    }
}

/// Whether one side does not trust the other's certificate: rustls says that as invalid data.
fn is_handshake(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData) {
            return true;
        }
        next = error.source();
    }
    false
}
