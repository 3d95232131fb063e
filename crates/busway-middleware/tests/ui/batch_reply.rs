//! A batch handler that returns one outcome where it has many events.

use busway_event::Raw;
use busway_middleware::{AnyHandler, Batch, Ephemeral, IntoHandler, Outcome, batch};

async fn store(_orders: Batch<Raw>) -> Outcome {
    Outcome::Done
}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(batch(store));
}
