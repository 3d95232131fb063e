//! A route whose events come from a broker keeps what it says, or is refused before anything changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use busway_engine::cutover::StreamLead;
use busway_engine::transport::{
    Capabilities, LocalTransport, Receiver, Reception, Sender, Transport, TransportError, TransportFuture,
};
use busway_engine::{Bus, Stream, TransactionError, Tx};
use busway_event::Event;
use busway_middleware::{BoxError, Payload, Permanent, inline};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::world::{Number, Seen, config, publish};

async fn broker(folder: &TempDir) -> Bus {
    let stream = Stream::new("orders").capture("orders.#");
    Bus::open(folder.path()).stream(stream).producer("broker").start().await.unwrap()
}

fn carried(mode: &str, settings: &str) -> String {
    format!(
        "streams: {{ orders: {{ capture: [orders.#] }} }}
carriers: {{ orders: {{ transport: nats, mode: {mode} }} }}
routes: {{ stock: {{ filter: orders.#, durable: stock, start_at: earliest, {settings} }} }}"
    )
}

async fn until(holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_route_says_and_a_broker_cannot_do_is_refused_before_anything_changes() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let seen = Seen::default();
    let noted = seen.clone();
    let builder = Bus::open(here.path()).producer("shop").transport("nats", LocalTransport::new(&broker));
    let builder = seen
        .register(builder, "one")
        .handler("banked", move |number: Payload<Number>, _: Tx| {
            let noted = noted.clone();
            async move {
                noted.note("banked", number.0);
                Ok::<(), TransactionError>(())
            }
        })
        .handler("inlined", inline(|_: Payload<Number>| ()));
    let before = carried("local", "handler: one");
    let bus = config(&before).configure(builder).start().await.unwrap();
    let cases = [
        ("handler: banked", "needs a durable subscription"),
        ("handler: inlined", "an inline handler"),
        ("handler: one, breaker: { fallback: ack_and_retry_later }", "AckAndRetryLater"),
        ("handler: one, idempotency: { by: id, retry_rate: { events: 1, per: 1s } }", ".retry_rate("),
        ("handler: one, dead_letters: { capacity: 5 }", "\"capacity\" is of the store"),
        ("handler: one, dead_letters: { expire_after: 1h }", "\"expire_after\" is of the store"),
        ("handler: one, dead_letters: { with_expired: true }", "\"with_expired\" is of the store"),
        ("handler: one, at_most_once: true", "\"at_most_once\" is of the store"),
        ("handler: one, limits: { ttl: { p1: 1h } }", "\"ttl\" is of the store"),
    ];
    for (number, (route, expected)) in cases.into_iter().enumerate() {
        let refused = config(&carried("remote", route)).apply(&bus).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{route}: {refused}");
        publish(&bus, "orders.made", u64::try_from(number).unwrap()).await;
        until(async || seen.len() == 1).await;
        seen.take();
        assert!(bus.describe().to_string().contains("stock"), "its route runs on");
        // Where the store has it, it is right.
        if number != 1 {
            config(&carried("local", route))
                .apply(&bus)
                .await
                .unwrap_or_else(|error| panic!("{route}: {error}"));
            stays_as_it_is(&bus, (route, expected), &seen).await;
            config(&before).apply(&bus).await.unwrap();
        }
    }
    let at =
        "routes: { stock: { filter: orders.#, handler: inlined, at: { transport: nats, stream: orders } } }";
    let refused = config(at).apply(&bus).await.unwrap_err().to_string();
    assert!(refused.contains("an inline handler"), "{refused}");
}

/// That a route which is in force, and which a broker cannot be asked for, is not cut over as it is.
async fn stays_as_it_is(bus: &Bus, (route, expected): (&str, &str), seen: &Seen) {
    let refused = config(&carried("remote", route)).apply(bus).await.unwrap_err().to_string();
    assert!(refused.contains(expected), "{route}, unchanged: {refused}");
    assert_eq!(bus.stream_lead("orders").unwrap(), StreamLead::AlwaysHere, "{route}");
    let again = config(&carried("local", route)).apply(bus).await;
    assert!(again.unwrap_or_else(|error| panic!("{route}: {error}")).is_empty(), "{route}");
    publish(bus, "orders.made", 0).await;
    until(async || seen.len() == 1).await;
    seen.take();
}

/// A way to a broker that notes who joins.
#[derive(Debug)]
struct Noted(LocalTransport, Arc<Mutex<Vec<String>>>);

impl Transport for Noted {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>> {
        self.0.prepare(streams)
    }

    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>> {
        self.0.sender()
    }

    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        self.1.lock().push(reception.member.clone());
        self.0.receiver(reception)
    }

    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>> {
        self.0.remove(stream, name)
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.0.close()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_one_program_are_different_members_unless_the_file_says_who_they_are() {
    let (there, stores) = (tempfile::tempdir().unwrap(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let (broker, members) = (broker(&there).await, Arc::<Mutex<Vec<String>>>::default());
    let text = "
streams: { orders: { capture: [orders.#] } }
carriers: { orders: { transport: nats, mode: remote } }
routes:
  stock: { filter: orders.#, handler: one, durable: stock }
  board: { filter: orders.#, handler: one, at: { transport: nats, stream: orders } }
  named: { filter: orders.#, handler: one, at: { transport: nats, stream: orders, member: host-7 } }
";
    let mut buses = Vec::new();
    for store in &stores {
        let way = Noted(LocalTransport::new(&broker), Arc::clone(&members));
        let builder = Bus::open(store.path()).producer("shop").transport("nats", way);
        let builder = Seen::default().register(builder, "one");
        buses.push(config(text).configure(builder).start().await.unwrap());
    }
    let mut members = members.lock().clone();
    assert_eq!(members.iter().filter(|member| *member == "host-7").count(), 2, "{members:?}");
    members.retain(|member| member != "host-7");
    members.sort_unstable();
    members.dedup();
    assert_eq!(members.len(), 4, "{members:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_holds_at_a_broker_too() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let attempts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&attempts);
    let slow = move |_: Payload<Number>| {
        let attempt = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if attempt == 0 {
                std::future::pending::<()>().await;
            }
        }
    };
    let builder = Bus::open(here.path()).producer("shop").transport("nats", LocalTransport::new(&broker));
    let text = carried("remote", "handler: slow, deadline: 20ms, retry: { first_delay: 1ms }");
    let bus = config(&text).configure(builder.handler("slow", slow)).start().await.unwrap();
    publish(&bus, "orders.made", 1).await;
    until(async || attempts.load(Ordering::Relaxed) == 2).await;
    assert!(bus.shutdown(Duration::from_secs(10)).await.is_drained());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_retries_is_in_force_in_memory_in_the_store_and_at_a_broker() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let builder = Bus::open(here.path()).producer("shop").transport("nats", LocalTransport::new(&broker));
    let settings = "handler: one, retry: { budget: { percent: 50 } }";
    let text = carried("remote", settings);
    let text = format!(
        "{}, memory: {{ filter: a, {settings} }}, store: {{ filter: orders.#, durable: store, {settings} }} }}",
        text.trim_end().trim_end_matches('}').trim_end()
    );
    let bus = config(&text).configure(Seen::default().register(builder, "one")).start().await.unwrap();
    let described = bus.describe().subscriptions;
    for name in ["memory", "store", "stock"] {
        let is_bounded = described.iter().filter(|subscription| *subscription.name == *name).any(|route| {
            route.settings.iter().any(|setting| {
                setting.name == "retry_budget" && setting.value == "50 % of the traffic, and 1 a second"
            })
        });
        assert!(is_bounded, "{name}: {described:?}");
    }
    assert!(bus.shutdown(Duration::from_secs(10)).await.is_drained());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_discarded_is_not_kept_by_a_broker() {
    for (policy, kept) in [("keep", 1), ("discard", 0)] {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let broker = broker(&there).await;
        let seen = Seen::default();
        let noted = seen.clone();
        let failing = move |number: Payload<Number>| {
            let noted = noted.clone();
            async move {
                noted.note("failing", number.0);
                match number.0 {
                    1 => Err::<(), BoxError>(Permanent("no such order").into()),
                    _ => Ok(()),
                }
            }
        };
        let builder = Bus::open(here.path()).producer("shop").transport("nats", LocalTransport::new(&broker));
        let text = carried("remote", &format!("handler: failing, dead_letters: {{ policy: {policy} }}"));
        let bus = config(&text).configure(builder.handler("failing", failing)).start().await.unwrap();
        for number in [1, 2] {
            bus.publish(Event::new("orders.made", Number(number)).key("A-1")).await.unwrap();
        }
        until(async || {
            let standing = broker.cursor("stock").standing().await.unwrap();
            standing.partitions.iter().map(|partition| partition.next.offset).sum::<u64>() == 2
        })
        .await;
        assert_eq!(seen.len(), 2, "{policy}");
        assert_eq!(broker.dead_letters().count("stock").await.unwrap(), kept, "{policy}");
    }
}
