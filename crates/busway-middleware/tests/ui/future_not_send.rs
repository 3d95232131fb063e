//! A future that is not `Send`: it holds an `Rc` across an await.

use std::rc::Rc;

use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Meta};

async fn count(_: Meta) {
    let counter = Rc::new(7);
    std::future::ready(()).await;
    drop(counter);
}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(count);
}
