//! A member of a subscription.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{
    DeliveryId, Received, Receiver, Reception, TransportError, TransportFuture, Verdict,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::KIND;
use super::error::unmappable;
use super::fetch::{Fetched, Membership, Question};
use super::held::Held;
use super::place::{Place, beginning};
use super::settle::{Word, gone};
use super::shared::Shared;
use crate::line::Line;

/// A member. It has no task of its own: what is under way when a call is dropped waits in its state for the next one.
pub(super) struct RedisReceiver {
    membership: Arc<Membership>,
    in_flight_max: usize,
    held: Mutex<Held>,
    state: tokio::sync::Mutex<State>,
    /// Told when there is room again, or something was put off: both concern who waits.
    freed: Notify,
    put_off: Notify,
    /// For questions that wait: nothing else gets through meanwhile.
    waiting_line: Line,
    closing: CancellationToken,
}

type Step<T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send>>;

/// Held by who receives, across its waiting: one caller at a time.
#[derive(Default)]
struct State {
    fetch: Option<Step<Fetched>>,
    wait: Option<Step<()>>,
    /// Fetched and not handed over; no more than may be in flight.
    ready: VecDeque<(Received, Instant)>,
    /// Whether all that the member had before has come.
    has_all: bool,
    swept: Option<Instant>,
    places: Vec<String>,
    /// Nothing was there: until then nothing is asked for unless something happens.
    quiet_until: Option<Instant>,
    /// Whether more of what is new is likely to be there, and nothing else.
    more_new: bool,
    turn: usize,
}

impl RedisReceiver {
    pub(super) async fn join(shared: &Arc<Shared>, reception: &Reception) -> Result<Self, TransportError> {
        let names = &shared.names;
        for (name, what) in [(&reception.name, "subscription"), (&reception.member, "member")] {
            if name.is_empty() || name.starts_with(RESERVED) {
                let reason = format!("the name of a {what} is not empty and does not begin with {RESERVED}");
                return Err(unmappable(name, reason));
            }
        }
        let stream = &reception.stream;
        let missing = || TransportError::Gone {
            what: format!("stream {stream}"),
            reason: "the server does not know it: prepare it first".to_owned(),
        };
        let count = partitions(shared, stream).await?.ok_or_else(missing)?;
        let keys = (0..count)
            .map(|at| (names.partition(stream, at), names.again(stream, at, &reception.name)))
            .collect::<Vec<_>>();
        let (from, is_clamped) = beginning(reception.start_at);
        let mut script = shared.scripts.join.key(names.declaration(stream));
        script.key(names.subscriptions(stream));
        keys.iter().for_each(|(partition, _)| _ = script.key(partition));
        script.arg(&reception.name).arg(reception.filter.as_str()).arg(from).arg(u8::from(is_clamped));
        let answer: Vec<String> = shared.run(&script).await?;
        let mut answer = answer.into_iter();
        let what = || format!("subscription {}", reception.name);
        let born = match (answer.next().as_deref(), answer.next()) {
            (Some("ok"), Some(born)) => born,
            (Some("filter"), Some(found)) => {
                let wanted = reception.filter.to_string();
                return Err(TransportError::Incompatible { what: what(), setting: "filter", found, wanted });
            }
            (Some("gone"), Some(partition)) => {
                let subscriptions = names.subscriptions(stream);
                let reason = format!(
                    "partition {partition} of {stream} or its group is not there any more; to begin anew, remove the field {} of {subscriptions}, and prepare the stream",
                    reception.name
                );
                return Err(TransportError::Gone { what: what(), reason });
            }
            _ => return Err(missing()),
        };
        // One that waits may be answered late: its own timeout is above.
        let waiting_line =
            Line::new(&shared.link.client, shared.timeout, None).map_err(|error| shared.said(&error))?;
        let membership = Membership {
            shared: Arc::clone(shared),
            stream: stream.clone(),
            group: reception.name.clone(),
            member: reception.member.clone(),
            filter: reception.filter.clone(),
            ack_wait: reception.ack_wait,
            born,
            keys,
        };
        Ok(Self {
            membership: Arc::new(membership),
            in_flight_max: reception.in_flight_max.get(),
            held: Mutex::default(),
            state: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            put_off: Notify::new(),
            waiting_line,
            closing: shared.closed.child_token(),
        })
    }

