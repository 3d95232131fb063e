//! Handlers and middleware by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use busway_engine::{BuildProblem, Bus, Tx};
use busway_middleware::{Delivery, Flow, Payload, State, SyncMiddleware};
use busway_testkit::TestBus;

use crate::world::{Number, Seen, config, publish};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CountTo {
    most: usize,
}

struct Counter(Arc<AtomicUsize>);

impl SyncMiddleware for Counter {
    fn before(&self, _delivery: &mut Delivery) -> Flow {
        self.0.fetch_add(1, Ordering::Relaxed);
        Flow::Continue
    }
}

#[tokio::test]
async fn a_middleware_of_the_program_is_made_of_its_parameters() {
    let counted = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&counted);
    let seen = Seen::default();
    let text = config(
        "middleware: { user: [{ kind: count, with: { most: 3 } }] }\nroutes: { a: { filter: a, handler: one } }",
    );
    let bus = TestBus::build(|builder| {
        let builder = seen.register(builder, "one").middleware_factory("count", move |count: CountTo| {
            if count.most == 0 { Err("it counts to nothing") } else { Ok(Counter(Arc::clone(&made))) }
        });
        text.configure(builder)
    })
    .await;
    publish(&bus, "a", 1).await;
    bus.settle().await;
    assert_eq!((seen.len(), counted.load(Ordering::Relaxed)), (1, 1));
    let apply = async |with: &str| {
        let text = format!("middleware: {{ user: [{{ kind: count, with: {with} }}] }}");
        config(&text).apply(&bus).await.map(drop).map_err(|error| error.to_string())
    };
    let wrong = apply("{ most: many }").await.unwrap_err();
    assert!(wrong.contains("busway.yaml:1:51: invalid type: string"), "{wrong}");
    let unknown = apply("{ most: 1, moist: 2 }").await.unwrap_err();
    assert!(unknown.contains("busway.yaml:1:61: unknown field `moist`"), "{unknown}");
    let refused = apply("{ most: 0 }").await.unwrap_err();
    assert!(refused.contains("it counts to nothing"), "{refused}");
    apply("{ most: 5 }").await.unwrap();
}

#[tokio::test]
async fn a_handler_that_needs_more_than_its_route_gives_is_a_load_error() {
    let text = config(
        "\
routes:
  a: { filter: a, handler: stores }
  b: { filter: b, handler: wants }
  c: { filter: c, handler: inline, group: g }
",
    );
    let bus = TestBus::build(|builder| {
        builder
            .handler("stores", async |_number: Payload<Number>, _tx: Tx| {})
            .handler("wants", async |State(_text): State<String>| {})
            .handler("inline", busway_middleware::inline(|| {}))
    })
    .await;
    let shown = text.check(&bus).await.unwrap_err().to_string();
    for expected in [
        "busway.yaml:2:28: this handler needs a durable subscription",
        "busway.yaml:3:28: its handler takes State<alloc::string::String>",
        "busway.yaml:4:28: an inline handler cannot be a member of a group",
    ] {
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
    }
}

#[tokio::test]
async fn a_name_is_registered_once() {
    let builder = Bus::memory()
        .handler("one", async || {})
        .handler("one", async || {})
        .middleware_factory("m", |(): ()| Ok::<_, String>(busway_middleware::builtin::LogOutcome))
        .middleware_factory("m", |(): ()| Ok::<_, String>(busway_middleware::builtin::LogOutcome));
    let error = builder.start().await.unwrap_err();
    assert!(matches!(error.problems(), [BuildProblem::NamedTwice { .. }, BuildProblem::NamedTwice { .. }]));
}

#[derive(serde::Deserialize)]
struct Secretive {
    credentials: Credentials,
}

#[derive(serde::Deserialize)]
struct Credentials {
    key: String,
}

#[tokio::test]
async fn a_secret_of_the_wrong_kind_is_not_quoted() {
    let bus = TestBus::build(|builder| {
        builder.middleware_factory("mine", |with: Secretive| match with.credentials.key.is_empty() {
            true => Err("there is none"),
            false => Ok(Counter(Arc::default())),
        })
    })
    .await;
    let text = "middleware:\n  user:\n  - kind: mine\n    with:\n      credentials:\n        key: 4711123\n";
    let error = config(text).apply(&bus).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("busway.yaml:6:14: it is not what this parameter takes"), "{shown}");
    assert!(!shown.contains("4711123"), "{shown}");
    config(&text.replace("4711123", "'4711123'")).apply(&bus).await.unwrap();
}
