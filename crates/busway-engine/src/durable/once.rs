//! Idempotency of a durable subscription: around its attempts, and with its settlements. What is not asked for costs a look.
//!
//! A key is taken before the attempt and let go behind the decision about its event. With the bus's own store a key that is done goes into
//! the settlement of its event, or into the transaction that settles it: done and settled are one commit. In memory it is done from the decision on: a
//! duplicate that is skipped while that commit is on its way is settled, the event itself is not, and is attempted again should the process die
//! now. A shared store is told behind the handler and before the settlement; what cannot be told is settled all the same in the end (`Claimed::tell`).

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use busway_event::AnyEvent;
use busway_middleware::Outcome;
use busway_persistence::Position;
use busway_reliability::IdempotencyKey;

use super::DurableCore;
use super::attempt::{Ended, Slot, attempt};
use super::hand::Hand;
use super::member::Member;
use super::patience::{Patience, TELL_MAX};
use super::window::{Made, Moment, Started, Verdict};
use crate::idempotency::{Entered, Held, Keeper, KeyDone, LOOK_AGAIN, Leased, Throttled, Waiters, beside};

/// A key that an attempt has. Dropped, it is let go undone.
pub(super) struct Claimed<'a> {
    core: &'a DurableCore,
    keeper: &'a Keeper,
    held: Held,
    end: End,
    /// When its event was decided, which saves another look at the clock.
    decided: Option<Instant>,
}

/// What becomes of a key when it is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Undone,
    Done,
    /// It was asked for in vain.
    HandedBack(Waiters),
}

/// Whether an event may be handled.
pub(super) enum Admitted<'a> {
    /// The subscription is not idempotent, or the event's key is its own now.
    Yes(Option<Claimed<'a>>),
    /// It is decided without its handler.
    No(Ended),
    /// A shared store cannot be reached: to be asked again a moment later. Nobody is parked for it: nothing of the subscription can go on, so
    /// that the log is the better place to wait.
    Away,
}

impl DurableCore {
    /// Asks for the key of an event.
    #[inline]
    pub(super) async fn admit(&self, started: &Started<AnyEvent>) -> Admitted<'_> {
        match &self.keeper {
            None => Admitted::Yes(None),
            Some(keeper) => self.admitted(keeper, started).await,
        }
    }

    /// Takes its key in this process. `Err`: what it has come to without an attempt.
    #[inline]
    fn take_key<'a>(&'a self, keeper: &'a Keeper, started: &Started<AnyEvent>) -> Result<Claimed<'a>, Ended> {
        let ended = match keeper.enter(&started.event, Some(started.place), &*self.services.clock) {
            Entered::Held(held) => {
                return Ok(Claimed { core: self, keeper, held, end: End::Undone, decided: None });
            }
            Entered::Duplicate => Ended::Decided(Outcome::Skip),
            Entered::NoKey(error) => Ended::Decided(keeper.without_key(error)),
            Entered::Busy(key) => Ended::Waits(Wait { key: Some(key), delay: keeper.patience() }),
        };
        Err(ended)
    }

    async fn admitted<'a>(&'a self, keeper: &'a Keeper, started: &Started<AnyEvent>) -> Admitted<'a> {
        let clock = &*self.services.clock;
        let mut claimed = match self.take_key(keeper, started) {
            Ok(claimed) => claimed,
            Err(ended) => return Admitted::No(ended),
        };
        // Who waits for it here is told when this one has had it.
        let (waiters, admitted) = match keeper.lease(&mut claimed.held, clock).await {
            Leased::Yes => return Admitted::Yes(Some(claimed)),
            Leased::Duplicate => (Waiters::All, Admitted::No(Ended::Decided(Outcome::Skip))),
            Leased::Later(delay) => (Waiters::None, Admitted::No(Ended::Waits(Wait::behind(delay)))),
            Leased::Away => (Waiters::None, Admitted::Away),
        };
        claimed.end = End::HandedBack(waiters);
        admitted
    }

    /// An event waits, uncharged, for its key or for the store that has it.
    pub(super) fn waits(self: &Arc<Self>, place: Position, wait: Wait, at: Moment) {
        let mut hand = self.hand.lock();
        hand.ended(self, place, (Verdict::Later { delay: wait.delay }, Made::Nothing), at);
        let is_over = |keeper: &Keeper| wait.key.is_some_and(|key| !keeper.wait_for(key, place, at.now));
        if self.keeper.as_deref().is_some_and(is_over) {
            hand.window.wake(place, at.now);
        }
        drop(hand);
        self.flow.bell.notify_one();
    }

    /// An event is decided that has not asked for its key: who waits for that does not wait for this one.
    #[cold]
    pub(super) fn pass_key_on(&self, started: &Started<AnyEvent>) {
        let Some(keeper) = &self.keeper else { return };
        let now = self.services.clock.now();
        if let Some((key, waiting)) = keeper.pass_on(&started.event, started.place, now) {
            self.wake_next(keeper, key, waiting);
        }
    }

    /// Those who wait for a key that is free have their turn, or who is behind them: one that was to be next may have gone elsewhere.
    fn wake_next(&self, keeper: &Keeper, key: IdempotencyKey, mut waiting: Vec<Position>) {
        while !waiting.is_empty() && !self.wake_parked(&waiting) {
            waiting = keeper.next_waiting(key);
        }
    }

    /// What waited for a key has its turn; `false`: none of it waits any more.
    fn wake_parked(&self, places: &[Position]) -> bool {
        let (now, mut hand) = (self.services.clock.now(), self.hand.lock());
        let woken = places.iter().filter(|place| hand.window.wake(**place, now)).count();
        drop(hand);
        self.flow.bell.notify_one();
        woken > 0
    }
}

