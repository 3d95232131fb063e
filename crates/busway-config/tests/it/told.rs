//! What is said of configurations that come while a bus runs: signals, metrics, health.

use std::sync::Arc;

use busway_config::Watcher;
use busway_engine::{Bus, BusBuilder};
use busway_event::Event;
use busway_observability::audit::TARGET as AUDIT;
use busway_observability::{Collector, Concern, Condition, Metrics, Redactor, Signal, Wants};
use parking_lot::Mutex;

use crate::world::{Log, Number, Seen, config, listening};

/// What was told of configurations.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Collector for Told {
    fn wants(&self) -> Wants {
        Wants::ALARMS
    }

    fn collect(&self, signal: &Signal<'_>) {
        match *signal {
            Signal::Reloaded { changes, .. } => self.0.lock().push(format!("{changes} changes")),
            Signal::ReloadRefused { problems, first } => self.0.lock().push(format!("{problems}: {first}")),
            _ => {}
        }
    }
}

fn with_handlers(builder: BusBuilder) -> BusBuilder {
    let seen = Seen::default();
    ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name))
}

fn shown<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    // The order of series is nobody's promise.
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name)).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn applied_and_refused_configurations_are_told_counted_and_a_concern() {
    let (told, metrics) = (Told::default(), Metrics::new());
    let first = config("routes: { a: { filter: a, handler: one } }");
    let builder = with_handlers(Bus::memory()).collector(Arc::new(told.clone())).metrics(&metrics);
    let bus = first.configure(builder).start().await.unwrap();
    assert_eq!((told.take(), bus.numbers().reloads.applied), (Vec::new(), 0), "it is no reload");

    let second = config("routes: { a: { filter: a, handler: two }, b: { filter: b, handler: one } }");
    second.apply(&bus).await.unwrap();
    assert_eq!(told.take(), ["2 changes"]);
    second.apply(&bus).await.unwrap();
    assert!(told.take().is_empty(), "nothing differs");

    let wrong = config("routes: { a: { filter: a, handler: tow }, b: { filter: b, handler: oen } }");
    wrong.apply(&bus).await.unwrap_err();
    let [refused] = &told.take()[..] else { panic!("it is told once") };
    assert!(refused.starts_with("2: ") && refused.contains("no handler \"tow\" is registered"), "{refused}");
    let health = bus.health(None);
    assert_eq!(health.condition, Condition::Degraded);
    assert_eq!(health.concerns, [Concern::ConfigurationRefused { problems: 2 }]);
    let text = metrics.render();
    assert_eq!(
        shown(&text, "busway_config_reloads_total{"),
        [
            "busway_config_reloads_total{outcome=\"applied\"} 1",
            "busway_config_reloads_total{outcome=\"refused\"} 1"
        ]
    );
    assert_eq!(shown(&text, "busway_config_refused "), ["busway_config_refused 1"]);
    assert_eq!(
        shown(&text, "busway_config_reload_duration_seconds_count"),
        ["busway_config_reload_duration_seconds_count 1"]
    );

    // What is in force comes again: nothing differs, and the concern is gone.
    second.apply(&bus).await.unwrap();
    assert_eq!(bus.health(None).condition, Condition::Good);
    assert_eq!(shown(&metrics.render(), "busway_config_refused "), ["busway_config_refused 0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_as_a_configuration_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    std::fs::write(&path, "routes: { a: { filter: a, handler: one } }").unwrap();
    let told = Told::default();
    let bus = with_handlers(Bus::memory()).collector(Arc::new(told.clone())).start().await.unwrap();
    let watcher = Watcher::of(&path).environment([]).start(&bus).await.unwrap();
    assert_eq!(told.take(), ["1 changes"]);
    std::fs::write(&path, "routes: { a: { filter: a, handler: one, filtre: a } }").unwrap();
    watcher.look().await;
    watcher.look().await;
    let [refused] = &told.take()[..] else { panic!("it is told once") };
    assert!(refused.contains("unknown field"), "{refused}");
    assert_eq!(bus.numbers().reloads.refused, 1);
    assert!(!bus.health(None).concerns.is_empty());
    std::fs::write(&path, "routes: { a: { filter: a, handler: two } }").unwrap();
    watcher.look().await;
    assert_eq!((told.take(), bus.health(None).concerns), (vec!["1 changes".to_owned()], Vec::new()));
}

impl Log {
    /// The lines for an auditor.
    fn audited(&self) -> Vec<String> {
        self.take().lines().filter(|line| line.contains(AUDIT)).map(str::to_owned).collect()
    }

    /// There is one more line for an auditor, which says all of this.
    fn has_one(&self, expected: &[&str]) {
        let audited = self.audited();
        let [line] = &audited[..] else { panic!("one line, not {audited:?}") };
        expected.iter().for_each(|expected| assert!(line.contains(expected), "{expected}: {line}"));
    }
}

#[tokio::test]
async fn an_auditor_reads_of_configurations_and_of_access_that_was_refused() {
    let log = Log::default();
    let lines = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).without_time().finish();
    let _guard = listening(lines);
    let text = |rules: &str| format!("access: [{rules}]\nroutes: {{ a: {{ filter: a, handler: one }} }}");
    let everything = "{ effect: allow, identity: \"*\", action: subscribe, filter: \"#\" }";
    let builder = with_handlers(Bus::memory()).producer("shop");
    let bus = config(&text("")).configure(builder).start().await.unwrap();
    log.has_one(&["INFO", "action=\"reload\"", "outcome=\"done\"", "by=\"shop\"", "count=1"]);

    config(&text(everything)).apply(&bus).await.unwrap();
    log.has_one(&["INFO", "action=\"reload\"", "subject=\"configuration\"", "by=\"shop\"", "count=1"]);
    config(&text(everything)).apply(&bus).await.unwrap();
    assert_eq!(log.audited(), [""; 0], "nothing was done");

    bus.publish(Event::new("a", Number(1))).await.unwrap_err();
    log.has_one(&[
        "WARN",
        "action=\"access\"",
        "outcome=\"refused\"",
        "subject=\"publish a\"",
        "by=\"shop\"",
    ]);

    config("routes: { a: { filter: a, handler: nobody } }").apply(&bus).await.unwrap_err();
    log.has_one(&["WARN", "action=\"reload\"", "outcome=\"refused\"", "busway.yaml:1:36: no handler"]);

    // Whoever applies it goes away while it waits for another one.
    let reloading = bus.reloading();
    drop(reloading);
    log.has_one(&["WARN", "action=\"reload\"", "outcome=\"cut_short\""]);
}

#[tokio::test]
async fn what_is_told_of_a_configuration_passes_the_redaction_of_the_bus() {
    let log = Log::default();
    let lines = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).without_time().finish();
    let _guard = listening(lines);
    let build = || with_handlers(Bus::memory()).redact(Redactor::new().value("hunter2"));
    let text = |handler: &str| config(&format!("routes: {{ hunter2: {{ filter: a, handler: {handler} }} }}"));
    text("hunter2").configure(build()).start().await.unwrap_err();
    let bus = text("one").configure(build()).start().await.unwrap();
    text("hunter2").apply(&bus).await.unwrap_err();
    text("two").apply(&bus).await.unwrap();
    let written = log.take();
    assert_eq!(written.matches("configuration refused").count(), 2, "{written}");
    assert_eq!(written.matches("configuration applied").count(), 2, "{written}");
    assert!(written.contains("routes.") && !written.contains("hunter2"), "{written}");
}
