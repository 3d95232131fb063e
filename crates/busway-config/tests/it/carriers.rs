//! Streams that are cut over to a broker, and routes at one, by configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway_engine::transport::{
    Capabilities, LocalTransport, Receiver, Reception, Sender, Transport, TransportError, TransportFuture,
};
use busway_engine::{Bus, Stream, TransactionError, Tx};
use busway_event::Event;
use busway_middleware::Payload;
use tempfile::TempDir;

use crate::world::{Number, Seen, config, publish};

/// A broker: a bus with the stream.
async fn broker(folder: &TempDir) -> Bus {
    let stream = Stream::new("orders").capture("orders.#");
    Bus::open(folder.path()).stream(stream).producer("broker").start().await.unwrap()
}

/// A service whose handlers note what they are given, and `banked` takes a transaction.
async fn service(folder: &TempDir, broker: &Bus, text: &str) -> (Bus, Seen) {
    let seen = Seen::default();
    let builder = Bus::open(folder.path()).producer("shop").transport("nats", LocalTransport::new(broker));
    let builder = ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name));
    let builder = builder.handler("banked", async |_: Payload<Number>, _: Tx| Ok::<(), TransactionError>(()));
    let bus = config(text).configure(builder).start().await.unwrap_or_else(|error| panic!("{error}"));
    (bus, seen)
}

const STREAMS: &str = "streams: { orders: { capture: [orders.#] } }\n";
const ROUTE: &str =
    "routes: { stock: { filter: orders.#, handler: one, durable: stock, start_at: earliest } }\n";

fn carried(mode: &str) -> String {
    format!("{STREAMS}carriers: {{ orders: {{ transport: nats, mode: {mode} }} }}\n{ROUTE}")
}

