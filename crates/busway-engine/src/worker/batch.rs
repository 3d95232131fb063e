//! A task that hands over many events at once.

use std::pin::Pin;

use busway_event::AnyEvent;
use busway_middleware::chain::{EndOfItem, run_batch_with};
use busway_middleware::{Delivery, Outcome, Progress};
use busway_observability::trace::within;
use tokio::sync::Notify;

use super::attempt::{cut_short, delivery_of, emit, finish, hands_back, progress_of, settle};
use super::{Intake, Next};
use crate::mailbox::{Bell, Job};
use crate::subscription::{ChainCache, Member, SubscriptionCore};
use crate::traced::ended;

/// Works until the subscription is over or its member leaves.
pub(super) async fn work(core: &SubscriptionCore, member: &Member, max: usize) {
    let mut intake = Intake::new(core, member, Bell::Task(Notify::new()));
    let mut chain = ChainCache::new(member, &core.services.middleware);
    let mut progress: Vec<Progress> = Vec::new();
    loop {
        let next = match intake.take() {
            Some(job) => Next::Handle(job),
            None => intake.park(),
        };
        match next {
            Next::Handle(first) => {
                let mut jobs = vec![first];
                while jobs.len() < max {
                    let Some(job) = intake.take_more() else { break };
                    jobs.push(job);
                }
                progress.resize_with(jobs.len().max(progress.len()), || progress_of(core));
                let Some(events) = handle(core, member, &mut chain, &mut progress, jobs).await else {
                    return;
                };
                events.into_iter().for_each(|event| intake.let_go(event));
                tokio::task::yield_now().await;
            }
            Next::Sleep => {
                if let Bell::Task(notify) = &*intake.bell {
                    notify.notified().await;
                }
                intake.woken();
            }
            Next::End => return,
        }
    }
}

/// Handles a batch and gives its events back; `None` when it was cut short.
async fn handle(
    core: &SubscriptionCore,
    member: &Member,
    chain: &mut ChainCache,
    progress: &mut [Progress],
    jobs: Vec<Job>,
) -> Option<Vec<AnyEvent>> {
    let (events, tickets): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.event, job.ticket)).unzip();
    let mut deliveries: Vec<_> = events.into_iter().map(|event| delivery_of(core, member, event)).collect();
    let chain = chain.get(member, &core.services.middleware);
    let place = core.services.all_traced(&deliveries);
    let finish = Finish(core);
    let end = member.keeper.is_some().then_some(&finish as &dyn EndOfItem);
    let run = run_batch_with(chain, &mut deliveries, &member.handler, progress, end);
    let outcomes = tokio::select! {
        biased;
        outcomes = within(place.as_ref(), run) => outcomes,
        () = core.abort.cancelled() => None,
    };
    let Some(outcomes) = outcomes else {
        tickets.iter().for_each(|ticket| cut_short(core, ticket));
        return None;
    };
    for (((delivery, ticket), outcome), progress) in
        deliveries.iter().zip(&tickets).zip(outcomes).zip(progress)
    {
        if let Some(trace) = progress.take_trace() {
            core.keep_trace(trace);
        }
        let emitted = within(place.as_ref(), emit(core, outcome, progress.take_emits()));
        match core.abort.run_until_cancelled(emitted).await {
            Some(outcome) => {
                ended(place.as_ref(), &outcome);
                hands_back(core, member, delivery);
                settle(core, delivery.event(), ticket, outcome, progress.cut_by());
            }
            None => cut_short(core, ticket),
        }
    }
    let events = deliveries.into_iter().map(|delivery| delivery.into_parts().0).collect();
    (!core.is_aborted()).then_some(events)
}

/// Publishes what came of an event with a key, and concludes its key, while others of its batch are under way: they may wait for that key, here or in another batch
/// that has one for which this one waits.
struct Finish<'a>(&'a SubscriptionCore);

impl EndOfItem for Finish<'_> {
    fn ended<'a>(
        &'a self,
        delivery: &'a Delivery,
        outcome: Outcome,
        progress: &'a mut Progress,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(finish(self.0, delivery, outcome, progress.take_emits()))
    }
}
