//! Expiry: dead letters that are older than their subscription keeps them are let go.
//!
//! They are looked for when the subscription begins, and at most once an hour while it has something to do, so that no timer runs for this. A wall clock that
//! is ahead for less than an hour lets nothing go, see `believed.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_event::Timestamp;
use busway_observability::audit::Action;
use busway_persistence::OperationKind;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::error::DeadLetterError;
use super::handle::{DeadLetters, end_of};
use super::pace::Redrive;
use super::redrive::Job;
use super::selection::{Selection, Target};
use crate::believed::Believed;
use crate::bus::BusCore;
use crate::durable::DurableCore;

/// When a subscription looks for old letters next, and whether it does.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    next: Mutex<Option<Next>>,
    /// Another one of it has who looks: one at a time.
    looking: Arc<()>,
}

/// The next look.
#[derive(Debug)]
struct Next {
    at: Instant,
    believed: Believed,
}

impl DurableCore {
    /// Lets old letters go, when it is time to look for them.
    pub(crate) fn expire_letters(&self) {
        let Some(age) = self.recovery.letters.age_max() else { return };
        let clock = &*self.services.clock;
        let now = clock.now();
        let (is_first, today, looking) = {
            let mut next = self.expiry.next.lock();
            if next.as_ref().is_some_and(|next| now < next.at) || Arc::strong_count(&self.expiry.looking) > 1
            {
                return;
            }
            let is_first = next.is_none();
            let next = next.get_or_insert_with(|| Next { at: now, believed: Believed::at_the_start(clock) });
            next.at = now + EVERY.min(age);
            (is_first, next.believed.look(clock), Arc::clone(&self.expiry.looking))
        };
        let Some(bus) = self.bus.upgrade() else { return };
        let before = today.saturating_sub(age);
        // A shutdown does not wait for all of them: the operation is ended, and the next life goes on.
        let run = Run { name: self.name.to_string(), before, is_first, ending: self.log.ending.clone() };
        let expire = async move {
            expire(bus, &run).await;
            drop(looking);
        };
        drop(self.services.runtime.spawn(self.log.readers.track_future(expire)));
    }
}

/// One look for old letters.
struct Run {
    /// The subscription.
    name: String,
    /// Those that were given up before.
    before: Timestamp,
    /// The first of a life of the subscription.
    is_first: bool,
    ending: CancellationToken,
}

async fn expire(bus: Arc<BusCore>, run: &Run) {
    let Run { name, before, is_first, ending } = run;
    let letters = DeadLetters::new(Arc::clone(&bus)).by(OURSELVES);
    if *is_first && let Err(error) = end_what_was_cut_short(&letters, name).await {
        tracing::warn!(subscription = name, %error, "what an earlier process began is not ended in the trail");
    }
    let selection = Selection::all().subscription(name).until(*before);
    // Most of the time there is nothing, and the trail need not say so.
    let mut look = selection.clone().limit(1);
    loop {
        match letters.list(&look).await {
            _ if ending.is_cancelled() => return,
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
    let shown = &bus.services.shown;
    let audit = shown.begin_audit(Action::Expire, selection.to_string(), Some(OURSELVES));
    let how = Redrive::default().unlimited().never_stop();
    let job = letters.job(OperationKind::Expire, Target::Selected(selection), how);
    let expired = match job {
        Ok(job) => Job { ending: Some(ending.clone()), ..job }.run(None).await,
        Err(error) => Err(error),
    };
    audit.end(&end_of(shown, &expired));
    match expired {
        Ok(operation) => {
            tracing::info!(subscription = name, letters = operation.letters, "old dead letters are let go");
        }
        Err(error) => tracing::warn!(subscription = name, %error, "old dead letters are not let go"),
    }
}

/// A process that died left the operation in which it was as if it went on. Nobody else makes its request.
async fn end_what_was_cut_short(letters: &DeadLetters, name: &str) -> Result<(), DeadLetterError> {
    let its_own = format!("{}, until ", Selection::all().subscription(name));
    let mut before = None;
    loop {
        let page = letters.stored_operations(before).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = Some(last.number);
        for operation in page {
            let is_open = operation.kind == OperationKind::Expire && operation.ended.is_none();
            if is_open && operation.selection.starts_with(&its_own) {
                let (request, how) = (operation.request.clone(), Redrive::default());
                let letters = letters.clone().request(request);
                let job = letters.job(OperationKind::Expire, Selection::all().into(), how)?;
                job.end(operation).await?;
            }
        }
    }
}

/// Who lets old letters go.
const OURSELVES: &str = "busway";
const EVERY: Duration = Duration::from_secs(3_600);