async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_through_all_modes_under_load_and_each_event_is_handled_once() {
    through_all_modes("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_allow_a_route_its_stream_allow_it_in_all_modes() {
    let rules = "\
access:
- { effect: allow, identity: shop, action: publish, filter: orders.# }
- { effect: allow, identity: stock, action: subscribe, filter: orders.# }
";
    through_all_modes(rules).await;
}

async fn through_all_modes(rules: &str) {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let (bus, seen) = service(&here, &broker, &format!("{rules}{STREAMS}{ROUTE}")).await;
    let mut number = 0;
    let modes = ["mirror", "compare", "remote", "local", "remote", "mirror", "local"];
    for mode in modes {
        // Before, while and behind: no publish waits for a switch.
        let switched = config(&format!("{rules}{}", carried(mode)));
        let switch = switched.apply(&bus);
        let load = async {
            for _ in 0..40 {
                let event = Event::new("orders.made", Number(number)).key((number % 5).to_string());
                bus.publish(event).await.unwrap();
                number += 1;
            }
        };
        let (applied, ()) = futures_util::join!(switch, load);
        let diff = applied.unwrap_or_else(|error| panic!("{error}")).to_string();
        assert!(
            diff.contains(&format!("carriers.orders.mode: {mode}")) || diff.contains(&format!("now {mode}")),
            "{diff}"
        );
        for _ in 0..20 {
            publish(&bus, "orders.made", number).await;
            number += 1;
        }
        let published = usize::try_from(number).unwrap();
        until(|| seen.len() >= published).await;
    }
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for (_, number) in seen.take() {
        *times.entry(number).or_default() += 1;
    }
    let expected: BTreeMap<u64, usize> = (0..number).map(|number| (number, 1)).collect();
    assert_eq!(times, expected);
    let standing = broker.cursor("stock").standing().await.unwrap();
    assert!(standing.partitions[0].next.offset >= 100, "what was led there was settled there: {standing:?}");
    assert!(bus.shutdown(Duration::from_secs(10)).await.is_drained());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_at_a_broker_has_its_events_and_gives_them_up_when_it_is_gone() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let at = "routes: { stock: { filter: orders.#, handler: one, start_at: earliest, at: { transport: nats, stream: orders, subscription: stock-there, in_flight_max: 4 } } }";
    let (bus, seen) = service(&here, &broker, at).await;
    publish(&bus, "orders.made", 99).await;
    publish(&broker, "orders.made", 1).await;
    until(|| seen.len() == 1).await;
    assert_eq!(seen.take(), [("one", 1)]);
    let other = at.replace("handler: one", "handler: two");
    config(&other).apply(&bus).await.unwrap();
    publish(&broker, "orders.made", 2).await;
    until(|| seen.len() == 1).await;
    assert_eq!(seen.take(), [("two", 2)]);
    config("{}").apply(&bus).await.unwrap();
    assert!(broker.stats().durable("stock-there").is_none(), "nobody is there any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_carried_does_not_keep_its_bus_alive() {
    let there = tempfile::tempdir().unwrap();
    let broker = broker(&there).await;
    for mode in ["compare", "remote"] {
        let here = tempfile::tempdir().unwrap();
        let (bus, seen) = service(&here, &broker, &carried(mode)).await;
        publish(&bus, "orders.made", 1).await;
        until(|| seen.len() == 1).await;
        let gone = bus.downgrade();
        drop(bus);
        until(|| gone.upgrade().is_none()).await;
        // The store is free when the last of it has ended.
        let lock = here.path().join("busway.open");
        until(|| !lock.exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_goes_does_not_hold_back_what_others_are_to_have() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let both = carried("remote").replace(
        "routes: {",
        "routes: { audit: { filter: orders.#, handler: two, durable: audit, start_at: earliest },",
    );
    let (bus, seen) = service(&here, &broker, &both).await;
    publish(&bus, "orders.made", 1).await;
    until(|| seen.len() == 2).await;
    config(&carried("remote")).apply(&bus).await.unwrap();
    publish(&bus, "orders.made", 2).await;
    until(|| seen.len() == 3).await;
    assert_eq!(seen.take().last(), Some(&("one", 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_goes_when_it_leads_nothing_there_any_more_and_may_come_back_without_doubling_anything() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let plain = format!("{STREAMS}{ROUTE}");
    let (bus, seen) = service(&here, &broker, &carried("remote")).await;
    let mut number = 0;
    let mut round = async || {
        for _ in 0..10 {
            publish(&bus, "orders.made", number).await;
            number += 1;
        }
        let published = usize::try_from(number).unwrap();
        until(|| seen.len() >= published).await;
    };
    round().await;
    let refused = config(&plain).apply(&bus).await.unwrap_err().to_string();
    assert!(refused.contains("led at a broker, and nothing carries it") && refused.contains("mode: local"));
    round().await;
    for text in [carried("local"), plain, carried("mirror"), carried("remote"), carried("local")] {
        config(&text).apply(&bus).await.unwrap_or_else(|error| panic!("{error}"));
        round().await;
    }
    let mut handled: Vec<u64> = seen.take().into_iter().map(|(_, number)| number).collect();
    handled.sort_unstable();
    assert_eq!(handled, (0..70).collect::<Vec<_>>());
}

/// The way to a bus that, when it is told to, keeps whoever asks for a receiver waiting.
#[derive(Debug)]
struct Slow(LocalTransport, Arc<AtomicBool>);

impl Transport for Slow {
    fn kind(&self) -> &'static str {
        "slow"
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
        match self.1.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => self.0.receiver(reception),
        }
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
async fn a_carried_route_that_was_cut_short_is_made_whole_by_the_next_configuration() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let (seen, is_slow) = (Seen::default(), Arc::new(AtomicBool::new(true)));
    let way = Slow(LocalTransport::new(&broker), Arc::clone(&is_slow));
    let builder = seen.register(Bus::open(here.path()).producer("shop").transport("nats", way), "one");
    let bus = config(&format!("{STREAMS}{ROUTE}")).configure(builder).start().await.unwrap();
    let wanted = config(&carried("remote"));
    let mut applying = Box::pin(wanted.apply(&bus));
    until(|| {
        let gone = futures_util::FutureExt::now_or_never(&mut applying);
        assert!(gone.is_none(), "the broker does not answer");
        bus.stream_lead("orders").unwrap() == busway_engine::cutover::StreamLead::There
            && bus.stats().durable("stock").is_some()
    })
    .await;
    drop(applying);
    is_slow.store(false, Ordering::SeqCst);
    config(&carried("remote")).apply(&bus).await.unwrap_or_else(|error| panic!("{error}"));
    publish(&bus, "orders.made", 1).await;
    until(|| seen.len() == 1).await;
}

#[tokio::test]
async fn what_does_not_fit_a_transport_is_said_where_it_is_and_nothing_changes() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = broker(&there).await;
    let (bus, _) = service(&here, &broker, &format!("{STREAMS}{ROUTE}")).await;
    let refused = async |text: &str| config(text).apply(&bus).await.unwrap_err().to_string();
    let unknown = refused(&carried("mirror").replace("nats", "nast")).await;
    assert!(unknown.contains("no transport \"nast\" is registered") && unknown.contains("nats"), "{unknown}");
    let no_stream = refused(&carried("mirror").replace("carriers: { orders:", "carriers: { order:")).await;
    assert!(no_stream.contains("the bus has no stream \"order\""), "{no_stream}");
    let wide = refused(
        &carried("mirror")
            .replace("filter: orders.#", "filter: '#'")
            .replace("durable: stock", "durable: all"),
    )
    .await;
    assert!(wide.contains("stream \"orders\" is carried, and this filter wants more"), "{wide}");
    let banked = refused(&carried("remote").replace("handler: one", "handler: banked")).await;
    assert!(banked.contains("this handler needs a durable subscription"), "{banked}");
    assert!(bus.stats().durable("stock").is_some(), "the route is as it was");
    publish(&bus, "orders.made", 1).await;
}

#[test]
fn a_route_at_a_broker_is_neither_durable_nor_in_a_group() {
    let text = "routes: { a: { filter: a, handler: one, durable: a, group: g, at: { transport: nats, stream: '' } } }";
    let error = busway_config::Config::parse("busway.yaml", text, busway_config::Format::Yaml).unwrap_err();
    let text = error.to_string();
    for wanted in ["\"durable\" is of this bus", "\"group\" is of this bus", "a stream has a name"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}
