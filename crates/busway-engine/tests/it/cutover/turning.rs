//! What stands in the way of a switch, and what does not.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::cutover::CutOverError;
use busway_engine::cutover::CutOverMode::{Compare, Local, Mirror, Remote};
use busway_engine::cutover::{LED_BY, LED_HERE, StreamLead};
use busway_engine::transport::{
    Capabilities, LocalTransport, Receiver, Reception, Sender, Transport, TransportError, TransportFuture,
};
use busway_engine::{Bus, StartAt, Stream};
use busway_event::{Event, Raw};
use busway_middleware::Delivery;
use busway_testkit::Gate;
use parking_lot::Mutex;

use super::{Handled, all, open, publish, until};
use crate::world::ends;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_that_runs_has_to_be_stopped_before_a_switch_and_one_that_ends_is_waited_for() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let transport = LocalTransport::new(&broker);
    assert_eq!(bus.stream_lead("orders").unwrap(), StreamLead::AlwaysHere);
    let carrier = bus.cut_over("orders", Mirror).await.unwrap().begin(&transport).await.unwrap();
    let refused = bus.cut_over("orders", Remote).await.unwrap_err();
    assert!(
        matches!(&refused, CutOverError::StillRunning { subscription, .. } if subscription == "orders-carrier")
    );
    assert_eq!(bus.stream_lead("orders").unwrap(), StreamLead::AlwaysHere, "nothing has changed");
    let (_, turned) = tokio::join!(ends(carrier.stop()), bus.cut_over("orders", Remote));
    drop(turned.unwrap());
    assert_eq!(bus.stream_lead("orders").unwrap(), StreamLead::There);
    drop(bus.cut_over("orders", Local).await.unwrap());
    assert_eq!(bus.stream_lead("orders").unwrap(), StreamLead::HereAgain);
}

/// The way to a bus that gives nobody a receiver.
#[derive(Debug)]
struct Sending(LocalTransport);

impl Transport for Sending {
    fn kind(&self) -> &'static str {
        "sending"
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
        _: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>> {
        let (address, reason) = ("way".to_owned(), "no consumers".to_owned());
        Box::pin(async { Err(TransportError::AccessDenied { address, reason }) })
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
async fn what_does_not_begin_as_a_whole_leaves_nothing_running() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled) = (LocalTransport::new(&broker), Handled::default());
    let cut = bus.cut_over("orders", Compare).await.unwrap();
    let refused = cut.begin(&Sending(transport.clone())).await.unwrap_err();
    assert!(matches!(refused, CutOverError::Transport { .. }), "{refused}");
    publish(&bus, "one", 0..20).await;
    // Nobody marks these as led here any more.
    let cut = bus.cut_over("orders", Remote).await.unwrap();
    publish(&bus, "one", 20..40).await;
    let local = cut.local(bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest));
    local.to(handled.by("here")).await.unwrap();
    let there = cut.remote(bus.subscribe("orders.#"), &transport, "stock").unwrap();
    there.to(handled.by("there")).await.unwrap();
    let _carrier = cut.begin(&transport).await.unwrap();
    handled.reaches(40).await;
    assert_eq!((handled.of("here"), handled.of("there")), (20, 20));
    assert_eq!(handled.times(), all(&["one"], 0..40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_has_nothing_left_or_does_not_come_back_holds_nobody() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled, gate) = (LocalTransport::new(&broker), Handled::default(), Gate::closed());
    publish(&bus, "one", 0..10).await;
    let cut = bus.cut_over("orders", Remote).await.unwrap();
    let durable = |name: &str| cut.local(bus.subscribe("orders.#").durable(name).start_at(StartAt::Earliest));
    // One has settled all and is stopped; one is stopped with all before it.
    let done = durable("done").to(handled.by("here")).await.unwrap();
    handled.reaches(10).await;
    until(|| done.stats().done == 10).await;
    ends(done.stop()).await;
    let waits = gate.clone();
    let held = durable("held").to(move |_: Delivery| {
        let waits = waits.clone();
        async move { waits.pass().await }
    });
    let held = held.await.unwrap();
    gate.reached(1).await;
    let there = cut.remote(bus.subscribe("orders.#"), &transport, "stock").unwrap();
    there.to(handled.by("there")).await.unwrap();
    let carrier = cut.begin(&transport).await.unwrap();
    publish(&bus, "one", 10..30).await;
    until(|| carrier.stats().waits_for == ["held"]).await;
    held.pause();
    gate.open();
    assert!(ends(held.stop()).await.done < 10);
    assert_eq!(handled.of("there"), 0);
    cut.retain_local(|name| name == "done");
    handled.reaches(30).await;
    assert_eq!((handled.of("there"), carrier.stats().waits_for.len()), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_several_captures_is_carried_whole_and_each_key_in_order() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = async |folder: &tempfile::TempDir| -> Bus {
        let shop = Stream::new("shop").capture("orders.#").capture("payments.#").capture("orders.made.#");
        let other = Stream::new("other").capture("other.#");
        Bus::open(folder.path()).stream(shop).stream(other).producer("one").start().await.unwrap()
    };
    let (broker, bus) = (open(&folders[0]).await, open(&folders[1]).await);
    let came: Arc<Mutex<Vec<String>>> = Arc::default();
    let keep = Arc::clone(&came);
    let seen = move |delivery: Delivery| {
        keep.lock().push(super::text(delivery.event()));
        std::future::ready(())
    };
    broker.subscribe("#").durable("seen").start_at(StartAt::Earliest).to(seen).await.unwrap();
    let transport = LocalTransport::new(&broker);
    let carrier = bus.cut_over("shop", Mirror).await.unwrap().begin(&transport).await.unwrap();
    for number in 0..100_u32 {
        let topic = ["orders.made", "payments.made"][number as usize % 2];
        let event = Event::new(topic, Raw::from(format!("{number:03}"))).key("c1");
        bus.publish(event).await.unwrap();
        bus.publish(Event::new("other.made", Raw::from("other"))).await.unwrap();
    }
    until(|| came.lock().len() >= 100).await;
    let stats = ends(carrier.stop()).await;
    assert_eq!(stats.forwarder.map(|forwarder| forwarder.carried), Some(100), "each is sent once");
    assert_eq!(*came.lock(), (0..100).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_from_elsewhere_does_not_go_on_with_what_is_led_there() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled) = (LocalTransport::new(&broker), Handled::default());
    let cut = bus.cut_over("orders", Remote).await.unwrap();
    let mirrored = Event::new("orders.made", Raw::from("one-000")).meta(LED_BY, LED_HERE);
    bus.publish(mirrored).await.unwrap();
    let there = cut.remote(bus.subscribe("orders.#"), &transport, "stock").unwrap();
    there.to(handled.by("there")).await.unwrap();
    let carrier = cut.begin(&transport).await.unwrap();
    handled.reaches(1).await;
    assert_eq!(handled.times(), all(&["one"], 0..1));
    ends(carrier.stop()).await;
    assert!(bus.shutdown(Duration::from_secs(10)).await.is_drained());
}
