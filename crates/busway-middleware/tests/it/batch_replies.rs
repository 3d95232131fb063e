//! What batch handlers take and return.

use std::io;

use busway_event::{AnyEvent, CodecId, DecodeError, EventType};
use busway_middleware::chain::{run, run_batch};
use busway_middleware::{
    AnyHandler, Batch, Chain, Delivery, Ephemeral, IntoBatchReply, Outcome, Permanent, Progress, Run, State,
    States, batch,
};
use bytes::Bytes;

use crate::world::{Order, chain_of, delivery_of, draft, ephemeral, event_of, run_once, scope, wire};

async fn replies_to(handler: &AnyHandler<Ephemeral>, events: Vec<AnyEvent>) -> Vec<Outcome> {
    let mut deliveries: Vec<Delivery> = events.into_iter().map(delivery_of).collect();
    let mut progress: Vec<_> = deliveries.iter().map(|_| Progress::new()).collect();
    run_batch(&Chain::default(), &mut deliveries, handler, &mut progress).await.unwrap()
}

fn three() -> Vec<AnyEvent> {
    (1..=3).map(|id| event_of(draft(id))).collect()
}

fn told(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().map(ToString::to_string).collect()
}

fn returning<R: IntoBatchReply + Send + 'static>(
    make: impl Fn(Batch<Order>) -> R + Send + Sync + 'static,
) -> AnyHandler<Ephemeral> {
    ephemeral(batch(move |orders| {
        let reply = make(orders);
        async move { reply }
    }))
}

#[tokio::test]
async fn each_event_has_the_outcome_at_its_place() {
    let handler = returning(|orders| {
        let outcome = |order: &busway_event::Event<Order>| match order.payload().id {
            2 => Err("out of stock"),
            _ => Ok(()),
        };
        orders.iter().map(outcome).collect::<Vec<_>>()
    });
    assert_eq!(told(&replies_to(&handler, three()).await), ["done", "failed: out of stock", "done"]);
    // The same inside of a result: the whole batch may fail as well.
    let handler =
        returning(|orders| Ok::<_, io::Error>(orders.iter().map(|_| Outcome::Skip).collect::<Vec<_>>()));
    assert_eq!(told(&replies_to(&handler, three()).await), ["skipped"; 3]);
}

#[tokio::test]
async fn one_outcome_is_that_of_all_events() {
    assert_eq!(told(&replies_to(&returning(|_| ()), three()).await), ["done"; 3]);
    assert_eq!(told(&replies_to(&returning(|_| Ok::<_, io::Error>(())), three()).await), ["done"; 3]);

    let failed = replies_to(&returning(|_| Err::<(), _>(io::Error::other("disk gone"))), three()).await;
    assert!(failed[0].error().unwrap().is::<io::Error>(), "the first has the error itself");
    let whole = "failed: the batch was refused as a whole: disk gone";
    assert_eq!(told(&failed), ["failed: disk gone", whole, whole]);

    let dead = replies_to(&returning(|_| Err::<(), _>(Permanent("bad schema"))), three()).await;
    let whole = "dead: the batch was refused as a whole: bad schema";
    assert_eq!(told(&dead), ["dead: bad schema", whole, whole]);
}

#[tokio::test]
async fn outcomes_for_another_number_of_events_are_nobodys() {
    for len in [0, 2, 4] {
        let handler = returning(move |_| vec![(); len]);
        let text = format!(
            "dead: the batch handler returned {len} outcomes for 3 events: return one an event, in order"
        );
        assert_eq!(told(&replies_to(&handler, three()).await), [text.as_str(); 3]);
    }
}

#[tokio::test]
async fn an_event_that_does_not_decode_is_left_out_and_the_others_keep_their_places() {
    let events = vec![wire("{\"id\":1}"), wire("nonsense"), event_of(draft(3))];
    let handler = returning(|orders| {
        orders
            .iter()
            .map(|order| Outcome::failed(format!("order {}", order.payload().id)))
            .collect::<Vec<_>>()
    });
    let outcomes = replies_to(&handler, events).await;
    assert!(matches!(outcomes[1], Outcome::Dead(_)), "{}", outcomes[1]);
    let outcomes = told(&outcomes);
    assert_eq!((&*outcomes[0], &*outcomes[2]), ("failed: order 1", "failed: order 3"));

    // When none decodes, the handler is not called.
    let handler = ephemeral(batch(async |_: Batch<Order>| -> () { panic!("called") }));
    let outcomes = replies_to(&handler, vec![wire("x"), wire("y")]).await;
    assert_eq!(outcomes.iter().map(Outcome::label).collect::<Vec<_>>(), ["dead"; 2]);
}

