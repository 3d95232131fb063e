//! Metrics of what has ended: a bus that is gone, and attempts that are not the end of their events.

use std::sync::Arc;
use std::time::Duration;

use busway_middleware::Outcome;
use busway_observability::{Collector, Metrics, Signal};

use crate::metrics::{event, value};
use crate::{busy, told};

#[test]
fn of_a_bus_that_is_gone_counts_stay_and_gauges_are_nothing() {
    let (metrics, source) = (Metrics::new(), told(busy()));
    if let Some(numbers) = source.0.lock().as_mut() {
        numbers.reloads.problems = 1;
    }
    assert!(metrics.attach(Arc::clone(&source) as Arc<_>));
    let gauges = [
        r#"busway_oldest_unsettled_age_seconds{subscription="stock"}"#,
        r#"busway_breaker_state{subscription="stock",state="open"}"#,
        r#"busway_subscription_info{subscription="stock",filter="orders.#"}"#,
        r#"busway_queue_depth{subscription="mail"}"#,
        "busway_store_bytes",
        "busway_config_refused",
    ];
    let text = metrics.render();
    assert!(gauges.iter().all(|gauge| value(&text, gauge) > 0.0), "{text}");
    *source.0.lock() = None;
    let text = metrics.render();
    assert!(gauges.iter().all(|gauge| value(&text, gauge).abs() < 1e-9), "{text}");
    let done = r#"busway_events_delivered_total{subscription="stock",outcome="done"}"#;
    assert!((value(&text, done) - 7.0).abs() < 1e-9);
}

#[test]
fn an_attempt_that_fails_is_not_the_end_of_its_event() {
    let (metrics, event) = (Metrics::new(), event(None));
    for outcome in [Outcome::failed("away"), Outcome::dead("never"), Outcome::Done, Outcome::Skip] {
        metrics.collect(&Signal::Handled {
            subscription: "stock",
            event: &event,
            outcome: &outcome,
            took: Duration::from_micros(3),
            since_published: Duration::from_secs(2),
        });
    }
    let text = metrics.render();
    let count = |of| value(&text, &format!("busway_{of}_duration_seconds_count{{subscription=\"stock\"}}"));
    assert!((count("handler") - 4.0).abs() < 1e-9 && (count("end_to_end") - 2.0).abs() < 1e-9, "{text}");
}
