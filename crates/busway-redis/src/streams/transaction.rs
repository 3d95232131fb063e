//! Transactions within pipelines: `MULTI`, commands, `EXEC`. They are one piece of what goes over the connection, so that no other call comes between.

use busway_engine::transport::TransportError;
use redis::{RedisError, RedisResult, Value};

use super::shared::Shared;

/// What the commands of a transaction have answered, each error among them as it is; or why none was run, and whether that is certain.
pub(super) fn executed(
    shared: &Shared,
    mut told: impl Iterator<Item = RedisResult<Value>>,
) -> Result<Vec<Value>, (TransportError, bool)> {
    let is_begun = matches!(told.next(), Some(Ok(_)));
    let (mut why, mut last) = (None::<RedisError>, None);
    for answer in told {
        // The first reason is the reason; the last one only says that there was one.
        match answer {
            Ok(value) => last = Some(value),
            Err(error) => why = why.or(Some(error)),
        }
    }
    match (why, last) {
        (None, Some(Value::Array(values))) => Ok(values),
        // Without a beginning it was no transaction, and each command was run by itself.
        (Some(error), _) => {
            let error = shared.said(&error);
            let is_certain = is_begun && !error.is_transient();
            Err((error, is_certain))
        }
        _ => Err((unsaid(), false)),
    }
}

pub(super) fn unsaid() -> TransportError {
    TransportError::Refused("the server has not said what became of it".to_owned())
}
