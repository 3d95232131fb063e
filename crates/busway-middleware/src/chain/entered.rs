//! The way in and the way out of the nodes that need no future of their own.

use std::sync::Arc;

use super::Node;
use super::panicked::{Panicked, contain};
use super::progress::Progress;
use crate::delivery::Delivery;
use crate::middleware::{Flow, StepForm};
use crate::outcome::Outcome;
use crate::passing::{ErasedPass, Pass};

/// The leading nodes that were entered and are not left.
///
/// Filled and emptied where it lies: what is put down in words and moved in larger pieces is slow to be read.
#[derive(Default)]
pub(super) struct Entered<'a> {
    pub(super) nodes: &'a [Node],
    /// What [`Progress::enter`] said for the first of them; the others follow it one by one.
    pub(super) first: Option<usize>,
    /// Of the one among them that wants to know how it ended.
    pub(super) passed: Option<Passed<'a>>,
}

/// A delivery that was let pass. Dropped before it came back, its attempt was.
pub(super) struct Passed<'a> {
    by: &'a Arc<dyn ErasedPass>,
    /// Its place among the nodes.
    pub(super) at: usize,
    pass: Option<Pass>,
}

impl<'a> Passed<'a> {
    /// One that was [taken](Self::take).
    pub(super) fn again(nodes: &'a [Node], at: usize, pass: Pass) -> Option<Self> {
        match &nodes.get(at)?.step.0 {
            StepForm::Pass(by) => Some(Self { by, at, pass: Some(pass) }),
            _ => None,
        }
    }

    /// Takes its pass: it is nobody's to drop here any more.
    pub(super) const fn take(&mut self) -> Option<Pass> {
        self.pass.take()
    }
}

impl<'a> Entered<'a> {
    /// Sync nodes that were entered without anybody's asking for times.
    pub(super) const fn untimed(nodes: &'a [Node]) -> Self {
        Self { nodes, first: None, passed: None }
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            // Whoever drops it has no outcome to name a panic in.
            _ = contain(|| self.by.dropped(pass));
        }
    }
}

/// Goes through the leading nodes that let a delivery pass at once, until one stops it or needs a future. `entered` is to be empty.
pub(super) fn enter<'a>(
    nodes: &'a [Node],
    delivery: &mut Delivery,
    progress: &mut Progress,
    entered: &mut Entered<'a>,
) -> Option<Outcome> {
    let (mut timed, mut count) = (None, 0);
    let Entered { first, passed, .. } = entered;
    // One guard around all of them: `count` says which one panicked.
    let stopped = contain(|| {
        for node in nodes {
            match &node.step.0 {
                StepForm::Sync(middleware) => {
                    timed = progress.enter(&node.name);
                    *first = first.or(timed);
                    match middleware.before(delivery) {
                        Flow::Continue => count += 1,
                        Flow::Stop(outcome) => return Some(outcome),
                    }
                }
                StepForm::Pass(by) if passed.is_none() => {
                    timed = None;
                    let passed = passed.insert(Passed { by, at: count, pass: None });
                    if !by.try_pass(delivery, &mut passed.pass) {
                        break;
                    }
                    timed = progress.enter(&node.name);
                    *first = first.or(timed);
                    count += 1;
                }
                _ => break,
            }
        }
        None
    });
    entered.nodes = nodes.get(..count).unwrap_or_default();
    let outcome = match (stopped, nodes.get(count)) {
        (Ok(None), _) | (_, None) => return None,
        (Ok(Some(outcome)), Some(node)) => progress.cut(node, outcome),
        (Err(panic), Some(node)) => progress.cut(node, Panicked::in_node(&node.name, &*panic)),
    };
    progress.leave(timed);
    Some(outcome)
}

/// Goes back through the entered nodes, innermost first.
///
/// Most outcomes are `Done` all the way: that is handed in and looked at anew for each node, where an outcome that travelled
/// through all of them would be copied twice a node.
pub(super) fn leave(
    entered: &mut Entered<'_>,
    delivery: &Delivery,
    outcome: Outcome,
    progress: &mut Progress,
) -> Outcome {
    let Entered { nodes, first, passed } = entered;
    let mut not_done = match outcome {
        Outcome::Done => None,
        outcome => Some(outcome),
    };
    // One guard around all of them, and another after each panic: `nodes` says which one panicked.
    while let Some((node, _)) = nodes.split_last() {
        let left = contain(|| {
            while let Some((node, outer)) = nodes.split_last() {
                let mut given = || match &not_done {
                    None => Outcome::Done,
                    Some(_) => taken(&mut not_done),
                };
                let outcome = match (&node.step.0, &mut *passed) {
                    (StepForm::Sync(middleware), _) => middleware.after(delivery, given()),
                    (StepForm::Pass(by), Some(passed)) => {
                        by.passed(&mut passed.pass, delivery, given(), progress.gathered())
                    }
                    _ => given(),
                };
                match outcome {
                    Outcome::Done => {}
                    outcome => not_done = Some(progress.name(node, outcome)),
                }
                *nodes = outer;
                progress.leave(first.map(|first| first + outer.len()));
            }
        });
        let Err(panic) = left else { break };
        not_done = Some(Panicked::in_node(nodes.last().map_or(&*node.name, Node::name), &*panic));
        if let Some((_, outer)) = nodes.split_last() {
            *nodes = outer;
            progress.leave(first.map(|first| first + outer.len()));
        }
    }
    not_done.unwrap_or(Outcome::Done)
}

#[cold]
fn taken(outcome: &mut Option<Outcome>) -> Outcome {
    outcome.take().unwrap_or(Outcome::Done)
}