/// The key that is done with an event goes into its settlement; one that a transaction has settled has it there already.
pub(super) fn note_key(
    hand: &mut Hand,
    place: Position,
    verdict: &Verdict,
    claimed: Option<&mut Claimed<'_>>,
    at: Moment,
) {
    let Some(claimed) = claimed else { return };
    claimed.decided = Some(at.now);
    if matches!(verdict, Verdict::Settled)
        && claimed.end == End::Done
        && let Some(done) = claimed.keeper.key_done(&claimed.held, at.utc)
    {
        hand.window.key_done(place.partition, done);
    }
}

/// What an event waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// A key that another attempt of this process has; else it is asked for again behind the delay.
    key: Option<IdempotencyKey>,
    delay: std::time::Duration,
}

impl Wait {
    pub(super) const fn behind(delay: std::time::Duration) -> Self {
        Self { key: None, delay }
    }
}

impl Claimed<'_> {
    /// What a transaction stores with the settlement, should it be done with its handler: with the bus's own store.
    pub(super) fn done(&self) -> Option<KeyDone> {
        self.keeper.key_done(&self.held, self.core.services.clock.utc())
    }

    /// Whether its lease might run out under an attempt that begins now.
    #[inline]
    pub(super) fn is_short(&self) -> bool {
        self.keeper.is_short(&self.held, &*self.core.services.clock)
    }

    /// Whether a shared store has a lease of it, which runs out.
    #[inline]
    pub(super) fn is_leased(&self) -> bool {
        self.held.is_leased()
    }

    /// Keeps its lease for as long as it is polled.
    pub(super) async fn renewing(&mut self) -> Infallible {
        self.keeper.renewing(&mut self.held, &*self.core.services.clock, |_| {}).await
    }

    /// Takes a token for one more attempt, if those are bounded. `Err`: what its event has come to without an attempt.
    pub(super) async fn take_token(&mut self) -> Result<(), Ended> {
        let clock = &*self.core.services.clock;
        let delay = match self.keeper.throttles(&self.held, clock).await {
            Throttled::No => return Ok(()),
            Throttled::Yes(delay) => delay,
            Throttled::Away => LOOK_AGAIN,
        };
        self.keeper.give_back(&self.held, clock).await;
        self.end = End::HandedBack(Waiters::Next);
        Err(Ended::Waits(Wait::behind(delay)))
    }

    /// Asks for its lease anew. `Err`: what its event has come to without an attempt; the key is another's, or there is still too little left of its lease.
    pub(super) async fn lease_anew(&mut self) -> Result<(), Ended> {
        let clock = &*self.core.services.clock;
        let leased = self.keeper.lease_anew(&mut self.held, clock).await;
        let (waiters, ended) = match leased {
            Leased::Yes if !self.is_short() => return Ok(()),
            Leased::Duplicate => (Waiters::All, Ended::Decided(Outcome::Skip)),
            Leased::Later(delay) => (Waiters::None, Ended::Waits(Wait::behind(delay))),
            Leased::Yes | Leased::Away => {
                self.keeper.give_back(&self.held, clock).await;
                (Waiters::None, Ended::Waits(Wait::behind(LOOK_AGAIN)))
            }
        };
        self.end = End::HandedBack(waiters);
        Err(ended)
    }

    /// The handler has ended so, and what it did in a transaction is committed: tells a shared store, before the key is let go so.
    ///
    /// Its effect has happened: it must not be handled again for that the store cannot be told. It is told again until it has heard; once the
    /// event is wanted back, or the subscription ends, until `deadline`, which is set then. The event is settled in any case: left as it was, it would be
    /// handled again for certain, and so only a duplicate of it may be.
    pub(super) async fn tell(&mut self, member: &Member, is_done: bool, deadline: &mut Option<Instant>) {
        self.end = if is_done { End::Done } else { End::Undone };
        if !self.held.is_shared() {
            return;
        }
        let clock = &*self.core.services.clock;
        if !is_done {
            self.keeper.give_back(&self.held, clock).await;
            return;
        }
        let is_over = |deadline: &Option<Instant>, now| deadline.is_some_and(|deadline| now >= deadline);
        // Of many that are told one after the other, in vain: those that are left have no time either.
        if is_over(deadline, clock.now()) {
            return self.keeper.untold();
        }
        while !self.keeper.tell_done(&self.held, clock, *deadline).await {
            if self.core.moment_later(member).await == Patience::Again {
                continue;
            }
            let now = clock.now();
            if now >= *deadline.get_or_insert(now + TELL_MAX) {
                self.keeper.untold();
                return;
            }
            self.core.moment_regardless().await;
        }
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let now = self.decided.unwrap_or_else(|| self.core.services.clock.now());
        let waiting = match self.end {
            End::HandedBack(waiters) => self.keeper.hand_back(&self.held, waiters),
            end => self.keeper.let_go(&self.held, end == End::Done, now),
        };
        self.core.wake_next(self.keeper, self.held.key(), waiting);
    }
}

