//! The pump of a bridge: from a receiver to a sender, in batches.
//!
//! While all goes well several batches are [on their way](super::flights): the next is fetched and sent while earlier ones are not answered yet, unless it has an event of a
//! key that is under way. With a rate, and from a failure until all that failed was taken, it is one batch at a time.
//!
//! A batch is sent in *waves*: of each key one event a wave, of those without a key all in the first. A wave is over when each of its events was taken or given up, so
//! nothing overtakes an event of its key; a source that gives out one event of a key at a time, as a log does, has one wave a batch.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use busway_reliability::{Rate, Retry, TokenBucket};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Bridge;
use super::figures::{BridgeState, Figures};
use super::flights::{Carried, Flights, Landed, waves};
use super::names::Taken;
use crate::bus::{BusCore, Services};
use crate::log::Log;
use crate::transport::{
    DeliveryId, Letter, Received, Receiver, SendError, Sender, Sent, TransportError, Verdict,
};

/// What a bridge is made of.
pub(super) struct Work {
    pub(super) name: String,
    /// Let go of when it has ended.
    pub(super) taken: Option<Taken>,
    pub(super) from: Arc<dyn Receiver>,
    pub(super) to: Arc<dyn Sender>,
    /// Events in flight.
    pub(super) batch: usize,
    pub(super) rate: Option<Rate>,
    pub(super) longest_wait: Duration,
    /// How often deliveries are renewed while they wait.
    pub(super) renewed_every: Duration,
    pub(super) stop: CancellationToken,
}

impl Work {
    /// Begins, as one of those who read the log: the bus waits for its end.
    pub(super) fn begin(self, core: &BusCore, log: &Log) -> Bridge {
        let Self { name, taken, from, to, batch, rate, longest_wait, renewed_every, stop } = self;
        let (name, figures): (Arc<str>, _) = (name.into(), Arc::new(Figures::new()));
        let now = core.services.clock.now();
        let pump = Pump {
            name: Arc::clone(&name),
            services: Arc::clone(&core.services),
            from,
            to,
            figures: Arc::clone(&figures),
            stop: stop.clone(),
            batch,
            rate: rate.map(|rate| TokenBucket::new(rate, NonZeroU32::MIN, now)),
            retry: Retry::default().attempts(u32::MAX).first_delay(FIRST_WAIT).longest_delay(longest_wait),
            renewed_every,
            renew_at: now,
            failed: 0,
        };
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let work = async move {
            pump.run().await;
            drop(taken);
            drop(guard);
        };
        drop(core.services.runtime.spawn(log.readers.track_future(work)));
        Bridge { name, figures, stop, ended }
    }
}

/// A bridge at work.
pub(super) struct Pump {
    pub(super) name: Arc<str>,
    pub(super) services: Arc<Services>,
    pub(super) from: Arc<dyn Receiver>,
    pub(super) to: Arc<dyn Sender>,
    pub(super) figures: Arc<Figures>,
    pub(super) stop: CancellationToken,
    pub(super) batch: usize,
    pub(super) rate: Option<TokenBucket>,
    pub(super) retry: Retry,
    pub(super) renewed_every: Duration,
    /// When what is on its way is renewed next.
    pub(super) renew_at: Instant,
    /// Attempts that failed one after the other.
    pub(super) failed: u32,
}

type Receiving = BoxFuture<'static, Result<Vec<Received>, TransportError>>;

/// Whether the pump goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Stop,
}

impl Pump {
    /// Carries events until it is stopped or its source is closed; then leaves the source.
    async fn run(mut self) {
        let mut flights = Flights::new();
        let mut receiving = None;
        while self.turn(&mut flights, &mut receiving).await == Next::GoOn {}
        drop(receiving);
        if !self.stop.is_cancelled() {
            tracing::error!(bridge = %self.name, "a bridge ends, for its source or its goal is closed; what is left stays in its source");
        }
        // What is on its way is waited for; what was not taken goes back.
        let left = self.land_all(&mut flights, &[]).await.0;
        self.give_back(left.into_iter().map(|carried| carried.id).collect()).await;
        if let Err(error) = self.from.close().await {
            tracing::warn!(bridge = %self.name, %error, "the source of a bridge did not hear that it ends");
        }
        self.figures.set(BridgeState::Stopped);
    }