#[tokio::test]
async fn an_event_whose_type_panics_at_it_fails_alone() {
    /// Has a bug in its decoder.
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Fragile;
    impl EventType for Fragile {
        const NAME: &'static str = "order";

        fn decode(_: CodecId, bytes: &Bytes) -> Result<Self, DecodeError> {
            assert!(!bytes.is_empty(), "a bug");
            Ok(Self)
        }
    }
    let handler = ephemeral(batch(async |_: Batch<Fragile>| {}));
    let outcomes = replies_to(&handler, vec![wire("x"), wire(""), wire("y")]).await;
    assert_eq!(told(&outcomes), ["done", "failed: handler panicked: a bug", "done"]);
}

#[tokio::test]
async fn a_batch_handler_takes_what_the_subscription_gives() {
    type Name = &'static str;
    let handlers = [
        ephemeral(batch(async |_: Batch<Order>, State(name): State<Name>| Err::<(), _>(name))),
        ephemeral(batch(async |_: Batch<Order>, _: State<u64>, State(name): State<Name>| Err::<(), _>(name))),
        ephemeral(batch(async |_: Batch<Order>, _: State<u64>, _: State<u64>, State(name): State<Name>| {
            Err::<(), _>(name)
        })),
        ephemeral(batch(
            async |_: Batch<Order>, _: State<u64>, _: State<u64>, _: State<u64>, State(name): State<Name>| {
                Err::<(), _>(name)
            },
        )),
    ];
    for handler in handlers {
        assert_eq!(handler.info().requirements.payloads(), ["order"]);
        let mut states = States::new();
        states.insert("main");
        states.insert(7_u64);
        let scope = scope(states);
        let deliveries = || three().into_iter().map(|event| Delivery::new(event, scope.clone()));
        let mut deliveries: Vec<_> = deliveries().collect();
        let mut progress: Vec<_> = deliveries.iter().map(|_| Progress::new()).collect();
        let outcomes = run_batch(&Chain::default(), &mut deliveries, &handler, &mut progress).await.unwrap();
        assert_eq!(outcomes[0].to_string(), "failed: main");

        let without = replies_to(&handler, three()).await;
        assert!(told(&without).iter().all(|text| text.contains("no state of type")), "{without:?}");
    }
}

#[tokio::test]
async fn a_batch_of_one_may_be_run_as_a_single_event() {
    let handler = returning(|orders| match orders.len() {
        1 => Ok(()),
        _ => Err("not one"),
    });
    let chain = chain_of([]);
    let (mut slot, mut progress) = (handler.invocation(), Progress::new());
    for (json, label) in [("{\"id\":1}", "done"), ("x", "dead"), ("{\"id\":2}", "done")] {
        let outcome = run(&chain, &mut delivery_of(wire(json)), &mut *slot, &mut progress).await;
        assert_eq!(outcome.label(), label);
    }
    let panicking = ephemeral(batch(async |_: Batch<Order>| -> () { panic!("a bug") }));
    let (outcome, _) = run_once(&chain, &panicking, &mut delivery_of(wire("{\"id\":1}"))).await;
    assert_eq!(outcome.to_string(), "failed: handler panicked: a bug");
}

#[test]
fn a_batch_has_at_most_as_many_events_as_its_handler_says() {
    let max = |handler: AnyHandler<Ephemeral>| match handler.info().run {
        Run::Batch(max) => max.get(),
        other => panic!("{other}"),
    };
    let handler = || batch(async |_: Batch<Order>| {});
    assert_eq!(max(ephemeral(handler())), 128);
    assert_eq!(max(ephemeral(handler().max(500))), 500);
    assert_eq!(max(ephemeral(handler().max(0))), 1);
    assert!(format!("{:?}", handler().max(7)).ends_with("max 7)"));
}
