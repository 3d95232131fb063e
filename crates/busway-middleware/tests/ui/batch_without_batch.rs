//! A batch handler whose first argument is no `Batch`.

use busway_event::Raw;
use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Payload, batch};

async fn store(_orders: Vec<Payload<Raw>>) {}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(batch(store));
}
