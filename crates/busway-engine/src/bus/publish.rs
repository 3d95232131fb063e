//! The publishing verbs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use busway_event::{
    AnyDraft, AnyEvent, Draft, DraftHead, Durability, Event, EventType, LeftOut, Stamp, Timestamp, Topic,
};
use busway_middleware::BoxError;
use busway_observability::trace::{Publish, Sending};

use super::desk::Desk;
use super::dispatch::{Left, Source};
use super::offering::{Offering, Passage, Unfinished, receipt};
use super::stored::{Appending, Stored, Wishes};
use super::{BusCore, PublishError, Receipt, Refused};
use crate::mailbox::Arrival;

/// What a publish comes to at once: its receipt, or what is left to do. Boxed, so that the future of a publish that has
/// nothing to wait for is no larger than its event.
pub(crate) type Now<T> = Result<Receipt, Box<Later<T>>>;

/// A publish that is not over at once.
pub(crate) enum Later<T> {
    Refused(PublishError<Draft<T>>),
    Left {
        core: Arc<BusCore>,
        offering: Offering,
        original: Original,
        /// Its span ends when it is over.
        sending: Sending,
    },
    /// A stream captures its topic, and the store is to be waited for.
    Stored {
        core: Arc<BusCore>,
        stored: Stored,
    },
    /// It is on its way to the disk.
    Appending(Appending),
}

impl<T: EventType> Later<T> {
    /// Waits for what could not be done at once.
    ///
    /// Thousands of publishes wait for the disk at once: their future is that of their answer, all others have one of their own.
    pub(crate) async fn end(self: Box<Self>) -> Result<Receipt, PublishError<Draft<T>>> {
        match *self {
            Self::Refused(error) => Err(error),
            Self::Appending(mut appending) => {
                let answer = (&mut appending.answered).await;
                appending.told(answer)
            }
            Self::Left { core, mut offering, original, sending } => {
                Box::pin(async move {
                    core.complete(&mut offering.dispatched).await;
                    drop(sending);
                    core.finish(offering).or_else(|late| core.closed_meanwhile(late, original))
                })
                .await
            }
            Self::Stored { core, stored } => Box::pin(async move { core.end_stored(stored).await }).await,
        }
    }

    /// Its span lasts as long as it does.
    pub(super) fn sending(mut self: Box<Self>, of: Sending) -> Box<Self> {
        match &mut *self {
            Self::Left { sending, .. } => *sending = of,
            Self::Refused(_) => of.failed(REFUSED),
            Self::Stored { .. } | Self::Appending(_) => {}
        }
        self
    }

    /// Does what is left without waiting: whoever blocks loses the event.
    pub(crate) fn end_now(self) -> Result<Receipt, PublishError<Draft<T>>> {
        match self {
            Self::Refused(error) => Err(error),
            Self::Left { core, mut offering, original, .. } => {
                if let Some(left) = offering.dispatched.left.take() {
                    core.complete_now(*left);
                }
                core.finish(offering).or_else(|late| core.closed_meanwhile(late, original))
            }
            Self::Stored { .. } | Self::Appending(_) => {
                unreachable!("who may not wait for the store was refused before")
            }
        }
    }
}

/// Whether a publisher may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Waits,
    /// It is told which inline handler it would have to wait for.
    Never,
}

impl BusCore {
    /// Publishes a draft, as far as it goes without waiting.
    pub(crate) fn publish<T: EventType>(
        self: &Arc<Self>,
        draft: Draft<T>,
        from: Source,
        patience: Patience,
    ) -> Now<T> {
        if let Some(log) = &self.log {
            return self.publish_with_log(log, draft, from, patience);
        }
        let now = self.services.clock.utc();
        let Accepted { event, original, sending, .. } =
            self.accept_at(now, draft, from, Publish::Alone).map_err(Later::Refused)?;
        self.publish_accepted(event, original, from, patience).map_err(|later| later.sending(sending))
    }

    #[inline]
    pub(super) fn publish_accepted<T: EventType>(
        self: &Arc<Self>,
        event: Event<T>,
        original: Original,
        from: Source,
        patience: Patience,
    ) -> Now<T> {
        let topic = event.topic().clone();
        let (id, arrival) = (event.id(), Arrival::of(&event, event.weight()));
        let passage = Passage::of(&id, arrival, from, patience);
        self.offer_to_all(self.desk(), &topic, event.into(), original, &passage)
    }

    /// Publishes a payload on a topic that is valid, without a draft in between: says to how many it was offered.
    ///
    /// The stamp is the caller's, who makes the receipt: one that was handed through would be read back each time from where it was put a
    /// moment ago.
    #[inline]
    pub(crate) fn publish_payload<T: EventType>(
        self: &Arc<Self>,
        desk: &Desk,
        topic: &Topic,
        payload: T,
        stamp: &Stamp<'_>,
        patience: Patience,
    ) -> Result<usize, Box<Later<T>>> {
        // From payload and stamp: what was written into the event a moment ago is slow to be read again.
        let weight = payload.weight().saturating_add(self.metadata.size());
        match desk.event(topic, payload, stamp) {
            Ok(event) => {
                let arrival = Arrival::plain(weight);
                let passage = Passage::of(&stamp.id, arrival, Source::Outside, patience).seeking_way();
                self.route(desk, topic, event, &passage)
                    .map_err(|unfinished| self.later(*unfinished, Original::AsItIs).into())
            }
            Err(refused) => {
                let (payload, reason) = *refused;
                Err(self.refused(Event::new(topic, payload), reason.into()).into())
            }
        }
    }