/// Asks whether the time of an event is over, and takes its key if it needs one and nobody else is to be asked, as with most subscriptions: nothing of that waits. `Err`: what it has come to without an attempt.
///
/// The key is put where it stays: each move copies it.
#[inline]
pub(super) fn claim_at_once<'a>(
    core: &'a Arc<DurableCore>,
    started: &Started<AnyEvent>,
    claimed: &mut Option<Claimed<'a>>,
) -> Option<Result<(), Ended>> {
    match &core.keeper {
        _ if core.has_expired(started) => Some(Err(Ended::Expired)),
        None => Some(Ok(())),
        Some(keeper) if keeper.is_in_own_store() => {
            Some(core.take_key(keeper, started).map(|own| *claimed = Some(own)))
        }
        Some(_) => None,
    }
}

/// Asks for the key of an event in a shared store too. `Err`: what it has come to without an attempt.
pub(super) async fn claim<'a>(
    core: &'a Arc<DurableCore>,
    member: &Member,
    started: &Started<AnyEvent>,
    claimed: &mut Option<Claimed<'a>>,
) -> Result<(), Ended> {
    let reached = core.abort.run_until_cancelled(claim_when_reached(core, member, started)).await;
    reached.unwrap_or(Err(Ended::CutShort)).map(|own| *claimed = own)
}

