//! Which events of a batch come to its handler: those that have not expired, whose idempotency keys are their own, and whose channels make calls.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;

use busway_event::AnyEvent;
use busway_middleware::Outcome;
use futures_util::future::join_all;

use super::attempt::Ended;
use super::batch::{Going, Worker};
use super::ending::{Ending, judge};
use super::guarded::{Asked, ask};
use super::once::{Admitted, Claimed, give_back, pay};
use super::window::{Made, Started};
use crate::idempotency::beside;

impl<'a> Worker<'a> {
    /// Handles those events of a batch that may be handled: those that have not expired, whose idempotency keys are their own and whose channels make calls. The others
    /// are decided without it. Keys first: what is done already is nobody's call, and is not answered in its place either.
    pub(super) async fn handle_once(&mut self, batch: &[Started<AnyEvent>], open: &mut Vec<usize>) -> Going {
        let mut claims = Vec::new();
        self.let_expired_go(batch, open);
        while self.core.keeper.is_some() {
            match self.claims(batch, open).await {
                Ok(claimed) => {
                    claims = claimed;
                    break;
                }
                Err(Going::No) => return Going::No,
                // Keys that are its own already are let go: their leases might run out meanwhile.
                Err(Going::On) => {
                    if let Some(ended) = self.core.moment_later(self.member).await.ended() {
                        return self.hand_back(&ended, batch, open, &mut []).await;
                    }
                    self.let_expired_go(batch, open);
                }
            }
        }
        if self.reach.is_some() && self.ask(batch, open, &mut claims).await == Going::No {
            return Going::No;
        }
        let again = claims.iter_mut().zip(batch).enumerate();
        let again = again.filter_map(|(at, (claimed, started))| Some((at, claimed.as_mut()?, started)));
        let paid = again.map(|(at, claimed, started)| async move { (at, pay(Some(claimed), started).await) });
        let paid = join_all(paid).await;
        self.go_without(batch, open, &mut claims, paid);
        self.handle(batch, open, &mut claims).await
    }

    /// Those whose time to live is over go their way without the others.
    fn let_expired_go(&self, batch: &[Started<AnyEvent>], open: &mut Vec<usize>) {
        open.retain(|at| match batch.get(*at).filter(|started| self.core.has_expired(started)) {
            None => true,
            Some(started) => {
                self.core.expire(self.member, started);
                false
            }
        });
    }

