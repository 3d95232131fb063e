//! Events that are attempted one by one are taken so, each marked before. What transports see of the rest is tested there (`transport::local`).

use std::time::Duration;

use busway_event::{Event, Raw};
use busway_persistence::Stream;
use futures_util::FutureExt as _;
use tempfile::TempDir;

use super::*;
use crate::bus::Bus;
use crate::durable::StartAt;
use crate::stats::State;

/// A bus with events, and somebody who takes them, one by one for the first three.
async fn careful() -> (TempDir, Bus, DurableSubscription, Taking) {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::new("orders").capture("orders.#");
    let bus = Bus::open(folder.path()).stream(stream).start().await.unwrap();
    for number in 0..10 {
        bus.publish(Event::new("orders.made", Raw::from(number.to_string()))).await.unwrap();
    }
    let builder = bus.subscribe("orders.#").concurrency(8).durable("there").start_at(StartAt::Earliest);
    let (subscription, taking) = builder.taken().await.unwrap();
    taking.core.hand.lock().careful = 3;
    (folder, bus, subscription, taking)
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

fn done(taken: &[TakenEvent]) -> Vec<(u64, Fate)> {
    taken.iter().map(|taken| (taken.id, Fate::Decided(Outcome::Done))).collect()
}

fn offsets(taken: &[TakenEvent]) -> Vec<u64> {
    taken.iter().map(|taken| taken.position.as_ref().unwrap().offset).collect()
}

#[tokio::test]
async fn behind_deaths_one_event_is_under_way_at_a_time() {
    let (_folder, bus, subscription, taking) = careful().await;
    for offset in 0..3 {
        let one = soon(taking.take(64)).await.unwrap();
        assert_eq!(offsets(&one), [offset]);
        assert!(taking.take(64).now_or_never().is_none(), "the next waits for its end");
        assert_eq!(taking.end(done(&one)), [true]);
    }
    let mut rest = Vec::new();
    while rest.len() < 7 {
        let page = soon(taking.take(64)).await.unwrap();
        rest.extend(offsets(&page));
        assert_eq!(taking.end(done(&page)), vec![true; page.len()]);
    }
    assert_eq!(rest, [3, 4, 5, 6, 7, 8, 9]);
    soon(bus.idle()).await;
    assert_eq!(subscription.stats().done, 10);
}

#[tokio::test]
async fn an_event_whose_mark_nobody_waits_for_any_more_is_given_back_uncharged() {
    let (_folder, bus, subscription, taking) = careful().await;
    soon(bus.core().services.idle.until(|| (subscription.stats().ready == 10).then_some(()))).await;
    let polled_once = taking.take(64).now_or_never();
    assert!(polled_once.is_none(), "a mark takes a commit");
    assert_eq!(subscription.stats().running, 0, "it is under way no more");
    let mut offsets_taken = Vec::new();
    while offsets_taken.len() < 10 {
        let page = soon(taking.take(64)).await.unwrap();
        assert!(page.iter().all(|taken| taken.attempt.get() == 1));
        offsets_taken.extend(offsets(&page));
        taking.end(done(&page));
    }
    offsets_taken.sort_unstable();
    assert_eq!(offsets_taken, (0..10).collect::<Vec<_>>());
    assert_eq!(subscription.stats().failed, 0);
}

#[tokio::test]
async fn who_takes_is_told_when_the_subscription_is_stopped_and_nothing_of_it_is_left_running() {
    let (_folder, bus, subscription, taking) = careful().await;
    let page = soon(taking.take(64)).await.unwrap();
    taking.close();
    assert_eq!(taking.end(done(&page)), [false], "it was given back");
    let (end, stats) = soon(async { tokio::join!(taking.take(64), subscription.stop()) }).await;
    assert!(end.is_none());
    assert_eq!((stats.state, stats.running), (State::Stopped, 0));
    soon(bus.core().durable.until_free("there", &bus.core().services.idle)).await;
}
