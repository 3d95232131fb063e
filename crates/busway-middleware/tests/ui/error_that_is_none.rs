//! A result whose error does not become a `Box<dyn Error + Send + Sync>`.

use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Meta};

struct StockError;

async fn reserve(_: Meta) -> Result<(), StockError> {
    Err(StockError)
}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(reserve);
}
