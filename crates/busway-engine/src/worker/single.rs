//! A task that handles one event after the other.

use tokio::sync::Notify;

use super::attempt::{Ended, Slot, handle};
use super::{DRAIN_MAX, Intake, Next};
use crate::mailbox::Bell;
use crate::subscription::{Member, SubscriptionCore};

/// Works until the subscription is over or its member leaves.
pub(super) async fn work(core: &SubscriptionCore, member: &Member) {
    let mut intake = Intake::new(core, member, Bell::Task(Notify::new()));
    let mut slot = Slot::new(core, member);
    let aborted = core.abort.cancelled();
    tokio::pin!(aborted);
    let mut drained = 0;
    loop {
        let next = match intake.take() {
            Some(job) => Next::Handle(job),
            None => intake.park(),
        };
        match next {
            Next::Handle(job) => {
                match handle(core, member, &mut slot, job, aborted.as_mut()).await {
                    Ended::Settled(event) => intake.let_go(event),
                    Ended::CutShort => return,
                }
                drained += 1;
                if drained == DRAIN_MAX {
                    drained = 0;
                    tokio::task::yield_now().await;
                }
            }
            Next::Sleep => {
                drained = 0;
                if let Bell::Task(notify) = &*intake.bell {
                    notify.notified().await;
                }
                intake.woken();
            }
            Next::End => return,
        }
    }
}
