//! Planted secrets: in no dead letter, no statistics, no signal, no line.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::Selection;
use busway_event::{Event, EventType};
use busway_middleware::builtin::LogOutcome;
use busway_middleware::{BoxError, Outcome, Payload, Stage};
use busway_observability::{Collector, Redactor, Signal, Wants};
use busway_reliability::Retry;
use busway_testkit::TestBus;
use parking_lot::Mutex;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Order, durable, lines, logs, open, order, redactor};

/// How a handler lets a secret slip out.
#[derive(Debug, Clone, Copy)]
enum Slip {
    Json,
    Debug,
    Text,
    Panic,
    Cause,
    Dead,
    Undecodable,
}

/// What an older program may have published.
#[derive(Debug, Serialize, Deserialize)]
struct Undecodable {
    n: String,
    card: String,
}

impl EventType for Undecodable {
    const NAME: &'static str = Order::NAME;
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] BoxError);

fn handle(slip: Slip, order: &Order) -> Outcome {
    let json = serde_json::to_string(order).unwrap();
    tracing::trace!(
        ?order,
        json,
        card = order.card,
        "slip password: {}",
        order.card.replace(['\n', ','], "")
    );
    match slip {
        Slip::Json => Outcome::failed(format!("cannot take {json}")),
        Slip::Debug => Outcome::failed(format!("cannot take {order:?} ({json:?})")),
        Slip::Text => Outcome::failed(format!("card: {}", order.card.replace(['\n', ','], ""))),
        Slip::Panic => panic!("{order:?}"),
        Slip::Cause => Outcome::failed(Outer(format!("inner {json}").into())),
        Slip::Dead | Slip::Undecodable => Outcome::dead(format!("never {json}")),
    }
}

/// Reasons that are told.
#[derive(Default)]
struct Reasons(Mutex<Vec<String>>);

impl Collector for Reasons {
    fn wants(&self) -> Wants {
        Wants::ALARMS
    }

    fn collect(&self, signal: &Signal<'_>) {
        if let Signal::DeadLetter { reason, .. } = signal {
            self.0.lock().push((*reason).to_owned());
        }
    }
}

async fn give_up(redactor: Redactor, slip: Slip, secret: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let reasons = Arc::new(Reasons::default());
    let stream = busway_engine::Stream::new("orders").capture("orders.#");
    let told = Arc::clone(&reasons) as Arc<dyn Collector>;
    let bus =
        TestBus::open(dir.path(), |builder| builder.stream(stream).redact(redactor).collector(told)).await;
    let retry = Retry::default().attempts(2).first_delay(Duration::from_millis(1));
    let handler = move |payload: Payload<Order>| async move { handle(slip, &payload) };
    let subscription = durable(&bus, "secrets").retry(retry).to(handler).await.unwrap();
    subscription.middleware(Stage::User).add("log", LogOutcome).unwrap();
    let id = match slip {
        Slip::Undecodable => {
            let wrong = Undecodable { n: secret.to_owned(), card: String::new() };
            bus.publish(Event::new("orders.a", wrong)).await.unwrap().id
        }
        _ => bus.publish(order("orders.a", secret)).await.unwrap().id,
    };
    bus.settle().await;
    bus.clock().advance(Duration::from_millis(2));
    bus.settle().await;
    let page = bus.dead_letters().list(&Selection::all()).await.unwrap();
    let letter = &page.letters[0];
    let event = letter.event.as_ref().unwrap();
    assert_eq!(event.id(), id);
    let bytes = String::from_utf8(event.encoded(1 << 20).unwrap().bytes.to_vec()).unwrap();
    assert!(bytes.contains(MARK), "what was published stays as it was: {bytes}");
    let mut shown = vec![letter.reason.clone(), format!("{page:?}"), format!("{:?}", subscription.stats())];
    shown.extend(letter.attempts.iter().map(|attempt| attempt.error.clone()));
    shown.extend(reasons.0.lock().iter().cloned());
    assert!(shown.len() >= 5, "{shown:?}");
    shown.extend(lines(&id.to_string()).iter().map(ToString::to_string));
    bus.finish().await;
    shown
}

const SLIPS: [Slip; 7] =
    [Slip::Json, Slip::Debug, Slip::Text, Slip::Panic, Slip::Cause, Slip::Dead, Slip::Undecodable];

