//! What only a real cluster can show. `compose.yaml` makes one.

use std::sync::Arc;

use busway_engine::transport::{Reception, SendError, Transport, TransportError, TransportFuture, Verdict};
use busway_event::{Filter, Topic};
use busway_persistence::Stream;
use busway_testkit::conformance::{self, Broker, CASES, Harness};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::cluster::builder_to;
use crate::world::{PATIENCE, event_of, nothing_comes, numbers, parts, settle, take};

/// The cluster that is there. Cases have streams of their own in it.
struct Real(u16);

struct One;

impl Harness for Real {
    fn broker(&self, _: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>> {
        Box::pin(async { Box::new(One) as Box<dyn Broker> })
    }

    fn partitions(&self) -> u16 {
        self.0
    }
}

impl Broker for One {
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>> {
        Box::pin(async { Arc::new(builder_to(&brokers()).connect().await.unwrap()) as Arc<dyn Transport> })
    }
}

fn brokers() -> String {
    std::env::var("BUSWAY_KAFKA_BROKERS").expect("BUSWAY_KAFKA_BROKERS says where the brokers are")
}

/// A name that no other run has.
fn own(name: &str) -> String {
    use busway_engine::{Clock as _, SystemClock};
    format!("{name}-{}-{}", std::process::id(), SystemClock.utc().as_nanos())
}

fn numbered(number: u32, topic: &str) -> busway_event::AnyEvent {
    let mut parts = parts(number, None);
    parts.topic = Topic::new(topic).unwrap();
    event_of(parts, number.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka cluster"]
async fn on_kafka_the_transport_keeps_its_promises() {
    let cases = CASES.iter().filter(|case| case.name != "groups share" && case.name != "broker restarts");
    let report = conformance::run(&Real(1), cases).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    let report = conformance::run(&Real(4), CASES.iter().filter(|case| case.name == "groups share")).await;
    assert!(report.is_passed(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka cluster"]
async fn on_kafka_streams_are_made_once_and_checked_then() {
    let stream = Stream::new(own("made")).capture("made.#").partitions(3);
    let transport = builder_to(&brokers()).connect().await.unwrap();
    for _ in 0..2 {
        transport.prepare(std::slice::from_ref(&stream)).await.unwrap();
    }
    let error = transport.prepare(&[stream.partitions(5)]).await.unwrap_err();
    assert!(matches!(&error, TransportError::Incompatible { setting: "partitions", .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka cluster"]
async fn on_kafka_nobody_sees_what_was_aborted_and_an_id_has_one_producer() {
    let (name, id) = (own("txn"), own("id"));
    let stream = Stream::new(name.clone()).capture("txn.#");
    let connect = async || {
        let transport = builder_to(&brokers()).transactional(&id).connect().await.unwrap();
        transport.prepare(std::slice::from_ref(&stream)).await.unwrap();
        transport
    };
    let first = connect().await;
    let receiver =
        first.receiver(&Reception::new(name, own("stock"), Filter::new("#").unwrap())).await.unwrap();
    let sender = first.sender().await.unwrap();
    // The second goes to no stream: the first, which was on its way, is aborted with it.
    let results = sender.send(vec![numbered(0, "txn.a"), numbered(1, "elsewhere.a")]).await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(SendError::is_refused)), "{results:?}");
    assert!(sender.send(vec![numbered(2, "txn.a")]).await.iter().all(Result::is_ok));
    let came = take(&receiver, 1).await;
    assert_eq!(numbers(&came), [2]);
    settle(&receiver, &came, Verdict::Done).await;
    nothing_comes(&receiver).await;
    let second = connect().await;
    let error = sender.send(vec![numbered(3, "txn.a")]).await.pop().unwrap().unwrap_err();
    assert!(!error.is_transient(), "{}", error.reason());
    let sender = second.sender().await.unwrap();
    assert!(sender.send(vec![numbered(4, "txn.a")]).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka cluster"]
async fn on_kafka_a_topic_that_keeps_less_than_is_declared_is_refused_and_left_as_it_is() {
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .create_with_context(DefaultClientContext)
        .unwrap();
    let transport = builder_to(&brokers()).connect().await.unwrap();
    // Made without it, a topic has the age that brokers give it: a week.
    let topics = [
        ("cleanup.policy", [("cleanup.policy", "compact"), ("retention.ms", "-1")]),
        ("retention.ms", [("cleanup.policy", "delete"), ("retention.ms", "1000")]),
        ("max.message.bytes", [("max.message.bytes", "10000"), ("retention.ms", "-1")]),
    ];
    for (wrong, settings) in topics {
        let stream = own("small");
        let topic = NewTopic::new(&stream, 1, TopicReplication::Fixed(1));
        let topic = settings.into_iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        let error = transport.prepare(&[Stream::new(stream).capture("small.#")]).await.unwrap_err();
        assert!(
            matches!(&error, TransportError::Incompatible { setting, .. } if *setting == wrong),
            "{wrong}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kafka cluster with SASL"]
async fn on_kafka_a_wrong_password_is_denied_in_bounded_time_and_a_right_one_is_not() {
    let users = std::env::var("BUSWAY_KAFKA_SASL_BROKERS").expect("BUSWAY_KAFKA_SASL_BROKERS says where");
    let connect = |password| builder_to(&users).sasl("PLAIN", "ann", password).connect();
    let denied = tokio::time::timeout(PATIENCE, connect("wrong")).await.unwrap().unwrap_err();
    assert!(matches!(&denied, TransportError::AccessDenied { .. }), "{denied}");
    assert!(!format!("{denied:?} {denied}").contains("wrong"), "{denied}");
    tokio::time::timeout(PATIENCE, connect("right")).await.unwrap().unwrap();
}