/// The same, for as long as a shared store cannot be reached.
async fn claim_when_reached<'a>(
    core: &'a Arc<DurableCore>,
    member: &Member,
    started: &Started<AnyEvent>,
) -> Result<Option<Claimed<'a>>, Ended> {
    loop {
        match core.admit(started).await {
            Admitted::Yes(claimed) => return Ok(claimed),
            Admitted::No(ended) => return Err(ended),
            Admitted::Away => {
                if let Some(ended) = core.moment_later(member).await.ended() {
                    return Err(ended);
                }
                if core.has_expired(started) {
                    return Err(Ended::Expired);
                }
            }
        }
    }
}

/// Lets a key go that nothing was done with.
pub(super) async fn give_back(member: &Member, claimed: Option<Claimed<'_>>) {
    if let Some(mut claimed) = claimed {
        claimed.tell(member, false, &mut None).await;
    }
}

/// Takes the token that an attempt costs which is not the first of its event, and is about to be made: what is refused by a breaker costs none. `Err`: what its event has come to without it.
#[inline]
pub(super) async fn pay(claimed: Option<&mut Claimed<'_>>, started: &Started<AnyEvent>) -> Result<(), Ended> {
    match claimed.filter(|_| started.attempt > NonZeroU32::MIN) {
        None => Ok(()),
        // Boxed: it is rare, and not to be in the way of all others.
        Some(claimed) => Box::pin(claimed.take_token()).await,
    }
}

/// Sees to it that the lease of a key does not run out under the handler that is about to be called: its tokens, its mark or room in the store may have been waited
/// for. `Err`: what its event has come to without it.
#[inline]
pub(super) async fn keep_key(claimed: Option<&mut Claimed<'_>>) -> Result<(), Ended> {
    match claimed.filter(|claimed| claimed.is_short()) {
        None => Ok(()),
        // Boxed: it is rare, and not to be in the way of all others.
        Some(claimed) => Box::pin(claimed.lease_anew()).await,
    }
}

/// Does it, and keeps the lease of a key meanwhile, if a shared store has one of it. One that is lost is [found](keep_key) lost before the handler is called again.
#[inline]
pub(super) async fn keep_while<T: Send>(
    claimed: Option<&mut Claimed<'_>>,
    work: Pin<&mut (impl Future<Output = T> + Send)>,
) -> T {
    match claimed.filter(|claimed| claimed.is_leased()) {
        None => work.await,
        // Boxed: it is rare, and not to be in the way of all others.
        Some(claimed) => Box::pin(beside(work, claimed.renewing())).await,
    }
}

/// Makes an attempt at an event whose key is its own, if it needs one. The key stays with the caller, who has the decision: a key that is moved with what an attempt comes to is copied by each future
/// around it.
pub(super) async fn attempt_once(
    core: &Arc<DurableCore>,
    member: &Member,
    slot: &mut Slot,
    started: &Started<AnyEvent>,
    claimed: &mut Option<Claimed<'_>>,
) -> Ended {
    let ended = attempt(core, member, slot, started, claimed.as_mut()).await;
    let Some(claimed) = claimed.as_mut().filter(|claimed| !matches!(claimed.end, End::HandedBack(_))) else {
        return ended;
    };
    let is_done = match &ended {
        Ended::Decided(outcome) => outcome.is_done(),
        Ended::Stored => true,
        Ended::Waits(_) | Ended::Expired => false,
        Ended::CutShort => return ended,
    };
    claimed.tell(member, is_done, &mut None).await;
    ended
}
