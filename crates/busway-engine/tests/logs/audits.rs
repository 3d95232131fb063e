//! Audit lines: one an operation.

use busway_engine::{Bus, Redrive, Selection, StartAt};
use busway_middleware::{Outcome, Payload};
use busway_observability::audit;
use busway_reliability::{Force, Retry};
use busway_testkit::TestBus;
use serde_json::Value;

use crate::{Order, durable, lines, open, order};

/// The audit lines in which the word stands: action, outcome, who.
fn audits(word: &str) -> Vec<(String, String, String)> {
    let audits = lines(word).into_iter().filter(|line| line["target"] == audit::TARGET);
    let said =
        |line: Value| ["action", "outcome", "by"].map(|name| line[name].as_str().unwrap().to_owned()).into();
    audits.map(said).collect()
}

fn audit_of(action: &str, outcome: &str, by: &str) -> (String, String, String) {
    (action.to_owned(), outcome.to_owned(), by.to_owned())
}

/// With two dead letters of the subscription.
async fn with_letters(bus: &TestBus, name: &str) {
    let handler = |_: Payload<Order>| async { Outcome::dead("no") };
    durable(bus, name).retry(Retry::default().attempts(1)).to(handler).await.unwrap();
    for card in ["1", "2"] {
        bus.publish(order("orders.audited", card)).await.unwrap();
    }
    bus.settle().await;
}

#[tokio::test]
async fn what_is_done_with_dead_letters_is_one_line_each_refused_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    with_letters(&bus, "audit-letters").await;
    let letters = bus.dead_letters().by("ann");
    let all = Selection::all().subscription("audit-letters");
    letters.redrive(all.clone(), Redrive::default()).await.unwrap();
    bus.settle().await;
    let id = letters.list(&all).await.unwrap().letters[0].id.clone();
    letters.edit(&id, r#"{"n":2,"card":"3"}"#).await.unwrap();
    bus.settle().await;
    letters.discard(all.clone()).await.unwrap();
    letters.discard(&id).await.unwrap_err();
    letters.request("x".repeat(200)).redrive(all, Redrive::default()).await.unwrap_err();
    let expected = [
        ("redrive", "done"),
        ("edit", "done"),
        ("discard", "done"),
        ("discard", "refused"),
        ("redrive", "refused"),
    ];
    assert_eq!(audits("audit-letters"), expected.map(|(action, outcome)| audit_of(action, outcome, "ann")));
    let lines = lines("audit-letters");
    let redrive = lines.iter().find(|line| line["action"] == "redrive").unwrap();
    assert_eq!((&redrive["count"], &redrive["subject"]), (&2.into(), &"subscription audit-letters".into()));
    assert!(
        lines.iter().any(|line| line["reason"].as_str().is_some_and(|reason| reason.contains("at most 128")))
    );
    bus.finish().await;
}

#[tokio::test]
async fn a_seek_a_removal_and_a_pause_are_one_line_each_refused_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    let subscription = durable(&bus, "audit-cursor").to(|_: Payload<Order>| async {}).await.unwrap();
    subscription.pause();
    subscription.resume();
    let cursor = bus.cursor("audit-cursor").by("ann");
    cursor.seek(StartAt::Earliest).await.unwrap();
    cursor.seek(StartAt::Offset(99)).await.unwrap_err();
    cursor.remove().await.unwrap_err();
    subscription.stop().await;
    cursor.remove().await.unwrap();
    cursor.seek(StartAt::Earliest).await.unwrap_err();
    let us = bus.describe().producer;
    let expected = [
        ("pause", "done", us.as_str()),
        ("resume", "done", us.as_str()),
        ("seek", "done", "ann"),
        ("seek", "failed", "ann"),
        ("remove", "refused", "ann"),
        ("remove", "done", "ann"),
        ("seek", "refused", "ann"),
    ];
    assert_eq!(audits("audit-cursor"), expected.map(|(action, outcome, by)| audit_of(action, outcome, by)));
    bus.finish().await;
}

#[tokio::test]
async fn a_forced_breaker_is_one_line_refused_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    let breaker = busway_engine::Breaker::default();
    durable(&bus, "audit-breaker").breaker(breaker).to(|_: Payload<Order>| async {}).await.unwrap();
    let breakers = bus.breakers().by("ann");
    breakers.force("audit-breaker", "orders.a", Force::Open).unwrap();
    breakers.force("audit-breaker", "mail.a", Force::Open).unwrap_err();
    let expected = ["done", "refused"].map(|outcome| audit_of("force_breaker", outcome, "ann"));
    assert_eq!(audits("audit-breaker"), expected);
    let subject = "channel audit-breaker on orders.a, forced open";
    assert!(lines("audit-breaker").iter().any(|line| line["subject"] == subject));
    bus.finish().await;
}

#[tokio::test]
async fn a_subscription_in_memory_that_pauses_is_a_line_and_one_that_has_ended_is_refused() {
    crate::logs();
    let bus = Bus::memory().producer("shop").start().await.unwrap();
    let subscription =
        bus.subscribe("a").name("audit-memory").to(|_: Payload<Order>| async {}).await.unwrap();
    subscription.pause();
    subscription.resume();
    bus.shutdown(std::time::Duration::from_secs(10)).await;
    subscription.pause();
    let expected = [("pause", "done"), ("resume", "done"), ("pause", "refused")];
    assert_eq!(audits("audit-memory"), expected.map(|(action, outcome)| audit_of(action, outcome, "shop")));
}

#[tokio::test]
async fn an_operation_whose_caller_goes_away_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let bus = open(&dir).await;
    with_letters(&bus, "audit-gone").await;
    let letters = bus.dead_letters().by("ann");
    let redrive = letters.redrive(Selection::all().subscription("audit-gone"), Redrive::default());
    assert!(futures_util::FutureExt::now_or_never(redrive).is_none());
    assert_eq!(audits("audit-gone"), [audit_of("redrive", "cut_short", "ann")]);
    bus.finish().await;
}
