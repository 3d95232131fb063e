//! What is rendered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use busway_event::draft::Stamp;
use busway_event::{AnyEvent, Event, EventId, Metadata, Raw, Timestamp};
use busway_middleware::Outcome;
use busway_observability::{
    BusNumbers, Collector, FallbackKind, Kind, Metrics, MetricsProblem, Signal, SubscriptionNumbers, Wants,
};

use crate::{busy, told};

pub(crate) fn event(tenant: Option<&str>) -> AnyEvent {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(0), &metadata);
    let draft = Event::new("orders.created", Raw::default());
    let draft = tenant.into_iter().fold(draft, |draft, tenant| draft.meta("tenant", tenant));
    draft.finish(&stamp).unwrap().into()
}

/// The value of a series, by its whole name with labels in their order.
#[track_caller]
pub(crate) fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

#[test]
fn what_the_bus_keeps_account_of_is_read_when_it_is_rendered() {
    let metrics = Metrics::new();
    assert!(metrics.attach(told(busy())) && !metrics.attach(told(busy())), "each bus has its own");
    let text = metrics.render();
    let [stock, mail] = ["stock", "mail"].map(|name| format!("subscription=\"{name}\""));
    for (series, expected) in [
        ("busway_events_published_total".to_owned(), 12.0),
        (format!("busway_events_delivered_total{{{stock},outcome=\"done\"}}"), 7.0),
        (format!("busway_events_delivered_total{{{stock},outcome=\"failed\"}}"), 2.0),
        (format!("busway_events_delivered_total{{{mail},outcome=\"failed\"}}"), 6.0),
        (format!("busway_events_delivered_total{{{mail},outcome=\"dead\"}}"), 2.0),
        (format!("busway_dead_letters_total{{{stock}}}"), 1.0),
        (format!("busway_dead_letter_depth{{{stock}}}"), 1.0),
        (format!("busway_oldest_unsettled_age_seconds{{{stock}}}"), 1.5),
        (format!("busway_pending_events{{{stock}}}"), 9.0),
        (format!("busway_events_dropped_total{{{mail},policy=\"drop_newest\"}}"), 2.0),
        (format!("busway_queue_depth{{{mail}}}"), 3.0),
        (format!("busway_queue_capacity{{{mail}}}"), 64.0),
        (r#"busway_dedup_total{subscription="stock",step="local_hit"}"#.to_owned(), 0.0),
        (r#"busway_breaker_state{subscription="stock",state="open"}"#.to_owned(), 2.0),
        (r#"busway_breaker_state{subscription="stock",state="closed"}"#.to_owned(), 1.0),
        (r#"busway_breaker_waiting_events{subscription="stock"}"#.to_owned(), 15.0),
        (format!("busway_subscription_info{{{stock},filter=\"orders.#\"}}"), 1.0),
        (format!("busway_subscription_info{{{mail},filter=\"orders.created\"}}"), 1.0),
        ("busway_store_bytes".to_owned(), 4_096.0),
        ("busway_store_faulted".to_owned(), 0.0),
    ] {
        assert!((value(&text, &series) - expected).abs() < 1e-9, "{series}: {}", value(&text, &series));
    }
    assert!(text.contains("busway_build_info{version="));
    assert!(text.contains("# TYPE busway_events_published_total counter"));
    assert!(text.contains("# HELP busway_dead_letter_depth "));
}

#[test]
fn two_buses_of_a_process_have_nothing_in_common() {
    let (one, other) = (Metrics::new(), Metrics::new());
    let mut quiet = BusNumbers::default();
    quiet.published = 1;
    assert!(one.attach(told(busy())) && other.attach(told(quiet)));
    let (one, other) = (one.render(), other.render());
    assert!((value(&one, "busway_events_published_total") - 12.0).abs() < 1e-9);
    assert!((value(&other, "busway_events_published_total") - 1.0).abs() < 1e-9);
    assert!(!other.contains("stock"));
}

#[test]
fn how_long_things_took_is_in_histograms_down_to_microseconds() {
    let metrics = Metrics::new();
    let (event, outcome) = (event(None), Outcome::Done);
    for micros in [2, 30, 400] {
        metrics.collect(&Signal::Handled {
            subscription: "stock",
            event: &event,
            outcome: &outcome,
            took: Duration::from_micros(micros),
            since_published: Duration::from_millis(micros),
        });
    }
    metrics.collect(&Signal::Stored { took: Duration::from_millis(3), events: 2 });
    metrics.collect(&Signal::Committed { took: Duration::from_millis(2), requests: 100, events: 900 });
    let text = metrics.render();
    let handler = |le| format!(r#"busway_handler_duration_seconds_bucket{{subscription="stock",le="{le}"}}"#);
    let counts = ["0.0000025", "0.0001", "0.001", "+Inf"].map(|le| value(&text, &handler(le)));
    assert!(
        counts.iter().zip([1.0, 2.0, 3.0, 3.0]).all(|(is, should)| (is - should).abs() < 1e-9),
        "{counts:?}"
    );
    let end_to_end =
        |le| format!(r#"busway_end_to_end_duration_seconds_bucket{{subscription="stock",le="{le}"}}"#);
    let counts = ["0.00001", "0.0025", "0.1", "5", "600"].map(|le| value(&text, &end_to_end(le)));
    assert!(
        counts.iter().zip([0.0, 1.0, 2.0, 3.0, 3.0]).all(|(is, should)| (is - should).abs() < 1e-9),
        "{counts:?}"
    );
    let bounds =
        |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{"))).count();
    let of = ["handler", "end_to_end", "publish"].map(|of| bounds(&format!("busway_{of}_duration_seconds")));
    assert_eq!(of, [16, 14, 23], "with the one that has no bound");
    assert!((value(&text, "busway_publish_duration_seconds_count") - 1.0).abs() < 1e-9);
    assert!((value(&text, r#"busway_commit_requests_bucket{le="128"}"#) - 1.0).abs() < 1e-9);
    assert!(value(&text, r#"busway_commit_requests_bucket{le="64"}"#).abs() < 1e-9);
    assert!((value(&text, r#"busway_commit_events_bucket{le="1024"}"#) - 1.0).abs() < 1e-9);
    assert!(value(&text, r#"busway_commit_events_bucket{le="512"}"#).abs() < 1e-9);
}

#[test]
fn alarms_and_fallbacks_are_counted_by_their_kind() {
    let (metrics, event) = (Metrics::new(), event(None));
    let subscription = "stock";
    metrics.collect(&Signal::Hung { subscription, event: &event });
    metrics.collect(&Signal::DeadLettersFull { subscription, max: 5 });
    metrics.collect(&Signal::ParkedFull { subscription, max: 5 });
    for _ in 0..3 {
        let (unnamed, how) = (None, FallbackKind::Cached);
        metrics.collect(&Signal::FellBack { subscription, unnamed, event: &event, how });
    }
    let text = metrics.render();
    for kind in ["hung", "dead_letters_full", "parked_full"] {
        let series = format!(r#"busway_alarms_total{{subscription="stock",kind="{kind}"}}"#);
        assert!((value(&text, &series) - 1.0).abs() < 1e-9);
    }
    let series = r#"busway_fallbacks_total{subscription="stock",kind="cached"}"#;
    assert!((value(&text, series) - 3.0).abs() < 1e-9);
}

#[test]
fn tenants_are_counted_apart_when_they_are_named_and_nobody_makes_series_by_naming_himself() {
    assert!(!Metrics::new().wants().contains(Wants::EVENTS), "without tenants no event is looked at");
    let metrics = Metrics::with_tenants("tenant", ["acme", "globex"]).unwrap();
    assert!(metrics.wants().contains(Wants::EVENTS));
    let before = metrics.render().lines().count();
    for tenant in (0..1_000).map(|n| format!("intruder-{n}")).chain(["acme".to_owned()]) {
        let (event, outcome) = (event(Some(&tenant)), Outcome::Done);
        metrics.collect(&Signal::Settled { subscription: "stock", event: &event, outcome: &outcome });
    }
    let (plain, outcome) = (event(None), Outcome::failed("no"));
    metrics.collect(&Signal::Settled { subscription: "stock", event: &plain, outcome: &outcome });
    let text = metrics.render();
    let of = |tenant, outcome| {
        value(&text, &format!(r#"busway_tenant_events_total{{tenant="{tenant}",outcome="{outcome}"}}"#))
    };
    let counts = [of("acme", "done"), of("globex", "done"), of("other", "done"), of("none", "failed")];
    assert!(counts.iter().zip([1.0, 0.0, 1_000.0, 1.0]).all(|(is, should)| (is - should).abs() < 1e-9));
    assert_eq!(text.lines().count(), before);

    let many = Metrics::with_tenants("tenant", (0..101).map(|n| n.to_string()));
    assert_eq!(many.unwrap_err(), MetricsProblem::Tenants { tenants: 101 });
    assert!(matches!(Metrics::with_tenants("no field", ["a"]), Err(MetricsProblem::Field(_))));
}

#[test]
fn metrics_of_the_program_are_rendered_beside_those_of_its_bus() {
    let metrics = Metrics::new();
    let key = metrics::Key::from_name("orders_open");
    let metadata = metrics::Metadata::new("shop", metrics::Level::INFO, None);
    metrics.recorder().register_gauge(&key, &metadata).set(5.0);
    let key = metrics::Key::from_name("orders_priced_seconds");
    metrics.recorder().register_histogram(&key, &metadata).record(0.002);
    let text = metrics.render();
    assert!((value(&text, "orders_open") - 5.0).abs() < 1e-9);
    assert!((value(&text, r#"orders_priced_seconds_bucket{le="0.0025"}"#) - 1.0).abs() < 1e-9);
}

#[test]
fn of_many_subscriptions_two_threads_render_each_metric_once_and_whole() {
    const MANY: usize = 150;
    let (metrics, mut numbers) = (Metrics::new(), BusNumbers::default());
    let (event, outcome) = (event(None), Outcome::Done);
    for subscription in (0..MANY).map(|number| format!("load-{number}")) {
        let (took, since_published) = (Duration::from_micros(5), Duration::from_millis(5));
        let subscription = subscription.as_str();
        metrics.collect(&Signal::Handled {
            subscription,
            event: &event,
            outcome: &outcome,
            took,
            since_published,
        });
        let mut own = SubscriptionNumbers::default();
        (own.name, own.filter, own.kind, own.done) =
            (subscription.into(), "orders.#".to_owned(), Kind::Durable, 7);
        numbers.subscriptions.push(own);
    }
    let source = told(numbers);
    assert!(metrics.attach(Arc::clone(&source) as Arc<_>));
    let text = metrics.render();
    let again = metrics.render();
    let of = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(of(&text), of(&again), "a rendering takes nothing away");

    // All lines of a metric follow its name, and no line is there twice.
    let lines = text.lines().filter(|line| !line.is_empty()).count();
    assert_eq!(of(&text).iter().filter(|line| !line.is_empty()).count(), lines);
    let (mut types, mut last) = (BTreeSet::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP ")) {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            last = family.split(' ').next().unwrap().to_owned();
            assert!(types.insert(last.clone()), "{last} comes twice");
        } else {
            assert!(line.starts_with(&last), "{line} is among those of {last}");
        }
    }
    for series in ["busway_handler_duration_seconds_count", "busway_end_to_end_duration_seconds_count"] {
        let counted =
            (0..MANY).map(|number| value(&text, &format!(r#"{series}{{subscription="load-{number}"}}"#)));
        assert!((counted.sum::<f64>() - 150.0).abs() < 1e-9);
    }
    let series = r#"busway_events_delivered_total{subscription="load-149",outcome="done"}"#;
    assert!((value(&again, series) - 7.0).abs() < 1e-9);

    // Whichever thread renders them: what was read for a text is in it.
    for pending in 1..=20_u32 {
        for own in &mut source.0.lock().as_mut().unwrap().subscriptions {
            own.pending = pending.into();
        }
        let text = metrics.render();
        let told = text.lines().filter_map(|line| line.strip_prefix("busway_pending_events{"));
        let told: Vec<&str> = told.filter_map(|line| line.split_once(' ')).map(|(_, value)| value).collect();
        assert_eq!(told, vec![pending.to_string().as_str(); MANY]);
    }
}

#[test]
fn a_name_with_another_filter_counts_on_and_one_filter_is_told_of() {
    let (metrics, source) = (Metrics::new(), told(busy()));
    assert!(metrics.attach(Arc::clone(&source) as Arc<_>));
    drop(metrics.render());
    let next =
        |numbers: &mut SubscriptionNumbers| (numbers.id, numbers.filter) = (9, "orders.paid".to_owned());
    {
        let mut numbers = source.0.lock();
        let numbers = numbers.as_mut().unwrap();
        numbers.past.push(numbers.subscriptions[0].counts());
        next(&mut numbers.subscriptions[0]);
    }
    let text = metrics.render();
    let info = |filter| {
        value(&text, &format!(r#"busway_subscription_info{{subscription="stock",filter="{filter}"}}"#))
    };
    assert!(info("orders.#").abs() < 1e-9 && (info("orders.paid") - 1.0).abs() < 1e-9);
    let series = r#"busway_events_delivered_total{subscription="stock",outcome="done"}"#;
    assert!((value(&text, series) - 14.0).abs() < 1e-9, "7 of each");
    assert!((value(&text, r#"busway_pending_events{subscription="stock"}"#) - 9.0).abs() < 1e-9);
}

/// As while one takes the place of another, or where groups have one name.
#[test]
fn several_of_one_name_are_counted_together_and_nothing_is_counted_twice() {
    counted_together("orders.#");
    counted_together("orders.paid");
}

fn counted_together(filter: &str) {
    let mut numbers = busy();
    let mut heir = numbers.subscriptions.first().unwrap().clone();
    (heir.id, heir.filter, heir.done, heir.pending) = (9, filter.to_owned(), 0, 1);
    if let Some(dedup) = &mut heir.dedup {
        dedup.misses += 1;
    }
    numbers.subscriptions.push(heir);
    let (metrics, source) = (Metrics::new(), told(busy()));
    assert!(metrics.attach(Arc::clone(&source) as Arc<_>));
    let done = r#"busway_events_delivered_total{subscription="stock",outcome="done"}"#;
    let of = |done_of: u64| {
        if let Some(numbers) = source.0.lock().as_mut() {
            numbers.subscriptions.last_mut().unwrap().done = done_of;
        }
        metrics.render()
    };
    assert!((value(&metrics.render(), done) - 7.0).abs() < 1e-9);
    *source.0.lock() = Some(numbers);
    for heirs in [0, 0, 2] {
        let text = of(heirs);
        let expected = 7.0 + f64::from(u32::try_from(heirs).unwrap());
        assert!((value(&text, done) - expected).abs() < 1e-9, "{heirs}");
        assert!((value(&text, r#"busway_pending_events{subscription="stock"}"#) - 10.0).abs() < 1e-9);
        for filter in ["orders.#", filter] {
            let info = format!(r#"busway_subscription_info{{subscription="stock",filter="{filter}"}}"#);
            assert!((value(&text, &info) - 1.0).abs() < 1e-9);
        }
    }
    // The one before has ended: what it has counted stays, also what it did at the very last.
    if let Some(numbers) = source.0.lock().as_mut() {
        let mut ended = numbers.subscriptions.remove(0);
        ended.done += 1;
        numbers.past.push(ended.counts());
    }
    assert!((value(&of(40), done) - 48.0).abs() < 1e-9, "and what its heir has done meanwhile");
    assert!((value(&of(43), done) - 51.0).abs() < 1e-9, "three more since");
}

#[test]
fn those_without_a_name_are_told_apart_by_their_filters() {
    let metrics = Metrics::new();
    let mut numbers = BusNumbers::default();
    for (filter, done) in [("orders.#", 3), ("mail.#", 4)] {
        let mut own = SubscriptionNumbers::default();
        (own.filter, own.done, own.policy) = (filter.to_owned(), done, "drop_newest");
        numbers.subscriptions.push(own);
    }
    assert!(metrics.attach(told(numbers)));
    let text = metrics.render();
    for (filter, done) in [("orders.#", 3.0), ("mail.#", 4.0)] {
        let series =
            format!(r#"busway_events_delivered_total{{subscription="",filter="{filter}",outcome="done"}}"#);
        assert!((value(&text, &series) - done).abs() < 1e-9);
    }
    assert!(!text.contains("busway_subscription_info{"));
}

#[test]
fn a_subscription_that_comes_back_goes_on_counting() {
    let metrics = Metrics::new();
    let source = told(busy());
    assert!(metrics.attach(Arc::clone(&source) as Arc<_>));
    drop(metrics.render());
    let past: Vec<_> = busy().subscriptions.iter().map(SubscriptionNumbers::counts).collect();
    if let Some(numbers) = source.0.lock().as_mut() {
        numbers.subscriptions.clear();
        numbers.past.clone_from(&past);
    }
    drop(metrics.render());
    let mut again = busy();
    (again.subscriptions[0].done, again.past) = (3, past);
    *source.0.lock() = Some(again);
    let series = r#"busway_events_delivered_total{subscription="stock",outcome="done"}"#;
    assert!((value(&metrics.render(), series) - 10.0).abs() < 1e-9, "7 before, and 3 since");
    assert!((value(&metrics.render(), series) - 10.0).abs() < 1e-9, "nothing is counted twice");
    // The same for a bus that takes the place of one that is gone, of which nothing is there any more.
    *source.0.lock() = None;
    let mut next = busy();
    next.subscriptions[0].filter = "orders.paid".to_owned();
    next.channels.clear();
    next.store = None;
    assert!(metrics.attach(told(next)));
    let text = metrics.render();
    assert!((value(&text, series) - 17.0).abs() < 1e-9);
    let gone = r#"busway_subscription_info{subscription="stock",filter="orders.#"}"#;
    assert!(value(&text, gone).abs() < 1e-9);
    assert!(value(&text, r#"busway_breaker_state{subscription="stock",state="open"}"#).abs() < 1e-9);
    assert!(value(&text, "busway_store_bytes").abs() < 1e-9);
}

#[test]
fn samples_are_taken_in_though_nobody_renders_and_none_is_lost() {
    let metrics = Metrics::new();
    for _ in 0..50_000 {
        metrics.collect(&Signal::Stored { took: Duration::from_millis(3), events: 1 });
    }
    assert!((value(&metrics.render(), "busway_publish_duration_seconds_count") - 50_000.0).abs() < 1e-9);
}

#[test]
fn what_stands_for_want_of_room_is_shown_for_as_long_as_it_does() {
    for (waiting, full) in [(0, 0), (3, 1), (3, 1), (0, 0)] {
        let mut numbers = busy();
        (numbers.subscriptions[0].no_room, numbers.subscriptions[0].parked_full) = (waiting, full);
        let gone = numbers.subscriptions[0].counts();
        assert_eq!(gone.no_room + gone.parked_full, 0, "of one that is gone nothing stands");
        let metrics = Metrics::new();
        metrics.attach(told(numbers));
        let text = metrics.render();
        let shows =
            |name, of: u64| text.contains(&format!("\nbusway_{name}{{subscription=\"stock\"}} {of}\n"));
        assert!(shows("dead_letters_waiting", waiting) && shows("parked_full", full), "{text}");
    }
}

#[test]
fn a_channel_that_is_forgotten_is_not_counted_again_and_what_is_gone_is_nothing() {
    let (metrics, source) = (Metrics::new(), told(busy()));
    metrics.attach(Arc::clone(&source) as Arc<_>);
    let is = |series: &str, expected: f64| (value(&metrics.render(), series) - expected).abs() < 1e-9;
    let opened = r#"busway_breaker_opened_total{subscription="stock"}"#;
    assert!(is(opened, 6.0));
    source.0.lock().as_mut().unwrap().channels.pop();
    assert!(is(opened, 6.0), "what it was has been counted");
    source.0.lock().as_mut().unwrap().channels[0].opened = 7;
    assert!(is(opened, 11.0), "five more since");
    source.0.lock().as_mut().unwrap().channels.clear();
    source.0.lock().as_mut().unwrap().subscriptions.clear();
    let state = r#"busway_breaker_state{subscription="stock",state="open"}"#;
    let parked = r#"busway_parked_events{subscription="stock"}"#;
    assert!(is(state, 0.0) && is(parked, 0.0));
    *source.0.lock() = Some(busy());
    assert!(is(state, 2.0) && is(parked, 4.0));
}
