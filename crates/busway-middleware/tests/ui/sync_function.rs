//! A function that is not async, without `blocking` or `inline` around it.

use busway_middleware::{AnyHandler, Ephemeral, IntoHandler, Meta};

fn count(_: Meta) {}

fn to<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn main() {
    to(count);
}
