//! Where an event's key comes from.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_event::AnyEvent;
use busway_event::codec::CodecId;
use busway_middleware::builtin::Pairs;
use serde_json::{Number, Value};

use super::key::{IdempotencyKey, KeyDigest};
use super::pointer::Pointer;

/// Where the key of an event comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum KeySource {
    /// Its id.
    Id,
    /// Its metadata, by the names of fields: free pairs, `producer`, `version`, `trace_id`; where no pair bears the name, `timestamp` is
    /// the event's time and `key` its key.
    Metadata(Vec<Box<str>>),
    /// Its payload, which is JSON: texts, numbers and truth values at these places.
    Pointers(Vec<Pointer>),
    /// What a function makes of it.
    Function(KeyFunction),
}

/// A function that makes the key of an event.
pub(super) type KeyFunction = Arc<dyn Fn(&AnyEvent) -> Option<IdempotencyKey> + Send + Sync>;

impl KeySource {
    /// The key of an event.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`]: the event has none. It has none in any later attempt either, unless the configuration changes.
    #[inline]
    pub fn key(&self, event: &AnyEvent) -> Result<IdempotencyKey, IdempotencyKeyError> {
        match self {
            Self::Id => Ok(IdempotencyKey::of_id(event.id())),
            // Encoding and functions are the user's code.
            _ => catch_unwind(AssertUnwindSafe(|| self.made(event)))
                .unwrap_or(Err(IdempotencyKeyError::Panicked)),
        }
    }

    fn made(&self, event: &AnyEvent) -> Result<IdempotencyKey, IdempotencyKeyError> {
        match self {
            Self::Id => Ok(IdempotencyKey::of_id(event.id())),
            Self::Metadata(names) => of_metadata(event, names),
            Self::Pointers(pointers) => of_payload(event, pointers),
            Self::Function(function) => function(event).ok_or(IdempotencyKeyError::Function),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("id"),
            Self::Metadata(names) => write!(f, "metadata {}", names.join(" + ")),
            Self::Pointers(pointers) => {
                f.write_str("payload ")?;
                for (at, pointer) in pointers.iter().enumerate() {
                    write!(f, "{}{pointer}", if at == 0 { "" } else { " + " })?;
                }
                Ok(())
            }
            Self::Function(_) => f.write_str("a function"),
        }
    }
}

fn of_metadata(event: &AnyEvent, names: &[Box<str>]) -> Result<IdempotencyKey, IdempotencyKeyError> {
    let pairs = Pairs::from(event.metadata());
    let mut digest = KeyDigest::default();
    for name in names {
        match (pairs.get(name), &**name) {
            (Some(value), _) => digest.text(value.as_bytes()),
            (None, "timestamp") => digest.text(event.time().as_nanos().to_string().as_bytes()),
            (None, "key") if event.key().is_some() => {
                digest.text(event.key().map(|key| key.as_str().as_bytes()).unwrap_or_default());
            }
            (None, name) => return Err(IdempotencyKeyError::NoField { name: name.to_owned() }),
        }
    }
    Ok(digest.into_key())
}

fn of_payload(event: &AnyEvent, pointers: &[Pointer]) -> Result<IdempotencyKey, IdempotencyKeyError> {
    let encoded = event
        .encoded(usize::MAX)
        .map_err(|error| IdempotencyKeyError::Unreadable { reason: error.to_string() })?;
    if encoded.codec != CodecId::Json {
        return Err(IdempotencyKeyError::NotJson { codec: encoded.codec.content_type() });
    }
    let document: Value = serde_json::from_slice(&encoded.bytes)
        .map_err(|error| IdempotencyKeyError::Unreadable { reason: error.to_string() })?;
    let mut digest = KeyDigest::default();
    for pointer in pointers {
        match pointer.find(&document) {
            Some(Value::String(text)) => digest.text(text.as_bytes()),
            Some(Value::Bool(is_true)) => digest.literal(&is_true.to_string()),
            Some(Value::Number(number)) => digest.literal(&text_of(number, pointer, &encoded.bytes)),
            Some(Value::Null) | None => {
                return Err(IdempotencyKeyError::NoValue { pointer: pointer.to_string() });
            }
            Some(Value::Array(_) | Value::Object(_)) => {
                return Err(IdempotencyKeyError::NoScalar { pointer: pointer.to_string() });
            }
        }
    }
    Ok(digest.into_key())
}

/// A number as it is told from others. What a double would round, where two become one, is told by its own text.
fn text_of(number: &Number, pointer: &Pointer, document: &[u8]) -> String {
    let own = || pointer.text_in(document).filter(|text| !is_told_by_a_double(text));
    match number.is_f64().then(own).flatten() {
        Some(text) => text.to_owned(),
        None => number.to_string(),
    }
}

/// Whether a double holds all its digits: 15 of them in any case (IEEE 754, binary64).
fn is_told_by_a_double(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    digits.count() <= 15
}

/// An event has no key of idempotency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdempotencyKeyError {
    /// A place is not in the payload, or `null`.
    #[error("the idempotency key {pointer} is not in the payload")]
    NoValue {
        /// The JSON pointer.
        pointer: String,
    },
    /// What lies at a place is an object or an array.
    #[error(
        "the idempotency key {pointer} is an object or array: point to a text, number or truth value in it"
    )]
    NoScalar {
        /// The JSON pointer.
        pointer: String,
    },
    /// A field is not in the metadata.
    #[error("the idempotency key \"{name}\" is not in the metadata")]
    NoField {
        /// The field.
        name: String,
    },
    /// Pointers need JSON.
    #[error(
        "the idempotency key lies in a JSON payload, this one is {codec}: take it from the metadata or with a function"
    )]
    NotJson {
        /// The payload's media type.
        codec: &'static str,
    },
    /// The payload is no JSON, or cannot be encoded.
    #[error("the payload cannot be read for its idempotency key: {reason}")]
    Unreadable {
        /// What the codec says.
        reason: String,
    },
    /// The function had no key for it.
    #[error("the function that makes idempotency keys has none for this event")]
    Function,
    /// The user's code panicked.
    #[error("making the idempotency key panicked")]
    Panicked,
}

#[cfg(test)]
mod tests;
