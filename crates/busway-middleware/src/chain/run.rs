//! Running a delivery through a chain.
//!
//! Sync nodes are a loop: `before` inwards, the handler, `after` outwards in reverse; so is one that lets pass. At the first node that needs a future the rest of
//! the chain becomes its [`Next`]. Whatever panics is caught at its own node, so `after` of the nodes outside of it still
//! runs and sees the outcome.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::task::Poll;

use busway_event::AnyDraft;
use futures_util::future::poll_fn;
use tracing::Instrument as _;

use super::entered::{Entered, enter, leave};
use super::panicked::{Panicked, contain};
use super::progress::Progress;
use super::{Chain, Node, attempt};
use crate::delivery::Delivery;
use crate::handler::{AnyHandler, Called, Invocation, Run};
use crate::middleware::{Flow, StepForm};
use crate::mode::Mode;
use crate::outcome::{Outcome, Reply};

/// Runs `delivery` through `chain` to the handler in `invocation`.
///
/// Never panics for user code: a panic is a `Failed` outcome that names the node. `progress` has the events to publish (only
/// when the outcome is `Done`), who cut the chain short, and the times when it was asked for them.
///
/// # Cancel safety
/// Dropping the future drops what is running, the handler included, before the drop returns: the slot can be used again at
/// once. `progress` has nothing to publish then.
pub async fn run(
    chain: &Chain,
    delivery: &mut Delivery,
    invocation: &mut (dyn Invocation + 'static),
    progress: &mut Progress,
) -> Outcome {
    progress.begin(delivery);
    let outcome = match attempt::is_wanted() {
        false => Next { nodes: chain.nodes(), invocation, progress }.run(delivery).await,
        true => {
            let span = attempt::span(delivery);
            // Boxed: without listeners nobody carries its state about.
            let mut next = Next { nodes: chain.nodes(), invocation, progress };
            Box::pin(next.run(delivery)).instrument(span).await
        }
    };
    progress.end(&outcome);
    outcome
}

/// Runs `delivery` through a chain without async nodes to a sync handler, at once: the outcome and what is left in `progress`
/// are those of [`run`]. `None` when the chain has an async node or the handler is not sync; nothing was called then.
pub fn run_now<M: Mode>(
    chain: &Chain,
    delivery: &mut Delivery,
    handler: &AnyHandler<M>,
    progress: &mut Progress,
) -> Option<Outcome> {
    if chain.has_async() || !matches!(handler.run(), Run::Blocking | Run::Inline) {
        return None;
    }
    let _entered = attempt::is_wanted().then(|| attempt::span(delivery).entered());
    progress.begin(delivery);
    let outcome = match progress.takes_times() {
        false => go_through(chain.nodes(), delivery, handler, progress)?,
        true => go_through_timed(chain.nodes(), delivery, handler, progress)?,
    };
    progress.end(&outcome);
    Some(outcome)
}

/// The way in, the handler and the way out of a chain of sync nodes, when nobody asks for times.
///
/// Most deliveries go on at each node and are `Done` all the way: there is one guard around all of that, and nothing is noted but how far it
/// came. What goes otherwise ends there, and [`leave`] does the rest of the way out.
fn go_through<M: Mode>(
    nodes: &[Node],
    delivery: &mut Delivery,
    handler: &AnyHandler<M>,
    progress: &mut Progress,
) -> Option<Outcome> {
    // Nodes that are entered and not left: they and the stretch say who panicked.
    let (mut inside, mut stretch) = (0, Stretch::Inwards);
    // Written where it is needed, not handed out: most deliveries have none, and nothing is copied for them.
    let mut turn = None;
    let ended = contain(|| {
        for node in nodes {
            if let StepForm::Sync(middleware) = &node.step.0
                && let Flow::Stop(outcome) = middleware.before(delivery)
            {
                turn = Some(Turn::Stopped(outcome));
                return;
            }
            inside += 1;
        }
        stretch = Stretch::Handler;
        let mut reply = None;
        let called = handler.call_into(delivery, &mut reply);
        if reply.is_some() || called == Called::No {
            turn = Some(Turn::Replied(reply));
            return;
        }
        stretch = Stretch::Outwards;
        for node in nodes.iter().rev() {
            if let StepForm::Sync(middleware) = &node.step.0 {
                match middleware.after(delivery, Outcome::Done) {
                    Outcome::Done => {}
                    outcome => {
                        turn = Some(Turn::Changed(outcome));
                        return;
                    }
                }
            }
            inside -= 1;
        }
    });
    if let Err(panic) = ended {
        turn = Some(panicked(nodes, inside, stretch, &*panic));
    }
    match turn {
        None => Some(Outcome::Done),
        Some(turn) => turn_back(nodes, inside, turn, delivery, progress),
    }
}

#[cold]
fn panicked(nodes: &[Node], inside: usize, stretch: Stretch, panic: &(dyn Any + Send)) -> Turn {
    let in_node = |at: usize| Panicked::in_node(nodes.get(at).map_or(HANDLER, Node::name), panic);
    match stretch {
        Stretch::Inwards => Turn::Stopped(in_node(inside)),
        Stretch::Handler => Turn::Replied(Some(Panicked::in_node(HANDLER, panic).into())),
        Stretch::Outwards => Turn::Changed(in_node(inside - 1)),
    }
}

/// Where a delivery is in a chain of sync nodes.
#[derive(Clone, Copy)]
enum Stretch {
    Inwards,
    Handler,
    Outwards,
}

/// What is not `Done` all the way.
enum Turn {
    /// The first node that is not entered did not go on.
    Stopped(Outcome),
    /// The handler's answer, if it is one of a sync handler.
    Replied(Option<Reply>),
    /// The innermost node that is not left made this of `Done`.
    Changed(Outcome),
}

/// The rest of the way out, from the innermost of `inside` nodes.
#[cold]
fn turn_back(
    nodes: &[Node],
    inside: usize,
    turn: Turn,
    delivery: &Delivery,
    progress: &mut Progress,
) -> Option<Outcome> {
    let (left, outcome) = match turn {
        Turn::Replied(reply) => (inside, progress.keep(reply?)),
        Turn::Stopped(outcome) => match nodes.get(inside) {
            Some(node) => (inside, progress.cut(node, outcome)),
            None => (inside, outcome),
        },
        Turn::Changed(outcome) => match nodes.get(inside - 1) {
            Some(node) => (inside - 1, progress.name(node, outcome)),
            None => (inside - 1, outcome),
        },
    };
    let mut entered = Entered::untimed(nodes.get(..left).unwrap_or_default());
    Some(leave(&mut entered, delivery, outcome, progress))
}

/// As [`go_through`], with the times of each node.
#[inline(never)]
fn go_through_timed<M: Mode>(
    nodes: &[Node],
    delivery: &mut Delivery,
    handler: &AnyHandler<M>,
    progress: &mut Progress,
) -> Option<Outcome> {
    let mut entered = Entered::default();
    let stopped = enter(nodes, delivery, progress, &mut entered);
    let outcome = match stopped {
        Some(outcome) => outcome,
        None => {
            let timed = progress.enter(HANDLER);
            let outcome = match contain(|| handler.call_now(delivery)) {
                Ok(reply) => progress.keep(reply?),
                Err(panic) => Panicked::in_node(HANDLER, &*panic),
            };
            progress.leave(timed);
            outcome
        }
    };
    Some(leave(&mut entered, delivery, outcome, progress))
}

/// What is inside of an async middleware.
pub struct Next<'a> {
    pub(super) nodes: &'a [Node],
    // `'static` keeps `Next` covariant, so that a closure can take it with the lifetime of the delivery.
    pub(super) invocation: &'a mut (dyn Invocation + 'static),
    pub(super) progress: &'a mut Progress,
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
        self.progress.go_inwards();
        let mut entered = Entered::default();
        let stopped = enter(self.nodes, delivery, self.progress, &mut entered);
        let outcome = match stopped {
            Some(outcome) => outcome,
            None => match self.nodes.get(entered.nodes.len()) {
                Some(node) => self.step(node, entered.nodes.len(), delivery).await,
                None => self.handle(delivery).await,
            },
        };
        leave(&mut entered, delivery, outcome, self.progress)
    }

    /// What the handler wants published, of the last time inwards: read behind [`run`](Self::run). It is published if the outcome stays `Done`.
    #[must_use]
    pub fn emits(&self) -> &[AnyDraft] {
        self.progress.gathered()
    }

    /// Answers in the handler's place: what the reply wants published is published with a `Done`, as if the handler had said so. What an
    /// earlier time inwards wanted is forgotten.
    pub fn answer(&mut self, reply: Reply) -> Outcome {
        self.progress.answer(reply)
    }

    /// Runs an async node with the rest of the chain as its next.
    pub(super) async fn step(&mut self, node: &Node, at: usize, delivery: &mut Delivery) -> Outcome {
        let middleware = match &node.step.0 {
            StepForm::Async(middleware) => &**middleware,
            StepForm::Pass(middleware) => middleware.erased(),
            _ => return Outcome::Skip,
        };
        let timed = self.progress.enter(&node.name);
        let before = self.progress.steps_inwards();
        let nodes = self.nodes.get(at + 1..).unwrap_or_default();
        let inner = Next { nodes, invocation: &mut *self.invocation, progress: &mut *self.progress };
        let outcome = match contain(|| middleware.handle(delivery, inner)) {
            Ok(future) => contained(future).await,
            Err(panic) => Err(panic),
        };
        let outcome = outcome.unwrap_or_else(|panic| Panicked::in_node(&node.name, &*panic));
        let outcome = self.progress.judge(node, before, outcome);
        self.progress.leave(timed);
        outcome
    }

    pub(super) async fn handle(&mut self, delivery: &Delivery) -> Outcome {
        let timed = self.progress.enter(HANDLER);
        let reply = Slot(&mut *self.invocation).handle(delivery).await;
        let outcome = outcome_of(reply, self.progress);
        self.progress.leave(timed);
        outcome
    }
}

