//! Making a durable subscription idempotent.

use std::sync::Arc;

use busway_reliability::Idempotency;

use super::{DurableBuilder, DurableCore};
use crate::bus::Services;
use crate::idempotency::Keeper;
use crate::log::Log;
use crate::subscription::SubscribeProblem;

impl DurableBuilder {
    /// Handles what is asked for twice once: an event whose key is done is settled as skipped, and counted
    /// ([`idempotency`](crate::DurableStats)); see [`Idempotency`] for what makes two events one. Default: every event is handled, at least once.
    ///
    /// A key is done when the handler was, never before: an event whose handler fails is attempted again, whatever the process does in
    /// between. With the bus's own store key and settlement are one commit, so that a key is done exactly if its event is settled; an effect
    /// outside of that transaction is repeated when the process dies between the two. With a shared [`store`](Idempotency::store) the key is done
    /// behind the handler and before the settlement. It is told again until it has heard; when the subscription ends or is sent elsewhere meanwhile, for 5 s
    /// more, then the event is settled all the same (`untold`), and a duplicate of it may be handled again.
    ///
    /// An event whose key another one has is parked until that one has ended, and charged no attempt. While a shared store cannot be reached
    /// events wait, uncharged: nothing more is handled until it answers. A lease that is no longer than the [deadline](Self::deadline) is refused:
    /// what it is longer is the time that the store has for an answer, and a key that was asked for longer ago is asked for anew before its handler runs. Keys are the subscription's own: another subscription handles the same event too. Sending it back with
    /// [`seek`](crate::CursorHandle::seek) forgets no key: what is done is skipped.
    ///
    /// Members of a [group](Self::group) share their keys, and want the same.
    pub fn idempotent(mut self, idempotency: Idempotency) -> Self {
        self.idempotent = Some(idempotency);
        self
    }

    pub(super) fn idempotency_problems(&self) -> impl Iterator<Item = SubscribeProblem> + use<> {
        let problems = self.idempotent.as_ref().map(Idempotency::problems).unwrap_or_default();
        problems.into_iter().map(SubscribeProblem::Idempotency).chain(self.lease_problem())
    }

    /// A lease has to outlast the deadline by what asking for it takes; within one process it lasts for as long as its attempt.
    fn lease_problem(&self) -> Option<SubscribeProblem> {
        let lease = self.idempotent.as_ref().filter(|wanted| wanted.shared_store().is_some())?.lease_time();
        let deadline = self.deadline.filter(|deadline| lease <= *deadline)?;
        Some(SubscribeProblem::LeaseTooShort { lease, deadline })
    }

    /// What its group has, and what this member wants.
    pub(super) fn idempotent_pair(&self, core: &DurableCore) -> (&'static str, String, String) {
        let wanted = self.idempotent.as_ref().map_or_else(|| NOT.to_owned(), |wanted| format!("{wanted:?}"));
        let existing = core.keeper.as_ref().map_or_else(|| NOT.to_owned(), |keeper| keeper.settings_text());
        ("idempotent", existing, wanted)
    }

    /// The keys of the subscription of this number, as the store has them.
    pub(super) async fn keeper(
        &self,
        log: &Arc<Log>,
        services: &Services,
        number: u32,
    ) -> Result<Option<Box<Keeper>>, SubscribeProblem> {
        let keeper = |wanted| Keeper::durable(wanted, self.name.as_str().into(), self.deadline);
        let Some(keeper) = self.idempotent.as_ref().and_then(keeper) else { return Ok(None) };
        if keeper.is_in_own_store() {
            let keys = log.lend(services, move |store| store.done_keys(number)).await;
            let keys = keys.ok_or(SubscribeProblem::Closed)?;
            let keys = keys.map_err(|error| SubscribeProblem::DoneKeys { reason: error.to_string() })?;
            keeper.restore(keys, (services.clock.now(), services.clock.utc()));
        }
        Ok(Some(Box::new(keeper)))
    }
}

const NOT: &str = "no";
