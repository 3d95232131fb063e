//! A payload type is no argument by itself.

use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct OrderCreated {
    order_id: String,
}

impl EventType for OrderCreated {
    const NAME: &'static str = "order-created";
}

async fn reserve_stock(order: OrderCreated) {
    println!("{}", order.order_id);
}

fn main() {
    let _ = |bus: &Bus| drop(bus.subscribe("orders.created").to(reserve_stock));
}