    #[inline]
    fn offer_to_all<T: EventType>(
        self: &Arc<Self>,
        desk: &Desk,
        topic: &Topic,
        event: AnyEvent,
        original: Original,
        passage: &Passage<'_>,
    ) -> Now<T> {
        match self.route(desk, topic, event, passage) {
            Ok(offered) => Ok(receipt(*passage.id, offered)),
            Err(unfinished) => Err(self.later(*unfinished, original).into()),
        }
    }

    #[cold]
    pub(super) fn later<T: EventType>(
        self: &Arc<Self>,
        unfinished: Unfinished,
        original: Original,
    ) -> Later<T> {
        match unfinished {
            Unfinished::Left(offering) => {
                Later::Left { core: Arc::clone(self), offering, original, sending: Sending::none() }
            }
            Unfinished::Refused(event, reason) => match taken_back::<T>(event) {
                Some(draft) => self.refused(restored(draft, original), reason),
                None => unreachable!("an event that nobody was offered has one owner"),
            },
        }
    }

    #[cold]
    pub(super) fn refused<T: EventType>(&self, draft: Draft<T>, reason: Refused) -> Later<T> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Later::Refused(PublishError::refused(draft, reason))
    }

    /// Publishes an event as it is. `asked`: what it has to survive whatever its stream says; one that no stream captures is refused then.
    pub(crate) async fn forward(
        self: &Arc<Self>,
        event: AnyEvent,
        asked: Option<Durability>,
    ) -> Result<Receipt, PublishError<AnyEvent>> {
        if let Some(log) = self.log.as_ref().filter(|log| log.captures(event.topic())) {
            return self.forward_with_log(log, event, asked).await;
        }
        let not_durable = |durability| Refused::NotDurable { topic: event.topic().to_string(), durability };
        let admitted =
            self.admit(Source::Outside).and_then(|()| asked.map_or(Ok(()), |asked| Err(not_durable(asked))));
        if let Err(reason) = admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(PublishError::refused(event, reason));
        }
        let mut offering = self.begin(event, Source::Outside);
        self.complete(&mut offering.dispatched).await;
        self.finish(offering).map_err(|(_, back)| PublishError::refused(back, Refused::Closed))
    }

    /// Publishes what a handler emits: all of it, or nothing when one of them is refused.
    pub(crate) async fn publish_emits(
        self: &Arc<Self>,
        drafts: Vec<AnyDraft>,
        from: Source,
    ) -> Result<(), BoxError> {
        if let Some(log) = &self.log {
            return self.publish_emits_with_log(log, drafts, from).await;
        }
        let events = self.accept_emits(drafts, from)?;
        self.offer_emits(events, from).await;
        Ok(())
    }

    pub(crate) async fn offer_emits(self: &Arc<Self>, events: Vec<AnyEvent>, from: Source) {
        let mut offerings: Vec<_> = events.into_iter().map(|event| self.begin(event, from)).collect();
        for offering in &mut offerings {
            Box::pin(self.complete(&mut offering.dispatched)).await;
        }
        // One that met only closing subscriptions is in the account as abandoned.
        offerings.into_iter().for_each(|offering| drop(self.finish(offering)));
    }

    /// As [`publish_emits`](Self::publish_emits), without waiting. What else is to be emitted then is added to `emitting`.
    pub(super) fn publish_emits_now(
        &self,
        drafts: Vec<AnyDraft>,
        from: Source,
        left: &mut Left,
    ) -> Result<(), Refused> {
        let events = self.accept_emits(drafts, from)?;
        if let Some(reason) = self.needs_commit(&events) {
            return Err(reason);
        }
        let targets: Vec<_> = events.iter().map(|event| self.router.lookup(event.topic())).collect();
        if let Some(reason) = targets.iter().find_map(|targets| self.needs_await(targets.into())) {
            return Err(reason);
        }
        for (event, targets) in events.into_iter().zip(&targets) {
            let mut offering = self.begin_with(event, targets.into(), from);
            if let Some(more) = offering.dispatched.left.take() {
                left.emitting.extend(more.emitting);
            }
            drop(self.finish(offering));
        }
        Ok(())
    }

    pub(super) fn accept_emits(&self, drafts: Vec<AnyDraft>, from: Source) -> Result<Vec<AnyEvent>, Refused> {
        drafts.into_iter().map(|draft| self.accept_any(draft, from)).collect()
    }

    /// Runs the publish steps on a draft and validates it. A refused draft comes back as it was given; what it was is
    /// handed on for those who refuse later.
    pub(super) fn accept_at<T: EventType>(
        &self,
        time: Timestamp,
        mut draft: Draft<T>,
        from: Source,
        publish: Publish,
    ) -> Result<Accepted<T>, PublishError<Draft<T>>> {
        let refused = |draft, reason| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            PublishError::refused(draft, reason)
        };
        if let Err(reason) = self.admit(from) {
            return Err(refused(draft, reason));
        }
        let is_put_back = self.services.is_put_back(draft.head().metadata());
        let original = match self.publish_steps.is_empty() && is_put_back {
            true => Original::LeftOut(draft.head().left_out()),
            false => Original::Head(Box::new(draft.head().clone())),
        };
        if let Err(reason) = self.publish_steps.run(draft.head_mut()) {
            return Err(refused(restored(draft, original), reason.into()));
        }
        if let Err(reason) = self.check_stored(draft.head()) {
            return Err(refused(restored(draft, original), reason));
        }
        let wishes = Wishes::of(draft.head());
        let stamp = self.stamp_at(time);
        let sending = self.services.sending(draft.head_mut(), stamp.id, publish);
        match self.desk().finish(draft, &stamp) {
            Ok(event) => Ok(Accepted { event, original, wishes, sending }),
            Err((draft, reason)) => {
                sending.failed(INVALID);
                Err(refused(restored(*draft, original), reason.into()))
            }
        }
    }

    /// Runs the publish steps on a draft of any type and validates it.
    pub(crate) fn accept_any(&self, mut draft: AnyDraft, from: Source) -> Result<AnyEvent, Refused> {
        let accepted = self.admit(from).and_then(|()| Ok(self.publish_steps.run(draft.head_mut())?));
        let accepted = accepted.and_then(|()| self.check_stored(draft.head()));
        let event = accepted.and_then(|()| {
            let stamp = self.stamp();
            let sending = self.services.sending(draft.head_mut(), stamp.id, Publish::OneOfMany);
            draft.finish(&stamp).map_err(|(_, reason)| {
                sending.failed(INVALID);
                reason.into()
            })
        });
        event.inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Whether the event may be published later, or survive what it is to, if that is wanted: it has to be stored for both.
    #[inline]
    fn check_stored(&self, head: &DraftHead) -> Result<(), Refused> {
        let durability = head.durability().filter(|durability| *durability != Durability::Memory);
        match (head.due(), durability, head.topic()) {
            (None, None, _) | (_, _, Err(_)) => Ok(()),
            (None, Some(durability), Ok(topic)) => match &self.log {
                Some(log) if log.captures(topic) => Ok(()),
                _ => Err(Refused::NotDurable { topic: topic.to_string(), durability }),
            },
            (Some(_), _, Ok(topic)) => match &self.log {
                None => Err(Refused::DelayNeedsStore { topic: topic.to_string() }),
                Some(log) if log.captures(topic) => Ok(()),
                Some(_) => Err(Refused::DelayNeedsStream { topic: topic.to_string() }),
            },
        }
    }

    /// Gives an event back that waited for room until the bus was closed.
    fn closed_meanwhile<T: EventType>(
        &self,
        (kept, back): (Receipt, AnyEvent),
        original: Original,
    ) -> Result<Receipt, PublishError<Draft<T>>> {
        match taken_back::<T>(back) {
            Some(draft) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(PublishError::refused(restored(draft, original), Refused::Closed))
            }
            // Somebody still looks at it: it was offered, and is in the account as abandoned.
            None => Ok(kept),
        }
    }
}

