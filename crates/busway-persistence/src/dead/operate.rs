//! Operations on dead letters: each part of one is a commit, with the row that says how far it is.
//!
//! | the process dies | then |
//! |---|---|
//! | before the commit | nothing was done |
//! | behind it | the letters are moved, and the operation's row says so: made again, the request goes on behind them |
//!
//! A letter that is redriven is parked, unattempted, under its own place, with a mark beside the parked row. Its subscription has it from
//! there like any event that is due, over restarts too; its bytes come from the letter, so retention is not held. It ends as everything
//! that is parked: handled, and then the letter is gone (one that was edited stays, as handled), or given up again, and then
//! the letter has the new attempts behind the old ones, or is gone too, where its subscription discards what it gives up.

use std::collections::BTreeMap;

use busway_event::Timestamp;
use heed::RwTxn;

use super::keys::{EDITED, EDITED_CHUNK, HANDLED, LetterKey, REDRIVEN, RedrivenRow};
use super::trail::{
    self, BY_BYTES_MAX, Operation, OperationKind, REQUEST_BYTES_MAX, SELECTION_BYTES_MAX, STOPPED_BYTES_MAX,
};
use crate::append::Entry;
use crate::attempts::Attempts;
use crate::error::RequestError;
use crate::record::Place;
use crate::row;
use crate::settle::{DeadLetter, Parked, cut};
use crate::shared::Shared;
use crate::store::Store;
use crate::writer::{QUARANTINE, RECORD, Request, State};

/// A part of an operation, or all of it.
#[derive(Debug)]
pub struct LetterRequest {
    /// The name of the request, 1 to 128 bytes.
    pub request: String,
    /// What is to be done.
    pub kind: OperationKind,
    /// Who does it, at most 128 bytes, and with which letters, at most 1,024 bytes: for the trail.
    pub by: String,
    /// See [`by`](Self::by).
    pub selection: String,
    /// Now.
    pub at: Timestamp,
    /// The letters, and the lane of each.
    pub letters: Vec<(LetterKey, u64)>,
    /// Whether nothing is done when one of the letters is not fit for it; otherwise that one is left out.
    pub is_strict: bool,
    /// As many events as may be parked of a subscription, by its number: letters that are given again count. Of others there is no bound.
    pub parked_max: Vec<(u32, usize)>,
    /// What is given instead of the letter's event.
    pub edited: Option<Box<Entry>>,
    /// How far the operation was when its caller looked; `None`: it is begun.
    pub expected: Option<Operation>,
    /// Where it goes on.
    pub end: Progressed,
}

/// How far an operation is behind a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progressed {
    /// It goes on with this letter.
    To(LetterKey),
    /// That was all.
    Done,
    /// It is ended before that, for this reason.
    Stopped(String),
}

/// What a part of an operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operated {
    /// The operation as it is now.
    pub operation: Operation,
    /// The letters that were moved, and the lane of each.
    pub letters: Vec<(LetterKey, u64)>,
    /// The first letter that was left, and all behind it, because as many are parked of its subscription as may be. The operation goes on
    /// there.
    pub no_room: Option<LetterKey>,
}

/// Called by the writer's thread when a part of an operation is decided. It must be quick, and must not wait for the store.
pub type OnOperated = Box<dyn FnOnce(Result<Operated, RequestError>) + Send>;

pub(crate) struct Operate {
    pub(crate) request: LetterRequest,
    pub(crate) operated: Option<Operated>,
    pub(crate) done: OnOperated,
}

impl Operate {
    /// Tells what became of it.
    pub(crate) fn answer(self, result: Result<(), RequestError>) {
        let operated =
            result.and_then(|()| self.operated.ok_or(RequestError::Refused(crate::Refusal::Closed)));
        (self.done)(operated);
    }
}

impl Store {
    /// Carries out a part of an operation on dead letters, with the row that says how far it is, in one commit. Waits while the writer is
    /// busy.
    pub fn operate(&self, request: LetterRequest, done: OnOperated) {
        self.ask(Request::Operate(Box::new(Operate { request, operated: None, done })));
    }
}

