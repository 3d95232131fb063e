//! The straight way: from a publisher's handle into the one inline handler that its topic reaches, or [into a queue](super::straight_queue).
//!
//! Most of what a publish does is for what may be: several subscriptions, queues, middleware, somebody who looks on. A thread that has
//! published to a topic and found that there is one inline handler and nothing else remembers so, under the generation of the routing
//! table. The next publish of a payload there makes an event in the envelope of the last one, lends it to the handler
//! ([`call_lent`]), counts in a [share](crate::mailbox::Share) of the account that is this thread's alone, and is over.
//!
//! # When a way is straight
//! Settled when it is laid: the bus has no log and no tracing, nobody wants to be told of each event, the subscription keeps no traces of chains and has no feed, and its handler
//! [takes the payload alone](busway_middleware::AnyHandler::lends). Asked of each publish: the generation is the same, there never was middleware, the subscription runs and is open.
//! A publish that finds otherwise takes the way of all others, with what it has made so far.
//!
//! # What may happen in between
//! - *The table changes*: the publish sees one of the two states, as any look-up does. Outdated ways go with the next publish of their thread, whatever its
//!   topic, as its matches do.
//! - *The subscription is paused, stopped or closed, or the bus is*: who does that sees that the thread is counted in, or the thread sees it and takes its count back
//!   (`mailbox/share.rs`). So nothing is handled behind a report, and a shutdown waits for what runs.
//! - *Somebody waits for the end*: it is counted before the publisher lets go of the bus, and that exchange comes before the look for who waits
//!   ([`IdleWatch::touch_behind_exchange`](crate::idle::IdleWatch::touch_behind_exchange)).
//! - *The handler panics*: that is its outcome. *A payload's code panics*: while its key is asked for, nothing is counted and the publisher
//!   gets the panic; while it is dropped, the event is counted already, and who waits is told.
//! - *Somebody begins to listen to spans around attempts*: the publish goes the way of all others, which makes them.
//! - *The handler publishes*: to any topic, also by the same way, which is borrowed only to be read. Its envelope is with the handler then, so the inner publish
//!   makes another one.
//! - *The fence is lost*: it is the exchange by which the envelope is claimed, and, behind the count, the one by which the publisher lets go of the bus (ADR 0044).
//!   Who replaces one of them needs a fence there.
//! - *The last handle of the bus goes*: a way belongs to the thread's desk and so to the bus, and ends with it. Publishers' handles hold none
//!   of it.

use std::sync::Arc;

use busway_event::{AnyEvent, Event, EventId, EventType, Form, Invalid, Moment, Topic};
use busway_middleware::chain::{Lending, attempt, call_lent, call_plain, take_envelope};
use busway_middleware::{Delivery, Outcome, Reply};
use busway_observability::Wants;
use busway_router::Generation;

use super::BusCore;
use super::desk::Desk;
use super::dispatch::Source;
use super::offering::{Passage, Unfinished, receipt};
use super::publish::{Now, Original, Patience};
use crate::mailbox::{Arrival, Ended, Share};
use crate::subscription::{Member, SubscriptionCore};
use crate::sync::{Ordering, fence, fence_behind_exchange};
use crate::worker::let_go;

/// See the module.
pub(crate) struct Straight {
    pub(super) generation: Generation,
    /// Of its events. Keeps the topic's text alive: what lies there is this topic.
    pub(super) form: Form,
    pub(super) core: Arc<SubscriptionCore>,
    /// `None`: the way ends in a queue.
    inline: Option<Inline>,
}

/// Where a way ends on the publisher's thread.
pub(super) struct Inline {
    member: Arc<Member>,
    share: Arc<Share>,
}

/// A publish that could not go on straight.
pub(crate) enum Astray<T> {
    /// Its payload breaks a rule.
    Invalid(Box<(T, Invalid)>),
    /// The event takes the way of all others.
    Event(AnyEvent),
    /// It was offered, and there is more to do.
    Left(Box<Unfinished>),
}

impl BusCore {
    /// Whether a payload is published as it is: nobody wants to see a draft of it, and it is for subscriptions in memory. Otherwise it is for
    /// [`publish`](Self::publish).
    #[inline]
    pub(crate) fn takes_payloads(&self) -> bool {
        // The trace last: what is drawn for it is for this publish.
        self.log.is_none() && self.takes_payloads_now() && !self.services.traces_publish()
    }