/// An event that is to be published.
pub(super) struct Accepted<T> {
    pub(super) event: Event<T>,
    pub(super) original: Original,
    /// What its draft says beside, behind the publish steps.
    pub(super) wishes: Wishes,
    pub(super) sending: Sending,
}

/// What is said of a publish that its bus or its stream refuses, or whose event breaks a rule, where it is traced.
pub(super) const REFUSED: &str = "refused";
pub(super) const INVALID: &str = "invalid";

/// How a draft was given, where it may have to be given back.
pub(crate) enum Original {
    /// As it is now.
    AsItIs,
    /// Without what the bus filled in when it made an event of it.
    LeftOut(LeftOut),
    /// With this head, which publish middleware may have changed since.
    Head(Box<DraftHead>),
}

/// The draft as its publisher gave it, so that publishing it again does not change it twice.
pub(super) fn restored<T: EventType>(mut draft: Draft<T>, original: Original) -> Draft<T> {
    match original {
        Original::AsItIs => {}
        Original::LeftOut(left_out) => draft.head_mut().leave_out(left_out),
        Original::Head(head) => *draft.head_mut() = *head,
    }
    draft
}

/// The draft of an event that nobody else holds.
pub(super) fn taken_back<T: EventType>(event: AnyEvent) -> Option<Draft<T>> {
    let typed = event.typed::<T>();
    drop(event);
    typed.ok()?.into_draft().ok()
}
