use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
struct OrderV1;

#[derive(Serialize, Deserialize, EventType)]
#[event(name = "order", version = 2, upcast_from = OrderV1)]
struct Order;

impl From<OrderV1> for Order {
    fn from(_: OrderV1) -> Self {
        Order
    }
}

fn main() {}