/// Carries a part of an operation out within the transaction of a batch.
pub(crate) fn operate(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    part: &mut Operate,
) -> heed::Result<Result<(), RequestError>> {
    part.operated = None;
    let request = &mut part.request;
    if let Err(error) = check_texts(request) {
        return Ok(Err(error));
    }
    let stored = match trail::of_request(shared, txn, &request.request)? {
        Ok(stored) if stored == request.expected => stored,
        Ok(_) => return Ok(Err(RequestError::OperationMoved { request: request.request.clone() })),
        Err(corrupt) => return Ok(Err(corrupt.into())),
    };
    let operation = stored.filter(|operation| operation.ended.is_none());
    let mut operation = match operation {
        Some(operation) => operation,
        None if request.expected.is_some() => {
            return Ok(Err(RequestError::OperationMoved { request: request.request.clone() }));
        }
        None => begun(trail::next_number(shared, txn)?, request),
    };
    let (letters, no_room) = match chosen(shared, state, txn, request)? {
        Ok(chosen) => chosen,
        Err(error) => return Ok(Err(error)),
    };
    for &(key, lane) in &letters {
        match request.kind {
            OperationKind::Redrive | OperationKind::Edit => {
                edit(shared, txn, key, request.edited.as_deref_mut())?;
                redrive(shared, state, txn, (key, lane), (operation.number, request.at))?;
            }
            OperationKind::Discard | OperationKind::Expire => let_go(shared, state, txn, key)?,
        }
    }
    operation.letters += letters.len() as u64;
    let end = no_room.map_or_else(|| request.end.clone(), Progressed::To);
    (operation.next, operation.ended, operation.stopped) = match &end {
        Progressed::To(next) => (Some(*next), None, None),
        Progressed::Done => (None, Some(request.at), None),
        Progressed::Stopped(reason) => (None, Some(request.at), Some(cut(reason, STOPPED_BYTES_MAX))),
    };
    trail::put(shared, txn, &operation)?;
    part.operated = Some(Operated { operation, letters, no_room });
    Ok(Ok(()))
}

/// Whether what is said of an operation is short enough for the trail.
fn check_texts(request: &LetterRequest) -> Result<(), RequestError> {
    if !(1..=REQUEST_BYTES_MAX).contains(&request.request.len()) {
        return Err(RequestError::OperationName { len: request.request.len() });
    }
    let texts = [
        ("name of who makes it", &request.by, BY_BYTES_MAX),
        ("selection", &request.selection, SELECTION_BYTES_MAX),
    ];
    let long = texts.into_iter().find(|(_, text, limit)| text.len() > *limit);
    long.map_or(Ok(()), |(what, text, limit)| {
        Err(RequestError::OperationText { what, len: text.len(), limit })
    })
}

/// Letters with their lanes.
type Letters = Vec<(LetterKey, u64)>;

/// The letters that something can be done with, and the first that there is no room for: nothing is done with that one and those behind it.
fn chosen(
    shared: &Shared,
    state: &State,
    txn: &RwTxn<'_>,
    request: &LetterRequest,
) -> heed::Result<Result<(Letters, Option<LetterKey>), RequestError>> {
    let gives_again = matches!(request.kind, OperationKind::Redrive | OperationKind::Edit);
    let bounds = request.parked_max.iter().filter(|_| gives_again);
    let room = |&(number, max): &(u32, usize)| (number, max.saturating_sub(state.parked_of(number)));
    let mut rooms: BTreeMap<u32, usize> = bounds.map(room).collect();
    let mut letters = Vec::with_capacity(request.letters.len());
    for &(key, lane) in &request.letters {
        match fit(shared, state, txn, key, request.kind)? {
            Ok(()) => {}
            Err(error) if request.is_strict => return Ok(Err(error)),
            Err(_) => continue,
        }
        match rooms.get_mut(&key.subscription) {
            Some(0) if request.is_strict => return Ok(Err(RequestError::TooManyParked { letter: key })),
            Some(0) => return Ok(Ok((letters, Some(key)))),
            Some(room) => *room -= 1,
            None => {}
        }
        letters.push((key, lane));
    }
    Ok(Ok((letters, None)))
}

fn begun(number: u64, request: &LetterRequest) -> Operation {
    Operation {
        number,
        request: request.request.clone(),
        kind: request.kind,
        by: request.by.clone(),
        selection: request.selection.clone(),
        begun: request.at,
        ended: None,
        letters: 0,
        next: None,
        stopped: None,
    }
}

/// Whether something can be done with a letter.
fn fit(
    shared: &Shared,
    state: &State,
    txn: &RwTxn<'_>,
    key: LetterKey,
    kind: OperationKind,
) -> heed::Result<Result<(), RequestError>> {
    let dead = shared.databases.dead;
    if dead.get(txn, &key.bytes())?.is_none() {
        return Ok(Err(RequestError::NoDeadLetter { letter: key }));
    }
    if is_redriven(state, key) {
        return Ok(Err(RequestError::AlreadyRedriven { letter: key }));
    }
    if matches!(kind, OperationKind::Discard | OperationKind::Expire) {
        return Ok(Ok(()));
    }
    if dead.get(txn, &key.part(HANDLED))?.is_some() {
        return Ok(Err(RequestError::AlreadyHandled { letter: key }));
    }
    let Some(position) = state.position((key.subscription, key.partition)) else {
        return Ok(Err(RequestError::UnknownSubscription { number: key.subscription }));
    };
    // It was sent back before the event: that comes again by itself.
    if !position.cursor.is_settled(key.offset) || position.parked.contains(&key.offset) {
        return Ok(Err(RequestError::AlreadyRedriven { letter: key }));
    }
    let is_there = kind == OperationKind::Edit || dead.get(txn, &key.part(RECORD))?.is_some();
    Ok(is_there.then_some(()).ok_or(RequestError::NoCopy { letter: key }))
}

