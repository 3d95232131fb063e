//! The span around an attempt: there when somebody listens, once.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::task::{Context, Poll};

use busway_middleware::chain::attempt::Attempted;
use busway_middleware::chain::{begin_plain, call_plain, go_on_plain, run, run_now};
use busway_middleware::{Chain, Delivery, Progress, inline};
use tracing::Span;
use tracing_subscriber::Registry;

use crate::world::{delivery, ephemeral, listening};

/// The span in which each way of running a handler runs it, by name and target.
async fn spans(mut delivery: Delivery) -> Vec<Option<(&'static str, &'static str)>> {
    let (sender, spans) = std::sync::mpsc::channel();
    let tell = move || _ = sender.send(Span::current().metadata().map(|span| (span.name(), span.target())));
    let told = tell.clone();
    let waits = ephemeral(move || {
        let told = told.clone();
        async move {
            tokio::task::yield_now().await;
            told();
        }
    });
    let at_once = ephemeral(inline(tell));
    let (chain, mut progress) = (Chain::default(), Progress::new());
    run_now(&chain, &mut delivery, &at_once, &mut progress).unwrap();
    let mut reply = None;
    call_plain(&delivery, &at_once, &mut reply);
    let mut invocation = waits.invocation();
    run(&chain, &mut delivery, &mut *invocation, &mut progress).await;
    let mut begin = |context: &mut Context<'_>| begin_plain(&delivery, &mut *invocation, context, &mut reply);
    let polled = poll_fn(|context| Poll::Ready(begin(context))).await;
    assert!(polled.is_pending());
    go_on_plain(&delivery, &mut *invocation).await;
    spans.try_iter().collect()
}

#[tokio::test]
async fn handlers_run_in_a_span_when_somebody_listens_only() {
    assert_eq!(spans(attempt()).await, [None; 4]);
    let _listening = listening(Registry::default());
    assert_eq!(spans(attempt()).await, [Some(("process", "busway")); 4]);
}

#[tokio::test]
async fn within_a_span_that_a_tracing_system_has_asked_for_there_is_no_second_one() {
    let _listening = listening(Registry::default());
    let span = tracing::info_span!(target: "busway::trace", "process", "messaging.message.id" = "e-1");
    let own = attempt();
    let around = Attempted::of(&own).enter();
    let of_own = tracing::Instrument::instrument(spans(own.clone()), span.clone()).await;
    assert_eq!(of_own, [Some(("process", "busway::trace")); 4]);
    // One that runs within the handler of another says its own event.
    let of_another = tracing::Instrument::instrument(spans(attempt()), span.clone()).await;
    assert_eq!(of_another, [Some(("process", "busway")); 4]);
    drop(around);
    let of_nobody = tracing::Instrument::instrument(spans(attempt()), span).await;
    assert_eq!(of_nobody, [Some(("process", "busway")); 4]);
}

fn attempt() -> Delivery {
    delivery(1).with_attempt(NonZeroU32::MIN)
}
