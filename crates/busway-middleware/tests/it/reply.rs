//! What a handler may return, and when the events in it are published.

use std::io;

use busway_event::{AnyDraft, Draft, Timestamp};
use busway_middleware::chain::run;
use busway_middleware::{
    AnyHandler, BoxError, Chain, Emit, Ephemeral, Flow, IntoReply, Outcome, Permanent, Progress, Reply,
    inline,
};

use crate::world::{Order, after, around, before, chain_of, delivery, draft, ephemeral, run_once};

fn ids(mut progress: Progress) -> Vec<String> {
    progress.take_emits().iter().map(|draft| draft.head().key().unwrap_or("-").to_owned()).collect()
}

fn keyed(key: &str) -> Draft<Order> {
    draft(1).key(key)
}

fn returning<R: IntoReply + Send + 'static>(
    make: impl Fn() -> R + Send + Sync + 'static,
) -> AnyHandler<Ephemeral> {
    ephemeral(move || {
        let reply = make();
        async move { reply }
    })
}

fn any(key: &str) -> AnyDraft {
    keyed(key).into()
}

fn io_error() -> io::Error {
    io::Error::other("disk gone")
}

#[tokio::test]
async fn each_form_of_a_reply_is_an_outcome_with_its_events() {
    let none: &[&str] = &[];
    let at = Timestamp::from_nanos(0);
    let cases: Vec<(&str, AnyHandler<Ephemeral>, &str, &[&str])> = vec![
        ("unit", returning(|| ()), "done", none),
        ("done", returning(|| Outcome::Done), "done", none),
        ("skip", returning(|| Outcome::Skip), "skipped", none),
        ("retry", returning(move || Outcome::RetryAt(at)), "retry at 1970-01-01T00:00:00Z", none),
        ("dead", returning(|| Outcome::dead("no such order")), "dead: no such order", none),
        ("ok", returning(|| Ok::<(), io::Error>(())), "done", none),
        ("error", returning(|| Err::<(), _>(io_error())), "failed: disk gone", none),
        ("text", returning(|| Err::<(), _>("out of stock")), "failed: out of stock", none),
        ("permanent", returning(|| Err::<(), _>(Permanent(io_error()))), "dead: disk gone", none),
        ("boxed", returning(|| Err::<(), BoxError>(Permanent("gone").into())), "dead: gone", none),
        ("failed(permanent)", returning(|| Outcome::failed(Permanent("gone"))), "dead: gone", none),
        ("draft", returning(|| keyed("a")), "done", &["a"]),
        ("any draft", returning(|| any("a")), "done", &["a"]),
        ("no draft", returning(|| None::<Draft<Order>>), "done", none),
        ("some draft", returning(|| Some(keyed("a"))), "done", &["a"]),
        ("drafts", returning(|| vec![keyed("a"), keyed("b")]), "done", &["a", "b"]),
        ("pair", returning(|| (keyed("a"), any("b"))), "done", &["a", "b"]),
        ("three", returning(|| (keyed("a"), any("b"), keyed("c"))), "done", &["a", "b", "c"]),
        ("four", returning(|| (keyed("a"), any("b"), keyed("c"), any("d"))), "done", &["a", "b", "c", "d"]),
        ("emit", returning(|| Emit::new().event(keyed("a")).event(any("b"))), "done", &["a", "b"]),
        ("result of a draft", returning(|| Ok::<_, io::Error>(keyed("a"))), "done", &["a"]),
        ("result of an outcome", returning(|| Ok::<_, io::Error>(Outcome::Skip)), "skipped", none),
        ("reply", returning(|| Reply { outcome: Outcome::Done, emits: vec![any("a")] }), "done", &["a"]),
        (
            "failed reply",
            returning(|| Reply { outcome: Outcome::Skip, emits: vec![any("a")] }),
            "skipped",
            none,
        ),
    ];
    for (name, handler, outcome, emits) in cases {
        let (said, progress) = run_once(&Chain::default(), &handler, &mut delivery(1)).await;
        assert_eq!(said.to_string(), outcome, "{name}");
        assert_eq!(ids(progress), emits, "{name}");
    }
}

#[tokio::test]
async fn a_sync_handler_replies_in_the_same_way() {
    let handler = ephemeral(inline(|| Ok::<_, io::Error>((keyed("a"), keyed("b")))));
    let (outcome, progress) = run_once(&Chain::default(), &handler, &mut delivery(1)).await;
    assert!(outcome.is_done());
    assert_eq!(ids(progress), ["a", "b"]);
}

