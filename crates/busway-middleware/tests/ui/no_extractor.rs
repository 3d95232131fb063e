//! A handler argument that is no extractor: a payload type is taken as `Payload<T>`.

use busway_middleware::{AnyHandler, Ephemeral, IntoHandler};

struct Order;

async fn reserve(_order: Order) {}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(reserve);
}
