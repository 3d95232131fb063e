//! A task that handles one event after the other.

use std::future::poll_fn;
use std::task::{Context, Poll};

use busway_event::AnyEvent;
use tokio::sync::Notify;

use super::attempt::{Ended, Slot, Way, handle};
use super::linger::linger_between_tasks;
use super::under::{Begun, Under, begin, begin_behind, go_on};
use super::{DRAIN_MAX, Intake, Next};
use crate::mailbox::{Bell, Job, Ticket};
use crate::subscription::{Member, SubscriptionCore};

/// Works until the subscription is over or its member leaves.
pub(super) async fn work(core: &SubscriptionCore, member: &Member) {
    let mut intake = Intake::new(core, member, Bell::Task(Notify::new()));
    let mut slot = Slot::new(core, member);
    let aborted = core.abort.cancelled();
    tokio::pin!(aborted);
    let (mut left, mut stretch) = (DRAIN_MAX, 0);
    loop {
        let before = left;
        let drained =
            poll_fn(|context| Poll::Ready(drain(core, member, &mut intake, &mut slot, &mut left, context)));
        let drained = drained.await;
        stretch += before - left;
        let ended = match drained {
            Drained::Many => {
                left = DRAIN_MAX;
                tokio::task::yield_now().await;
                continue;
            }
            Drained::Under(under) => go_on(core, member, &mut slot, under, aborted.as_mut()).await,
            Drained::Behind(job) => handle(core, member, &mut slot, job, aborted.as_mut()).await,
            // The last look found nothing.
            Drained::Empty
                if linger_between_tasks(core, member, std::mem::take(&mut stretch).saturating_sub(1))
                    .await =>
            {
                continue;
            }
            Drained::Empty => match intake.park() {
                Next::Handle(job) => handle(core, member, &mut slot, job, aborted.as_mut()).await,
                Next::Sleep => {
                    if let Bell::Task(notify) = &*intake.bell {
                        notify.notified().await;
                    }
                    intake.woken();
                    continue;
                }
                Next::End => return,
            },
        };
        match ended {
            Ended::Settled(event) => intake.let_go(event),
            Ended::CutShort => return,
        }
    }
}

/// Why a stretch of events ended.
enum Drained {
    /// Nothing is left.
    Empty,
    /// Others may want to run.
    Many,
    /// A handler waits, or wants something published.
    Under(Under),
    /// Somebody watches its attempt.
    Behind(Job),
}

/// Handles events for as long as no handler waits: one poll, many events.
fn drain(
    core: &SubscriptionCore,
    member: &Member,
    intake: &mut Intake<'_>,
    slot: &mut Slot,
    left: &mut usize,
    context: &mut Context<'_>,
) -> Drained {
    let straight = !core.mailbox.is_scheduled();
    while *left > 0 {
        *left -= 1;
        // Each of both by itself, and the event never beside anything else: it stays in registers then, and is not read back in
        // another size than it was written a moment ago.
        let ended = match straight {
            true => match intake.take_straight() {
                Some(event) => handle_now(core, member, intake, slot, event, None, context),
                None => return Drained::Empty,
            },
            false => match intake.take() {
                Some(Job { event, ticket }) => {
                    handle_now(core, member, intake, slot, event, Some(ticket), context)
                }
                None => return Drained::Empty,
            },
        };
        if let Some(drained) = ended {
            return drained;
        }
    }
    Drained::Many
}

/// Handles an event, or says why it takes more than a moment. It was taken first: one that is published after a middleware was
/// added passes it.
#[inline]
fn handle_now(
    core: &SubscriptionCore,
    member: &Member,
    intake: &mut Intake<'_>,
    slot: &mut Slot,
    event: AnyEvent,
    ticket: Option<Ticket>,
    context: &mut Context<'_>,
) -> Option<Drained> {
    let ticket_of = |ticket: Option<Ticket>| ticket.unwrap_or_else(|| Ticket::straight(member.id));
    let begun = match slot.way(core, member, &event) {
        Way::Plain => begin((core, member), slot, event, context),
        Way::Behind => begin_behind((core, member), slot, event, context),
        Way::Watched => return Some(Drained::Behind(Job { event, ticket: ticket_of(ticket) })),
    };
    match begun {
        Begun::Handled(event) => {
            if let Some(ticket) = ticket {
                core.mailbox.finish(&ticket);
            }
            intake.let_go(event);
            None
        }
        Begun::Under(delivery, stands) => {
            Some(Drained::Under(Under::new(delivery, stands, ticket_of(ticket))))
        }
    }
}
