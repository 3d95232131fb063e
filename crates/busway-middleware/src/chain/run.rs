//! Running a delivery through a chain.
//!
//! Sync nodes are a loop: `before` inwards, the handler, `after` outwards in reverse. At the first async node the rest of
//! the chain becomes its [`Next`]. Whatever panics is caught at its own node, so `after` of the nodes outside of it still
//! runs and sees the outcome.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use busway_event::AnyDraft;
use futures_util::FutureExt;
use futures_util::future::poll_fn;

use super::trace::{ChainTrace, NodeTime};
use super::{Chain, Node};
use crate::delivery::Delivery;
use crate::handler::{AnyHandler, Invocation};
use crate::middleware::{Flow, StepForm};
use crate::mode::Mode;
use crate::outcome::{BoxError, Outcome, Reply};

/// Runs `delivery` through `chain` to the handler in `invocation`.
///
/// Never panics for user code: a panic is a `Failed` outcome that names the node. `progress` has the events to publish (only
/// when the outcome is `Done`), who cut the chain short, and the times when it was asked for them.
///
/// # Cancel safety
/// Dropping the future drops what is running; call [`Invocation::stop`] before the slot is used again.
pub async fn run(
    chain: &Chain,
    delivery: &mut Delivery,
    invocation: &mut dyn Invocation,
    progress: &mut Progress,
) -> Outcome {
    progress.begin(delivery);
    let outcome = Next { nodes: chain.nodes(), invocation, progress }.run(delivery).await;
    progress.end(&outcome);
    outcome
}

/// Runs `delivery` through a chain without async nodes to a sync handler, at once. `None` when either is async.
pub fn run_now<M: Mode>(
    chain: &Chain,
    delivery: &mut Delivery,
    handler: &AnyHandler<M>,
    progress: &mut Progress,
) -> Option<Outcome> {
    if chain.has_async() {
        return None;
    }
    progress.begin(delivery);
    let (entered, stopped) = enter(chain.nodes(), delivery, progress);
    let outcome = match stopped {
        Some(outcome) => outcome,
        None => {
            let started = progress.now();
            let outcome = match catch_unwind(AssertUnwindSafe(|| handler.call_now(delivery))) {
                Ok(reply) => progress.keep(reply?),
                Err(panic) => Panicked::in_node(HANDLER, &*panic),
            };
            progress.leave(HANDLER, started);
            outcome
        }
    };
    let outcome = leave(&entered, delivery, outcome, progress);
    progress.end(&outcome);
    Some(outcome)
}

/// What is inside of an async middleware.
pub struct Next<'a> {
    nodes: &'a [Node],
    invocation: &'a mut dyn Invocation,
    progress: &'a mut Progress,
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Next({} nodes)", self.nodes.len())
    }
}

impl Next<'_> {
    /// Goes on inwards, to the handler at the end. May be called again for another attempt; events that an earlier
    /// call wanted published are forgotten then.
    ///
    /// # Cancel safety
    /// Dropping the future drops the running handler; calling `run` again starts a new one.
    pub async fn run(&mut self, delivery: &mut Delivery) -> Outcome {
        self.progress.went_on = true;
        self.progress.emits.clear();
        let (entered, stopped) = enter(self.nodes, delivery, self.progress);
        let outcome = match stopped {
            Some(outcome) => outcome,
            None => match self.nodes.get(entered.len()) {
                Some(node) => self.step(node, entered.len(), delivery).await,
                None => self.handle(delivery).await,
            },
        };
        leave(&entered, delivery, outcome, self.progress)
    }

    /// Runs an async node with the rest of the chain as its next.
    async fn step(&mut self, node: &Node, at: usize, delivery: &mut Delivery) -> Outcome {
        let StepForm::Async(middleware) = &node.step.0 else { return Outcome::Skip };
        let started = self.progress.now();
        self.progress.went_on = false;
        let inner = Next {
            nodes: self.nodes.get(at + 1..).unwrap_or_default(),
            invocation: &mut *self.invocation,
            progress: &mut *self.progress,
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| middleware.handle(delivery, inner))) {
            Ok(future) => match AssertUnwindSafe(future).catch_unwind().await {
                Ok(outcome) => outcome,
                Err(panic) => Panicked::in_node(&node.name, &*panic),
            },
            Err(panic) => Panicked::in_node(&node.name, &*panic),
        };
        let outcome = match self.progress.went_on {
            true => outcome,
            false => self.progress.cut(node, outcome),
        };
        self.progress.went_on = true;
        self.progress.leave(&node.name, started);
        outcome
    }

    async fn handle(&mut self, delivery: &Delivery) -> Outcome {
        let started = self.progress.now();
        let invocation = &mut *self.invocation;
        // An earlier attempt may have been dropped in the middle.
        invocation.stop();
        let outcome = match catch_unwind(AssertUnwindSafe(|| invocation.start(delivery))) {
            Ok(()) => {
                let poll = poll_fn(|context| {
                    match catch_unwind(AssertUnwindSafe(|| invocation.poll(context))) {
                        Ok(poll) => poll.map(Ok),
                        Err(panic) => Poll::Ready(Err(panic)),
                    }
                });
                poll.await
            }
            Err(panic) => Err(panic),
        };
        let outcome = match outcome {
            Ok(reply) => self.progress.keep(reply),
            Err(panic) => {
                self.invocation.stop();
                Panicked::in_node(HANDLER, &*panic)
            }
        };
        self.progress.leave(HANDLER, started);
        outcome
    }
}

