//! Lines: what stands in them, and what never does.

use std::io::{self, Write};
use std::sync::Arc;

use busway_observability::audit::{self, Action, Ending};
use busway_observability::{FIELDS, LogControl, LogFormat, Logs, LogsError, Redact, Redactor};
use parking_lot::Mutex;
use serde_json::Value;
use tracing::Dispatch;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

/// What was written.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Does something where logs are written, and says what was.
pub(crate) fn logged(logs: Logs, work: impl FnOnce(&LogControl)) -> Written {
    let written = Written::default();
    let (layer, control) = logs.writer(written.clone()).layer::<Registry>().unwrap();
    let dispatch = Dispatch::new(Registry::default().with(layer));
    crate::another_listens();
    tracing::dispatcher::with_default(&dispatch, || work(&control));
    written
}

/// The span that the bus makes around an attempt.
fn process() -> tracing::Span {
    tracing::info_span!(
        target: "busway",
        "process",
        event_id = "e-1",
        subscription = "stock",
        topic = "orders.created",
        attempt = 2_u32,
        trace_id = tracing::field::Empty,
    )
}

#[test]
fn a_line_of_json_has_the_fields_of_its_event_and_those_of_the_spans_around_it() {
    let written = logged(Logs::new(LogFormat::Json), |_| {
        let span = process();
        span.record("trace_id", "0af7651916cd43dd8448eb211c80319c");
        let _entered = span.enter();
        let _inner = tracing::info_span!("call", user = "ann", topic = "inner").entered();
        tracing::warn!(order = 7, paid = true, share = 0.5, error = %"no", attempt = "x", level = "my", "refused");
    });
    let mut line = written.lines().remove(0);
    let timestamp = line["timestamp"].take();
    assert!(timestamp.as_str().unwrap().parse::<busway_event::Timestamp>().is_ok(), "{timestamp}");
    assert_eq!(
        line,
        serde_json::json!({
            "timestamp": null, "level": "WARN", "target": "it::logs", "message": "refused",
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "event_id": "e-1", "subscription": "stock",
            "topic": "inner", "attempt": 2, "error": "no",
            "fields": { "order": 7, "paid": true, "share": 0.5, "attempt": "x", "level": "my" },
        })
    );
}

#[test]
fn spans_of_a_tracing_system_say_which_event_a_line_is_of_too() {
    let written = logged(Logs::new(LogFormat::Json).filter("error"), |_| {
        let span = tracing::info_span!(
            target: "busway::trace",
            "process",
            "messaging.message.id" = "e-1",
            "messaging.destination.name" = "orders.created",
            "messaging.destination.subscription.name" = "stock",
            "busway.attempt" = 1,
            trace_id = "t-2",
        );
        let _entered = span.enter();
        // What an event bears, the bus says in the span of the attempt: where it was published.
        let _attempt =
            tracing::info_span!(target: "busway", "process", event_id = "e-1", trace_id = "t-1").entered();
        tracing::error!("refused");
    });
    let line = &written.lines()[0];
    let found = ["event_id", "topic", "subscription", "trace_id"].map(|name| line[name].as_str().unwrap());
    assert_eq!(found, ["e-1", "orders.created", "stock", "t-2"]);
    assert_eq!(line["attempt"], 1);
}

#[test]
fn an_id_that_busway_gives_a_span_is_no_card_whatever_its_digits() {
    const CARD: &str = "4111111111111111";
    let written = logged(Logs::new(LogFormat::Json), |_| {
        for value in [CARD, "4111-1111-1111-1111"] {
            let own =
                tracing::info_span!(target: "busway::trace", "process", span_id = tracing::field::Empty);
            own.record("span_id", value);
            own.in_scope(|| tracing::info!("of busway"));
        }
        let others = tracing::info_span!("of the program", span_id = CARD);
        others.in_scope(|| tracing::info!(trace_id = CARD, "of the program"));
        let topic = tracing::info_span!(target: "busway", "process", topic = CARD);
        topic.in_scope(|| tracing::info!(span_id = CARD, "within it"));
    });
    let ids = written.lines().into_iter().map(|line| line["span_id"].as_str().map(str::to_owned));
    let hidden = Some("***".to_owned());
    assert_eq!(ids.collect::<Vec<_>>(), [Some(CARD.to_owned()), hidden.clone(), hidden.clone(), hidden]);
    assert_eq!(written.text().matches(CARD).count(), 1, "{}", written.text());
}

