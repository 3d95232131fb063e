//! Expiry: dead letters that are older than their subscription keeps them are let go.
//!
//! They are looked for when the subscription begins, and at most once an hour while it has something to do, so that no timer runs for this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_event::Timestamp;
use busway_persistence::OperationKind;
use parking_lot::Mutex;

use super::handle::DeadLetters;
use super::pace::Redrive;
use super::selection::{Selection, Target};
use crate::bus::BusCore;
use crate::durable::DurableCore;

/// When a subscription looks for old letters next, and whether it does.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    next: Mutex<Option<Instant>>,
    /// Another one of it has who looks: one at a time.
    looking: Arc<()>,
}

impl DurableCore {
    /// Lets old letters go, when it is time to look for them.
    pub(crate) fn expire_letters(&self) {
        let Some(age) = self.recovery.letters.age_max() else { return };
        let now = self.services.clock.now();
        let looking = {
            let mut next = self.expiry.next.lock();
            if next.is_some_and(|next| now < next) || Arc::strong_count(&self.expiry.looking) > 1 {
                return;
            }
            *next = Some(now + EVERY.min(age));
            Arc::clone(&self.expiry.looking)
        };
        let Some(bus) = self.bus.upgrade() else { return };
        let before = self.services.clock.utc().saturating_sub(age);
        let (ending, expire) = (self.log.ending.clone(), expire(bus, self.name.to_string(), before));
        // A shutdown does not wait for all of them: the next life goes on.
        let expire = async move {
            _ = ending.run_until_cancelled(expire).await;
            drop(looking);
        };
        drop(self.services.runtime.spawn(self.log.readers.track_future(expire)));
    }
}

async fn expire(bus: Arc<BusCore>, name: String, before: Timestamp) {
    let letters = DeadLetters::new(bus).by("busway");
    let selection = Selection::all().subscription(&name).until(before);
    // Most of the time there is nothing, and the trail need not say so.
    let mut look = selection.clone().limit(1);
    loop {
        match letters.list(&look).await {
            Ok(page) if !page.letters.is_empty() => break,
            Ok(page) => match page.next {
                Some(next) => look = look.start(next),
                None => return,
            },
            Err(error) => {
                tracing::warn!(subscription = name, %error, "old dead letters cannot be looked for");
                return;
            }
        }
    }
    let how = Redrive::default().unlimited().never_stop();
    let job = letters.job(OperationKind::Expire, Target::Selected(selection), how);
    let expired = match job {
        Ok(job) => job.run(None).await,
        Err(error) => Err(error),
    };
    match expired {
        Ok(operation) => {
            tracing::info!(subscription = name, letters = operation.letters, "old dead letters are let go");
        }
        Err(error) => tracing::warn!(subscription = name, %error, "old dead letters are not let go"),
    }
}

const EVERY: Duration = Duration::from_secs(3_600);