    /// The same as far as it may change while a bus runs: where a way is, the rest is settled.
    #[inline]
    pub(crate) fn takes_payloads_now(&self) -> bool {
        self.publish_steps.is_empty() && self.closing.admits(Source::Outside)
    }

    /// Lays the way to a topic whose only subscription is this one, if it is straight and was sought. `generation` is from before the match.
    #[cold]
    pub(super) fn lay_straight(
        &self,
        desk: &Desk,
        topic: &Topic,
        generation: Generation,
        (core, member): (&Arc<SubscriptionCore>, &Arc<Member>),
    ) {
        let is_straight = !self.is_watched()
            && self.log.is_none()
            && core.feed.is_none()
            && core.settings.traces == 0
            && member.handler.lends();
        if !is_straight || !desk.ways.is_sought(topic) {
            return;
        }
        let inline = Inline { member: Arc::clone(member), share: core.mailbox.account.share() };
        self.lay(desk, topic, generation, core, Some(inline));
    }

    /// Whether somebody looks on, whom each publish has to tell.
    pub(super) fn is_watched(&self) -> bool {
        self.services.signals.want(Wants::EVENTS) || self.services.tracing.is_some() || attempt::is_wanted()
    }

    pub(super) fn lay(
        &self,
        desk: &Desk,
        topic: &Topic,
        generation: Generation,
        core: &Arc<SubscriptionCore>,
        inline: Option<Inline>,
    ) {
        let form = Form::new(topic, &self.metadata, self.payload_bytes_max);
        desk.ways.lay(Box::new(Straight { generation, form, core: Arc::clone(core), inline }));
    }

    /// Publishes a payload by a straight way. The caller lets go of the bus behind it, and then looks for who waits.
    ///
    /// `Ok`: one subscription was offered it.
    #[inline]
    pub(crate) fn go_straight<T: EventType>(
        &self,
        desk: &Desk,
        way: &Straight,
        payload: T,
        moment: &Moment,
    ) -> Result<(), Astray<T>> {
        // Code of the user's, before anybody is counted in.
        let key = match way.form.key_of(&payload) {
            Ok(key) => key,
            Err(reason) => return Err(Astray::Invalid(Box::new((payload, reason)))),
        };
        let Some(inline) = &way.inline else {
            return self.go_into_queue(desk, way, (key, payload), moment);
        };
        let Some(empty) = take_envelope() else {
            return self.go_without_envelope(desk, (way, inline), payload, moment);
        };
        let beginning = inline.share.begin(&self.services.idle);
        // Apart, so that a key which is none for certain is not put down to be read again.
        let filled = match key {
            None => empty.fill(&way.form, payload, moment),
            Some(key) => empty.fill_keyed(&way.form, key, payload, moment),
        };
        let event = match filled {
            Ok(event) => event,
            Err(payload) => {
                drop(beginning);
                return self.go_without_envelope(desk, (way, inline), *payload, moment);
            }
        };
        fence_behind_exchange();
        if !way.is_open(inline, self) {
            drop(beginning);
            return Err(Astray::Event(event.into()));
        }
        beginning.stays();
        way.hand_over(inline, desk, event, moment);
        Ok(())
    }

    /// The same where no envelope lies at hand, or one for another type. The payload is asked for its key once more.
    #[cold]
    #[inline(never)]
    fn go_without_envelope<T: EventType>(
        &self,
        desk: &Desk,
        (way, inline): (&Straight, &Inline),
        payload: T,
        moment: &Moment,
    ) -> Result<(), Astray<T>> {
        let event = desk.event(way.form.topic(), payload, &way.form.stamp(moment));
        let event = event.map_err(Astray::Invalid)?.into_typed::<T>().map_err(Astray::Event)?;
        let beginning = inline.share.begin(&self.services.idle);
        fence(Ordering::SeqCst);
        if !way.is_open(inline, self) {
            drop(beginning);
            return Err(Astray::Event(event.into()));
        }
        beginning.stays();
        way.hand_over(inline, desk, event, moment);
        Ok(())
    }

