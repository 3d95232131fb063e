//! A stream that is cut over to a broker, and back.

mod comparing;
mod turning;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::cutover::CutOverMode::{self, Compare, Local, Mirror, Remote};
use busway_engine::cutover::{Carrier, CutOver, CutOverError, LED_BY};
use busway_engine::remote::RemoteSubscription;
use busway_engine::transport::LocalTransport;
use busway_engine::{Bus, DurableSubscription, StartAt, Stream};
use busway_event::{AnyEvent, Event, Raw};
use busway_middleware::Delivery;
use busway_testkit::Gate;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::world::ends;

/// A bus with a store: a service, or the broker between services.
pub(super) async fn open(folder: &TempDir, name: &str) -> Bus {
    let stream = Stream::new("orders").capture("orders.#").partitions(2);
    Bus::open(folder.path()).stream(stream).producer(name).start().await.unwrap()
}

/// What was handled, by whom: each event's payload, and how often.
#[derive(Clone, Default)]
pub(super) struct Handled(Arc<Mutex<Vec<(String, String)>>>);

impl Handled {
    pub(super) fn by(&self, who: &str) -> impl Fn(Delivery) -> std::future::Ready<()> + Clone + use<> {
        let (who, handled) = (who.to_owned(), self.clone());
        move |delivery: Delivery| {
            handled.0.lock().push((who.clone(), text(delivery.event())));
            std::future::ready(())
        }
    }

    pub(super) async fn reaches(&self, count: usize) -> Vec<(String, String)> {
        until(|| self.0.lock().len() >= count).await;
        self.0.lock().clone()
    }

    /// How often each was handled.
    pub(super) fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for (_, what) in &*self.0.lock() {
            *times.entry(what.clone()).or_default() += 1;
        }
        times
    }

    pub(super) fn of(&self, who: &str) -> usize {
        self.0.lock().iter().filter(|(by, _)| by == who).count()
    }
}

pub(super) fn text(event: &AnyEvent) -> String {
    String::from_utf8(event.encoded(1 << 20).unwrap().bytes.to_vec()).unwrap()
}

pub(super) async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap();
}

pub(super) async fn publish(bus: &Bus, who: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let payload = Raw::from(format!("{who}-{number:03}"));
        bus.publish(Event::new("orders.made", payload).key(format!("k{}", number % 7))).await.unwrap();
    }
}

/// A service in a mode.
struct Service {
    local: DurableSubscription,
    remote: Option<RemoteSubscription>,
    carrier: Carrier,
}

impl Service {
    async fn begin(
        bus: &Bus,
        name: &str,
        mode: CutOverMode,
        broker: &LocalTransport,
        handled: &Handled,
    ) -> Self {
        let cut = bus.cut_over("orders", mode).await.unwrap();
        Self::of(bus, name, &cut, broker, handled).await
    }

    async fn of(bus: &Bus, name: &str, cut: &CutOver, broker: &LocalTransport, handled: &Handled) -> Self {
        let here = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
        let local = cut.local(here).to(handled.by(&format!("{name} itself"))).await.unwrap();
        let remote = match cut.remote(bus.subscribe("orders.#"), broker, "stock") {
            Some(builder) => Some(builder.to(handled.by("a member")).await.unwrap()),
            None => None,
        };
        let carrier = cut.begin(broker).await.unwrap();
        Self { local, remote, carrier }
    }

    async fn stop(self) {
        ends(self.local.stop()).await;
        if let Some(remote) = self.remote {
            ends(remote.stop()).await;
        }
        ends(self.carrier.stop()).await;
    }
}

