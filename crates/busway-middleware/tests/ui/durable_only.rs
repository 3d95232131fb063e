//! An extractor that only a durable subscription can give, on an ephemeral one.

use busway_middleware::{AnyHandler, Delivery, Durable, Ephemeral, ExtractError, FromDelivery, IntoHandler};

struct Tx;

impl FromDelivery<Durable> for Tx {
    fn from_delivery(_delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Tx)
    }
}

async fn reserve(_tx: Tx) {}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(reserve);
}