    /// How often a member looks for what others have left, or put off.
    fn pace(&self) -> Duration {
        (self.membership.ack_wait / 4).min(PACE_MAX)
    }

    async fn next(&self, state: &mut State, max: usize) -> Result<Vec<Received>, TransportError> {
        loop {
            let now = Instant::now();
            let ready = self.hand_over(state, max, now);
            if !ready.is_empty() {
                return Ok(ready);
            }
            if state.fetch.is_none() {
                let room = self.in_flight_max.saturating_sub(self.held.lock().count(now));
                if room == 0 {
                    self.wait_for_room().await;
                    continue;
                }
                if state.quiet_until.is_some() {
                    self.wait_for_news(state).await?;
                    continue;
                }
                state.fetch = Some(self.ask(state, room.min(max.max(1)).min(FETCH_MAX), now));
            }
            let Some(fetch) = state.fetch.as_mut() else { continue };
            let fetched = fetch.await;
            state.fetch = None;
            match fetched {
                Ok(fetched) => self.take(state, fetched),
                Err(error) => {
                    // What the server has given and this side has not got is asked for anew.
                    state.has_all = false;
                    return Err(error);
                }
            }
        }
    }

    fn ask(&self, state: &mut State, room: usize, now: Instant) -> Step<Fetched> {
        let sweep = state.swept.is_none_or(|swept| now >= swept + self.pace());
        if sweep {
            state.swept = Some(now);
        }
        let before = !state.has_all;
        let held = if before { self.held.lock().entries().cloned().collect() } else { Vec::new() };
        state.turn = (state.turn + 1) % self.membership.keys.len().max(1);
        let question = Question {
            room,
            before,
            sweep,
            turn: state.turn,
            held,
            only_new: state.more_new && !before && !sweep,
        };
        Box::pin(Arc::clone(&self.membership).fetch(question))
    }

    fn take(&self, state: &mut State, fetched: Fetched) {
        state.has_all |= fetched.seen_all;
        state.places = fetched.places;
        state.more_new = fetched.more_new;
        // Who was only asked for what is new has not looked at the rest, and not said where to wait.
        let is_quiet = fetched.entries.is_empty() && fetched.skipped == 0 && !state.places.is_empty();
        let until = fetched.asked + self.membership.ack_wait;
        let mut held = self.held.lock();
        for entry in fetched.entries {
            let (count, place) = (entry.delivery.count, Place::parse(&entry.delivery.id));
            let received = Received::new(held.add(entry.delivery, until), entry.event).attempt(count);
            let received = match place.and_then(Place::offset) {
                Some(offset) => received.at(offset),
                None => received,
            };
            state.ready.push_back((received, until));
        }
        let pause = fetched.due.map_or(self.pace(), |due| due.min(self.pace()));
        state.quiet_until = is_quiet.then(|| Instant::now() + pause);
    }

    /// What is ready and whose time is not over.
    fn hand_over(&self, state: &mut State, max: usize, now: Instant) -> Vec<Received> {
        let held = self.held.lock();
        state.ready.retain(|(received, until)| *until > now && held.get(received.id).is_some());
        let count = state.ready.len().min(max.max(1));
        state.ready.drain(..count).map(|(received, _)| received).collect()
    }

    async fn wait_for_room(&self) {
        let end = self.held.lock().next_end();
        let Some(end) = end else { return };
        tokio::select! {
            () = self.freed.notified() => {}
            () = tokio::time::sleep_until(end) => {}
        }
    }

    async fn wait_for_news(&self, state: &mut State) -> Result<(), TransportError> {
        let until = state.quiet_until.unwrap_or_else(Instant::now);
        let wait = state.wait.get_or_insert_with(|| {
            let (line, places) = (self.waiting_line.clone(), std::mem::take(&mut state.places));
            Box::pin(Arc::clone(&self.membership).wait(line, places))
        });
        tokio::select! {
            waited = wait => {
                state.wait = None;
                state.quiet_until = None;
                waited
            }
            () = self.put_off.notified() => {
                state.quiet_until = None;
                Ok(())
            }
            () = tokio::time::sleep_until(until) => {
                state.quiet_until = None;
                Ok(())
            }
        }
    }