    /// One step: a batch comes, or one that is on its way is answered.
    async fn turn(&mut self, flights: &mut Flights, receiving: &mut Option<Receiving>) -> Next {
        let has_room = flights.len() < if self.rate.is_some() { 1 } else { FLIGHTS_MAX };
        // Kept from turn to turn: a receiver may have fetched something already, and wait before it hands it over.
        let coming = receiving.get_or_insert_with(|| {
            // Of what may be in flight at the source, so that there is something to fetch while a batch is on its way.
            let (from, batch) = (Arc::clone(&self.from), (self.batch / FLIGHTS_MAX).max(1));
            Box::pin(async move { from.receive(batch).await })
        });
        let received = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Next::Stop,
            Some(landed) = flights.landed() => return self.land(landed, flights).await,
            () = self.services.clock.sleep_until(self.renew_at), if !flights.is_empty() => {
                self.renew_at = self.services.clock.now() + self.renewed_every;
                self.renew(&flights.deliveries()).await;
                return Next::GoOn;
            }
            received = coming, if has_room => received,
        };
        *receiving = None;
        match received {
            Ok(received) => self.carry(received, flights).await,
            Err(TransportError::Closed) => Next::Stop,
            Err(error) => {
                if !error.is_transient() {
                    // What is gone may be put back by hand; a bridge that gives up is found by nobody at night.
                    tracing::error!(bridge = %self.name, %error, "a bridge cannot read its source");
                }
                match self.alone(flights, Vec::new()).await {
                    Next::GoOn => self.wait(&error, &[]).await,
                    Next::Stop => Next::Stop,
                }
            }
        }
    }

    async fn carry(&mut self, received: Vec<Received>, flights: &mut Flights) -> Next {
        let mut unreadable = Vec::new();
        let mut events = Vec::with_capacity(received.len());
        for Received { id, event, .. } in received {
            match event {
                Ok(event) => events.push(Carried { id, event }),
                Err(reason) => unreadable.push((id, self.given_up(reason.reason))),
            }
        }
        self.settle(unreadable).await;
        let mut waves = waves(events);
        match waves.pop() {
            Some(wave)
                if waves.is_empty() && self.rate.is_none() && self.failed == 0 && flights.may_take(&wave) =>
            {
                if flights.is_empty() {
                    self.renew_at = self.services.clock.now() + self.renewed_every;
                }
                flights.take(&self.to, wave);
                Next::GoOn
            }
            last => {
                waves.extend(last);
                self.alone(flights, waves).await
            }
        }
    }

    /// A send has ended: what it failed with is sent again, with nothing else on its way.
    async fn land(&mut self, landed: Landed, flights: &mut Flights) -> Next {
        match self.judge(landed.wave, landed.results).await {
            (left, None) if left.is_empty() => Next::GoOn,
            (mut left, mut why) => {
                let waiting: Vec<_> = left.iter().map(|carried| carried.id).collect();
                let (more, later) = self.land_all(flights, &waiting).await;
                left.extend(more);
                why = why.or(later);
                let waiting: Vec<_> = left.iter().map(|carried| carried.id).collect();
                let next = match &why {
                    Some(TransportError::Closed) => Next::Stop,
                    Some(reason) => self.wait(reason, &waiting).await,
                    None => Next::GoOn,
                };
                if next == Next::Stop {
                    self.give_back(waiting).await;
                    return Next::Stop;
                }
                self.alone(flights, waves(left)).await
            }
        }
    }

    /// Waits for all that is on its way: what is left of it, and why. `besides` are those that wait for that.
    async fn land_all(
        &mut self,
        flights: &mut Flights,
        besides: &[DeliveryId],
    ) -> (Vec<Carried>, Option<TransportError>) {
        let (mut left, mut why) = (Vec::<Carried>::new(), None);
        while !flights.is_empty() {
            let mut waiting = flights.deliveries();
            waiting.extend(left.iter().map(|carried| carried.id).chain(besides.iter().copied()));
            let Some(landed) = self.renewing(&waiting, flights.landed()).await else { break };
            let (more, reason) = self.judge(landed.wave, landed.results).await;
            left.extend(more);
            why = why.or(reason);
        }
        (left, why)
    }

    /// Sends waves one after the other, behind what is on its way.
    async fn alone(&mut self, flights: &mut Flights, later: Vec<Vec<Carried>>) -> Next {
        let waiting: Vec<_> = later.iter().flatten().map(|carried| carried.id).collect();
        let (left, why) = self.land_all(flights, &waiting).await;
        let later = waves(left).into_iter().chain(later).collect::<Vec<_>>();
        let mut waves = later.into_iter();
        if let Some(reason) = why {
            let waiting: Vec<_> = waves.as_slice().iter().flatten().map(|carried| carried.id).collect();
            if reason == TransportError::Closed || self.wait(&reason, &waiting).await == Next::Stop {
                self.give_back(waiting).await;
                return Next::Stop;
            }
        }
        while let Some(wave) = waves.next() {
            let rest: Vec<_> = waves.as_slice().iter().flatten().map(|carried| carried.id).collect();
            if self.send(wave, &rest).await == Next::Stop {
                self.give_back(rest).await;
                return Next::Stop;
            }
        }
        Next::GoOn
    }

    /// Sends a wave until each of its events was taken or given up. `rest` are those that wait behind it.
    async fn send(&mut self, mut wave: Vec<Carried>, rest: &[DeliveryId]) -> Next {
        while !wave.is_empty() {
            // After a failure one event finds out for the others.
            let tried = if self.failed > 0 { 1 } else { wave.len() };
            let later = wave.split_off(tried);
            let waiting: Vec<_> =
                wave.iter().chain(&later).map(|carried| carried.id).chain(rest.iter().copied()).collect();
            if self.earn(u32::try_from(tried).unwrap_or(u32::MAX), &waiting).await == Next::Stop {
                self.give_back(wave.iter().chain(&later).map(|carried| carried.id).collect()).await;
                return Next::Stop;
            }
            let sending = self.to.send(wave.iter().map(|carried| carried.event.clone()).collect());
            let results = self.renewing(&waiting, sending).await;
            let (mut left, reason) = self.judge(wave, results).await;
            left.extend(later);
            wave = left;
            let Some(reason) = reason else { continue };
            let waiting: Vec<_> = wave.iter().map(|carried| carried.id).chain(rest.iter().copied()).collect();
            if reason == TransportError::Closed || self.wait(&reason, &waiting).await == Next::Stop {
                self.give_back(wave.iter().map(|carried| carried.id).collect()).await;
                return Next::Stop;
            }
        }
        Next::GoOn
    }

    /// Settles what was decided; gives back what has to be sent again, and why.
    async fn judge(
        &mut self,
        wave: Vec<Carried>,
        results: Vec<Result<Sent, SendError>>,
    ) -> (Vec<Carried>, Option<TransportError>) {
        let (mut verdicts, mut left, mut why) = (Vec::new(), Vec::new(), None);
        let mut results = results.into_iter();
        for carried in wave {
            match results.next() {
                Some(Ok(sent)) => {
                    self.figures.carried(sent.duplicate);
                    verdicts.push((carried.id, Verdict::Done));
                }
                Some(Err(error)) if is_final(&error) => {
                    verdicts.push((carried.id, self.given_up(error.reason().to_string())));
                }
                Some(Err(error)) => {
                    self.figures.retried();
                    why = Some(error.reason().clone());
                    left.push(carried);
                }
                // A sender that says nothing of an event has not sent it, as far as anybody knows.
                None => {
                    self.figures.retried();
                    why = Some(TransportError::Refused("the sender said nothing of an event".to_owned()));
                    left.push(carried);
                }
            }
        }
        if why.is_none() && self.failed > 0 {
            self.failed = 0;
            self.figures.set(BridgeState::Flowing);
        }
        self.settle(verdicts).await;
        (left, why)
    }

    fn given_up(&self, reason: String) -> Verdict {
        self.figures.dead();
        tracing::warn!(bridge = %self.name, %reason, "a bridge gives an event up");
        Verdict::Dead(Letter::new(reason).handler(&*self.name))
    }

    async fn settle(&self, verdicts: Vec<(DeliveryId, Verdict)>) {
        if verdicts.is_empty() {
            return;
        }
        for heard in self.from.settle(verdicts).await {
            if let Err(error) = heard {
                self.figures.unheard();
                tracing::debug!(bridge = %self.name, %error, "an event will be given out again");
            }
        }
    }

    async fn give_back(&self, deliveries: Vec<DeliveryId>) {
        self.settle(deliveries.into_iter().map(|id| (id, Verdict::Back)).collect()).await;
    }
}

/// Whether it is of no use to send the event again: the goal refuses it for what it is. What somebody can put right at the goal, which may be the same for each event, is none of that.
fn is_final(error: &SendError) -> bool {
    use TransportError::{Refused, TooLarge, Unmappable};
    error.is_refused() && matches!(error.reason(), Refused(_) | TooLarge { .. } | Unmappable { .. })
}

/// Batches on their way: the source is read, one is encoded, the goal works on another, and one is settled.
const FLIGHTS_MAX: usize = 4;
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);
