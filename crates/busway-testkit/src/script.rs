//! Scripted handlers and the gates that hold them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use busway_event::AnyDraft;
use busway_middleware::{Outcome, Reply};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a handler does, delivery by delivery; when the script is over, `Done` or what [`then`](Script::then) says. Clones
/// share the script.
#[derive(Debug, Clone, Default)]
pub struct Script {
    shared: Arc<Mutex<Steps>>,
}

#[derive(Debug, Default)]
struct Steps {
    left: VecDeque<Step>,
    then: Option<Step>,
}

impl Script {
    /// These steps, one a delivery.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = Steps { left: steps.into_iter().collect(), then: None };
        Self { shared: Arc::new(Mutex::new(steps)) }
    }

    /// What is done at each delivery after the last step. Default [`Step::Done`].
    pub fn then(self, step: Step) -> Self {
        self.shared.lock().then = Some(step);
        self
    }

    /// Adds a step at the end.
    pub fn push(&self, step: Step) {
        self.shared.lock().left.push_back(step);
    }

    /// Steps that were not needed so far.
    #[must_use]
    pub fn left(&self) -> usize {
        self.shared.lock().left.len()
    }

    pub(crate) fn next(&self) -> Step {
        let mut steps = self.shared.lock();
        steps.left.pop_front().or_else(|| steps.then.clone()).unwrap_or(Step::Done)
    }
}

/// One delivery's part in a script.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Step {
    /// Succeeds.
    Done,
    /// Fails in a way that may pass.
    Fail(&'static str),
    /// Fails for good.
    Dead(&'static str),
    /// Is not for this handler.
    Skip,
    /// Panics.
    Panic(&'static str),
    /// Succeeds and emits an event: see [`Step::emit`].
    Emit(Emission),
    /// Never ends by itself: only cancelling ends it. To be let go by the test, [`Wait`](Step::Wait).
    Hang,
    /// Waits at a gate, then succeeds.
    Wait(Gate),
}

impl Step {
    /// Succeeds and emits what `draft` makes, with the settlement.
    pub fn emit<D: Into<AnyDraft>>(draft: impl Fn() -> D + Send + Sync + 'static) -> Self {
        Self::Emit(Emission(Arc::new(move || draft().into())))
    }

    pub(crate) async fn run(self) -> Reply {
        let outcome = match self {
            Self::Done => Outcome::Done,
            Self::Fail(error) => Outcome::failed(error),
            Self::Dead(reason) => Outcome::dead(reason),
            Self::Skip => Outcome::Skip,
            Self::Panic(message) => std::panic::panic_any(message),
            Self::Hang => std::future::pending().await,
            Self::Wait(gate) => {
                gate.pass().await;
                Outcome::Done
            }
            Self::Emit(Emission(draft)) => {
                return Reply { outcome: Outcome::Done, emits: vec![draft()] };
            }
        };
        outcome.into()
    }
}

/// How a [`Step::Emit`] makes its event.
#[derive(Clone)]
pub struct Emission(Arc<dyn Fn() -> AnyDraft + Send + Sync>);

impl fmt::Debug for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emission")
    }
}

/// A gate that holds handlers until a test lets them pass: the way to be at a known point without sleeping. Clones are the
/// same gate.
#[derive(Clone, Default)]
pub struct Gate {
    shared: Arc<GateState>,
}

#[derive(Default)]
struct GateState {
    state: Mutex<Passage>,
    changed: Notify,
}

#[derive(Default)]
struct Passage {
    open: bool,
    /// Single passes that were given and not used.
    passes: usize,
    waiting: usize,
    reached: usize,
}

impl Gate {
    /// A gate that lets nobody pass.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.shared.state.lock().open = true;
        self.shared.changed.notify_waiters();
    }

    /// Lets one pass: one of those that wait, or the next that comes.
    pub fn open_one(&self) {
        self.shared.state.lock().passes += 1;
        self.shared.changed.notify_waiters();
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().waiting
    }

    /// Waits until `count` have reached the gate since it was made, passed or not.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn reached(&self, count: usize) {
        self.until(|passage| (passage.reached >= count).then_some(())).await;
    }

    /// Passes through, when it is open or a pass is left.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the gate; no pass is lost.
    pub async fn pass(&self) {
        let _waiting = Waiting::at(&self.shared);
        self.until(|passage| {
            let single = !passage.open && passage.passes > 0;
            passage.passes -= usize::from(single);
            (passage.open || single).then_some(())
        })
        .await;
    }

    async fn until<V>(&self, mut ready: impl FnMut(&mut Passage) -> Option<V>) -> V {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = ready(&mut self.shared.state.lock()) {
                return value;
            }
            changed.await;
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passage = self.shared.state.lock();
        write!(f, "Gate({}, {} waiting)", if passage.open { "open" } else { "closed" }, passage.waiting)
    }
}

struct Waiting<'a>(&'a GateState);

impl<'a> Waiting<'a> {
    fn at(gate: &'a GateState) -> Self {
        let mut passage = gate.state.lock();
        passage.waiting += 1;
        passage.reached += 1;
        drop(passage);
        gate.changed.notify_waiters();
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}