/// Letters that confuse, around a mark that nothing else has.
fn secret() -> impl Strategy<Value = String> {
    "[\"'\\\\{}\\[\\]()=:, \n`a]{0,12}".prop_map(|rest| format!("{MARK}{rest}{MARK}{rest}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_planted_secret_is_shown_nowhere_and_kept_as_it_was(slip in proptest::sample::select(&SLIPS[..]), secret in secret()) {
        logs();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shown = runtime.block_on(give_up(redactor(), slip, &secret));
        for text in shown {
            prop_assert!(!text.contains(MARK), "{slip:?}: {text}");
        }
    }
}

/// The control of the test above.
#[tokio::test]
async fn without_a_redactor_each_slip_shows_the_secret() {
    logs();
    for slip in SLIPS {
        let shown = give_up(Redactor::new(), slip, MARK).await;
        assert!(shown.iter().any(|text| text.contains(MARK)), "{slip:?}");
    }
}

#[tokio::test]
async fn the_last_failure_of_a_subscription_in_memory_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    let handler = |payload: Payload<Order>| async move { handle(Slip::Debug, &payload) };
    let subscription = bus.subscribe("memory.#").name("secrets-memory").to(handler).await.unwrap();
    bus.publish(order("memory.a", MARK)).await.unwrap();
    bus.settle().await;
    let failure = subscription.stats().last_failure.unwrap();
    assert!(failure.error.contains("card: \"***\"") && !failure.error.contains(MARK), "{failure:?}");
    assert!(lines("secrets-memory").iter().all(|line| !line.to_string().contains(MARK)));
    bus.finish().await;
}

/// What the bus alone is told to hide: who writes the lines does not know it. Where `LogOutcome` cuts a text it is not whole any more.
const OF_THE_BUS: &str = "k3y-of-the-bus";

#[tokio::test]
async fn a_step_that_logs_outcomes_redacts_as_the_bus_does_before_it_cuts() {
    logs();
    let dir = tempfile::tempdir().unwrap();
    let stream = busway_engine::Stream::new("orders").capture("orders.#");
    let secrets = Redactor::new().value(OF_THE_BUS);
    let bus = TestBus::open(dir.path(), |builder| builder.stream(stream).redact(secrets)).await;
    let handler = |_: Payload<Order>| async { Outcome::failed(format!("{} {OF_THE_BUS}", "x".repeat(250))) };
    let of_store = durable(&bus, "step-durable").retry(Retry::never()).to(handler).await.unwrap();
    let in_memory = bus.subscribe("memory.#").name("step-memory").to(handler).await.unwrap();
    of_store.middleware(Stage::User).add("log", LogOutcome).unwrap();
    in_memory.middleware(Stage::User).add("log", LogOutcome).unwrap();
    for topic in ["orders.a", "memory.a"] {
        bus.publish(order(topic, MARK)).await.unwrap();
    }
    bus.settle().await;
    for name in ["step-durable", "step-memory"] {
        let of_step = |line: &&Value| line["message"] == "event not handled";
        let lines = lines(name);
        let line = lines.iter().find(of_step).unwrap_or_else(|| panic!("{lines:?}"));
        let error = line["error"].as_str().unwrap();
        assert!(error.ends_with("x ***") && !error.contains("k3y"), "{error}");
    }
    bus.finish().await;
}

#[tokio::test]
async fn a_shadow_shows_no_secret_and_is_compared_by_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    bus.publish(order("orders.a", MARK)).await.unwrap();
    let fails = |payload: Payload<Order>| async move { handle(Slip::Json, &payload) };
    let panics = |payload: Payload<Order>| async move { handle(Slip::Panic, &payload) };
    let differs = |payload: Payload<Order>| async move {
        let order = Order { n: payload.n, card: format!("{MARK}-2") };
        handle(Slip::Json, &order)
    };
    let mut seen = Vec::new();
    bus.history("orders.#").shadow(fails, |_, shadow| seen.push(shadow.error)).await.unwrap();
    bus.history("orders.#").shadow(panics, |_, shadow| seen.push(shadow.error)).await.unwrap();
    assert_eq!(bus.history("orders.#").compare(fails, fails).await.unwrap().alike, 1);
    let comparison = bus.history("orders.#").compare(fails, differs).await.unwrap();
    assert_eq!(comparison.alike, 0, "what is hidden differs");
    let [difference] = &comparison.differences[..] else { panic!("{comparison:?}") };
    seen.extend([difference.one.error.clone(), difference.other.error.clone()]);
    for error in seen {
        let error = error.unwrap();
        assert!(error.contains("card") && error.contains("***") && !error.contains(MARK), "{error}");
    }
    bus.finish().await;
}

/// Nothing else has it.
const MARK: &str = "s3cr3t";
