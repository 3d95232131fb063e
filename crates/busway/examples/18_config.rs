//! Configuration: a bus that is set by a text, with its problems, the environment over it, a dry run, middleware and access rules.
//!
//! `cargo run --example 18_config --features config` prints what is wrong with one file, then starts a bus with another one and says what a third would change.
//! `-- --schema` prints the JSON Schema for an editor instead.

use std::error::Error;
use std::time::Duration;

use busway::config::{Config, Format};
use busway::prelude::*;

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "order-created")]
struct OrderCreated {
    order_id: u32,
}

/// Parameters of a middleware of the program's own: misspelt ones are problems of the file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Greeting {
    word: String,
}

/// The middleware that is made of them.
struct Greet(String);

impl SyncMiddleware for Greet {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        println!("  {} {}", self.0, delivery.event().topic());
        Flow::Continue
    }
}

async fn reserve(order: Payload<OrderCreated>) {
    println!("  reserved {}", order.order_id);
}

const WRONG: &str = "\
routes:
  stock:
    filter: orders.#.created
    handlr: reserve
    limits: { concurrency: many, overflow: blok }
";

const GOOD: &str = r#"
bus: { producer: shop }
routes:
  stock:
    filter: orders.+
    handler: reserve
    middleware:
      user:
      - { kind: greet, with: { word: hello } }
      - { kind: timeout, with: { limit: 2s } }
access:
- { effect: allow, identity: shop, action: publish, filter: orders.# }
- { effect: deny, identity: "*", action: publish, filter: orders.secret }
- { effect: allow, identity: stock, action: subscribe, filter: orders.# }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--schema") {
        println!("{}", Config::schema());
        return Ok(());
    }
    // Everything that is wrong is said at once.
    if let Err(error) = Config::parse("busway.yaml", WRONG, Format::Yaml) {
        println!("{error}\n");
    }

    // `Config::load(path)` takes the environment of the process; here it is given.
    let variable = ("BUSWAY__ROUTES__STOCK__LIMITS__CONCURRENCY".to_owned(), "4".to_owned());
    let config = Config::parse_with("busway.yaml", GOOD, Format::Yaml, [variable.clone()])?;
    let builder =
        Bus::memory().handler("reserve", reserve).middleware_factory("greet", |greeting: Greeting| {
            if greeting.word.is_empty() { Err("it says nothing") } else { Ok(Greet(greeting.word)) }
        });
    let bus = config.configure(builder).start().await?;
    let described = bus.describe();
    for setting in described.subscription("stock").into_iter().flat_map(|stock| &stock.settings) {
        if setting.name == "concurrency" {
            println!("{setting}");
        }
    }
    for topic in ["orders.created", "orders.secret"] {
        let published = bus.publish(Event::new(topic, OrderCreated { order_id: 1 })).await;
        bus.idle().await;
        match published {
            Ok(receipt) => println!("{receipt}"),
            Err(error) => {
                let mut reason: &dyn Error = &error;
                while let Some(source) = reason.source() {
                    reason = source;
                }
                println!("{topic}: {error}: {reason}");
            }
        }
    }

    // A dry run: what would differ, and when it would be in force.
    let next = GOOD.replace("limit: 2s", "limit: 500ms").replace("producer: shop", "producer: store");
    let next = Config::parse_with("busway.yaml", &next, Format::Yaml, [variable])?;
    print!("would differ:\n{}", next.pending(&bus).await);
    // From another source than a file, as a service with an endpoint of its own would; then nothing differs but what waits for the next start.
    next.apply(&bus).await?;
    print!("differs still:\n{}", next.pending(&bus).await);
    println!("drained: {}", bus.shutdown(Duration::from_secs(10)).await.is_drained());
    Ok(())
}
