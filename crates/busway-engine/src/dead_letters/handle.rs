//! The verbs.

use std::fmt;
use std::sync::Arc;

use busway_observability::audit::{Action, Ending};
use busway_persistence::{
    BY_BYTES_MAX, LetterKey, LetterQuery, Operation, OperationKind, REQUEST_BYTES_MAX, SELECTION_BYTES_MAX,
    Store,
};

use super::error::DeadLetterError;
use super::id::DeadLetterId;
use super::letter::{DamagedLetter, DeadLetter, DeadLetterPage, PageStart};
use super::names::Names;
use super::pace::Redrive;
use super::redrive::Job;
use super::selection::{Selection, Target};
use super::trail::DeadLetterOperation;
use crate::bus::{Bus, BusCore};
use crate::durable::shortened_to;
use crate::log::Log;
use crate::shown::Shown;

/// The dead letters of a bus: see the [module](super) for what is promised.
#[derive(Clone)]
pub struct DeadLetters {
    bus: Arc<BusCore>,
    by: Option<String>,
    request: Option<String>,
}

impl Bus {
    /// The dead letters of all durable subscriptions, also of those that do not run or were removed.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(self.core()))
    }
}

impl DeadLetters {
    pub(super) const fn new(bus: Arc<BusCore>) -> Self {
        Self { bus, by: None, request: None }
    }

    /// Who does what is done, for the trail: at most 128 bytes. Default: the producer of the bus.
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// The request under which the next operation is made, 1 to 128 bytes: made again, by whichever process and however often, it is carried out
    /// once. Default: a new one each time.
    pub fn request(mut self, request: impl Into<String>) -> Self {
        self.request = Some(request.into());
        self
    }

