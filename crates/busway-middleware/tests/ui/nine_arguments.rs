//! Nine arguments: a handler takes up to eight.

use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Meta};

async fn reserve(_: Meta, _: Meta, _: Meta, _: Meta, _: Meta, _: Meta, _: Meta, _: Meta, _: Meta) {}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(reserve);
}
