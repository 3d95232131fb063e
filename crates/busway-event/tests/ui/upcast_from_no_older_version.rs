use busway_event::EventType;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, EventType)]
#[event(name = "order", version = 2)]
struct OrderV2;

#[derive(Serialize, Deserialize, EventType)]
#[event(name = "order", version = 2, upcast_from = OrderV2)]
struct Order;

impl From<OrderV2> for Order {
    fn from(_: OrderV2) -> Self {
        Order
    }
}

fn main() {}
