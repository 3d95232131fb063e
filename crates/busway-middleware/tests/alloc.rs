//! What a delivery allocates: nothing, as long as all steps are sync.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use busway_event::{Event, EventId, EventType, Filter, Metadata, Stamp, Timestamp};
use busway_middleware::chain::{run, run_now};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    AnyHandler, Chain, Delivery, Ephemeral, Flow, IntoHandler, Middleware, ModeKind, Next, Outcome, Payload,
    Progress, Registry, Scope, Stage, State, States, SyncMiddleware, inline,
};

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Order {
    id: u64,
}

impl EventType for Order {
    const NAME: &'static str = "order";
}

/// A step that looks at what it sees and changes nothing.
struct Look;

impl SyncMiddleware for Look {
    fn before(&self, delivery: &mut Delivery) -> Flow {
        match delivery.event().topic().as_str() {
            "orders" => Flow::Continue,
            _ => Flow::Stop(Outcome::Skip),
        }
    }

    fn after(&self, _delivery: &Delivery, outcome: Outcome) -> Outcome {
        outcome
    }
}

struct Wait;

impl Middleware for Wait {
    async fn handle(&self, delivery: &mut Delivery, mut next: Next<'_>) -> Outcome {
        next.run(delivery).await
    }
}

fn delivery() -> Delivery {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
    let event = Event::new("orders", Order { id: 7 }).finish(&stamp).unwrap();
    let mut states = States::new();
    states.insert(1_u64);
    let filter = Filter::new("orders").unwrap();
    Delivery::new(event.into(), Scope::new("stock", filter, ModeKind::Ephemeral, states).into())
}

fn erased<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

fn chain_of(sync: usize, waiting: usize) -> Chain {
    let registry = Registry::new();
    (0..sync).for_each(|at| registry.add(Stage::User, &format!("look {at}"), Look.into_step()).unwrap());
    (0..waiting).for_each(|at| registry.add(Stage::User, &format!("wait {at}"), Wait.into_step()).unwrap());
    Chain::merge([&registry])
}

/// Allocations of `deliveries` deliveries through a slot that has been used before.
fn allocations(chain: &Chain, handler: &AnyHandler<Ephemeral>, deliveries: u64) -> u64 {
    let (mut slot, mut progress, mut delivery) = (handler.invocation(), Progress::new(), delivery());
    let mut context = Context::from_waker(Waker::noop());
    let mut deliver = || {
        {
            let mut running = pin!(run(chain, &mut delivery, &mut *slot, &mut progress));
            while running.as_mut().poll(&mut context).map(|outcome| assert!(outcome.is_done())).is_pending() {
            }
        }
        assert!(progress.take_emits().is_empty());
    };
    deliver();
    measure(|| (0..deliveries).for_each(|_| deliver())).count_total
}

/// An async handler that waits once on its way.
fn handler() -> AnyHandler<Ephemeral> {
    erased(async |order: Payload<Order>, State(one): State<u64>| {
        let mut first = true;
        std::future::poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        if order.id + one == 8 { Ok(()) } else { Err("another order") }
    })
}

#[test]
fn a_delivery_through_four_sync_steps_to_an_async_handler_allocates_nothing() {
    assert_eq!(allocations(&chain_of(4, 0), &handler(), 1_000), 0);
}

#[test]
fn an_async_step_allocates_once_for_each_delivery() {
    assert_eq!(allocations(&chain_of(4, 1), &handler(), 1_000), 1_000);
    assert_eq!(allocations(&chain_of(0, 3), &handler(), 1_000), 3_000);
}

#[test]
fn a_sync_handler_that_is_run_at_once_allocates_nothing() {
    let handler = erased(inline(|order: Payload<Order>| assert!(order.id == 7)));
    assert_eq!(allocations(&chain_of(4, 0), &handler, 1_000), 0);
    let (chain, mut progress, mut delivery) = (chain_of(4, 0), Progress::new(), delivery());
    let mut deliver = || assert!(run_now(&chain, &mut delivery, &handler, &mut progress).unwrap().is_done());
    deliver();
    assert_eq!(measure(|| (0..1_000).for_each(|_| deliver())).count_total, 0);
}