#[test]
fn no_text_forges_a_line_or_steers_a_terminal() {
    let evil = "a\n{\"level\":\"ERROR\"}\r\u{1b}[31m\u{2028}\u{85}\u{202e}\"";
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let written = logged(Logs::new(format), |_| {
            let _span = tracing::info_span!(target: "busway", "process", topic = evil).entered();
            tracing::info!(evil, debug = ?evil, display = %evil, "{evil}");
        });
        let text = written.text();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(
            text.trim_end()
                .chars()
                .all(|letter| !letter.is_control() && !"\u{2028}\u{202e}".contains(letter)),
            "{text}"
        );
    }
    let written = logged(Logs::new(LogFormat::Json), |_| tracing::info!(evil, "{evil}"));
    let line = &written.lines()[0];
    assert_eq!((line["message"].as_str(), line["fields"]["evil"].as_str()), (Some(evil), Some(evil)));
}

#[test]
fn a_line_for_people_reads_from_left_to_right() {
    let logs = Logs::new(LogFormat::Pretty);
    let written =
        logged(logs, |_| process().in_scope(|| tracing::info!(order = 7, error = "it is \"so\"", "refused")));
    let text = written.text();
    let (_, rest) = text.split_once(' ').unwrap();
    assert_eq!(
        rest,
        " INFO it::logs: refused event_id=e-1 subscription=stock topic=orders.created attempt=2 error=\"it is \\\"so\\\"\" order=7\n"
    );
    let coloured = Logs::new(LogFormat::Pretty).colour(busway_observability::Colour::Always);
    assert!(logged(coloured, |_| tracing::info!("x")).text().contains("\u{1b}[32m INFO\u{1b}[0m"));
}

#[test]
fn the_filter_is_changed_while_logs_are_written_and_says_what_is_in_force() {
    let written = logged(Logs::new(LogFormat::Json).filter("warn"), |control| {
        let try_all = || {
            tracing::info!(target: "one", "info");
            tracing::debug!(target: "two", "debug");
        };
        try_all();
        control.set_filter("warn,two=debug").unwrap();
        assert_eq!(control.filter(), "warn,two=debug");
        try_all();
        let error = control.set_filter("two=loud").unwrap_err();
        assert!(matches!(&error, LogsError::Directive(wrong) if wrong.directive == "two=loud"), "{error}");
        assert_eq!(control.filter(), "warn,two=debug", "what is wrong changes nothing");
        control.set_filter("off").unwrap();
        try_all();
        assert_eq!(control.lost(), 0);
    });
    let messages: Vec<_> = written.lines().iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["debug"]);
}

#[test]
fn the_event_of_a_line_is_said_and_audits_are_written_whatever_the_filter_lets_pass() {
    let act = || {
        process().in_scope(|| tracing::error!("refused"));
        audit::record(Action::Seek, "subscription stock", "ann", &Ending::Done { count: None });
    };
    let written = logged(Logs::new(LogFormat::Json).filter("error"), |_| act());
    assert_eq!(written.lines().len(), 2);
    assert_eq!(written.lines()[0]["event_id"], "e-1");
    let written = logged(Logs::new(LogFormat::Json).filter("error,busway::audit=off"), |_| act());
    assert_eq!(written.lines().len(), 1);
}

#[test]
fn an_audit_line_says_who_did_what_and_how_it_ended_once() {
    let written = logged(Logs::new(LogFormat::Json), |_| {
        let begun = |action| audit::begin(action, "subscription stock", "ann");
        begun(Action::Redrive).end(&Ending::Done { count: Some(3) });
        begun(Action::Redrive).end(&Ending::Stopped { count: 2, reason: "the same error".to_owned() });
        begun(Action::Edit).end(&Ending::Refused { reason: "no such letter".to_owned() });
        drop(begun(Action::Discard));
    });
    let lines = written.lines();
    let said = |at: usize| {
        ["level", "target", "action", "subject", "by", "outcome"]
            .map(|name| lines[at][name].as_str().unwrap().to_owned())
    };
    assert_eq!(said(0), ["INFO", audit::TARGET, "redrive", "subscription stock", "ann", "done"]);
    assert_eq!(said(1), ["WARN", audit::TARGET, "redrive", "subscription stock", "ann", "stopped"]);
    assert_eq!(said(2)[5], "refused");
    assert_eq!(said(3)[5], "cut_short");
    assert_eq!((&lines[0]["count"], &lines[1]["reason"]), (&3.into(), &"the same error".into()));
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_writer_that_fails_panics_or_logs_costs_its_line_only() {
    struct Bad(u32);
    impl Write for Bad {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::StorageFull.into()),
                2 => panic!("a bug of a writer"),
                _ => {
                    tracing::info!("a writer that logs");
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (layer, control) = Logs::new(LogFormat::Json).writer(Bad(0)).layer::<Registry>().unwrap();
    crate::another_listens();
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        (0..3).for_each(|at| tracing::info!(at));
    });
    assert_eq!(control.lost(), 2, "what the third logged itself, tracing gives to nobody");
    assert!(matches!(control.set_filter("debug"), Err(LogsError::Gone)));
}

