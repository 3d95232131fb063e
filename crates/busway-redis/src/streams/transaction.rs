//! Transactions within pipelines: `MULTI`, commands, `EXEC`. They are one piece of what goes over the connection, so that no other call comes between.

use busway_engine::transport::TransportError;
use redis::aio::ConnectionLike;
use redis::{Pipeline, Value};

use super::error::late;
use super::shared::Shared;

/// Sends the commands, and gives what each of them has answered, errors among it.
///
/// # Cancel safety
/// All of them go to the server as one piece, or none does.
pub(super) async fn tell(shared: &Shared, pipe: &Pipeline) -> Result<Vec<Value>, TransportError> {
    let mut connection = shared.link.connection.clone();
    // As they are: most say no more than that a command waits for the end.
    let telling = connection.req_packed_commands(pipe, 0, pipe.len());
    let told = tokio::time::timeout(shared.timeout, telling).await;
    told.map_err(|_| late(&shared.link.server, shared.timeout))?.map_err(|error| shared.said(&error))
}

/// What the commands of a transaction have answered, each error among them as it is; or why none was run, and whether that is certain.
pub(super) fn executed(
    shared: &Shared,
    mut told: impl Iterator<Item = Value>,
) -> Result<Vec<Value>, (TransportError, bool)> {
    let is_begun = matches!(told.next(), Some(Value::Okay));
    let (mut why, mut last, mut is_discarded) = (None, None, false);
    for answer in told {
        // The first reason is the reason; the last one only says that there was one.
        match answer {
            Value::ServerError(error) => {
                is_discarded |= error.code() == "EXECABORT";
                why = why.or(Some(error));
            }
            value => last = Some(value),
        }
    }
    match (why, last) {
        (None, Some(Value::Array(values))) => Ok(values),
        // Without a beginning it was no transaction, and each command was run by itself.
        (Some(error), _) => {
            let error = shared.said(&error.into());
            // What the server says that it has discarded is not there, whatever state it is in.
            let is_certain = is_begun && (is_discarded || !error.is_transient());
            Err((error, is_certain))
        }
        _ => Err((unsaid(), false)),
    }
}

pub(super) fn unsaid() -> TransportError {
    TransportError::Refused("the server has not said what became of it".to_owned())
}
