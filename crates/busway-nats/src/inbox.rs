//! Where all that a member has asked for comes in: messages of its consumers, and the server's words about its requests.
//!
//! A stream without partitions has one consumer for a subscription, others have one for each partition besides: *lanes*. Their requests are answered to one inbox, and what a message
//! says of its place tells its lane.

use std::collections::HashMap;
use std::future::poll_fn;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Message, StatusCode, Subject, Subscriber};
use busway_engine::transport::TransportError;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::unconstrained;
use tokio::time::Instant;

use crate::consumer::{Found, Plan};
use crate::link::Link;
use crate::place::{Delivered, Place};
use crate::pull::Pull;
use crate::rota;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// To all that follows `address`.
    subscriber: Subscriber,
    address: String,
    pulls: Vec<Pull>,
    /// Of consumers, by their names.
    lanes: HashMap<String, usize>,
    /// The name of the first.
    first: String,
    /// The connection that requests were made on.
    pub(crate) connect: u64,
    turn: u64,
    /// When it was empty for the last time: what is in it has come since.
    pub(crate) empty: Instant,
    /// Replies of messages that nobody has asked for.
    pub(crate) unwanted: Vec<Subject>,
    /// Some lanes were not asked, for want of room.
    pub(crate) is_short: bool,
}

impl Inbox {
    /// Listens, and asks for nothing yet.
    pub(crate) async fn begin(
        link: &Link,
        plans: &[Plan],
        found: Vec<Found>,
    ) -> Result<Self, TransportError> {
        let address = link.client.new_inbox();
        let subscriber = link.client.subscribe(format!("{address}.*")).await;
        let subscriber = subscriber.map_err(|_| TransportError::Closed)?;
        Ok(Self {
            subscriber,
            address,
            pulls: found
                .into_iter()
                .zip(plans)
                .map(|(found, plan)| Pull::new(found, plan.stream_made))
                .collect(),
            lanes: plans.iter().map(|plan| plan.name.clone()).zip(0..).collect(),
            first: plans.first().map(|plan| plan.name.clone()).unwrap_or_default(),
            connect: *link.connects.borrow(),
            turn: 0,
            empty: Instant::now(),
            unwanted: Vec::new(),
            is_short: false,
        })
    }

    /// What has come already, if anything.
    pub(crate) fn come(&mut self) -> Option<Result<Message, TransportError>> {
        self.next().now_or_never()
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> Result<Message, TransportError> {
        let Self { subscriber, empty, .. } = self;
        // The runtime's own fairness would call it empty when it is not.
        let next = unconstrained(poll_fn(|context| {
            let next = subscriber.poll_next_unpin(context);
            if next.is_pending() {
                *empty = Instant::now();
            }
            next
        }));
        next.await.ok_or(TransportError::Closed)
    }

    /// Sorts what has come by now: a message of a lane, or a word of the server, which is noted.
    pub(crate) fn sort(&mut self, message: Message, now: Instant) -> Option<(usize, Delivered, Message)> {
        if let Some(status) = message.status.filter(|status| *status != StatusCode::OK) {
            let request = message.subject.rsplit_once('.').and_then(|(_, request)| request.split_once('-'));
            if let Some((lane, number)) = request
                && let (Ok(lane), Ok(number)) = (lane.parse::<usize>(), number.parse())
                && let Some(pull) = self.pulls.get_mut(lane)
            {
                pull.told(number, status, message.description.as_deref().unwrap_or_default());
            }
            return None;
        }
        let place = message.reply.as_deref().and_then(Place::read);
        let found = place.and_then(|Place { consumer, delivered }| {
            // Most streams have no partitions, and others bring more without a key than of any of them.
            let lane = if consumer == self.first { 0 } else { *self.lanes.get(consumer)? };
            Some((lane, delivered, self.pulls.get_mut(lane)?))
        });
        let Some((lane, delivered, pull)) = found else {
            tracing::warn!(subject = %message.subject, "a message that is none of the subscription is left out");
            return None;
        };
        pull.took(now);
        Some((lane, delivered, message))
    }

    /// Sees to it that requests are at the server, as far as there is room: `free` in all, of which `wanted` are asked for. Which lanes were lost and made again is to be
    /// [looked at](Self::void) afterwards, also when this fails.
    pub(crate) async fn request(
        &mut self,
        link: &Link,
        plans: &[Plan],
        free: usize,
        wanted: usize,
    ) -> Result<(), TransportError> {
        for (pull, plan) in self.pulls.iter_mut().zip(plans) {
            if let Some(said) = pull.refused.take() {
                return Err(TransportError::Refused(format!(
                    "asking for messages of {}: {said}",
                    plan.what()
                )));
            }
        }
        if *link.connects.borrow() != self.connect || link.client.connection_state() != State::Connected {
            self.pulls.iter_mut().for_each(Pull::cut);
            link.connected().await?;
            self.connect = *link.connects.borrow();
        }
        self.look(link, plans).await?;
        while let Some(reply) = self.unwanted.last().cloned() {
            link.publish_to(reply, None, Bytes::from_static(b"+ACK")).await?;
            self.unwanted.pop();
        }
        let standing: Vec<_> = self.pulls.iter_mut().map(Pull::standing).collect();
        let (asks, is_short) = rota::choose(&standing, free, wanted, self.turn, link.heartbeat);
        self.is_short = is_short;
        if !asks.is_empty() {
            self.turn += 1;
        }
        for ask in asks {
            if let Some((pull, plan)) = self.pulls.get_mut(ask.lane).zip(plans.get(ask.lane)) {
                pull.ask(link, plan, &self.address, ask, self.turn).await?;
            }
        }
        Ok(())
    }

    /// Looks at consumers that have to be looked at, all at the same time.
    async fn look(&mut self, link: &Link, plans: &[Plan]) -> Result<(), TransportError> {
        let lanes = self.pulls.iter_mut().zip(plans).filter(|(pull, _)| pull.wants_a_look());
        let looks: Vec<_> = lanes.map(|(pull, plan)| pull.look(link, plan)).collect();
        if looks.is_empty() {
            return Ok(());
        }
        join_all(looks).await.into_iter().collect()
    }

    /// Lanes of which nothing that was handed over counts any more.
    pub(crate) fn void(&mut self) -> impl Iterator<Item = usize> {
        (0..)
            .zip(&mut self.pulls)
            .filter_map(|(lane, pull)| std::mem::take(&mut pull.is_void).then_some(lane))
    }

    /// When somebody has to look again, whether something comes or not.
    pub(crate) fn due(&self, heartbeat: Duration) -> Option<Instant> {
        self.pulls.iter().filter_map(|pull| pull.due(heartbeat)).min()
    }

    /// Notes of which requests nothing was heard.
    pub(crate) fn stall(&mut self, heartbeat: Duration) {
        self.pulls.iter_mut().for_each(|pull| pull.stall(heartbeat));
    }

    /// Ends all requests; what comes still is added to `rest`.
    pub(crate) async fn drain(&mut self, rest: &mut Vec<(usize, Delivered, Message)>) {
        if self.subscriber.drain().await.is_ok() {
            while let Some(message) = self.subscriber.next().await {
                rest.extend(self.sort(message, Instant::now()));
            }
        }
    }
}
