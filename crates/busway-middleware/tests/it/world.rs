//! What the tests need again and again: an event, its delivery, a chain, and middleware that notes that it was there.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::Poll;

use busway_event::codec::CodecId;
use busway_event::{
    AnyEvent, Draft, Encoded, Event, EventId, EventType, Filter, Metadata, Parts, Stamp, Timestamp,
};
use busway_middleware::chain::run;
use busway_middleware::middleware::IntoStep;
use busway_middleware::{
    AnyHandler, Chain, Delivery, Ephemeral, Flow, IntoHandler, Middleware, Mode, ModeKind, Next, Outcome,
    Progress, Registry, Scope, Stage, States, Step, SyncMiddleware,
};
use tracing::Dispatch;
use tracing::dispatcher::DefaultGuard;
use tracing::subscriber::NoSubscriber;

/// The payload of all tests.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u32,
}

impl EventType for Order {
    const NAME: &'static str = "order";
}

pub(crate) fn draft(id: u32) -> Draft<Order> {
    Event::new("orders.created", Order { id })
}

pub(crate) fn event_of<T: EventType>(draft: Draft<T>) -> AnyEvent {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
    draft.finish(&stamp).map_err(|(_, reason)| reason).unwrap().into()
}

/// An event that came from outside, with these bytes as its payload.
pub(crate) fn wire(json: &'static str) -> AnyEvent {
    let encoded = Encoded {
        type_name: Order::NAME.into(),
        version: 1,
        codec: CodecId::Json,
        bytes: json.as_bytes().into(),
    };
    let event = event_of(draft(0));
    let parts = Parts::new(event.id(), event.time(), event.topic().clone(), event.metadata().into());
    AnyEvent::receive(parts, encoded).unwrap()
}

pub(crate) fn scope(states: States) -> Arc<Scope> {
    Arc::new(Scope::new("stock", Filter::new("orders.#").unwrap(), ModeKind::Ephemeral, states))
}

pub(crate) fn delivery_of(event: AnyEvent) -> Delivery {
    Delivery::new(event, scope(States::new()))
}

pub(crate) fn delivery(id: u32) -> Delivery {
    delivery_of(event_of(draft(id)))
}

pub(crate) fn ephemeral<Args>(handler: impl IntoHandler<Ephemeral, Args>) -> AnyHandler<Ephemeral> {
    handler.into_handler()
}

/// A chain of nodes in [`Stage::User`], outermost first.
pub(crate) fn chain_of<const N: usize>(nodes: [(&str, Step); N]) -> Chain {
    let registry = Registry::new();
    nodes.into_iter().for_each(|(name, step)| registry.add(Stage::User, name, step).unwrap());
    Chain::merge([&registry])
}

/// Runs one delivery in a fresh slot.
pub(crate) async fn run_once<M: Mode>(
    chain: &Chain,
    handler: &AnyHandler<M>,
    delivery: &mut Delivery,
) -> (Outcome, Progress) {
    let mut progress = Progress::new();
    let mut invocation = handler.invocation();
    let outcome = run(chain, delivery, &mut *invocation, &mut progress).await;
    (outcome, progress)
}

/// What happened, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// A sync step that notes when it is entered and left, with the outcome.
    pub(crate) fn sync(&self, name: &'static str) -> Step {
        let (entered, left) = (self.clone(), self.clone());
        both(
            move |_| {
                entered.note(format!("> {name}"));
                Flow::Continue
            },
            move |outcome| {
                left.note(format!("< {name} {}", outcome.label()));
                outcome
            },
        )
    }

    /// An async step that does the same, and waits on its way in.
    pub(crate) fn waiting(&self, name: &'static str) -> Step {
        let journal = self.clone();
        around(move |delivery, mut next| {
            let journal = journal.clone();
            Box::pin(async move {
                journal.note(format!("> {name}"));
                pause().await;
                let outcome = next.run(delivery).await;
                journal.note(format!("< {name} {}", outcome.label()));
                outcome
            })
        })
    }

    /// A handler that notes that it was called.
    pub(crate) fn handler(&self) -> AnyHandler<Ephemeral> {
        let journal = self.clone();
        ephemeral(move || {
            journal.note("handler");
            async {}
        })
    }
}

/// A sync step from a function for the way in.
pub(crate) fn before(enter: impl Fn(&mut Delivery) -> Flow + Send + Sync + 'static) -> Step {
    both(enter, |outcome| outcome)
}

/// A sync step from a function for the way out.
pub(crate) fn after(leave: impl Fn(Outcome) -> Outcome + Send + Sync + 'static) -> Step {
    both(|_| Flow::Continue, leave)
}

/// A sync step from two functions.
pub(crate) fn both(
    enter: impl Fn(&mut Delivery) -> Flow + Send + Sync + 'static,
    leave: impl Fn(Outcome) -> Outcome + Send + Sync + 'static,
) -> Step {
    Both(enter, leave).into_step()
}

struct Both<B, A>(B, A);

impl<B, A> SyncMiddleware for Both<B, A>
where
    B: Fn(&mut Delivery) -> Flow + Send + Sync + 'static,
    A: Fn(Outcome) -> Outcome + Send + Sync + 'static,
{
    fn before(&self, delivery: &mut Delivery) -> Flow {
        self.0(delivery)
    }

    fn after(&self, _delivery: &Delivery, outcome: Outcome) -> Outcome {
        self.1(outcome)
    }
}

/// An async step from a function.
pub(crate) fn around<F>(handle: F) -> Step
where
    F: for<'a> Fn(&'a mut Delivery, Next<'a>) -> Boxed<'a> + Send + Sync + 'static,
{
    Around(handle).into_step()
}

pub(crate) type Boxed<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

struct Around<F>(F);

impl<F> Middleware for Around<F>
where
    F: for<'a> Fn(&'a mut Delivery, Next<'a>) -> Boxed<'a> + Send + Sync + 'static,
{
    async fn handle(&self, delivery: &mut Delivery, next: Next<'_>) -> Outcome {
        (self.0)(delivery, next).await
    }
}

/// Gives the runtime one turn: whatever stands behind it is after an await that really waits.
pub(crate) async fn pause() {
    let mut first = true;
    poll_fn(|context| {
        if !std::mem::replace(&mut first, false) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs a future for one poll and drops it.
pub(crate) async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Has a subscriber listen on this thread, beside another one, which listens to nothing. While there is one alone, tracing asks that of the thread that
/// comes by a line first whether anybody listens, and remembers its "nobody" for all threads: tests of a process lose lines of each other's then.
pub(crate) fn listening(subscriber: impl Into<Dispatch>) -> DefaultGuard {
    static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));
    LazyLock::force(&OTHER);
    tracing::dispatcher::set_default(&subscriber.into())
}
