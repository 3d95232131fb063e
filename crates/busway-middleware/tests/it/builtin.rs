//! The middleware that comes ready.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use busway_event::Draft;
use busway_middleware::builtin::{
    Authorize, ConcurrencyLimit, IsolatePanics, LogOutcome, MetadataRefused, PanicOutcome, Refusal,
    ValidateMetadata,
};
use busway_middleware::middleware::IntoStep;
use busway_middleware::{Chain, Outcome, inline};
use tokio::sync::oneshot;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{
    Order, chain_of, delivery, delivery_of, draft, ephemeral, event_of, listening, pause, poll_once, run_once,
};

#[tokio::test]
async fn authorize_lets_pass_or_ends_an_event_with_its_reason() {
    let authorize = Authorize::new(|topic, metadata| match (metadata.get("tenant"), metadata.producer()) {
        (Some("a"), Some("test")) => Ok(()),
        (tenant, _) => Err(Refusal::new(format!("{tenant:?} on {topic}"))),
    });
    let chain = chain_of([("authorize", authorize.into_step())]);
    let handler = ephemeral(async || {});
    let (outcome, _) =
        run_once(&chain, &handler, &mut delivery_of(event_of(draft(1).meta("tenant", "a")))).await;
    assert!(outcome.is_done());
    let (outcome, progress) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "dead: not authorized: None on orders.created");
    assert!(outcome.error().unwrap().is::<Refusal>());
    assert_eq!(progress.cut_by(), Some("authorize"));
}

#[tokio::test]
async fn the_first_rule_on_metadata_that_is_broken_is_told_without_the_value() {
    let rules = || {
        let rules = ValidateMetadata::new().require("tenant").require("producer");
        rules.check("region", |value| value.len() == 2).check("producer", |value| value == "test")
    };
    let chain = chain_of([("rules", rules().into_step())]);
    let handler = ephemeral(async || {});
    let missing = |name: &str| Some(MetadataRefused::Missing { name: name.into() });
    let cases = [
        (draft(1).meta("tenant", "a").meta("region", "eu"), None),
        (draft(1).meta("region", "eu"), missing("tenant")),
        (draft(1).meta("tenant", "a"), missing("region")),
        (
            draft(1).meta("tenant", "a").meta("region", "secret"),
            Some(MetadataRefused::Value { name: "region".into() }),
        ),
        (
            draft(1).meta("tenant", "a").meta("region", "eu").meta("producer", "secret"),
            Some(MetadataRefused::Value { name: "producer".into() }),
        ),
    ];
    for (draft, broken) in cases {
        let (outcome, _) = run_once(&chain, &handler, &mut delivery_of(event_of(draft))).await;
        assert_eq!(outcome.error().and_then(|error| error.downcast_ref()), broken.as_ref());
        assert_eq!(outcome.label(), if broken.is_some() { "dead" } else { "done" });
        assert!(!outcome.to_string().contains("secret"), "{outcome}");
    }
    assert_eq!(format!("{:?}", rules()), "[\"tenant\", \"producer\", \"region\", \"producer\"]");
}

