//! Deadlines: an attempt is cancelled, or told of as hung, and costs nobody but its own lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use busway_engine::{Breaker, SubscribeProblem};
use busway_middleware::{Batch, Delivery};
use busway_middleware::{Payload, batch, blocking};
use busway_reliability::BreakerState;
use busway_testkit::{Recorder, Script, Step, TestBus};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::breakers::soon;
use super::{dir, numbers, open, order, publish, stock};
use crate::world::{Number, ends, number, turns};

const DEADLINE: Duration = Duration::from_secs(1);

/// Handlers that block a thread until they are let go: those of the numbers that `hangs`.
struct Brake {
    /// Numbers of attempts that have begun.
    begun: watch::Sender<Vec<u32>>,
    /// Attempts of numbers that hang, at this moment.
    inside: AtomicUsize,
    let_go: Mutex<mpsc::Receiver<()>>,
    hangs: fn(u32) -> bool,
}

impl Brake {
    fn new(hangs: fn(u32) -> bool) -> (Arc<Self>, mpsc::Sender<()>) {
        let (sender, receiver) = mpsc::channel();
        let (begun, inside, let_go) =
            (watch::Sender::new(Vec::new()), AtomicUsize::new(0), Mutex::new(receiver));
        (Arc::new(Self { begun, inside, let_go, hangs }), sender)
    }

    fn handle(&self, n: u32) {
        if !(self.hangs)(n) {
            return self.begun.send_modify(|begun| begun.push(n));
        }
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "one attempt at a time");
        self.begun.send_modify(|begun| begun.push(n));
        // A test that ends lets all of them go.
        _ = self.let_go.lock().recv();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    async fn begun(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        ends(begun.wait_for(|begun| begun.len() >= count)).await.unwrap();
    }

    fn numbers(&self) -> Vec<u32> {
        self.begun.borrow().clone()
    }
}

