//! A return type that is no reply.

use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Meta};

async fn count(_: Meta) -> usize {
    7
}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(count);
}