#[tokio::test]
async fn a_trace_may_be_required() {
    let rules =
        ValidateMetadata::new().require("traceparent").check("traceparent", |value| value.starts_with("00-"));
    let chain = chain_of([("rules", rules.into_step())]);
    let handler = ephemeral(async || {});
    let traced = draft(1).meta("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let (outcome, _) = run_once(&chain, &handler, &mut delivery_of(event_of(traced))).await;
    assert!(outcome.is_done(), "{outcome}");
    let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
    assert_eq!(outcome.to_string(), "dead: metadata \"traceparent\" is required here and missing");
}

/// The fixed fields of [`traced`], and a free pair.
const FIELDS: [(&str, &str); 6] = [
    ("producer", "test"),
    ("version", "1"),
    ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("tracestate", "shop=1"),
    ("tenant", "a"),
];

fn traced() -> Draft<Order> {
    let fixed = FIELDS.into_iter().filter(|(name, _)| !matches!(*name, "producer" | "version" | "trace_id"));
    fixed.fold(draft(1), |draft, (name, value)| draft.meta(name, value))
}

#[tokio::test]
async fn rules_and_authorization_reach_every_field_by_its_name() {
    let handler = ephemeral(async || {});
    for (name, expected) in FIELDS {
        let rules = ValidateMetadata::new().require(name).check(name, move |value| value == expected);
        let authorize = Authorize::new(move |_, metadata| match metadata.get(name) {
            Some(value) if value == expected => Ok(()),
            other => Err(Refusal::new(format!("{name} is {other:?}"))),
        });
        for step in [rules.into_step(), authorize.into_step()] {
            let chain = chain_of([("step", step)]);
            let (outcome, _) = run_once(&chain, &handler, &mut delivery_of(event_of(traced()))).await;
            assert_eq!(outcome.to_string(), "done", "{name}");
            // The others are not there by themselves.
            let (outcome, _) = run_once(&chain, &handler, &mut delivery(1)).await;
            assert_eq!(outcome.is_done(), matches!(name, "producer" | "version"), "{name}: {outcome}");
        }
        let refusing = ValidateMetadata::new().check(name, move |value| value != expected);
        let chain = chain_of([("rules", refusing.into_step())]);
        let (outcome, _) = run_once(&chain, &handler, &mut delivery_of(event_of(traced()))).await;
        assert_eq!(
            outcome.to_string(),
            format!("dead: the value of metadata \"{name}\" is not accepted here"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn never_more_than_the_limit_are_inside_across_all_who_share_it() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&inside), Arc::clone(&most));
    let handler = ephemeral(move || {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            pause().await;
            pause().await;
            now.fetch_sub(1, Ordering::Relaxed);
        }
    });
    let limit = ConcurrencyLimit::new(3);
    let chains = [chain_of([("limit", limit.clone().into_step())]), chain_of([("limit", limit.into_step())])];
    let runs = (0..20).map(|at| {
        let (chain, handler) = (&chains[at % 2], &handler);
        async move { run_once(chain, handler, &mut delivery(1)).await.0 }
    });
    let outcomes = futures_util::future::join_all(runs).await;
    assert!(outcomes.iter().all(Outcome::is_done));
    assert_eq!((inside.load(Ordering::Relaxed), most.load(Ordering::Relaxed)), (0, 3));
}

#[tokio::test]
async fn a_waiter_that_is_cancelled_leaves_the_queue_and_one_inside_gives_its_place_back() {
    let chain = chain_of([("limit", ConcurrencyLimit::new(0).into_step())]);
    let (open, gate) = oneshot::channel::<()>();
    let gate = Mutex::new(Some(gate));
    let handler = ephemeral(move || {
        let gate = gate.lock().unwrap().take();
        async move {
            if let Some(gate) = gate {
                gate.await.unwrap();
            }
        }
    });
    let run = |chain: &Chain| {
        let (chain, handler) = (chain.clone(), handler.clone());
        Box::pin(async move { run_once(&chain, &handler, &mut delivery(1)).await.0 })
    };
    // 0 is 1: one inside, two waiting.
    let (mut inside, mut cancelled, mut waiting) = (run(&chain), run(&chain), run(&chain));
    assert!(poll_once(&mut inside).await.is_none());
    assert!(poll_once(&mut cancelled).await.is_none());
    assert!(poll_once(&mut waiting).await.is_none());
    drop(cancelled);
    open.send(()).unwrap();
    assert!(inside.await.is_done());
    assert!(poll_once(&mut waiting).await.is_some_and(|outcome| outcome.is_done()));

    // One that is cancelled inside.
    let stuck = ephemeral(std::future::pending::<()>);
    let mut first = delivery(1);
    assert!(poll_once(run_once(&chain, &stuck, &mut first)).await.is_none());
    assert!(poll_once(run(&chain)).await.is_some_and(|outcome| outcome.is_done()));
}

#[tokio::test]
async fn a_panic_becomes_what_was_said_and_other_failures_stay() {
    let panicking = ephemeral(inline(|| -> () { panic!("a bug") }));
    let failing = ephemeral(async || Err::<(), _>("out of stock"));
    for (outcome, panicked) in [(PanicOutcome::Failed, "failed"), (PanicOutcome::Dead, "dead")] {
        let chain = chain_of([("isolate", IsolatePanics::new(outcome).into_step())]);
        let (said, _) = run_once(&chain, &panicking, &mut delivery(1)).await;
        assert_eq!(said.to_string(), format!("{panicked}: handler panicked: a bug"));
        let (said, _) = run_once(&chain, &failing, &mut delivery(1)).await;
        assert_eq!(said.to_string(), "failed: out of stock");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_outcome_is_logged_once_without_the_payload_and_on_one_line() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .finish();
    let _guard = listening(subscriber);
    let chain = chain_of([("log", LogOutcome.into_step())]);
    let forged = "down\n WARN forged: level=\u{1b}[31m";
    let at = busway_event::Timestamp::from_nanos(0);
    let handlers = [
        (ephemeral(inline(|| ())), "DEBUG", "outcome=\"done\""),
        (ephemeral(inline(|| Outcome::Skip)), "DEBUG", "outcome=\"skipped\""),
        (ephemeral(inline(move || Outcome::failed(forged))), " WARN", "error=\"down\\\\n WARN forged"),
        (ephemeral(inline(|| Outcome::dead("x".repeat(1_000)))), " WARN", "outcome=\"dead\""),
        (ephemeral(inline(move || Outcome::RetryAt(at))), " WARN", "at=1970-01-01T00:00:00Z"),
    ];
    for (handler, level, text) in handlers {
        run_once(&chain, &handler, &mut delivery(471_147)).await;
        let lines = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.starts_with(level) && lines.contains(text), "{lines}");
        assert!(lines.contains("subscription=\"stock\" topic=\"orders.created\""), "{lines}");
        assert!(!lines.contains("471147") && !lines.contains('\u{1b}') && lines.len() < 700, "{lines}");
    }
}
