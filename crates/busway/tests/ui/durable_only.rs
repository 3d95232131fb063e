//! What needs a store is no argument on a subscription in memory.

use busway::prelude::*;
use busway::{Durable, ExtractError, FromDelivery};

struct Offset(u64);

impl FromDelivery<Durable> for Offset {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(Self(delivery.offset().unwrap_or_default()))
    }
}

async fn note(offset: Offset) {
    println!("{}", offset.0);
}

fn main() {
    let _ = |bus: &Bus| drop(bus.subscribe("orders.created").to(note));
}
