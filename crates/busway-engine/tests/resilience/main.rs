//! What breakers, retries, deadlines and bulkheads are worth: the same faults with and without them.
//!
//! A shop publishes to four topics. What one of them depends on fails for a while, in five ways, and recovers. Time is a manual clock that goes from
//! one thing that happens to the next, so minutes of outage take moments, and nothing depends on the machine but the order of threads.
//!
//! `BUSWAY_RESILIENCE_DOCS` names the folder where the table and its plot are written (`cargo xtask chaos resilience`); without it only the
//! promises are checked, on a shorter run.
//!
//! Modules, in reading order: `fault` is what goes wrong, `shop` runs through it, `figures` is what came of it, `page` writes it down.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod fault;
mod figures;
mod page;
mod shop;

use std::time::Duration;

use crate::fault::Fault;
use crate::figures::Figures;
use crate::shop::Protection;

/// One fault under one protection.
struct Run {
    fault: Fault,
    protection: Protection,
    figures: Figures,
}

async fn run(fault: Fault, protection: Protection, phase: Duration) -> Run {
    Run { fault, protection, figures: shop::run(fault, protection, phase).await }
}

#[tokio::test]
async fn with_breaker_deadline_and_bulkheads_neighbours_of_a_slow_dependency_notice_nothing() {
    let phase = Duration::from_secs(5);
    let bare = run(Fault::Slow, Protection::None, phase).await.figures;
    let guarded = run(Fault::Slow, Protection::Bulkheads, phase).await.figures;
    let [before, during, _] = guarded.neighbours.map(|phase| phase.p99.unwrap());
    assert!(during <= before.mul_f64(1.2), "{before:?}, then {during:?}");
    let [before, during, _] = bare.neighbours.map(|phase| phase.p99);
    // The control: unprotected they do notice.
    assert!(during.is_none_or(|during| during > 10 * before.unwrap()), "{before:?}, then {during:?}");
}

#[tokio::test]
async fn what_fails_meanwhile_is_delivered_later_when_it_is_retried_and_a_breaker_spares_the_calls() {
    let phase = Duration::from_secs(5);
    let bare = run(Fault::Dead, Protection::None, phase).await.figures;
    let retried = run(Fault::Dead, Protection::Retries, phase).await.figures;
    let guarded = run(Fault::Dead, Protection::Breaker, phase).await.figures;
    assert!(bare.dead_letters > 0 && bare.delivered < bare.published);
    for figures in [&retried, &guarded] {
        assert_eq!((figures.dead_letters, figures.delivered), (0, figures.published));
    }
    assert!(
        guarded.failed_calls * 2 < retried.failed_calls,
        "{} and {}",
        guarded.failed_calls,
        retried.failed_calls
    );
}

#[tokio::test]
async fn the_page_is_written_when_it_is_asked_for() {
    let Some(docs) = std::env::var_os("BUSWAY_RESILIENCE_DOCS") else { return };
    let mut runs = Vec::new();
    for fault in Fault::ALL {
        for protection in Protection::ALL {
            runs.push(run(fault, protection, Duration::from_secs(20)).await);
        }
    }
    page::write(docs.as_ref(), &runs).unwrap();
}