    /// Publishes what could not go on straight: its topic is not what it was, or its payload breaks a rule.
    #[cold]
    pub(crate) fn go_around<T: EventType>(
        self: &Arc<Self>,
        desk: &Desk,
        topic: &Topic,
        astray: Astray<T>,
        id: EventId,
        patience: Patience,
    ) -> Now<T> {
        match astray {
            Astray::Event(event) => {
                let arrival = Arrival::plain(event.weight());
                let passage = Passage::of(&id, arrival, Source::Outside, patience);
                match self.route(desk, topic, event, &passage) {
                    Ok(offered) => Ok(receipt(id, offered)),
                    Err(unfinished) => Err(self.later(*unfinished, Original::AsItIs).into()),
                }
            }
            Astray::Left(unfinished) => Err(self.later(*unfinished, Original::AsItIs).into()),
            Astray::Invalid(refused) => {
                let (payload, reason) = *refused;
                Err(self.refused(Event::new(topic, payload), reason.into()).into())
            }
        }
    }
}

impl Straight {
    /// Whether its handler may run, and nothing else has to.
    #[inline]
    fn is_open(&self, inline: &Inline, bus: &BusCore) -> bool {
        self.core.is_open() && inline.member.is_plain(&bus.services.middleware)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "its one caller that is not cold is all that comes before it")]
    fn hand_over<T: EventType>(&self, inline: &Inline, desk: &Desk, event: Event<T>, moment: &Moment) {
        // The lag is told to those who take deliveries; it is of this event all the same.
        _ = self.core.mailbox.take_lagged();
        let (mut event, mut reply) = (Some(event), None);
        let lending = call_lent(&mut event, &inline.member.handler, &mut reply);
        let Some(reply) = reply else {
            // What nobody has taken is still here, to be put away like any other.
            if lending == Lending::Over && event.is_none() {
                inline.share.ended(Ended::Done);
                return desk.published(1);
            }
            return self.end_otherwise(inline, desk, (event.map(AnyEvent::from), lending), None, moment.id);
        };
        self.end_otherwise(inline, desk, (event.map(AnyEvent::from), lending), Some(reply), moment.id);
    }

    /// What most events do not come to: the handler was not called, or within another call, or said something.
    #[cold]
    #[inline(never)]
    fn end_otherwise(
        &self,
        inline: &Inline,
        desk: &Desk,
        (mut event, lending): (Option<AnyEvent>, Lending),
        mut reply: Option<Reply>,
        id: EventId,
    ) {
        if lending == Lending::NotCalled {
            event = self.call_otherwise(inline, event, &mut reply);
        }
        match reply {
            None => inline.share.ended(Ended::Done),
            Some(reply) => self.said(inline, id, reply),
        }
        desk.published(1);
        if lending != Lending::Over || event.is_some() {
            self.put_away(desk, event);
        }
    }

    /// For an event of another type than the handler's.
    fn call_otherwise(
        &self,
        inline: &Inline,
        event: Option<AnyEvent>,
        reply: &mut Option<Reply>,
    ) -> Option<AnyEvent> {
        let Some(event) = event else {
            let lost = "its extractor took the event that it was lent, and gave no argument for it";
            *reply = Some(Outcome::failed(lost).into());
            return None;
        };
        let delivery = Delivery::live(event, Arc::clone(&self.core.scope), 0);
        call_plain(&delivery, &inline.member.handler, reply);
        Some(delivery.into_parts().0)
    }

    fn said(&self, inline: &Inline, id: EventId, reply: Reply) {
        let Reply { outcome, emits } = reply;
        let outcome = match emits.is_empty() {
            true => outcome,
            false => Outcome::failed("it emits events, and its reply's MAY_EMIT says that it does not"),
        };
        self.core.report_if_failed((self.form.topic(), id), &outcome, None);
        inline.share.ended(Ended::of(&outcome));
        // Before an error is dropped, which is code of the user's.
        self.core.services.idle.touch();
        let_go(outcome);
    }

    /// Behind the count, and behind the look for who waits: an event's drop is code of the user's.
    fn put_away(&self, desk: &Desk, whole: Option<AnyEvent>) {
        self.core.services.idle.touch();
        // That of a call within a call: the outer one's comes to the same place.
        if let Some(empty) = take_envelope() {
            desk.send_back(empty);
        }
        if let Some(event) = whole {
            desk.let_go(event);
        }
    }
}
