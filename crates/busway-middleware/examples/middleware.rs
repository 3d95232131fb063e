//! A chain without a bus: who is called in which order, who cuts it short, and how long each took.
//!
//! `cargo run -p busway-middleware --example middleware`

use std::future::ready;
use std::sync::Arc;
use std::time::Instant;

use busway_event::{AnyEvent, Event, EventId, EventType, Filter, Metadata, Stamp, Timestamp};
use busway_middleware::builtin::{Authorize, Refusal};
use busway_middleware::chain::run;
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    AnyHandler, BoxError, Chain, Delivery, Ephemeral, Extension, Flow, IntoHandler, Middleware, ModeKind,
    Next, Outcome, Payload, Permanent, Progress, Registry, Scope, Stage, States, SyncMiddleware,
};

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct OrderCreated {
    order_id: String,
    amount_cents: i64,
}

impl EventType for OrderCreated {
    const NAME: &'static str = "order-created";
}

/// What a middleware found out for those inside of it.
#[derive(Clone)]
struct Tenant(String);

async fn reserve(order: Payload<OrderCreated>, Extension(tenant): Extension<Tenant>) -> Result<(), BoxError> {
    if order.amount_cents < 0 {
        return Err(Permanent("a negative amount").into());
    }
    println!("  reserved {} for {}", order.order_id, tenant.0);
    Ok(())
}

/// The sync form: no future, no allocation.
struct FindTenant;

impl SyncMiddleware for FindTenant {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        let tenant = delivery.event().metadata().get("tenant").unwrap_or("nobody").to_owned();
        delivery.insert(Tenant(tenant));
        Flow::Continue
    }
}

/// The async form: it may wait, and go inwards again.
struct TwiceAtMost;

impl Middleware for TwiceAtMost {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        match next.run(delivery).await {
            Outcome::Failed(_) => {
                // A real one would wait here.
                ready(()).await;
                next.run(delivery).await
            }
            outcome => outcome,
        }
    }
}

fn order(order_id: &str, amount_cents: i64, tenant: Option<&str>) -> Result<AnyEvent, BoxError> {
    let metadata = Metadata::draft("example", 1).build()?;
    let stamp = Stamp::new(EventId::foreign("example", order_id), Timestamp::from_nanos(0), &metadata);
    let mut draft = Event::new("orders.created", OrderCreated { order_id: order_id.into(), amount_cents });
    if let Some(tenant) = tenant {
        draft = draft.meta("tenant", tenant);
    }
    Ok(draft.finish(&stamp).map_err(|(_, reason)| reason)?.into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    // The order of these lines does not matter: a stage has its place.
    let registry = Registry::new();
    registry.add(Stage::User, "tenant", FindTenant.into_step())?;
    registry.add(Stage::Retry, "twice at most", TwiceAtMost.into_step())?;
    let authorize = Authorize::new(|_topic, metadata| match metadata.get("tenant") {
        Some(_) => Ok(()),
        None => Err(Refusal::new("no tenant")),
    });
    registry.add(Stage::Decode, "authorize", IntoStep::into_step(authorize))?;
    let chain = Chain::merge([&registry]);
    println!("{chain:?}");

    let scope = Arc::new(Scope::new("stock", Filter::new("orders.#")?, ModeKind::Ephemeral, States::new()));
    let handler: AnyHandler<Ephemeral> = reserve.into_handler();
    let (mut slot, mut progress) = (handler.invocation(), Progress::new());
    #[expect(clippy::disallowed_methods, reason = "an example without an engine reads the clock itself")]
    progress.time_with(Some(Arc::new(Instant::now)));

    for event in
        [order("A-1", 4200, Some("acme"))?, order("A-2", -1, Some("acme"))?, order("A-3", 100, None)?]
    {
        let mut delivery = Delivery::new(event, Arc::clone(&scope));
        let outcome = run(&chain, &mut delivery, &mut *slot, &mut progress).await;
        println!("{outcome}");
        if let Some(trace) = progress.take_trace() {
            println!("  {trace}");
        }
    }
    Ok(())
}
