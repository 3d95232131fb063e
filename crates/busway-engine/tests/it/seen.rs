//! What is seen of a bus: signals, numbers, metrics, health.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::{Breaker, BuildProblem, Bus, Fallback};
use busway_middleware::{Outcome, Payload, blocking};
use busway_observability::{Collector, Concern, Condition, Kind, Metrics, Signal, Wants};
use busway_reliability::Retry;
use busway_testkit::{Gate, Recorder, Script, Step, TestBus};
use parking_lot::Mutex;

use crate::durable::breakers::soon;
use crate::durable::{dir, publish, stock, with_orders};
use crate::world::{Number, number};

/// What was told, by name and subscription; of publishes, to how many it was offered.
#[derive(Default)]
struct Heard {
    wants: Wants,
    signals: Mutex<Vec<(&'static str, String)>>,
}

impl Heard {
    fn of(wants: Wants) -> Arc<Self> {
        Arc::new(Self { wants, signals: Mutex::default() })
    }

    fn count(&self, name: &str) -> usize {
        self.signals.lock().iter().filter(|(heard, _)| *heard == name).count()
    }
}

impl Collector for Heard {
    fn wants(&self) -> Wants {
        self.wants
    }

    fn collect(&self, signal: &Signal<'_>) {
        assert!(self.wants.contains(signal.wants()), "it is told what it wants only");
        let name = match signal {
            Signal::Published { .. } => "published",
            Signal::Settled { .. } => "settled",
            Signal::Handled { .. } => "handled",
            Signal::Stored { .. } => "stored",
            Signal::Committed { .. } => "committed",
            Signal::Retried { .. } => "retried",
            Signal::DeadLetter { .. } => "dead letter",
            Signal::BreakerMoved { .. } => "breaker moved",
            _ => "another",
        };
        let of = match signal {
            Signal::Published { offered, .. } => offered.to_string(),
            signal => signal.subscription().unwrap_or_default().to_owned(),
        };
        self.signals.lock().push((name, of));
    }
}

#[tokio::test]
async fn collectors_are_told_what_they_want_where_it_happens() {
    let (dir, all) = (dir(), Heard::of(Wants::ALL));
    let (times, alarms) = (Heard::of(Wants::TIMES), Heard::of(Wants::ALARMS));
    let bus = TestBus::open(dir.path(), |builder| {
        let collectors = [&all, &times, &alarms].map(|heard| Arc::clone(heard) as Arc<dyn Collector>);
        collectors.into_iter().fold(with_orders(builder), busway_engine::BusBuilder::collector)
    })
    .await;
    let script = Script::new([Step::Fail("no"), Step::Dead("never")]);
    let recorder = Recorder::<Number>::new();
    let subscription = stock(&bus).retry(soon()).to(recorder.scripted(&script)).await.unwrap();
    publish(&bus, 0..3).await;
    bus.settle().await;
    bus.clock().advance(Duration::from_millis(1));
    bus.settle().await;
    assert_eq!((subscription.stats().done, subscription.stats().dead), (2, 1), "{}", subscription.stats());
    for heard in [&all, &alarms] {
        assert_eq!((heard.count("retried"), heard.count("dead letter")), (1, 1));
    }
    for heard in [&all, &times] {
        assert_eq!((heard.count("handled"), heard.count("stored")), (4, 3));
        assert!(heard.count("committed") >= 3);
    }
    assert_eq!((all.count("published"), all.count("settled")), (3, 4));
    assert_eq!(times.count("published") + alarms.count("published"), 0);
    bus.finish().await;
}

#[tokio::test]
async fn a_collector_is_told_of_a_publish_what_its_receipt_says() {
    let (dir, all) = (dir(), Heard::of(Wants::EVENTS));
    let collector = Arc::clone(&all) as Arc<dyn Collector>;
    let bus = TestBus::open(dir.path(), |builder| with_orders(builder).collector(collector)).await;
    let heard = Recorder::<Number>::new();
    stock(&bus).to(heard.handler()).await.unwrap();
    for offered in ["1", "2"] {
        let receipt = bus.publish(number("orders.created", 1)).await.unwrap();
        bus.settle().await;
        let told: Vec<_> = std::mem::take(&mut *all.signals.lock());
        let told: Vec<_> = told.iter().filter(|(name, _)| *name == "published").collect();
        assert_eq!((receipt.offered.to_string().as_str(), told[0].1.as_str()), (offered, offered));
        bus.subscribe("orders.#").to(heard.handler()).await.unwrap();
    }
    bus.finish().await;
}

#[tokio::test]
async fn the_metrics_of_a_bus_say_what_its_accounts_say() {
    let (dir, metrics) = (dir(), Metrics::new());
    let bus = TestBus::open(dir.path(), |builder| with_orders(builder).metrics(&metrics)).await;
    let script = Script::new([Step::Dead("never")]);
    let (kept, heard) = (Recorder::<Number>::new(), Recorder::<Number>::new());
    let breaker = Breaker::default();
    stock(&bus).breaker(breaker).to(kept.scripted(&script)).await.unwrap();
    let mail = bus.subscribe("orders.#").name("mail").capacity(7);
    let mail = mail.to(heard.handler()).await.unwrap();
    publish(&bus, 0..5).await;
    bus.settle().await;
    mail.pause();
    publish(&bus, 5..7).await;
    bus.settle().await;
    let numbers = bus.numbers();
    let stored = numbers.subscriptions.iter().find(|numbers| &*numbers.name == "stock").unwrap();
    assert_eq!((stored.kind, stored.done, stored.letters, stored.pending), (Kind::Durable, 6, 1, 0));
    let text = metrics.render();
    for line in [
        "busway_events_published_total 7",
        r#"busway_events_delivered_total{subscription="stock",outcome="done"} 6"#,
        r#"busway_dead_letter_depth{subscription="stock"} 1"#,
        r#"busway_events_delivered_total{subscription="mail",outcome="done"} 5"#,
        r#"busway_queue_depth{subscription="mail"} 2"#,
        r#"busway_queue_capacity{subscription="mail"} 7"#,
        r#"busway_breaker_state{subscription="stock",state="closed"} 1"#,
        r#"busway_handler_duration_seconds_count{subscription="stock"} 7"#,
        "busway_publish_duration_seconds_count 7",
        "busway_store_faulted 0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    }
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse::<f64>().unwrap()
    };
    assert!(of("busway_store_bytes") > 0.0 && of("busway_store_map_bytes") >= of("busway_store_bytes"));
    let (commits, timed) = (of("busway_store_commits_total"), of("busway_commit_duration_seconds_count"));
    assert!(timed >= 7.0 && (commits - timed).abs() <= 2.0, "{commits} commits, {timed} of them timed");
    mail.resume();
    bus.finish().await;
}

#[tokio::test]
async fn a_commit_says_how_many_events_it_has_stored_whatever_their_requests() {
    let (dir, metrics) = (dir(), Metrics::new());
    let bus = TestBus::open(dir.path(), |builder| with_orders(builder).metrics(&metrics)).await;
    bus.publish_batch((0..100).map(|n| number("orders.created", n)).collect()).await.unwrap();
    // One that is there already is stored by nobody.
    for _ in 0..2 {
        bus.publish(number("orders.created", 1).id(busway_event::EventId::foreign("shop", "A-1")))
            .await
            .unwrap();
    }
    let text = metrics.render();
    let line = "busway_commit_events_sum 101";
    assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    bus.finish().await;
}

/// What subscriptions counted, in no order.
fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| line.contains("_total{subscription")).collect()
}