async fn until_hung(bus: &TestBus, count: usize) {
    ends(async {
        while bus.hung("stock").len() < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_hung_handler_is_told_of_its_lane_waits_and_all_others_go_on_in_its_place() {
    let dir = dir();
    let bus = open(&dir).await;
    let (brake, let_go) = Brake::new(|n| n == 0);
    let handler = Arc::clone(&brake);
    let builder = stock(&bus).retry(soon()).deadline(DEADLINE);
    let subscription =
        builder.to(blocking(move |payload: Payload<Number>| handler.handle(payload.n))).await.unwrap();
    for (n, key) in [(0, "A-1"), (1, "A-1"), (2, "B-7"), (3, "C-5")] {
        bus.publish(order(key, n)).await.unwrap();
    }
    brake.begun(1).await;
    turns().await;
    assert_eq!(
        (brake.numbers(), subscription.stats().hung),
        (vec![0], 0),
        "one at a time, and it may take a second"
    );
    bus.clock().advance(DEADLINE);
    until_hung(&bus, 1).await;
    brake.begun(3).await;
    let stats = subscription.stats();
    assert_eq!((stats.hung, brake.numbers()), (1, vec![0, 2, 3]), "{stats}");
    assert!(stats.to_string().ends_with(", 1 hung"), "{stats}");
    // That they have begun is told from inside of them: one that still runs when time jumps would overrun its deadline too.
    ends(async {
        while subscription.stats().done < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // However long it takes, there is no second attempt beside it.
    bus.clock().advance(60 * DEADLINE);
    turns().await;
    assert_eq!((brake.numbers().len(), bus.hung("stock").len()), (3, 1));

    let_go.send(()).unwrap();
    ends(bus.settle()).await;
    let stats = subscription.stats();
    assert_eq!(
        (stats.hung, stats.late, stats.failed, stats.done),
        (0, 1, 1, 2),
        "its success came too late: {stats}"
    );
    drop(let_go);
    bus.clock().advance(DEADLINE);
    ends(bus.settle()).await;
    assert_eq!(brake.numbers(), [0, 2, 3, 0, 1], "then it is attempted again, and its lane goes on");
    assert_eq!((subscription.stats().done, subscription.lag().events), (4, 0));
    bus.finish().await;
}

#[tokio::test]
async fn who_comes_back_makes_room_beside_those_that_had_hung_with_all_replacements_used() {
    let dir = dir();
    let bus = open(&dir).await;
    let (mut let_go, held): (Vec<_>, Vec<_>) = (0..9)
        .map(|_| {
            let (sender, receiver) = mpsc::channel::<()>();
            (sender, Mutex::new(receiver))
        })
        .unzip();
    let (begins, mut begun) = watch::channel(0_u32);
    let handler = move |payload: Payload<Number>| {
        begins.send_modify(|begun| *begun += 1);
        if let Some(held) = held.get(usize::try_from(payload.n).unwrap()) {
            _ = held.lock().recv();
        }
    };
    let builder = stock(&bus).retry(soon()).deadline(DEADLINE);
    let subscription = builder.to(blocking(handler)).await.unwrap();
    for n in 0..9 {
        publish(&bus, [n]).await;
        ends(begun.wait_for(|begun| *begun == n + 1)).await.unwrap();
        bus.clock().advance(DEADLINE);
        until_hung(&bus, usize::try_from(n + 1).unwrap()).await;
    }
    publish(&bus, [9]).await;
    turns().await;
    assert_eq!((*begun.borrow(), subscription.stats().hung), (9, 9), "eight are replaced and no more");

    let_go.drain(..8);
    let goes_on = async {
        while subscription.stats().done < 1 || subscription.stats().hung > 1 {
            tokio::task::yield_now().await;
        }
    };
    ends(goes_on).await;
    // Those that came back too late are attempted again at another time.
    let stats = subscription.stats();
    assert_eq!((stats.hung, *begun.borrow()), (1, 10), "the tenth ran beside the ninth: {stats}");
    drop(let_go);
    ends(bus.settle()).await;
    bus.clock().advance(DEADLINE);
    ends(bus.settle()).await;
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.late, stats.hung), (10, 9, 0), "{stats}");
    bus.finish().await;
}

#[tokio::test]
async fn a_probe_that_hangs_gives_its_place_back_and_opens_the_channel_again() {
    let dir = dir();
    let bus = open(&dir).await;
    let (brake, let_go) = Brake::new(|n| n == 1);
    let handler = Arc::clone(&brake);
    let attempt = move |payload: Payload<Number>, delivery: Delivery| {
        handler.handle(payload.n);
        match (payload.n, delivery.attempt()) {
            (0, 1) => Err("down"),
            _ => Ok(()),
        }
    };
    let breaker = Breaker::default().opens_after(1).max_probes(1).open_for(Duration::from_secs(30));
    let subscription =
        stock(&bus).retry(soon()).deadline(DEADLINE).breaker(breaker).to(blocking(attempt)).await.unwrap();
    bus.publish(order("A-1", 1).key("B-7")).await.unwrap();
    brake.begun(1).await;
    bus.breakers().force("stock", "orders.created", busway_reliability::Force::Open).unwrap();
    bus.breakers().force("stock", "orders.created", busway_reliability::Force::Automatic).unwrap();
    let_go.send(()).unwrap();
    ends(bus.settle()).await;
    let status = |bus: &TestBus| bus.breakers().get("stock", "orders.created").unwrap();
    assert_eq!(
        (status(&bus).counts.late, status(&bus).state),
        (1, BreakerState::HalfOpen),
        "of an older generation"
    );
    // The next one is the probe.
    publish(&bus, [1]).await;
    brake.begun(2).await;
    assert_eq!(status(&bus).probes, 1);
    bus.clock().advance(DEADLINE);
    until_hung(&bus, 1).await;
    let now = status(&bus);
    assert_eq!((now.state, now.probes, now.counts.opened), (BreakerState::Open, 0, 1));
    drop(let_go);
    ends(bus.settle()).await;
    assert_eq!((status(&bus).counts.failures, subscription.stats().late), (1, 1), "it counts once");
    bus.finish().await;
}

#[tokio::test]
async fn an_async_handler_is_cancelled_at_its_deadline_and_its_lane_opens_behind_that() {
    let dir = dir();
    let bus = open(&dir).await;
    let recorder = Recorder::<Number>::new();
    let script = Script::new([Step::Hang]);
    let builder = stock(&bus).retry(soon()).deadline(DEADLINE);
    let subscription = builder.to(recorder.scripted(&script)).await.unwrap();
    for n in 0..2 {
        bus.publish(order("A-1", n)).await.unwrap();
    }
    turns().await;
    bus.clock().advance(Duration::from_millis(999));
    turns().await;
    assert_eq!((recorder.count(), subscription.stats().failed), (1, 0));
    bus.clock().advance(Duration::from_millis(1));
    bus.settle().await;
    let stats = subscription.stats();
    assert_eq!((stats.failed, stats.hung, stats.late), (1, 0, 0), "{stats}");
    assert_eq!(stats.last_failure.unwrap().error, "failed: the handler was cancelled after 1s");
    bus.clock().advance(DEADLINE);
    bus.settle().await;
    recorder.assert_payloads(&numbers([0, 0, 1]));
    assert!(bus.hung("stock").is_empty());
    bus.finish().await;
}

#[tokio::test]
async fn a_batch_that_overruns_its_deadline_has_failed_as_a_whole() {
    let dir = dir();
    let bus = open(&dir).await;
    publish(&bus, 0..3).await;
    let hang = |batch: Batch<Number>| async move {
        if batch.len() > 1 {
            std::future::pending::<()>().await;
        }
    };
    let subscription = stock(&bus).retry(soon()).deadline(DEADLINE).to(batch(hang)).await.unwrap();
    turns().await;
    bus.clock().advance(DEADLINE);
    bus.settle().await;
    assert_eq!((subscription.stats().failed, subscription.stats().parked), (3, 3));
    bus.clock().advance(DEADLINE);
    bus.settle().await;
    assert_eq!(subscription.stats().done, 3, "alone each is in time");
    bus.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_handler_that_hangs_is_told_of_others_go_on_and_its_result_comes_too_late() {
    let dir = dir();
    let bus = open(&dir).await;
    let (brake, let_go) = Brake::new(|n| n == 0);
    let handler = Arc::clone(&brake);
    for n in 0..3 {
        bus.publish(order(&format!("A-{n}"), n)).await.unwrap();
    }
    let hang = move |batch: Batch<Number>| {
        let (brake, numbers): (_, Vec<u32>) =
            (Arc::clone(&handler), batch.iter().map(|event| event.payload().n).collect());
        async move {
            tokio::task::yield_now().await;
            numbers.into_iter().for_each(|n| brake.handle(n));
        }
    };
    let breaker = Breaker::default().opens_after(3);
    let builder = stock(&bus).retry(soon()).deadline(DEADLINE).breaker(breaker);
    let subscription = builder.to(batch(hang)).await.unwrap();
    brake.begun(1).await;
    // It may come back by itself for a second more.
    bus.clock().advance(2 * DEADLINE);
    until_hung(&bus, 1).await;
    assert_eq!((subscription.stats().hung, bus.hung("stock").len()), (1, 1), "one call");
    let channel = bus.breakers().get("stock", "orders.created").unwrap();
    assert_eq!((channel.state, channel.counts.failures), (BreakerState::Open, 3), "of three events");
    bus.breakers().force("stock", "orders.created", busway_reliability::Force::Closed).unwrap();
    bus.publish(order("B-7", 3)).await.unwrap();
    brake.begun(2).await;
    assert_eq!(brake.numbers(), [0, 3], "another worker has its place");
    ends(async {
        while subscription.stats().done < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let_go.send(()).unwrap();
    ends(async {
        while subscription.stats().failed < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(let_go);
    let stats = subscription.stats();
    assert_eq!((stats.hung, stats.late, stats.failed, stats.done), (0, 3, 3, 1), "{stats}");
    bus.clock().advance(DEADLINE);
    ends(bus.settle()).await;
    let stats = subscription.stats();
    assert_eq!((stats.done, stats.failed, stats.late), (4, 3, 3), "alone each is in time: {stats}");
    bus.finish().await;
}

#[tokio::test]
async fn a_slow_or_failing_subscription_costs_its_neighbours_nothing() {
    let dir = dir();
    let bus = open(&dir).await;
    let (stuck, failing, neighbour) =
        (Recorder::<Number>::new(), Recorder::<Number>::new(), Recorder::<Number>::new());
    let hang = Script::default().then(Step::Hang);
    let fail = Script::default().then(Step::Fail("down"));
    bus.subscribe("orders.#").durable("slow").to(stuck.scripted(&hang)).await.unwrap();
    bus.subscribe("orders.#").durable("failing").to(failing.scripted(&fail)).await.unwrap();
    bus.subscribe("orders.#").name("ephemeral").to(stuck.scripted(&hang)).await.unwrap();
    let subscription = stock(&bus).to(neighbour.handler()).await.unwrap();
    // More than the windows and queues of the others hold. The clock stands: nobody is waited for.
    let all: Vec<_> = (0..2_000).map(|n| number("orders.created", n)).collect();
    bus.publish_batch(all).await.unwrap();
    ends(neighbour.wait_for(2_000)).await;
    neighbour.assert_payloads(&numbers(0..2_000));
    assert!(bus.stats().durable("failing").unwrap().done == 0 && stuck.count() == 2);
    assert_eq!(subscription.stats().failed, 0);
    drop(bus);
}

#[tokio::test]
async fn a_deadline_that_nobody_can_keep_is_refused_and_another_one_is_described() {
    let dir = dir();
    let bus = open(&dir).await;
    let deadline = Duration::from_micros(999);
    let error = stock(&bus).deadline(deadline).to(async |_: Payload<Number>| {}).await.unwrap_err();
    assert_eq!(error.problems(), [SubscribeProblem::DeadlineTooShort { deadline }]);
    stock(&bus).deadline(DEADLINE).to(async |_: Payload<Number>| {}).await.unwrap();
    let described = bus.describe();
    let settings = &described.subscription("stock").unwrap().settings;
    assert_eq!(settings.last().unwrap().to_string(), "deadline = 1s (subscription)");
    bus.finish().await;
}
