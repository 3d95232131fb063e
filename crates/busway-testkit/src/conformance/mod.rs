//! The conformance suite of transports: what a transport must do before handlers are put behind it.
//!
//! It is public, for transports of others too: implement [`Harness`] for a broker of the test's own, and [`run`] the [`CASES`] on it. A case passes, fails
//! with what it saw, or is left out because the transport says that it lacks what the case is about; a [`Report`] prints what came of it, and the
//! transport's [capabilities](busway_engine::transport::Capabilities) as a row of the matrix.
//!
//! ```
//! use busway_testkit::conformance::{self, Harness, LocalHarness};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // A bus in memory, as a transport.
//! let report = conformance::run(&LocalHarness::memory(), conformance::named("publish and subscribe")).await;
//! assert!(report.is_passed(), "{report}");
//! # }
//! ```
//!
//! # Guarantee
//! Cases use names of their own, so that they may run at the same time on one broker, and again on one that keeps what it had. A case waits for what must come, never
//! for longer than [`PATIENCE`], and for what must not come no longer than a second or two.
//!
//! # Modules
//! `harness` is what a test brings, `world` what cases stand on, `cases` the promises one by one, `report` what came of them.

mod cases;
mod harness;
mod local;
mod matrix;
mod report;
mod world;

use std::time::Duration;

use busway_engine::transport::Capability;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;

pub use self::cases::CASES;
pub use self::harness::{Broker, Harness, Restarted};
pub use self::local::LocalHarness;
pub use self::report::{Report, Result};
use self::world::World;

/// How long a case may take in all.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One promise of a transport.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// What a transport must be able to do; one that is not able leaves the case out.
    pub needs: &'static [Capability],
    /// Whether the harness must have a [network](Broker::network) that fails; without one the case is left out.
    pub needs_network: bool,
    run: for<'a> fn(&'a World) -> world::CaseFuture<'a>,
}

/// The cases whose names begin so.
pub fn named(start: &str) -> impl Iterator<Item = &'static Case> {
    let start = start.to_owned();
    CASES.iter().filter(move |case| case.name.starts_with(&start))
}

/// Runs cases one after the other on brokers of the harness.
pub async fn run(harness: &dyn Harness, cases: impl IntoIterator<Item = &'static Case>) -> Report {
    let mut report = Report::new();
    for case in cases {
        let world = World::begin(harness, case).await;
        report.capabilities(world.kind(), world.capabilities());
        let lacks = case.needs.iter().find(|need| !world.capabilities().has(**need));
        let has_network = world.broker().network().is_some();
        let result = match lacks {
            None if case.needs_network && !has_network => {
                Result::LeftOut("there is no network that could fail".to_owned())
            }
            Some(lacks) => Result::LeftOut(format!("{lacks}: {}", world.capabilities().of(*lacks))),
            None => {
                let ran = AssertUnwindSafe((case.run)(&world)).catch_unwind();
                match tokio::time::timeout(PATIENCE, ran).await {
                    Ok(Ok(())) => Result::Passed,
                    Ok(Err(panic)) => Result::Failed(said(&*panic)),
                    Err(_) => Result::Failed(format!("it took longer than {PATIENCE:?}")),
                }
            }
        };
        report.add(case.name, result);
        world.end().await;
    }
    report
}

/// Runs the same cases so many times at once, each on brokers of its own: a case has passed when it has in every run.
pub async fn run_at_once(
    harness: &dyn Harness,
    cases: impl IntoIterator<Item = &'static Case> + Clone,
    runs: usize,
) -> Report {
    let all = futures_util::future::join_all((0..runs).map(|_| run(harness, cases.clone()))).await;
    all.into_iter().reduce(Report::with).unwrap_or_default()
}

/// How often the environment variable `BUSWAY_SUITE_RUNS` wants the suite to be run at once. Default 1.
#[must_use]
pub fn runs_wanted() -> usize {
    wanted("BUSWAY_SUITE_RUNS", 1)
}

/// How often the environment variable `BUSWAY_BROKER_KILLS` wants a broker to be killed under traffic. Default 5.
#[must_use]
pub fn kills_wanted() -> usize {
    wanted("BUSWAY_BROKER_KILLS", 5)
}

fn wanted(variable: &str, default: usize) -> usize {
    let wanted = std::env::var(variable).ok().and_then(|wanted| wanted.parse().ok());
    wanted.filter(|wanted| *wanted > 0).unwrap_or(default)
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}
