//! What is wrong is said at once, and a directory has one owner.

use busway_engine::{BuildProblem, Bus, StartAt, Stream, StreamProblem, SubscribeProblem};
use busway_middleware::Payload;

use super::{dir, open, with_orders};
use crate::world::Number;

async fn ignore(_order: Payload<Number>) {}

#[tokio::test]
async fn everything_wrong_with_streams_is_said_at_once_and_nothing_is_made() {
    let dir = dir();
    let path = dir.path().join("store");
    let builder = Bus::open(&path)
        .producer("\0")
        .stream(Stream::new("a b").capture("x..y"))
        .stream(Stream::new("one").capture("orders.#"))
        .stream(Stream::new("two").capture("+.created"));
    let error = builder.start().await.unwrap_err();
    let problems = error.problems();
    assert!(matches!(problems[0], BuildProblem::Stream { problem: StreamProblem::Name, .. }), "{error}");
    assert!(matches!(problems[1], BuildProblem::Stream { problem: StreamProblem::Filter(_), .. }), "{error}");
    assert!(
        matches!(problems[2], BuildProblem::Stream { problem: StreamProblem::Overlap { .. }, .. }),
        "{error}"
    );
    assert!(matches!(problems[3], BuildProblem::Producer(_)) && problems.len() == 4, "{error}");
    assert!(!error.is_transient() && !path.exists());

    let error = Bus::memory().stream(Stream::new("orders").capture("orders.#")).start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the bus did not start: stream \"orders\": this bus lives in memory; begin with Bus::open(path)"
    );
}

#[tokio::test]
async fn a_second_open_is_an_error_that_names_the_owner() {
    let dir = dir();
    let bus = open(&dir).await;
    let error = with_orders(Bus::open(dir.path())).start().await.unwrap_err();
    assert!(error.to_string().contains(&format!("is open in process {}", std::process::id())), "{error}");
    assert!(error.is_transient());
    bus.finish().await;
    open(&dir).await.finish().await;
}

#[tokio::test]
async fn a_stream_with_another_number_of_partitions_is_an_error() {
    let dir = dir();
    open(&dir).await.finish().await;
    let wider = Stream::new("orders").capture("orders.#").partitions(2);
    let error = Bus::open(dir.path()).stream(wider).start().await.unwrap_err();
    assert!(
        matches!(
            error.problems(),
            [BuildProblem::Stream { problem: StreamProblem::OtherPartitions { .. }, .. }]
        ),
        "{error}"
    );
}

#[tokio::test]
async fn everything_wrong_with_a_durable_subscription_is_said_at_once() {
    let dir = dir();
    let bus = open(&dir).await;
    let builder = bus.subscribe("flights.#").coalesce_by(|_| None).durable("a b");
    let error = builder.to(ignore).await.unwrap_err();
    assert_eq!(
        error.problems(),
        [
            SubscribeProblem::NotDurable { setting: "coalesce_by" },
            SubscribeProblem::DurableName,
            SubscribeProblem::NoStream { filter: "flights.#".to_owned() },
        ]
    );
    bus.subscribe("orders.#").durable("stock").to(ignore).await.unwrap();
    let again = bus.subscribe("orders.+").durable("stock").to(ignore).await.unwrap_err();
    assert_eq!(again.problems(), [SubscribeProblem::NameTaken]);
    let ephemeral = bus.subscribe("orders.+").name("stock").to(ignore).await.unwrap_err();
    assert_eq!(ephemeral.problems(), [SubscribeProblem::NameTaken]);
    bus.subscribe("orders.+").name("mail").to(ignore).await.unwrap();
    let mail = bus.subscribe("orders.+").durable("mail").to(ignore).await.unwrap_err();
    assert_eq!(mail.problems(), [SubscribeProblem::NameTaken]);
    bus.finish().await;

    let memory = Bus::memory().start().await.unwrap();
    let error = memory.subscribe("orders.#").durable("stock").to(ignore).await.unwrap_err();
    assert_eq!(error.problems(), [SubscribeProblem::NoStore]);
}

#[tokio::test]
async fn a_durable_name_with_another_filter_is_an_error_that_names_both() {
    let dir = dir();
    let bus = open(&dir).await;
    let stock = bus.subscribe("orders.#").durable("stock").to(ignore).await.unwrap();
    stock.stop().await;
    let error = bus.subscribe("orders.+").durable("stock").to(ignore).await.unwrap_err();
    assert!(matches!(error.problems(), [SubscribeProblem::Store(_)]), "{error}");
    assert!(error.to_string().contains("was made with the filter orders.#, not orders.+"), "{error}");
    // The name is free for the right one.
    let stock = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
    stock.to(ignore).await.unwrap();
    let description = bus.describe();
    let stock = description.subscription("stock").unwrap();
    assert_eq!((stock.mode.to_string().as_str(), stock.filter.as_str()), ("durable", "orders.#"));
    bus.finish().await;
}
