//! Extractors: what each takes, what it needs, and what a missing thing means.

use std::num::NonZeroU32;
use std::sync::Arc;

use busway_event::{AnyEvent, DecodeError, Event, Raw, Topic};
use busway_middleware::{
    Chain, Delivery, Durable, Ephemeral, Extension, ExtractError, Flow, FromDelivery, IntoHandler, Meta,
    Outcome, Payload, Position, Replay, Requirements, Run, State, States, batch, blocking, inline,
};

use crate::world::{
    Order, before, chain_of, delivery, delivery_of, draft, ephemeral, event_of, run_once, scope, wire,
};

#[derive(Debug, Clone, PartialEq)]
struct Db(&'static str);

#[derive(Debug, Clone, PartialEq)]
struct Tenant(u8);

fn stated() -> Delivery {
    let mut states = States::new();
    states.insert(Db("main"));
    states.insert(7_u64);
    Delivery::new(event_of(draft(1).meta("tenant", "a")), scope(states))
}

#[tokio::test]
async fn eight_arguments_may_come_in_any_order() {
    #[expect(clippy::too_many_arguments, reason = "eight is what a handler may take")]
    async fn first(
        payload: Payload<Order>,
        event: Event<Order>,
        any: AnyEvent,
        meta: Meta,
        topic: Topic,
        delivery: Delivery,
        State(db): State<Db>,
        Extension(tenant): Extension<Tenant>,
    ) -> Result<(), String> {
        let same =
            payload.id == event.payload().id && any.id() == event.id() && topic == *delivery.event().topic();
        let rest = (meta.get("tenant"), db, tenant) == (Some("a"), Db("main"), Tenant(3));
        if same && rest { Ok(()) } else { Err(format!("{delivery:?}")) }
    }
    #[expect(clippy::too_many_arguments, reason = "eight is what a handler may take")]
    async fn backwards(
        Extension(tenant): Extension<Tenant>,
        State(db): State<Db>,
        delivery: Delivery,
        topic: Topic,
        meta: Meta,
        any: AnyEvent,
        event: Event<Order>,
        payload: Payload<Order>,
    ) -> Result<(), String> {
        first(payload, event, any, meta, topic, delivery, State(db), Extension(tenant)).await
    }
    let chain = chain_of([(
        "tenant",
        before(|delivery| {
            delivery.insert(Tenant(3));
            Flow::Continue
        }),
    )]);
    for handler in [ephemeral(first), ephemeral(backwards)] {
        let (outcome, _) = run_once(&chain, &handler, &mut stated()).await;
        assert!(outcome.is_done(), "{outcome}");
    }
}

#[tokio::test]
async fn any_number_of_arguments_up_to_eight_is_a_handler() {
    type S = State<u64>;
    let handlers = [
        ephemeral(|| async {}),
        ephemeral(|_: S| async {}),
        ephemeral(|_: S, _: S| async {}),
        ephemeral(|_: S, _: S, _: S| async {}),
        ephemeral(|_: S, _: S, _: S, _: S| async {}),
        ephemeral(|_: S, _: S, _: S, _: S, _: S| async {}),
        ephemeral(|_: S, _: S, _: S, _: S, _: S, _: S| async {}),
        ephemeral(|_: S, _: S, _: S, _: S, _: S, _: S, _: S| async {}),
        ephemeral(|_: S, _: S, _: S, _: S, _: S, _: S, _: S, _: S| async {}),
        ephemeral(inline(|_: S, _: S, _: S, _: S, _: S, _: S, _: S, _: S| {})),
        ephemeral(blocking(|_: S, _: S, _: S, _: S, _: S, _: S, _: S, _: S| {})),
    ];
    for (at, handler) in handlers.iter().enumerate() {
        let (outcome, _) = run_once(&Chain::default(), handler, &mut stated()).await;
        assert!(outcome.is_done(), "{at}: {outcome}");
        let states = handler.info().requirements.states().len();
        assert_eq!(states, usize::from(at > 0), "a state is asked for once, however often it is taken");
    }
}

#[test]
fn each_extractor_takes_what_it_says() {
    fn take<T: FromDelivery<Ephemeral>>(delivery: &Delivery) -> T {
        T::from_delivery(delivery).unwrap()
    }
    let position = Position { stream: "orders".into(), partition: 2, offset: 17 };
    let delivery = stated()
        .with_attempt(NonZeroU32::new(3).unwrap())
        .with_position(position)
        .with_replay(Replay::Repeated)
        .with_lagged(5);
    assert_eq!(*take::<Payload<Order>>(&delivery), Order { id: 1 });
    assert_eq!(take::<Payload<Order>>(&delivery).into_event().id(), delivery.event().id());
    assert!(
        std::ptr::eq(take::<Event<Order>>(&delivery).header(), delivery.event().header()),
        "shared, not copied"
    );
    assert_eq!(take::<AnyEvent>(&delivery).type_name(), "order");
    assert_eq!(take::<Payload<Raw>>(&delivery).0, "{\"id\":1}".as_bytes());
    assert_eq!(take::<Meta>(&delivery).producer(), "test");
    assert_eq!(take::<Topic>(&delivery).as_str(), "orders.created");
    assert_eq!(take::<State<u64>>(&delivery).0, 7);
    let own = take::<Delivery>(&delivery);
    assert_eq!((own.attempt(), own.offset(), own.is_replay(), own.lagged()), (3, Some(17), true, 5));
    assert_eq!(own.position().unwrap().to_string(), "orders/2/17");
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_dead_and_the_handler_is_not_called() {
    let handler = ephemeral(async |_: Payload<Order>| -> () { panic!("called") });
    let (outcome, progress) =
        run_once(&Chain::default(), &handler, &mut delivery_of(wire("{\"id\":\"x\"}"))).await;
    let Outcome::Dead(error) = outcome else { panic!("{outcome}") };
    assert!(matches!(error.downcast_ref(), Some(DecodeError::Malformed { .. })), "{error}");
    assert_eq!(progress.cut_by(), None);

    let (outcome, _) = run_once(&Chain::default(), &handler, &mut delivery_of(wire("{\"id\":4}"))).await;
    assert_eq!(outcome.to_string(), "failed: handler panicked: called", "bytes that fit are decoded");
}

#[tokio::test]
async fn a_missing_state_or_extension_fails_and_is_named() {
    let state = ephemeral(async |_: State<Db>| {});
    let extension = ephemeral(inline(|_: Extension<Tenant>| {}));
    for (handler, name) in [(state, "Db"), (extension, "Tenant")] {
        let (outcome, _) = run_once(&Chain::default(), &handler, &mut delivery(1)).await;
        assert!(matches!(outcome, Outcome::Failed(_)) && outcome.to_string().contains(name), "{outcome}");
    }
}

#[tokio::test]
async fn a_slot_that_refused_takes_the_next_delivery() {
    let handler = ephemeral(async |_: Payload<Order>| {});
    let mut invocation = handler.invocation();
    let mut progress = busway_middleware::Progress::new();
    for (json, label) in [("[]", "dead"), ("{\"id\":1}", "done"), ("x", "dead"), ("{\"id\":2}", "done")] {
        let mut delivery = delivery_of(wire(json));
        let chain = Chain::default();
        let outcome =
            busway_middleware::chain::run(&chain, &mut delivery, &mut *invocation, &mut progress).await;
        assert_eq!(outcome.label(), label);
    }
}

/// An extractor of somebody else's, for durable subscriptions only.
struct Ledger;

impl FromDelivery<Durable> for Ledger {
    fn from_delivery(_delivery: &Delivery) -> Result<Self, ExtractError> {
        Err(ExtractError::Other("the ledger is shut".into()))
    }

    fn require(requirements: &mut Requirements) {
        requirements.transaction();
    }
}

#[tokio::test]
async fn what_a_handler_needs_is_known_before_the_first_delivery() {
    let handler =
        ephemeral(async |_: Payload<Order>, _: State<Db>, _: Event<Raw>, _: State<u64>, _: Meta| {});
    let requirements = &handler.info().requirements;
    assert_eq!(requirements.payloads(), ["order", "raw"]);
    let mut states = States::new();
    states.insert(Db("main"));
    let missing: Vec<_> = requirements.states().iter().filter(|(id, _)| !states.contains(*id)).collect();
    assert_eq!(missing.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["u64"]);
    assert!(!requirements.needs_transaction());

    let durable: busway_middleware::AnyHandler<Durable> = (async |_: Ledger| {}).into_handler();
    assert!(durable.info().requirements.needs_transaction());
    let (outcome, _) = run_once(&Chain::default(), &durable, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "failed: the argument could not be taken: the ledger is shut");
}

#[test]
fn a_handler_says_what_it_is_and_where_it_runs() {
    async fn reserve(_: Payload<Order>) {}
    let handler = ephemeral(reserve);
    assert!(handler.info().name.ends_with("reserve"), "{}", handler.info().name);
    let runs = [
        (handler.clone(), "async"),
        (ephemeral(blocking(|| {})), "blocking"),
        (ephemeral(inline(|| {})), "inline"),
        (ephemeral(batch(async |_: busway_middleware::Batch<Order>| {}).max(9)), "batch of 9"),
    ];
    for (handler, run) in runs {
        assert_eq!(handler.info().run.to_string(), run);
        assert_eq!(ephemeral(handler.clone()).info(), handler.info(), "an erased handler is a handler again");
    }
    assert_eq!(
        ephemeral(batch(async |_: busway_middleware::Batch<Order>| {}).max(0)).info().run,
        Run::Batch(1.try_into().unwrap())
    );
}

#[test]
fn a_clone_of_a_delivery_keeps_the_values_that_it_had() {
    let mut delivery = delivery(1);
    delivery.insert(Tenant(1));
    let earlier = delivery.clone();
    delivery.insert(Tenant(2));
    delivery.insert(Arc::new(5_u8));
    assert_eq!((earlier.get(), delivery.get()), (Some(&Tenant(1)), Some(&Tenant(2))));
    assert_eq!(earlier.get::<Arc<u8>>(), None);
}