/// What came of a handler.
pub(super) fn outcome_of(reply: Result<Reply, Box<dyn Any + Send>>, progress: &mut Progress) -> Outcome {
    match reply {
        Ok(reply) => progress.keep(reply),
        Err(panic) => Panicked::in_node(HANDLER, &*panic),
    }
}

/// Drives the future of an async node; a panic in it, or in dropping it, ends there.
async fn contained(
    mut future: Pin<Box<dyn Future<Output = Outcome> + Send + '_>>,
) -> Result<Outcome, Box<dyn Any + Send>> {
    let outcome = poll_fn(|context| match contain(|| future.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await;
    contain(|| drop(future)).and(outcome)
}

/// The handler's slot while it is in use. However it is left, by a reply, by a panic or because the future was
/// dropped: nothing runs in it afterwards.
pub(super) struct Slot<'a>(pub(super) &'a mut (dyn Invocation + 'static));

impl Slot<'_> {
    async fn handle(self, delivery: &Delivery) -> Result<Reply, Box<dyn Any + Send>> {
        contain(|| self.0.start(delivery))?;
        self.finish().await
    }

    /// Drives what was started.
    pub(super) async fn finish(self) -> Result<Reply, Box<dyn Any + Send>> {
        poll_fn(|context| match contain(|| self.0.poll(context)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        })
        .await
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        // A panic in dropping the handler's future comes after its outcome and changes nothing.
        _ = contain(|| self.0.stop());
    }
}

/// The handler's name in traces and panics.
pub(crate) const HANDLER: &str = "handler";