pub(super) fn all(who: &[&str], numbers: std::ops::Range<u32>) -> BTreeMap<String, usize> {
    who.iter().flat_map(|who| numbers.clone().map(move |number| (format!("{who}-{number:03}"), 1))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_switch_there_and_back_under_load_and_each_event_is_handled_once() {
    let folders: [TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (broker, one, two) =
        (open(&folders[0], "broker").await, open(&folders[1], "one").await, open(&folders[2], "two").await);
    let (transport, handled) = (LocalTransport::new(&broker), Handled::default());
    let load = |bus: &Bus, who: &'static str| {
        let bus = bus.clone();
        tokio::spawn(async move { publish(&bus, who, 0..400).await })
    };
    let (first, second) = (load(&one, "one"), load(&two, "two"));
    // Each in its own time, and in another order.
    let steps = [
        (Local, Local),
        (Mirror, Local),
        (Compare, Mirror),
        (Remote, Mirror),
        (Remote, Remote),
        (Local, Remote),
        (Remote, Local),
        (Mirror, Remote),
    ];
    for (place, (of_one, of_two)) in steps.into_iter().enumerate() {
        let services = [
            Service::begin(&one, "one", of_one, &transport, &handled).await,
            Service::begin(&two, "two", of_two, &transport, &handled).await,
        ];
        handled.reaches(80 * (place + 1)).await;
        for service in services {
            service.stop().await;
        }
    }
    first.await.unwrap();
    second.await.unwrap();
    // What is led at the broker needs somebody there, and what is led here somebody here.
    let _last = [
        Service::begin(&one, "one", Local, &transport, &handled).await,
        Service::begin(&two, "two", Remote, &transport, &handled).await,
    ];
    let expected = all(&["one", "two"], 0..400);
    handled.reaches(800).await;
    assert_eq!(handled.times(), expected);
    assert!(handled.of("a member") > 0 && handled.of("one itself") > 0 && handled.of("two itself") > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_led_there_waits_until_what_is_led_here_is_settled() {
    let folders: [TempDir; 3] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled, gate) = (LocalTransport::new(&broker), Handled::default(), Gate::closed());
    publish(&bus, "one", 0..30).await;
    let cut = bus.cut_over("orders", Remote).await.unwrap();
    publish(&bus, "one", 30..60).await;
    let (waits, here) = (gate.clone(), handled.clone());
    let holds = move |delivery: Delivery| {
        let (waits, here) = (waits.clone(), here.clone());
        async move {
            waits.pass().await;
            here.0.lock().push(("here".to_owned(), text(delivery.event())));
        }
    };
    let local = bus.subscribe("orders.#").durable("stock").start_at(StartAt::Earliest);
    cut.local(local).to(holds).await.unwrap();
    let there = cut.remote(bus.subscribe("orders.#"), &transport, "stock").unwrap();
    let _there = there.to(handled.by("there")).await.unwrap();
    let carrier = cut.begin(&transport).await.unwrap();
    gate.reached(1).await;
    // As long as many more events of another service take that waits for nobody.
    let (other, others) = (open(&folders[2], "two").await, Handled::default());
    publish(&other, "two", 0..300).await;
    let _other = Service::begin(&other, "two", Mirror, &transport, &others).await;
    until(|| broker.stats().published >= 300).await;
    assert_eq!(handled.of("there"), 0);
    gate.open();
    let came = handled.reaches(60).await;
    for key in 0..7 {
        let of_key: Vec<_> =
            came.iter().filter(|(_, what)| key_of(what) == key).map(|(_, what)| what).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    assert_eq!((handled.of("here"), handled.of("there")), (30, 30));
    assert_eq!(handled.times(), all(&["one"], 0..60));
    ends(carrier.stop()).await;
}

fn key_of(what: &str) -> u32 {
    what.rsplit_once('-').unwrap().1.parse::<u32>().unwrap() % 7
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_survives_a_restart() {
    let folders: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled) = (LocalTransport::new(&broker), Handled::default());
    publish(&bus, "one", 0..20).await;
    drop(bus.cut_over("orders", Remote).await.unwrap());
    publish(&bus, "one", 20..40).await;
    assert!(bus.shutdown(Duration::from_secs(10)).await.is_drained());
    let bus = open(&folders[1], "one").await;
    let _service = Service::begin(&bus, "one", Remote, &transport, &handled).await;
    handled.reaches(40).await;
    assert_eq!(handled.times(), all(&["one"], 0..40));
    assert_eq!((handled.of("one itself"), handled.of("a member")), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_home_nothing_is_copied_any_more_and_what_was_led_there_still_arrives() {
    let folders: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled) = (LocalTransport::new(&broker), Handled::default());
    drop(bus.cut_over("orders", Remote).await.unwrap());
    publish(&bus, "one", 0..10).await;
    let service = Service::begin(&bus, "one", Local, &transport, &handled).await;
    publish(&bus, "one", 10..30).await;
    handled.reaches(30).await;
    assert_eq!((handled.of("a member"), handled.of("one itself")), (10, 20));
    service.stop().await;
    assert_eq!(broker.stats().published, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_says_who_leads_and_who_subscribes_by_itself_has_it() {
    let folders: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let (transport, handled) = (LocalTransport::new(&broker), Handled::default());
    let marks: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let keep = Arc::clone(&marks);
    let reports = move |delivery: Delivery| {
        keep.lock().push(delivery.event().metadata().get(LED_BY).map(str::to_owned));
        std::future::ready(())
    };
    let reports = bus.subscribe("orders.#").on(&transport, "orders", "reports").to(reports).await.unwrap();
    let _service = Service::begin(&bus, "one", Mirror, &transport, &handled).await;
    publish(&bus, "one", 0..5).await;
    until(|| marks.lock().len() == 5).await;
    assert!(marks.lock().iter().all(|mark| mark.as_deref() == Some("origin")));
    handled.reaches(5).await;
    assert_eq!((handled.of("one itself"), reports.stats().led_elsewhere), (5, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_carrier_at_rest_keeps_no_cursor_that_would_hold_the_log() {
    let folders: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let transport = LocalTransport::new(&broker);
    let mut cursors = Vec::new();
    for mode in [Compare, Mirror, Local] {
        let cut = bus.cut_over("orders", mode).await.unwrap();
        let carrier = cut.begin(&transport).await.unwrap();
        let names = bus.cursors().await.unwrap().into_iter().map(|standing| standing.name);
        cursors.push(names.collect::<Vec<_>>());
        ends(carrier.stop()).await;
    }
    assert_eq!(cursors[1..], [vec!["orders-carrier".to_owned()], Vec::new()]);
    assert_eq!(cursors[0].len(), 2, "{cursors:?}");
}

#[tokio::test]
async fn a_switch_that_would_double_events_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bus = open(&folder, "one").await;
    let cut = bus.cut_over("orders", Local).await.unwrap();
    let local =
        cut.local(bus.subscribe("orders.#").durable("stock")).to(async |_: Delivery| {}).await.unwrap();
    let refused = bus.cut_over("orders", Remote).await.unwrap_err();
    assert!(
        matches!(&refused, CutOverError::StillRunning { subscription, .. } if subscription == "stock"),
        "{refused}"
    );
    ends(local.stop()).await;
    bus.cut_over("orders", Remote).await.unwrap();
    let unknown = bus.cut_over("payments", Local).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "the bus has no stream payments: who leads is decided for a stream of its own store"
    );
}
