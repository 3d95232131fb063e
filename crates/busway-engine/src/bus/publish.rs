//! The publishing verbs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::{AnyDraft, AnyEvent, Draft, DraftHead, Event, EventType};
use futures_util::future::join_all;

use super::dispatch::{Dispatched, Source, Waiter};
use super::{BusCore, Durability, PublishError, Receipt, Refused};
use crate::observer::tell;

impl BusCore {
    pub(crate) async fn publish<T: EventType>(
        self: &Arc<Self>,
        draft: Draft<T>,
        from: Source,
    ) -> Result<Receipt, PublishError<Draft<T>>> {
        let (event, original) = self.accept(draft, from)?;
        let targets = self.router.lookup(event.topic());
        let any = AnyEvent::from(event.clone());
        let dispatched = self.dispatch(&any, &targets, from);
        self.complete(any, dispatched).await.or_else(|late| self.too_late(event, original, late))
    }

    pub(crate) fn try_publish<T: EventType>(
        self: &Arc<Self>,
        draft: Draft<T>,
        from: Source,
    ) -> Result<Receipt, PublishError<Draft<T>>> {
        let (event, original) = self.accept(draft, from)?;
        let targets = self.router.lookup(event.topic());
        if let Some(reason) = self.needs_await(&targets) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return match event.into_draft() {
                Ok(draft) => Err(PublishError::refused(restored(draft, original), reason)),
                // Nobody else can hold an event that was offered to nobody.
                Err(event) => Ok(receipt(&AnyEvent::from(event), 0)),
            };
        }
        let any = AnyEvent::from(event.clone());
        let mut dispatched = self.dispatch(&any, &targets, from);
        // Whoever blocks loses the event: this publisher does not wait.
        dispatched.blocked.clear();
        self.publish_emits_now(&mut dispatched);
        self.finish(any, &dispatched).or_else(|late| self.too_late(event, original, late))
    }

    /// Publishes a draft of any type: what a handler emits.
    pub(crate) async fn publish_draft(
        self: &Arc<Self>,
        draft: AnyDraft,
        from: Source,
    ) -> Result<Receipt, Refused> {
        let event = self.accept_any(draft, from)?;
        let targets = self.router.lookup(event.topic());
        let dispatched = self.dispatch(&event, &targets, from);
        Box::pin(self.complete(event, dispatched)).await.map_err(|_| Refused::Closed)
    }

    pub(crate) async fn forward(
        self: &Arc<Self>,
        event: AnyEvent,
    ) -> Result<Receipt, PublishError<AnyEvent>> {
        if let Err(reason) = self.admit(Source::Outside) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(PublishError::refused(event, reason));
        }
        let targets = self.router.lookup(event.topic());
        let dispatched = self.dispatch(&event, &targets, Source::Outside);
        let completed = self.complete(event.clone(), dispatched).await;
        completed.map_err(|_| PublishError::refused(event, Refused::Closed))
    }

    pub(crate) async fn publish_batch<T: EventType>(
        self: &Arc<Self>,
        drafts: Vec<Draft<T>>,
    ) -> Result<Vec<Receipt>, PublishError<Vec<Draft<T>>>> {
        let mut events = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter();
        while let Some(draft) = drafts.next() {
            match self.accept(draft, Source::Outside) {
                Ok(accepted) => events.push(accepted),
                Err(PublishError::Refused { event: refused, reason }) => {
                    let index = events.len();
                    let back = |(event, original): (Event<T>, Original)| {
                        Some(restored(event.into_draft().ok()?, original))
                    };
                    let mut all: Vec<Draft<T>> = events.into_iter().filter_map(back).collect();
                    all.push(*refused);
                    all.extend(drafts);
                    let reason = Refused::InBatch { index, reason: Box::new(reason) };
                    return Err(PublishError::refused(all, reason));
                }
            }
        }
        let mut receipts = Vec::with_capacity(events.len());
        for (event, _) in events {
            let any = AnyEvent::from(event);
            let targets = self.router.lookup(any.topic());
            let dispatched = self.dispatch(&any, &targets, Source::Outside);
            // The batch was accepted as a whole: an event that met a closing bus is in the account as abandoned.
            let late = |(event, offered): (AnyEvent, usize)| receipt(&event, offered);
            receipts.push(self.complete(any, dispatched).await.unwrap_or_else(late));
        }
        Ok(receipts)
    }

    /// Runs the publish steps on a draft and validates it. A refused draft comes back as it was given; what it was is
    /// handed on for those who refuse later.
    fn accept<T: EventType>(
        &self,
        mut draft: Draft<T>,
        from: Source,
    ) -> Result<(Event<T>, Original), PublishError<Draft<T>>> {
        let refused = |draft, reason| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            PublishError::refused(draft, reason)
        };
        if let Err(reason) = self.admit(from) {
            return Err(refused(draft, reason));
        }
        let original = (!self.publish_steps.is_empty()).then(|| Box::new(draft.head().clone()));
        if let Err(reason) = self.publish_steps.run(draft.head_mut()) {
            return Err(refused(restored(draft, original), reason.into()));
        }
        match draft.finish(&self.stamp()) {
            Ok(event) => Ok((event, original)),
            Err((draft, reason)) => Err(refused(restored(*draft, original), reason.into())),
        }
    }

    /// Waits for what could not be done at once, publishes what inline handlers emitted, and makes the receipt.
    async fn complete(
        self: &Arc<Self>,
        event: AnyEvent,
        mut dispatched: Dispatched,
    ) -> Result<Receipt, (AnyEvent, usize)> {
        if !dispatched.blocked.is_empty() {
            // All at once: one that is full does not keep another from taking the event when it has room.
            let waits = std::mem::take(&mut dispatched.blocked).into_iter().map(Waiter::wait);
            for (core, offer) in join_all(waits).await {
                dispatched.done(&core, &offer);
            }
        }
        for (run, member) in std::mem::take(&mut dispatched.inline) {
            self.run_inline_async(run, &member, &event, &mut dispatched).await;
        }
        while let Some(mut emitting) = dispatched.emitting.pop_front() {
            let mut refused = None;
            for draft in std::mem::take(&mut emitting.emits) {
                let published = Box::pin(self.publish_draft(draft, emitting.source())).await;
                refused = refused.or(published.err());
            }
            emitting.settle(refused);
        }
        self.finish(event, &dispatched)
    }

    /// Publishes what inline handlers emitted, without waiting, and what those emit in turn.
    fn publish_emits_now(&self, dispatched: &mut Dispatched) {
        while let Some(mut emitting) = dispatched.emitting.pop_front() {
            let source = emitting.source();
            let mut refused = None;
            for draft in std::mem::take(&mut emitting.emits) {
                match self.publish_draft_now(draft, source) {
                    Ok(mut inner) => dispatched.emitting.append(&mut inner.emitting),
                    Err(reason) => refused = refused.or(Some(reason)),
                }
            }
            emitting.settle(refused);
        }
    }

    fn publish_draft_now(&self, draft: AnyDraft, from: Source) -> Result<Dispatched, Refused> {
        let event = self.accept_any(draft, from)?;
        let targets = self.router.lookup(event.topic());
        if let Some(reason) = self.needs_await(&targets) {
            return Err(reason);
        }
        let mut dispatched = self.dispatch(&event, &targets, from);
        // Whoever blocks loses the event: this publisher does not wait.
        dispatched.blocked.clear();
        _ = self.finish(event, &dispatched);
        Ok(dispatched)
    }

    /// Runs the publish steps on a draft of any type and validates it.
    fn accept_any(&self, mut draft: AnyDraft, from: Source) -> Result<AnyEvent, Refused> {
        let accepted = self.admit(from).and_then(|()| Ok(self.publish_steps.run(draft.head_mut())?));
        let event = accepted.and_then(|()| draft.finish(&self.stamp()).map_err(|(_, reason)| reason.into()));
        event.inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// The receipt, or the event again when all its offers came too late.
    fn finish(&self, event: AnyEvent, dispatched: &Dispatched) -> Result<Receipt, (AnyEvent, usize)> {
        let all_late = dispatched.late > 0 && dispatched.late == dispatched.offered;
        // A subscription that ends by itself abandons the event; only the end of the bus refuses it.
        if all_late && !self.closing.admits(Source::Outside) {
            return Err((event, dispatched.offered));
        }
        self.published.fetch_add(1, Ordering::Relaxed);
        if dispatched.offered == 0 {
            self.unrouted.fetch_add(1, Ordering::Relaxed);
        }
        tell(self.services.observer.as_deref(), |observer| observer.published(&event, dispatched.offered));
        Ok(receipt(&event, dispatched.offered))
    }

    /// Gives an event back that met only closing subscriptions: the bus was closed while it was on its way.
    fn too_late<T: EventType>(
        &self,
        event: Event<T>,
        original: Original,
        late: (AnyEvent, usize),
    ) -> Result<Receipt, PublishError<Draft<T>>> {
        let (any, offered) = late;
        let kept = receipt(&any, offered);
        drop(any);
        match event.into_draft() {
            Ok(draft) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(PublishError::refused(restored(draft, original), Refused::Closed))
            }
            // Somebody still looks at it: it was offered, and is in the account as abandoned.
            Err(_) => Ok(kept),
        }
    }
}

fn receipt(event: &AnyEvent, offered: usize) -> Receipt {
    Receipt { id: event.id(), offered, durability: Durability::Memory }
}

/// A draft's head before publish middleware changed it; `None` when there is none.
type Original = Option<Box<DraftHead>>;

/// The draft as its publisher gave it, so that publishing it again does not change it twice.
fn restored<T: EventType>(mut draft: Draft<T>, original: Original) -> Draft<T> {
    if let Some(original) = original {
        *draft.head_mut() = *original;
    }
    draft
}