#[tokio::test]
async fn what_a_subscription_counted_before_it_ended_is_in_the_next_rendering_and_goes_on_under_its_name() {
    let (dir, metrics) = (dir(), Metrics::new());
    let bus = TestBus::open(dir.path(), |builder| with_orders(builder).metrics(&metrics)).await;
    let heard = Recorder::<Number>::new();
    let stored = stock(&bus).to(heard.handler()).await.unwrap();
    for round in 1..=2 {
        let mail = bus.subscribe("orders.#").name("mail").to(heard.handler()).await.unwrap();
        let unnamed = bus.subscribe("orders.#").to(heard.handler()).await.unwrap();
        publish(&bus, 0..2).await;
        bus.settle().await;
        mail.pause();
        if round == 2 {
            // Once nobody has looked at it while it was there.
            drop(metrics.render());
        }
        publish(&bus, 2..5).await;
        bus.settle().await;
        mail.abort();
        unnamed.stop().await;
        let text = metrics.render();
        let counts = [
            (r#"busway_events_delivered_total{subscription="mail",outcome="done"}"#, 2),
            (r#"busway_events_abandoned_total{subscription="mail"}"#, 3),
            (r#"busway_events_delivered_total{subscription="",filter="orders.#",outcome="done"}"#, 5),
        ];
        for (series, count) in counts {
            let line = format!("{series} {}", count * round);
            assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
        }
        let depths: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("busway_queue_depth{subscription=\"mail\""))
            .collect();
        assert!(depths.iter().all(|line| line.ends_with(" 0")), "{depths:?}");
    }
    stored.stop().await;
    let line = r#"busway_events_delivered_total{subscription="stock",outcome="done"} 10"#;
    let text = metrics.render();
    assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    assert_eq!(lines(&text), lines(&metrics.render()), "nothing has happened");
    bus.finish().await;
}

#[tokio::test]
async fn each_bus_has_metrics_of_its_own_and_one_takes_the_place_of_one_that_is_gone() {
    let metrics = Metrics::new();
    let first = Bus::memory().metrics(&metrics).start().await.unwrap();
    let error = Bus::memory().metrics(&metrics).start().await.unwrap_err();
    assert!(matches!(error.problems(), [BuildProblem::MetricsTaken]), "{error}");
    first.publish(number("a", 1)).await.unwrap();
    assert!(metrics.render().contains("busway_events_published_total 1\n"));
    drop(first.shutdown(Duration::ZERO).await);
    let second = Bus::memory().metrics(&metrics).start().await.unwrap();
    second.publish(number("a", 1)).await.unwrap();
    assert!(metrics.render().contains("busway_events_published_total 2\n"), "it goes on from there");
    drop(second.shutdown(Duration::ZERO).await);
}

/// Keys, and values of a tenant, that no series is made of; and topics, of which fewer are enough.
const KEYS: u32 = 1_000_000;
const TOPICS: u32 = 20_000;
/// Events that are published and settled together.
const AT_ONCE: u32 = 10_000;

#[tokio::test]
async fn a_million_keys_and_thousands_of_topics_make_no_series() {
    let metrics = Metrics::with_tenants("tenant", ["acme"]).unwrap();
    let bus = TestBus::build(|builder| builder.metrics(&metrics)).await;
    let capacity = usize::try_from(AT_ONCE).unwrap();
    let ignores = async |_: Payload<Number>| {};
    let all = bus.subscribe("orders.#").name("all").capacity(capacity).to(ignores).await.unwrap();
    // Each with a circuit that opens with the first event, and a second one that is given up in the place of a call.
    let fails = async |_: Payload<Number>| Err::<(), _>("down");
    let breaker = || Breaker::default().opens_after(1).fallback(Fallback::dead_letter());
    let connection = || bus.subscribe("orders.0").retry(Retry::never()).breaker(breaker()).to(fails);
    drop(connection().await.unwrap().scoped());
    let kept = connection().await.unwrap();
    let twice = async || {
        for n in 0..2 {
            bus.publish(number("orders.0", n).key("0").meta("tenant", "-1")).await.unwrap();
            bus.settle().await;
        }
    };
    twice().await;
    let series = || metrics.render().lines().count();
    let before = series();
    // A subscription without a name for each connection: they are counted together.
    for _ in 0..50 {
        let connection = connection().await.unwrap();
        twice().await;
        drop(metrics.render());
        connection.stop().await;
    }
    // The publisher's table forgets the last one that has ended.
    twice().await;
    let text = metrics.render();
    let of = r#"subscription="",filter="orders.0""#;
    for line in [
        format!(r#"busway_breaker_state{{{of},state="open"}} 1"#),
        format!(r#"busway_fallbacks_total{{{of},kind="dead_letter"}} 153"#),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    }
    let open = bus.health(None).to_string();
    assert!(open.contains("1 circuits of orders.0 are open"), "{open}");
    kept.stop().await;
    for begin in (0..KEYS).step_by(capacity) {
        let drafts = (begin..begin + AT_ONCE).map(|n| {
            let draft = number(&format!("orders.{}", n / (KEYS / TOPICS)), n).key(format!("key-{n}"));
            draft.meta("tenant", n.to_string())
        });
        bus.publish_batch(drafts.collect()).await.unwrap();
        bus.settle().await;
    }
    let stats = all.stats();
    assert_eq!((stats.done, stats.tally.dropped), (u64::from(KEYS) + 104, 0), "each of them was handled");
    assert_eq!(series(), before);
    bus.finish().await;
}

#[tokio::test]
async fn a_bus_that_is_shut_down_is_not_ready_from_then_on() {
    let bus = Bus::memory().start().await.unwrap();
    let gate = Gate::closed();
    let held = gate.clone();
    let waits = move |_: Payload<Number>| {
        let held = held.clone();
        async move { held.pass().await }
    };
    bus.subscribe("a").to(waits).await.unwrap();
    bus.publish(number("a", 1)).await.unwrap();
    gate.reached(1).await;
    assert!(bus.health(None).is_ready());
    let closing = |bus: &Bus| {
        let health = bus.health(None);
        assert!(!health.is_ready() && health.concerns == [Concern::Closing], "{health}");
    };
    let during = async {
        closing(&bus);
        gate.open();
    };
    let (report, ()) = tokio::join!(biased; bus.shutdown(Duration::from_secs(60)), during);
    assert!(report.is_drained());
    closing(&bus);
}

#[tokio::test]
async fn health_says_what_is_not_well() {
    let dir = dir();
    let bus = TestBus::open(dir.path(), with_orders).await;
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let hangs = blocking(move |_: Payload<Number>| {
        _ = wait.lock().recv();
        Outcome::Done
    });
    stock(&bus).deadline(Duration::from_secs(1)).retry(soon()).to(hangs).await.unwrap();
    assert_eq!(bus.health(None).condition, Condition::Good);
    publish(&bus, [1]).await;
    while bus.hung("stock").is_empty() {
        bus.clock().advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    let health = bus.health(Some(Duration::from_secs(1)));
    assert!(health.is_ready() && health.condition == Condition::Degraded, "{health}");
    let hung = |concern: &Concern| matches!(concern, Concern::Hung { handlers: 1, .. });
    assert!(health.concerns.iter().any(hung), "{health}");
    drop(let_go);
    bus.finish().await;
}