    /// What the server has heard of each, and what is held no longer then.
    async fn tell(&self, words: Vec<(DeliveryId, Word)>, until: Instant) -> Vec<Result<(), TransportError>> {
        let known: Vec<_> = {
            let held = self.held.lock();
            words.iter().map(|(id, _)| held.get(*id).cloned()).collect()
        };
        let (mut told, mut ids) = (Vec::new(), Vec::new());
        for ((id, word), delivery) in words.into_iter().zip(&known) {
            if let Some(delivery) = delivery {
                ids.push((id, matches!(word, Word::Renew)));
                told.push((delivery.clone(), word));
            } else {
                ids.push((id, false));
            }
        }
        let mut answers = self.membership.tell(&told).await.into_iter();
        let mut held = self.held.lock();
        let all = ids.into_iter().zip(known).map(|((id, is_renewed), delivery)| {
            let answer = match delivery {
                Some(_) => answers.next().unwrap_or_else(|| Err(gone(id))),
                None => Err(gone(id)),
            };
            match &answer {
                Ok(()) if is_renewed => held.renew(id, until),
                Ok(()) | Err(TransportError::Gone { .. }) => held.remove(id),
                // It may be told again.
                Err(_) => {}
            }
            answer
        });
        all.collect()
    }
}

/// How many partitions a stream has, if the server knows it.
pub(super) async fn partitions(shared: &Shared, stream: &str) -> Result<Option<u16>, TransportError> {
    let mut question = redis::cmd("HGET");
    question.arg(shared.names.declaration(stream)).arg("partitions");
    let mut connection = shared.link.connection.clone();
    let answer = tokio::time::timeout(shared.timeout, question.query_async(&mut connection)).await;
    let answer = answer.map_err(|_| super::error::late(&shared.link.server, shared.timeout))?;
    answer.map_err(|error| shared.said(&error))
}

impl Receiver for RedisReceiver {
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>> {
        Box::pin(async move {
            let receiving = async {
                let mut state = self.state.lock().await;
                self.next(&mut state, max).await
            };
            tokio::select! {
                biased;
                () = self.closing.cancelled() => Err(TransportError::Closed),
                received = receiving => received,
            }
        })
    }

    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>> {
        Box::pin(async move {
            let is_put_off =
                verdicts.iter().any(|(_, verdict)| matches!(verdict, Verdict::Again(_) | Verdict::Back));
            let words = verdicts.into_iter().map(|(id, verdict)| (id, Word::Verdict(verdict))).collect();
            let answers = self.tell(words, Instant::now()).await;
            self.freed.notify_one();
            if is_put_off {
                self.put_off.notify_one();
            }
            answers
        })
    }

    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let until = Instant::now() + self.membership.ack_wait;
            let words = deliveries.iter().map(|id| (*id, Word::Renew)).collect();
            self.tell(words, until).await.into_iter().collect()
        })
    }

    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>> {
        self.closing.cancel();
        Box::pin(async move {
            let mut state = self.state.lock().await;
            state.wait = None;
            // What it would have brought is given back with the rest: the server answers in order.
            if let Some(fetch) = state.fetch.take() {
                drop(fetch.await);
            }
            state.ready.clear();
            self.held.lock().clear();
            self.membership.leave().await
        })
    }
}

impl fmt::Debug for RedisReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReceiver")
            .field("transport", &KIND)
            .field("stream", &self.membership.stream)
            .field("subscription", &self.membership.group)
            .field("member", &self.membership.member)
            .finish_non_exhaustive()
    }
}

/// Of names that the scripts give.
const RESERVED: &str = "busway:";
const PACE_MAX: Duration = Duration::from_millis(500);
/// Of one answer, which the server holds in memory as a whole.
const FETCH_MAX: usize = 256;