/// Puts what somebody made of an event beside it, or takes away what was there.
fn edit(
    shared: &Shared,
    txn: &mut RwTxn<'_>,
    key: LetterKey,
    edited: Option<&mut Entry>,
) -> heed::Result<()> {
    let dead = shared.databases.dead;
    dead.delete(txn, &key.part(EDITED))?;
    for number in 0..=u16::MAX {
        if !dead.delete(txn, &key.chunk(EDITED_CHUNK, number))? {
            break;
        }
    }
    let Some(edited) = edited else { return Ok(()) };
    edited.recorded.seal(Place { partition: key.partition, offset: key.offset });
    dead.put(txn, &key.part(EDITED), edited.recorded.value())?;
    for (number, chunk) in (0..).zip(edited.recorded.chunks()) {
        dead.put(txn, &key.chunk(EDITED_CHUNK, number), chunk)?;
    }
    Ok(())
}

fn redrive(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    (key, lane): (LetterKey, u64),
    (operation, at): (u64, Timestamp),
) -> heed::Result<()> {
    let parked = Parked { offset: key.offset, due: at, lane, attempts: Attempts::NONE, attempt_count: 0 };
    shared.databases.parked.put(txn, &key.bytes(), &row::encode(&key.bytes(), &parked)?)?;
    let marker = key.part(REDRIVEN);
    shared.databases.parked.put(txn, &marker, &row::encode(&marker, &RedrivenRow { operation, at })?)?;
    state.redrive((key.subscription, key.partition), key.offset, true);
    Ok(())
}

/// Removes a letter with all that belongs to it.
fn let_go(shared: &Shared, state: &mut State, txn: &mut RwTxn<'_>, key: LetterKey) -> heed::Result<()> {
    let (first, end) = (key.bytes(), key.end());
    let all = (std::ops::Bound::Included(&first[..]), std::ops::Bound::Excluded(&end[..]));
    shared.databases.dead.delete_range(txn, &all)?;
    let left = state.letters(key.subscription).saturating_sub(1);
    state.set_letters(key.subscription, left);
    Ok(())
}

/// An event that its subscription gives up becomes a letter. Where there is one already, for the event was redriven or its subscription was sent back before
/// it, the attempts of before are in front, as many as are kept.
pub(crate) fn bury(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    key: LetterKey,
    letter: &DeadLetter,
) -> heed::Result<()> {
    let (dead, bytes) = (shared.databases.dead, key.bytes());
    let mut letter = letter.clone();
    match dead.get(txn, &bytes)?.map(|row| row::decode::<DeadLetter>("dead letter", &bytes, row)) {
        None => state.set_letters(key.subscription, state.letters(key.subscription) + 1),
        Some(Ok(before)) => {
            letter.attempts = before.attempts.followed_by(&letter.attempts);
            letter.attempt_count = letter.attempt_count.saturating_add(before.attempt_count);
        }
        // Damaged: the new one takes its place.
        Some(Err(_)) => {}
    }
    for part in [QUARANTINE, HANDLED] {
        dead.delete(txn, &key.part(part))?;
    }
    dead.put(txn, &bytes, &row::encode(&bytes, &letter.bounded())?)
}

fn is_redriven(state: &State, key: LetterKey) -> bool {
    let position = state.position((key.subscription, key.partition));
    position.is_some_and(|position| position.redriven.contains(&key.offset))
}

/// What becomes of a letter whose event has come to its end again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndsAs {
    Handled,
    /// Given up once more, and its subscription keeps nothing that it gives up.
    Discarded,
    Letter,
}

/// An event waits no longer: when it was redriven, so does its letter.
pub(crate) fn came_to_its_end(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    key: LetterKey,
    ends_as: EndsAs,
) -> heed::Result<()> {
    if !state.redrive((key.subscription, key.partition), key.offset, false) {
        return Ok(());
    }
    wait_no_longer(shared, txn, key)?;
    if ends_as == EndsAs::Letter {
        return Ok(());
    }
    let dead = shared.databases.dead;
    if ends_as == EndsAs::Discarded || dead.get(txn, &key.part(EDITED))?.is_none() {
        return let_go(shared, state, txn, key);
    }
    // The original stays beside what was made of it.
    let handled = key.part(HANDLED);
    dead.put(txn, &handled, &row::encode(&handled, &state.now)?)
}

/// Removes the parked row of an event that was redriven. Its letter stays.
pub(crate) fn wait_no_longer(shared: &Shared, txn: &mut RwTxn<'_>, key: LetterKey) -> heed::Result<()> {
    shared.databases.parked.delete(txn, &key.bytes())?;
    shared.databases.parked.delete(txn, &key.part(REDRIVEN))?;
    Ok(())
}