    /// A page of the letters of a selection: as many as it says, and about 1 MiB of them at most.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn list(&self, selection: &Selection) -> Result<DeadLetterPage, DeadLetterError> {
        let selection = selection.clone();
        let from = selection.start.map_or(LetterKey::first_of(1), |PageStart(key)| key);
        let limit = selection.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
        self.lend(move |store| {
            let names = Names::read(store)?;
            let page = store.letters(&query(&names, &selection)?, from, limit)?;
            let letter = |stored: busway_persistence::StoredLetter| {
                DeadLetter::of(names.id(store, stored.key), stored)
            };
            let letters = page.letters.into_iter().map(letter).collect();
            let damaged = page.damaged.into_iter();
            let damaged = damaged.map(|(key, corrupt)| DamagedLetter { id: names.id(store, key), corrupt });
            Ok(DeadLetterPage { letters, damaged: damaged.collect(), next: page.next.map(PageStart) })
        })
        .await
    }

    /// One letter, with its event and its last 16 attempts; how many there were is counted beside them.
    ///
    /// # Errors
    /// [`DeadLetterError::Unknown`] and others.
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn get(&self, id: &DeadLetterId) -> Result<DeadLetter, DeadLetterError> {
        let id = id.clone();
        self.lend(move |store| {
            let key = Names::read(store)?.key(store, &id)?;
            let stored = store.letter(key)?;
            stored.map(|stored| DeadLetter::of(id.clone(), stored)).ok_or(DeadLetterError::Unknown { id })
        })
        .await
    }

    /// How many letters a subscription has, those on their way again included.
    ///
    /// # Errors
    /// [`DeadLetterError::UnknownSubscription`] and others.
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn count(&self, subscription: &str) -> Result<u64, DeadLetterError> {
        let name = subscription.to_owned();
        self.lend(move |store| {
            let numbers = Names::read(store)?.numbers(&name)?;
            Ok(numbers.into_iter().map(|number| store.dead_letter_count(number)).sum())
        })
        .await
    }

    /// Gives letters to their subscriptions again, each as it was published. Returns when all are on their way, which is stored; what comes of them
    /// is the subscriptions' business.
    ///
    /// # Errors
    /// [`DeadLetterError`]: of one letter that it is not there, is on its way already, or cannot be given.
    ///
    /// # Cancel safety
    /// Dropped before it returns, letters that were moved stay moved; the same request goes on behind them.
    pub async fn redrive(
        &self,
        which: impl Into<Target>,
        how: Redrive,
    ) -> Result<DeadLetterOperation, DeadLetterError> {
        self.carry_out((Action::Redrive, OperationKind::Redrive), which.into(), how, None).await
    }

    /// Gives a letter to its subscription again with another payload: bytes of the same type, version and codec. The original stays beside it.
    ///
    /// # Errors
    /// As [`redrive`](Self::redrive), and [`DeadLetterError::Edited`], [`DeadLetterError::Entry`].
    ///
    /// # Cancel safety
    /// As [`redrive`](Self::redrive).
    pub async fn edit(
        &self,
        id: &DeadLetterId,
        payload: impl Into<Vec<u8>>,
    ) -> Result<DeadLetterOperation, DeadLetterError> {
        let how = Redrive::default().unlimited();
        self.carry_out((Action::Edit, OperationKind::Edit), id.into(), how, Some(payload.into())).await
    }

    /// Lets letters go. Those on their way to their subscription stay.
    ///
    /// # Errors
    /// [`DeadLetterError`]: of one letter that it is not there, or is on its way.
    ///
    /// # Cancel safety
    /// As [`redrive`](Self::redrive).
    pub async fn discard(&self, which: impl Into<Target>) -> Result<DeadLetterOperation, DeadLetterError> {
        let how = Redrive::default().unlimited();
        self.carry_out((Action::Discard, OperationKind::Discard), which.into(), how, None).await
    }

    /// The trail: up to `limit` operations, 256 at most, the newest first; those before a number, when one is given. The last 10,000 are
    /// kept, and those that have not ended for twice as long.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn operations(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetterOperation>, DeadLetterError> {
        let (before, limit) = (before.unwrap_or(u64::MAX), limit.min(PAGE_MAX));
        self.lend(move |store| {
            let operations = store.operations(before, limit)?;
            Ok(operations.into_iter().map(|operation| DeadLetterOperation::of(operation, false)).collect())
        })
        .await
    }

    /// Does something, and writes its audit line.
    async fn carry_out(
        &self,
        (action, kind): (Action, OperationKind),
        target: Target,
        how: Redrive,
        edited: Option<Vec<u8>>,
    ) -> Result<DeadLetterOperation, DeadLetterError> {
        let shown = &self.bus.services.shown;
        let audit = shown.begin_audit(action, target.to_string(), self.by.as_deref());
        let done = match self.job(kind, target, how) {
            Ok(job) => job.run(edited).await,
            Err(error) => Err(error),
        };
        audit.end(&end_of(shown, &done));
        done
    }

    /// The trail as it is stored, a page of it before a number.
    pub(super) async fn stored_operations(
        &self,
        before: Option<u64>,
    ) -> Result<Vec<Operation>, DeadLetterError> {
        let before = before.unwrap_or(u64::MAX);
        self.lend(move |store| Ok(store.operations(before, PAGE_MAX)?)).await
    }

    pub(super) fn job(
        &self,
        kind: OperationKind,
        target: Target,
        how: Redrive,
    ) -> Result<Job, DeadLetterError> {
        // The producer of a bus may have a longer name than the trail keeps.
        let producer = || shortened_to(self.bus.metadata.producer().to_owned(), BY_BYTES_MAX);
        let by = self.by.clone().unwrap_or_else(producer);
        let request = self.request.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let selection = target.to_string();
        let texts = [
            ("request", &request, REQUEST_BYTES_MAX),
            ("name of who makes it", &by, BY_BYTES_MAX),
            ("selection", &selection, SELECTION_BYTES_MAX),
        ];
        // Before the store is asked: no key of it is that long.
        if let Some((what, text, limit)) = texts.into_iter().find(|(_, text, limit)| text.len() > *limit) {
            return Err(DeadLetterError::TooLong { what, len: text.len(), limit });
        }
        let (bus, log) = (Arc::clone(&self.bus), self.log()?);
        Ok(Job { bus, log, kind, target, how, by, request, ending: None })
    }

    fn log(&self) -> Result<Arc<Log>, DeadLetterError> {
        self.bus.log.as_ref().map(Arc::clone).ok_or(DeadLetterError::NoStore)
    }

    async fn lend<R: Send + 'static>(
        &self,
        with: impl FnOnce(&Store) -> Result<R, DeadLetterError> + Send + 'static,
    ) -> Result<R, DeadLetterError> {
        self.log()?.lend(&self.bus.services, with).await.ok_or(DeadLetterError::Closed)?
    }
}

/// How an operation has ended, for its audit line.
pub(super) fn end_of(shown: &Shown, done: &Result<DeadLetterOperation, DeadLetterError>) -> Ending {
    match done {
        Ok(DeadLetterOperation { letters, stopped: Some(reason), .. }) => {
            Ending::Stopped { count: *letters, reason: reason.clone() }
        }
        Ok(operation) => Ending::Done { count: Some(operation.letters) },
        Err(error @ (DeadLetterError::Closed | DeadLetterError::Read(_) | DeadLetterError::Store(_))) => {
            shown.failed(error)
        }
        Err(error) => shown.refused(error),
    }
}

/// What a selection asks of a store.
pub(super) fn query(names: &Names, selection: &Selection) -> Result<LetterQuery, DeadLetterError> {
    let Selection { subscription, topics, text, from, until, .. } = selection.clone();
    let subscriptions = subscription.map(|name| names.numbers(&name)).transpose()?.unwrap_or_default();
    Ok(LetterQuery { subscriptions, topics, text, from, until })
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("by", &self.by)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

const PAGE: usize = 100;
/// What readers copy out of one transaction.
const PAGE_MAX: usize = 256;