/// What one delivery's run through the chain left behind. A worker keeps one and uses it again and again.
#[derive(Default)]
pub struct Progress {
    emits: Vec<AnyDraft>,
    cut_by: Option<Arc<str>>,
    went_on: bool,
    clock: Option<Arc<dyn Fn() -> Instant + Send + Sync>>,
    trace: Option<ChainTrace>,
}

impl Progress {
    /// Nothing yet; times are not taken.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the time of each node with `clock` from now on, or no longer.
    pub fn time_with(&mut self, clock: Option<Arc<dyn Fn() -> Instant + Send + Sync>>) {
        self.clock = clock;
    }

    /// The events that the handler wants published, in order. Empty unless the outcome was `Done`.
    pub fn take_emits(&mut self) -> Vec<AnyDraft> {
        std::mem::take(&mut self.emits)
    }

    /// The node that cut the chain short.
    #[must_use]
    pub fn cut_by(&self) -> Option<&str> {
        self.cut_by.as_deref()
    }

    /// The times, when they were taken.
    pub fn take_trace(&mut self) -> Option<ChainTrace> {
        self.trace.take()
    }

    fn begin(&mut self, delivery: &Delivery) {
        self.emits.clear();
        self.cut_by = None;
        self.trace = self.clock.is_some().then(|| ChainTrace {
            event: delivery.event().id(),
            nodes: Vec::new(),
            cut_by: None,
            outcome: "",
        });
    }

    fn end(&mut self, outcome: &Outcome) {
        if !outcome.is_done() {
            self.emits.clear();
        }
        if let Some(trace) = &mut self.trace {
            trace.outcome = outcome.label();
            trace.cut_by.clone_from(&self.cut_by);
            // Nodes are recorded as they are left, innermost first.
            trace.nodes.reverse();
        }
    }

    fn now(&self) -> Option<Instant> {
        self.clock.as_ref().map(|clock| clock())
    }

    fn leave(&mut self, node: &str, entered: Option<Instant>) {
        let (Some(entered), Some(left)) = (entered, self.now()) else { return };
        if let Some(trace) = &mut self.trace {
            let elapsed = left.saturating_duration_since(entered);
            trace.nodes.push(NodeTime { node: node.into(), elapsed });
        }
    }

    fn keep(&mut self, reply: Reply) -> Outcome {
        self.emits = reply.emits;
        reply.outcome
    }

    /// Remembers who cut the chain short, and puts its name on a failure.
    fn cut(&mut self, node: &Node, outcome: Outcome) -> Outcome {
        self.cut_by = Some(Arc::clone(&node.name));
        match outcome {
            Outcome::Failed(source) if !source.is::<Panicked>() => {
                Outcome::Failed(Box::new(NodeFailed { node: Arc::clone(&node.name), source }))
            }
            outcome => outcome,
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("cut_by", &self.cut_by).field("trace", &self.trace).finish_non_exhaustive()
    }
}

/// The leading sync nodes that were entered, with the time of each when times are taken.
struct Entered<'a> {
    nodes: &'a [Node],
    times: Vec<Option<Instant>>,
}

impl Entered<'_> {
    const fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// Runs `before` of the leading sync nodes, until one stops or an async one comes.
fn enter<'a>(
    nodes: &'a [Node],
    delivery: &mut Delivery,
    progress: &mut Progress,
) -> (Entered<'a>, Option<Outcome>) {
    let mut times = Vec::new();
    let mut count = 0;
    let mut stopped = None;
    for node in nodes {
        let StepForm::Sync(middleware) = &node.step.0 else { break };
        let started = progress.now();
        match catch_unwind(AssertUnwindSafe(|| middleware.before(delivery))) {
            Ok(Flow::Continue) => {
                count += 1;
                if started.is_some() {
                    times.push(started);
                }
            }
            Ok(Flow::Stop(outcome)) => {
                stopped = Some(progress.cut(node, outcome));
                progress.leave(&node.name, started);
                break;
            }
            Err(panic) => {
                stopped = Some(progress.cut(node, Panicked::in_node(&node.name, &*panic)));
                progress.leave(&node.name, started);
                break;
            }
        }
    }
    (Entered { nodes: nodes.get(..count).unwrap_or_default(), times }, stopped)
}

/// Runs `after` of the entered nodes, innermost first.
fn leave(entered: &Entered<'_>, delivery: &Delivery, outcome: Outcome, progress: &mut Progress) -> Outcome {
    let mut outcome = outcome;
    for (at, node) in entered.nodes.iter().enumerate().rev() {
        let StepForm::Sync(middleware) = &node.step.0 else { continue };
        outcome = match catch_unwind(AssertUnwindSafe(|| middleware.after(delivery, outcome))) {
            Ok(outcome) => outcome,
            Err(panic) => Panicked::in_node(&node.name, &*panic),
        };
        progress.leave(&node.name, entered.times.get(at).copied().flatten());
    }
    outcome
}

/// A panic of user code, caught.
#[derive(Debug, thiserror::Error)]
#[error("{node} panicked: {message}")]
pub(crate) struct Panicked {
    node: Box<str>,
    message: String,
}

impl Panicked {
    pub(crate) fn in_node(node: &str, panic: &(dyn Any + Send)) -> Outcome {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        Outcome::Failed(Box::new(Self {
            node: node.into(),
            message: message.unwrap_or_else(|| "no message".to_owned()),
        }))
    }
}

/// A middleware failed by itself, without going on inwards.
#[derive(Debug, thiserror::Error)]
#[error("middleware {node} refused: {source}")]
struct NodeFailed {
    node: Arc<str>,
    source: BoxError,
}

/// The handler's name in traces and panics.
pub(crate) const HANDLER: &str = "handler";