    /// Asks for the calls of all open events, by their places in the batch. Where one is refused its event ends here.
    async fn ask(
        &mut self,
        batch: &[Started<AnyEvent>],
        open: &mut Vec<usize>,
        claims: &mut [Option<Claimed<'a>>],
    ) -> Going {
        self.calls.resize_with(batch.len(), || None);
        // Whoever is dropped here leaves in `open` what is not decided.
        for at in open.clone() {
            let Some(started) = batch.get(at) else { continue };
            match ask(self.core, self.member, self.reach.as_mut(), started).await {
                Asked::Attempt(call) => {
                    if let Some(place) = self.calls.get_mut(at) {
                        *place = call;
                    }
                }
                Asked::Over => {
                    open.retain(|open| *open != at);
                    give_back(self.member, claims.get_mut(at).and_then(Option::take)).await;
                }
                Asked::CutShort => {
                    open.retain(|open| *open != at);
                    return Going::No;
                }
            }
        }
        Going::On
    }

    /// The events in hand are wanted back: they wait, uncharged, and nothing is left to do; or nothing more is done at all.
    pub(super) async fn hand_back(
        &mut self,
        ended: &Ended,
        batch: &[Started<AnyEvent>],
        open: &mut Vec<usize>,
        claims: &mut [Option<Claimed<'a>>],
    ) -> Going {
        let Ended::Waits(wait) = *ended else { return Going::No };
        while let Some(&at) = open.last() {
            give_back(self.member, claims.get_mut(at).and_then(Option::take)).await;
            let call = self.calls.get_mut(at).and_then(Option::take);
            self.core.call_ended(call.as_ref(), None);
            if let Some(started) = batch.get(at) {
                self.core.waits(started.place, wait, self.core.moment());
            }
            open.pop();
        }
        Going::On
    }

    /// Asks for the keys of all open events, by their places in the batch. `Err(On)`: a shared store cannot be reached.
    async fn claims(
        &mut self,
        batch: &[Started<AnyEvent>],
        open: &mut Vec<usize>,
    ) -> Result<Vec<Option<Claimed<'a>>>, Going> {
        let mut claims: Vec<Option<Claimed<'a>>> = Vec::with_capacity(batch.len());
        for (at, started) in batch.iter().enumerate() {
            if open.binary_search(&at).is_err() {
                claims.push(None);
                continue;
            }
            match self.core.admit(started).await {
                Admitted::Yes(claimed) => {
                    claims.push(claimed);
                    continue;
                }
                Admitted::Away => return Err(Going::On),
                Admitted::No(Ended::Waits(wait)) => self.core.waits(started.place, wait, self.core.moment()),
                Admitted::No(Ended::Decided(outcome)) => self.decide_alone(started, &outcome),
                Admitted::No(Ended::Stored | Ended::CutShort | Ended::Expired) => return Err(Going::No),
            }
            claims.push(None);
            open.retain(|open| *open != at);
        }
        Ok(claims)
    }

    /// Sees to it that no lease runs out under the handler that is about to be called: when one might, all are asked for anew, at the same time, so that each
    /// lasts from now on. Who does not have its key then [goes its way](Self::go_without).
    pub(super) async fn keep_keys(
        &mut self,
        batch: &[Started<AnyEvent>],
        open: &mut Vec<usize>,
        claims: &mut [Option<Claimed<'a>>],
    ) {
        if !claims.iter().flatten().any(Claimed::is_short) {
            return;
        }
        let asked = claims.iter_mut().enumerate().filter_map(|(at, claimed)| Some((at, claimed.as_mut()?)));
        let asked = asked.map(|(at, claimed)| async move { (at, claimed.lease_anew().await) });
        let asked = join_all(asked).await;
        self.go_without(batch, open, claims, asked);
    }

    /// Those whose key was refused, by their places in the batch, go their way without the others.
    fn go_without(
        &mut self,
        batch: &[Started<AnyEvent>],
        open: &mut Vec<usize>,
        claims: &mut [Option<Claimed<'a>>],
        asked: Vec<(usize, Result<(), Ended>)>,
    ) {
        for (at, asked) in asked {
            let Err(ended) = asked else { continue };
            drop(claims.get_mut(at).and_then(Option::take));
            let call = self.calls.get_mut(at).and_then(Option::take);
            self.core.call_ended(call.as_ref(), None);
            open.retain(|open| *open != at);
            match (batch.get(at), ended) {
                (Some(started), Ended::Decided(outcome)) => self.decide_alone(started, &outcome),
                (Some(started), Ended::Waits(wait)) => {
                    self.core.waits(started.place, wait, self.core.moment());
                }
                _ => {}
            }
        }
    }

    /// An event is decided without its handler.
    fn decide_alone(&self, started: &Started<AnyEvent>, outcome: &Outcome) {
        let (core, at) = (self.core, self.core.moment());
        let verdict = judge(core, self.member, started, &Ending::of(outcome, core.class_of(outcome)), at);
        core.decided(started.place, (verdict, Made::Nothing), None, at);
    }
}

/// Does it, and keeps the leases of all keys meanwhile, if a shared store has some of them. One that is lost is [found](Worker::keep_keys) lost before the handler is
/// called again.
pub(super) async fn keep_all<T: Send>(
    claims: &mut [Option<Claimed<'_>>],
    work: Pin<&mut (impl Future<Output = T> + Send)>,
) -> T {
    if !claims.iter().flatten().any(Claimed::is_leased) {
        return work.await;
    }
    let renewing = async {
        join_all(claims.iter_mut().flatten().map(Claimed::renewing)).await;
        // One of them at least had no end.
        pending::<Infallible>().await
    };
    beside(work, renewing).await
}