#[test]
fn a_process_begins_its_logs_once() {
    let error = Logs::new(LogFormat::Json).filter("busway=loud").init().unwrap_err();
    assert!(matches!(error, LogsError::Directive(_)), "nothing was begun: {error}");
    let control = Logs::new(LogFormat::Json).writer(io::sink()).init().unwrap();
    assert_eq!(busway_observability::init(LogFormat::Pretty).unwrap_err(), LogsError::AlreadyInitialised);
    assert_eq!(control.filter(), "info");
}

#[test]
fn a_hidden_value_and_a_field_that_is_named_are_hidden_in_lines() {
    #[derive(Debug)]
    struct Login {
        #[expect(dead_code, reason = "it is printed")]
        token: Redact<&'static str>,
    }
    let logs = Logs::new(LogFormat::Json).redact(Redactor::from(["card.number", "pin"]));
    let written = logged(logs, |_| {
        let _span =
            tracing::info_span!(target: "busway", "process", subscription = r#"{"pin":"s3cr3t"}"#).entered();
        let login = Login { token: Redact::new("s3cr3t") };
        tracing::info!(
            card.number = "s3cr3t",
            pin = 1234,
            payload = r#"{"card":{"number":"s3cr3t"}}"#,
            ?login,
            "pin=s3cr3t"
        );
    });
    let text = written.text();
    assert!(!text.contains("s3cr3t") && !text.contains("1234"), "{text}");
    assert_eq!(written.lines()[0]["fields"]["payload"], r#"{"card":{"number":"***"}}"#);
}

#[test]
fn the_index_template_has_the_fields_of_lines_and_no_others() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observability/logs/index-template.json");
    let template: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mappings = &template["template"]["mappings"];
    assert_eq!(mappings["dynamic"], false, "a field that is not known makes no mapping");
    let properties = mappings["properties"].as_object().unwrap();
    let mut names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    names.sort_unstable();
    assert_eq!(properties.keys().map(String::as_str).collect::<Vec<_>>(), names);
    for field in FIELDS {
        let expected = match field.kind {
            busway_observability::FieldKind::Time => "date",
            busway_observability::FieldKind::Keyword => "keyword",
            busway_observability::FieldKind::Text => "text",
            busway_observability::FieldKind::Count => "long",
            _ => "object",
        };
        assert_eq!(properties[field.name]["type"], expected, "{}", field.name);
    }
}

#[test]
fn saved_searches_ask_for_fields_that_lines_have() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observability/logs/saved-searches.ndjson");
    let searches: Vec<Value> = std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_field = |name: &Value| FIELDS.iter().any(|field| Some(field.name) == name.as_str());
    let titles: Vec<_> = searches
        .iter()
        .filter(|saved| saved["type"] == "search")
        .map(|saved| &saved["attributes"]["title"])
        .collect();
    assert_eq!(titles, ["busway: what happened to an event", "busway: audit"]);
    for saved in searches.iter().filter(|saved| saved["type"] == "search") {
        let attributes = &saved["attributes"];
        assert!(attributes["columns"].as_array().unwrap().iter().all(is_field), "{attributes}");
        assert!(is_field(&attributes["sort"][0][0]));
        let source = attributes["kibanaSavedObjectMeta"]["searchSourceJSON"].as_str().unwrap();
        let source: Value = serde_json::from_str(source).unwrap();
        let query = source["query"]["query"].as_str().unwrap();
        let mut asked = query
            .split_whitespace()
            .filter_map(|word| word.split_once(':'))
            .map(|(name, _)| Value::from(name))
            .peekable();
        assert!(asked.peek().is_some() && asked.all(|name| is_field(&name)), "{query}");
    }
}
