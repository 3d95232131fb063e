//! Running a batch: each event goes through the chain on its own, and they meet at the handler.
//!
//! The chain of each event is a future of its own whose innermost step enrols the event and waits. When all of them have
//! gone as far as they can, the handler gets those that enrolled. An event that waits elsewhere (a limit, a timer) does
//! not hold up the others: it joins a later call. So a limit that is smaller than the batch cannot lock up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::poll_fn;
use parking_lot::Mutex;
use tracing::Instrument as _;

use super::{Chain, HANDLER, Panicked, Progress, attempt, contain, run};
use crate::delivery::Delivery;
use crate::handler::{AnyHandler, BatchCall, Invocation};
use crate::mode::Mode;
use crate::outcome::{Outcome, Reply};

/// Runs `deliveries` of one subscription through `chain` to a batch handler; one outcome each, in their order, and what
/// [`run`] leaves behind in the entry of `progress` at the same place.
///
/// The handler is called one batch at a time. An event whose attempt was given up while a call with it was under way (a
/// deadline, say) is in a later call again when its middleware makes another attempt; the outcome of the earlier call is
/// nobody's.
///
/// `None`, and nothing is called, when there are no deliveries, fewer entries of `progress` than deliveries, or the handler
/// is no batch handler.
///
/// # Cancel safety
/// Dropping the future drops the running batch; none of its events has an outcome then.
pub async fn run_batch<M: Mode>(
    chain: &Chain,
    deliveries: &mut [Delivery],
    handler: &AnyHandler<M>,
    progress: &mut [Progress],
) -> Option<Vec<Outcome>> {
    run_batch_with(chain, deliveries, handler, progress, None).await
}

/// What is done with each event of a batch behind its chain, while others may be under way.
pub trait EndOfItem: Sync {
    /// The chain of an event has ended so: what it comes to.
    fn ended<'a>(
        &'a self,
        delivery: &'a Delivery,
        outcome: Outcome,
        progress: &'a mut Progress,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;
}

/// As [`run_batch`], with something that is done with each event as soon as its own chain has ended: what waits in the chain of another event may wait for that.
///
/// # Cancel safety
/// As that of [`run_batch`]; what is done behind the chains is dropped too.
pub async fn run_batch_with<M: Mode>(
    chain: &Chain,
    deliveries: &mut [Delivery],
    handler: &AnyHandler<M>,
    progress: &mut [Progress],
    end: Option<&dyn EndOfItem>,
) -> Option<Vec<Outcome>> {
    let call = handler.batch()?;
    if deliveries.is_empty() || progress.len() < deliveries.len() {
        return None;
    }
    let gather = Arc::new(Mutex::new(Gather::default()));
    let mut items: Vec<Item<'_>> = deliveries
        .iter_mut()
        .zip(progress)
        .enumerate()
        .map(|(at, (delivery, progress))| {
            let mut enrol = Enrol { place: Place { at, round: 0 }, gather: Arc::clone(&gather) };
            Item::Running(Box::pin(async move {
                let outcome = run(chain, delivery, &mut enrol, progress).await;
                match end {
                    Some(end) => end.ended(delivery, outcome, progress).await,
                    None => outcome,
                }
            }))
        })
        .collect();
    let mut running = None;
    poll_fn(|context| drive(&mut items, &gather, call, &mut running, context)).await;
    let outcomes = items.into_iter().map(|item| match item {
        Item::Ended(outcome) => outcome,
        Item::Running(_) => Outcome::failed("the batch ended early"),
    });
    Some(outcomes.collect())
}

enum Item<'a> {
    Running(Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>),
    Ended(Outcome),
}

/// The call under way, and the events that it was made for.
struct Running {
    future: Pin<Box<dyn Future<Output = Vec<Reply>> + Send>>,
    members: Vec<Place>,
}

/// Moves everything as far as it goes. Ready when every event has its outcome.
fn drive(
    items: &mut [Item<'_>],
    gather: &Mutex<Gather>,
    call: &dyn BatchCall,
    running: &mut Option<Running>,
    context: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let mut open = 0;
        for item in &mut *items {
            if let Item::Running(future) = item {
                match future.as_mut().poll(context) {
                    Poll::Ready(outcome) => *item = Item::Ended(outcome),
                    Poll::Pending => open += 1,
                }
            }
        }
        if open == 0 {
            return Poll::Ready(());
        }
        // What nobody took belongs to attempts that were given up.
        gather.lock().replies.clear();
        if running.is_none() {
            let enrolled = std::mem::take(&mut gather.lock().enrolled);
            *running = start(enrolled, call, gather);
        }
        let Some(under_way) = running else {
            // Either all wait for something else, or a call could not be made and its events have outcomes to collect.
            if gather.lock().replies.is_empty() {
                return Poll::Pending;
            }
            continue;
        };
        let answered = match contain(|| under_way.future.as_mut().poll(context)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(replies)) => Ok(replies),
            Err(panic) => Err(panic),
        };
        let members = std::mem::take(&mut under_way.members);
        match answered {
            Ok(replies) => gather.lock().replies.extend(members.into_iter().zip(replies)),
            Err(panic) => fail_all(&members, &*panic, gather),
        }
        // A panic in dropping the call comes after its outcomes and changes nothing.
        _ = contain(|| *running = None);
    }
}

/// Calls the handler for those that enrolled and are still there.
fn start(enrolled: Vec<(Place, Delivery)>, call: &dyn BatchCall, gather: &Mutex<Gather>) -> Option<Running> {
    if enrolled.is_empty() {
        return None;
    }
    let (members, deliveries): (Vec<Place>, Vec<Delivery>) = enrolled.into_iter().unzip();
    let span = attempt::span_of_call(&deliveries);
    match span.in_scope(|| contain(|| call.call(&deliveries))) {
        Ok(future) => Some(Running { future: Box::pin(future.instrument(span)), members }),
        Err(panic) => {
            fail_all(&members, &*panic, gather);
            None
        }
    }
}

fn fail_all(members: &[Place], panic: &(dyn std::any::Any + Send), gather: &Mutex<Gather>) {
    let failed = members.iter().map(|place| (*place, Panicked::in_node(HANDLER, panic).into()));
    gather.lock().replies.extend(failed);
}

/// Where the events of a batch meet. Held for moments only, never across an await.
#[derive(Default)]
struct Gather {
    enrolled: Vec<(Place, Delivery)>,
    replies: Vec<(Place, Reply)>,
}

/// Which event of the batch, and which of its attempts: a reply to an attempt that was given up is nobody's.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    at: usize,
    round: u64,
}

/// The innermost step of one event of a batch.
struct Enrol {
    place: Place,
    gather: Arc<Mutex<Gather>>,
}

impl Invocation for Enrol {
    fn start(&mut self, delivery: &Delivery) {
        self.gather.lock().enrolled.push((self.place, delivery.clone()));
    }

    fn poll(&mut self, _context: &mut Context<'_>) -> Poll<Reply> {
        let mut gather = self.gather.lock();
        match gather.replies.iter().position(|(place, _)| *place == self.place) {
            // No waker is kept: `drive` polls every event again once there are replies.
            Some(index) => Poll::Ready(gather.replies.swap_remove(index).1),
            None => Poll::Pending,
        }
    }

    /// The attempt has its outcome or was given up (a deadline, say): the event is not handed over for it any more, and a
    /// reply to it that comes later is nobody's. The chain calls this however the step is left.
    fn stop(&mut self) {
        self.gather.lock().enrolled.retain(|(place, _)| *place != self.place);
        self.place.round += 1;
    }
}
