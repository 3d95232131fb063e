//! Running a delivery up to its first wait, for those who have many: most never wait, and need no future.
//!
//! [`begin`] and [`go_on`] come to what [`run`] comes to, in two steps. What is between them is held by [`Inside`]: which nodes were entered, and what one of
//! them let it pass with.

use std::fmt;
use std::task::{Context, Poll};

use super::entered::{Entered, Passed, enter, leave};
use super::panicked::contain;
use super::plain::stopped_by;
use super::progress::Progress;
use super::run::{HANDLER, Next, Slot, outcome_of};
use super::{Chain, attempt, run};
use crate::delivery::Delivery;
use crate::handler::Invocation;
use crate::middleware::StepForm;
use crate::outcome::{Outcome, Reply};
use crate::passing::Pass;

/// How a delivery [began](begin).
#[must_use = "what waits has to go on"]
#[derive(Debug)]
pub enum Begun {
    /// It has come through, and this came of it. What is to be published is in its progress record.
    Over(Outcome),
    /// It waits: [`go_on`] does the rest.
    Waits(Inside),
}

/// A delivery that waits inside of a chain. Dropped, its attempt was; the handler, if it runs, is stopped by whoever goes on, or begins the next.
pub struct Inside {
    chain: Chain,
    stands: Stands,
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Where it stands.
enum Stands {
    /// Before everything.
    Outside,
    /// Inside of the nodes that were entered, before the next one, which needs a future.
    AtNode(Way),
    /// In its handler, whose time is taken as this.
    InHandler(Way, Option<usize>),
}

/// The way that it has come.
struct Way {
    /// Nodes that were entered.
    nodes: usize,
    /// As [`Entered`] has it.
    first: Option<usize>,
    passed: Option<Held>,
}

/// What a node let it pass with. Dropped before it is given back, its attempt was.
struct Held {
    chain: Chain,
    at: usize,
    pass: Option<Pass>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some(pass), Some(node)) = (self.pass.take(), self.chain.nodes().get(self.at))
            && let StepForm::Pass(by) = &node.step.0
        {
            // Whoever drops it has no outcome to name a panic in.
            _ = contain(|| by.dropped(pass));
        }
    }
}

/// Runs `delivery` through the leading nodes of `chain` that need no future, and to the first wait of the handler in `invocation` if there are no others.
///
/// Never panics for user code: a panic is a `Failed` outcome that names the node.
#[inline]
pub fn begin(
    chain: &Chain,
    delivery: &mut Delivery,
    invocation: &mut (dyn Invocation + 'static),
    progress: &mut Progress,
    context: &mut Context<'_>,
) -> Begun {
    // Where somebody listens there is a span around all of it.
    if attempt::is_wanted() {
        return Begun::Waits(Inside { chain: chain.clone(), stands: Stands::Outside });
    }
    progress.begin(delivery);
    progress.go_inwards();
    let mut entered = Entered::default();
    let stopped = enter(chain.nodes(), delivery, progress, &mut entered);
    let outcome = match stopped {
        Some(outcome) => outcome,
        None if entered.nodes.len() < chain.nodes().len() => {
            let stands = Stands::AtNode(Way::of(entered, chain));
            return Begun::Waits(Inside { chain: chain.clone(), stands });
        }
        None => {
            let timed = progress.enter(HANDLER);
            let Poll::Ready(outcome) = call(delivery, invocation, progress, context) else {
                let stands = Stands::InHandler(Way::of(entered, chain), timed);
                return Begun::Waits(Inside { chain: chain.clone(), stands });
            };
            progress.leave(timed);
            outcome
        }
    };
    let outcome = leave(&mut entered, delivery, outcome, progress);
    progress.end(&outcome);
    Begun::Over(outcome)
}

/// Calls the handler, up to its first wait.
#[inline]
fn call(
    delivery: &Delivery,
    invocation: &mut (dyn Invocation + 'static),
    progress: &mut Progress,
    context: &mut Context<'_>,
) -> Poll<Outcome> {
    let mut reply = None;
    match contain(|| invocation.begin(delivery, context, &mut reply)) {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(())) => {}
        Err(panic) => {
            let Reply { outcome, .. } = stopped_by(&*panic, invocation);
            return Poll::Ready(outcome);
        }
    }
    Poll::Ready(match reply {
        None => Outcome::Done,
        Some(reply) => progress.keep(reply),
    })
}

/// Goes on with a delivery that [`begin`] left waiting, with the same slot and progress record. At once: nothing else may begin in them meanwhile.
///
/// # Cancel safety
/// As [`run`]: dropping the future drops what is running before the drop returns, and nodes that let the delivery pass are told.
pub async fn go_on(
    inside: Inside,
    delivery: &mut Delivery,
    invocation: &mut (dyn Invocation + 'static),
    progress: &mut Progress,
) -> Outcome {
    let Inside { chain, stands } = inside;
    let (way, outcome) = match stands {
        Stands::Outside => return run(&chain, delivery, invocation, progress).await,
        Stands::AtNode(way) => {
            let mut next =
                Next { nodes: chain.nodes(), invocation: &mut *invocation, progress: &mut *progress };
            let outcome = match chain.nodes().get(way.nodes) {
                Some(node) => next.step(node, way.nodes, delivery).await,
                None => next.handle(delivery).await,
            };
            (way, outcome)
        }
        Stands::InHandler(way, timed) => {
            let outcome = outcome_of(Slot(invocation).finish().await, progress);
            progress.leave(timed);
            (way, outcome)
        }
    };
    let outcome = leave(&mut way.entered(&chain), delivery, outcome, progress);
    progress.end(&outcome);
    outcome
}

impl Way {
    #[cold]
    fn of(entered: Entered<'_>, chain: &Chain) -> Self {
        let Entered { nodes, first, passed } = entered;
        let passed = passed.and_then(|mut passed| {
            Some(Held { chain: chain.clone(), at: passed.at, pass: Some(passed.take()?) })
        });
        Self { nodes: nodes.len(), first, passed }
    }

    fn entered(self, chain: &Chain) -> Entered<'_> {
        let nodes = chain.nodes().get(..self.nodes).unwrap_or_default();
        let passed =
            self.passed.and_then(|mut held| Passed::again(chain.nodes(), held.at, held.pass.take()?));
        Entered { nodes, first: self.first, passed }
    }
}