#[tokio::test]
async fn the_error_that_a_handler_returned_can_be_recognized() {
    let handler = ephemeral(async || Err::<(), _>(io_error()));
    let (outcome, _) = run_once(&Chain::default(), &handler, &mut delivery(1)).await;
    assert!(outcome.error().unwrap().is::<io::Error>());
    assert_eq!(outcome.error_text().as_deref(), Some("disk gone"));
    let handler = ephemeral(async || Err::<(), _>(Permanent(io_error())));
    let (outcome, _) = run_once(&Chain::default(), &handler, &mut delivery(1)).await;
    assert!(outcome.error().unwrap().is::<io::Error>(), "without the mark");
}

#[test]
fn an_error_is_told_with_its_causes_and_without_repetition() {
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }
    let cause = |text| Some(Box::new(Told { text, source: None }));
    let plain = Outcome::failed(Told { text: "no stock", source: cause("db is down") });
    assert_eq!(plain.to_string(), "failed: no stock: db is down");
    let repeated = Outcome::dead(Told { text: "no stock: db is down", source: cause("db is down") });
    assert_eq!(repeated.to_string(), "dead: no stock: db is down");
    assert_eq!(Outcome::Done.error_text(), None);
}

#[tokio::test]
async fn events_are_dropped_when_a_later_step_turns_done_into_failed() {
    let handler = ephemeral(async || keyed("a"));
    let refusing = after(|_| Outcome::failed("not like this"));
    let (outcome, progress) = run_once(&chain_of([("after", refusing)]), &handler, &mut delivery(1)).await;
    assert_eq!(outcome.label(), "failed");
    assert_eq!(ids(progress), [""; 0]);

    let refusing = around(|delivery, mut next| {
        Box::pin(async move {
            next.run(delivery).await;
            Outcome::Skip
        })
    });
    let (outcome, progress) = run_once(&chain_of([("around", refusing)]), &handler, &mut delivery(1)).await;
    assert_eq!((outcome.label(), ids(progress).len()), ("skipped", 0));
}

#[tokio::test]
async fn a_middleware_may_change_the_outcome_and_keep_the_events() {
    let handler = ephemeral(async || keyed("a"));
    let chain = chain_of([("look", after(|outcome| outcome))]);
    let (outcome, progress) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert!(outcome.is_done());
    assert_eq!(ids(progress), ["a"]);
}

#[tokio::test]
async fn of_a_repeated_run_only_the_events_of_the_last_are_published() {
    let handler = ephemeral(inline(|delivery: busway_middleware::Delivery| {
        keyed(if delivery.get::<u8>().is_some() { "second" } else { "first" })
    }));
    let twice = around(|delivery, mut next| {
        Box::pin(async move {
            next.run(delivery).await;
            delivery.insert(2_u8);
            next.run(delivery).await
        })
    });
    let (_, progress) = run_once(&chain_of([("twice", twice)]), &handler, &mut delivery(1)).await;
    assert_eq!(ids(progress), ["second"]);

    // The second time a step inside stops before the handler: it is done, and has nothing to publish.
    let twice = around(|delivery, mut next| {
        Box::pin(async move {
            next.run(delivery).await;
            delivery.insert(2_u8);
            next.run(delivery).await
        })
    });
    let stop = before(|delivery| match delivery.get::<u8>() {
        Some(_) => Flow::Stop(Outcome::Done),
        None => Flow::Continue,
    });
    let (outcome, progress) =
        run_once(&chain_of([("twice", twice), ("stop", stop)]), &handler, &mut delivery(1)).await;
    assert_eq!((outcome.label(), progress.cut_by()), ("done", Some("stop")));
    assert_eq!(ids(progress), [""; 0]);
}

#[tokio::test]
async fn a_run_that_was_dropped_has_nothing_to_publish() {
    let handler = ephemeral(async || keyed("a"));
    let stuck = around(|delivery, mut next| {
        Box::pin(async move {
            next.run(delivery).await;
            std::future::pending().await
        })
    });
    let (chain, mut progress, mut invocation) =
        (chain_of([("stuck", stuck)]), Progress::new(), handler.invocation());
    let mut delivery = delivery(1);
    let run = run(&chain, &mut delivery, &mut *invocation, &mut progress);
    assert!(crate::world::poll_once(run).await.is_none());
    assert_eq!(ids(progress), [""; 0]);
}
