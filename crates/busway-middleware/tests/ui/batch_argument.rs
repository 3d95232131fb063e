//! A batch handler that takes beside its batch what only a single delivery has.

use busway_event::Raw;
use busway_middleware::{AnyHandler, Batch, Ephemeral, IntoHandler, Meta, batch};

async fn store(_orders: Batch<Raw>, _meta: Meta) {}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(batch(store));
}
