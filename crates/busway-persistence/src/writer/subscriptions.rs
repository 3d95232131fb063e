//! Durable subscriptions: making and removing them, what they settle, where they are sent.

use heed::RwTxn;

use super::apply::Outcome;
use super::marks::got_on;
use super::records;
use super::state::{At, Position, State, Subscription};
use crate::corrupt::Corrupt;
use crate::cursor::Cursor;
use crate::dead::{EndsAs, LetterKey, NAME, REDRIVEN, bury, came_to_its_end, own_key, wait_no_longer};
use crate::error::RequestError;
use crate::layout::{pair_key, place_key};
use crate::row;
use crate::settle::{
    Parked, Place, Register, Registered, Remove, SUBSCRIPTION_NAME_BYTES_MAX, Seek, Settle, Settlement,
    SubscriptionRow,
};
use crate::shared::Shared;
use crate::transact::TxError;

/// Whether what subscriptions have decided can be stored, all of it.
pub(super) fn may_settle(state: &State, requests: &[Settle]) -> Result<(), RequestError> {
    let more: usize = requests.iter().map(|request| runs_of(&request.settlement)).sum();
    for Settle { subscription, partition, .. } in requests {
        let Some(position) = state.position((*subscription, *partition)) else {
            return Err(RequestError::UnknownSubscription { number: *subscription });
        };
        if position.cursor.run_count() + more > RUNS_MAX {
            return Err(RequestError::TooManyRuns { limit: RUNS_MAX });
        }
    }
    Ok(())
}

/// So many runs a cursor may have more behind it.
const fn runs_of(settlement: &Settlement) -> usize {
    settlement.settled.len() + settlement.parked.len() + settlement.dead.len()
}

/// Whether none of these events is finished: neither settled before, unless it is parked, nor twice among them.
pub(super) fn may_finish(state: &State, events: &[(u32, u32, u64)]) -> Result<(), TxError> {
    for (index, &(subscription, partition, offset)) in events.iter().enumerate() {
        let is_open = state
            .position((subscription, partition))
            .is_none_or(|position| is_open(position, offset) || position.waits(offset));
        let is_again =
            events.get(..index).is_some_and(|before| before.contains(&(subscription, partition, offset)));
        if !is_open || is_again {
            return Err(TxError::AlreadySettled { partition, offset });
        }
    }
    Ok(())
}

fn is_open(position: &Position, offset: u64) -> bool {
    !position.cursor.is_settled(offset)
}

/// Stores what a subscription has decided. An event that was finished meanwhile is neither parked nor given up: a transaction of an attempt
/// that nobody waited for may have come through behind that decision.
pub(super) fn settle(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &Settle,
) -> heed::Result<Outcome> {
    if let Err(error) = may_settle(state, std::slice::from_ref(request)) {
        return Ok(Outcome::Failed(error));
    }
    let Settle { subscription, partition, settlement, .. } = request;
    let at = (*subscription, *partition);
    let parked = settlement.parked.iter().map(|parked| parked.offset);
    let given_up = settlement.dead.iter().map(|letter| letter.offset);
    let outdated: Vec<u64> = state.position(at).map_or_else(Vec::new, |position| {
        let is_finished = |offset: &u64| !is_open(position, *offset) && !position.waits(*offset);
        parked.chain(given_up).filter(is_finished).collect()
    });
    state.move_cursor(at, |cursor| {
        settlement.settled.iter().for_each(|&(start, end)| cursor.settle(start, end));
        let single = settlement.parked.iter().map(|parked| parked.offset);
        let single = single.chain(settlement.dead.iter().map(|letter| letter.offset));
        single.for_each(|offset| cursor.settle(offset, offset.saturating_add(1)));
    });
    for parked in settlement.parked.iter().filter(|parked| !outdated.contains(&parked.offset)) {
        let key = place_key(at.0, at.1, parked.offset);
        shared.databases.parked.put(txn, &key, &row::encode(&key, parked)?)?;
        state.park(at, parked.offset, true);
    }
    if !settlement.dead.is_empty() {
        records::flush(shared, state, txn)?;
    }
    for letter in settlement.dead.iter().filter(|letter| !outdated.contains(&letter.offset)) {
        bury(shared, state, txn, letter_key(at, letter.offset), letter)?;
        records::keep_for_dead_letter(shared, state.log(at.1), txn, at, letter.offset)?;
    }
    let dead = settlement.dead.iter().map(|letter| &letter.offset);
    for &offset in settlement.released.iter().chain(&settlement.discarded).chain(dead) {
        if state.park(at, offset, false) {
            shared.databases.parked.delete(txn, &place_key(at.0, at.1, offset))?;
        }
    }
    for &offset in &settlement.released {
        came_to_its_end(shared, state, txn, letter_key(at, offset), EndsAs::Handled)?;
    }
    for &offset in &settlement.discarded {
        came_to_its_end(shared, state, txn, letter_key(at, offset), EndsAs::Discarded)?;
    }
    for letter in &settlement.dead {
        came_to_its_end(shared, state, txn, letter_key(at, letter.offset), EndsAs::Letter)?;
    }
    if !settlement.dead.is_empty() {
        state.buried(at.0, settlement.dead.len());
    }
    let now = shared.aged_at_most.bound(state.now);
    state.done.write(shared, txn, at.0, &settlement.done, now)?;
    got_on(shared, state, at, settlement);
    Ok(Outcome::Done)
}

const fn letter_key((subscription, partition): At, offset: u64) -> LetterKey {
    LetterKey { subscription, partition, offset }
}

/// Makes a subscription, or finds it.
pub(super) fn register(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &Register,
) -> heed::Result<Outcome> {
    let Register { name, filter, starts, .. } = request;
    if !(1..=SUBSCRIPTION_NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(Outcome::Failed(RequestError::Name { name: name.clone() }));
    }
    let known = state.subscription(name).cloned();
    let number = match &known {
        Some(known) if known.filter != *filter => {
            let (stored, asked) = (known.filter.clone(), filter.clone());
            return Ok(Outcome::Failed(RequestError::OtherFilter { name: name.clone(), stored, asked }));
        }
        Some(known) => known.number,
        None => {
            // Dead letters of one that was removed stay its own.
            let last = shared.databases.dead.last(txn)?.and_then(|(key, _)| LetterKey::read(key));
            let number = state.free_number().max(last.map_or(0, |(letter, _)| letter.subscription + 1));
            let number = number.max(named(shared, txn)?.map_or(0, |number| number + 1));
            let row = SubscriptionRow { number, filter: filter.clone() };
            let row = row::encode(name.as_bytes(), &row)?;
            shared.databases.subscriptions.put(txn, name.as_bytes(), &row)?;
            state.name_subscription(name, Some(Subscription { number, filter: filter.clone() }));
            number
        }
    };
    shared.rooms.begins(number);
    let mut places = Vec::with_capacity(starts.len());
    for &(partition, start) in starts {
        let Some(log) = state.log(partition) else { continue };
        let start = start.clamp(log.first(), log.next());
        let cursor = state.place((number, partition), start).cursor.clone();
        match parked(shared, txn, (number, partition))? {
            Ok((parked, redriven)) => places.push(Place { partition, cursor, parked, redriven }),
            Err(corrupt) => return Ok(Outcome::Failed(corrupt.into())),
        }
    }
    state.attendances.attend(number, state.now, None);
    let deaths = state.attendances.of(number).map_or(0, |attendance| attendance.deaths);
    // One of this opening is of an attempt that was cut short, not of one of which somebody died.
    let mark = state.attendances.mark_of(number).filter(|mark| mark.opening != *shared.opening.as_bytes());
    Ok(Outcome::Registered(Registered { number, known: known.is_some(), places, deaths, mark }))
}

/// The highest number of a subscription that was removed and left letters, whatever has become of them: its name is remembered with it.
fn named(shared: &Shared, txn: &RwTxn<'_>) -> heed::Result<Option<u32>> {
    let prefix = own_key(NAME, &[]);
    let last = shared.databases.dead.rev_prefix_iter(txn, &prefix)?.next().transpose()?;
    let number = last.and_then(|(key, _)| key.get(prefix.len()..)?.first_chunk::<4>());
    Ok(number.map(|number| u32::from_be_bytes(*number)))
}

/// Events that wait, and the offsets of those that were redriven.
type Waiting = (Vec<Parked>, Vec<u64>);

/// What is parked, and what of it was redriven, in the order of the offsets.
fn parked(
    shared: &Shared,
    txn: &RwTxn<'_>,
    (subscription, partition): At,
) -> heed::Result<Result<Waiting, Corrupt>> {
    let (mut all, mut redriven) = (Vec::new(), Vec::new());
    for entry in shared.databases.parked.prefix_iter(txn, &pair_key(subscription, partition))? {
        let (key, value) = entry?;
        if let Some((letter, [REDRIVEN])) = LetterKey::read(key) {
            redriven.push(letter.offset);
            continue;
        }
        match row::decode("parked event", key, value) {
            Ok(parked) => all.push(parked),
            Err(corrupt) => return Ok(Err(corrupt)),
        }
    }
    Ok(Ok((all, redriven)))
}

/// Removes a subscription with its cursors and what it has parked. Its dead letters stay.
pub(super) fn remove(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &Remove,
) -> heed::Result<Outcome> {
    let Some(number) = state.subscription(&request.name).map(|known| known.number) else {
        return Ok(Outcome::Failed(RequestError::UnknownName { name: request.name.clone() }));
    };
    shared.databases.subscriptions.delete(txn, request.name.as_bytes())?;
    state.done.remove(shared, txn, number)?;
    for partition in state.partitions_of(number) {
        let at = (number, partition);
        shared.databases.cursors.delete(txn, &pair_key(number, partition))?;
        for offset in waiting(state, at, 0) {
            wait_no_longer(shared, txn, letter_key(at, offset))?;
        }
        state.leave(at);
    }
    if state.letters(number) > 0 {
        let key = own_key(NAME, &number.to_be_bytes());
        shared.databases.dead.put(txn, &key, &row::encode(&key, &request.name)?)?;
    }
    state.name_subscription(&request.name, None);
    state.attendances.forget(number);
    Ok(Outcome::Done)
}

/// Sends a subscription elsewhere. Parked events from there on are given again with the others, so they wait no longer.
pub(super) fn seek(
    shared: &Shared,
    state: &mut State,
    txn: &mut RwTxn<'_>,
    request: &Seek,
) -> heed::Result<Outcome> {
    let Seek { subscription, partition, offset, .. } = *request;
    let at = (subscription, partition);
    let bounds = state.log(partition).map(|log| (log.first(), log.next()));
    let (Some((first, next)), Some(_)) = (bounds, state.position(at)) else {
        return Ok(Outcome::Failed(RequestError::UnknownSubscription { number: subscription }));
    };
    if !(first..=next).contains(&offset) {
        return Ok(Outcome::Failed(RequestError::OutsideOfLog { partition, offset, first, next }));
    }
    let given_again = waiting(state, at, offset);
    state.move_cursor(at, |cursor| *cursor = Cursor::at(offset));
    for parked in given_again {
        state.park(at, parked, false);
        state.redrive(at, parked, false);
        wait_no_longer(shared, txn, letter_key(at, parked))?;
    }
    state.attendances.set_mark(subscription, None);
    Ok(Outcome::Done)
}

/// What waits from an offset on.
fn waiting(state: &State, at: At, from: u64) -> Vec<u64> {
    let Some(Position { parked, redriven, .. }) = state.position(at) else { return Vec::new() };
    parked.range(from..).chain(redriven.range(from..)).copied().collect()
}

/// Runs of a cursor: with more than this a subscription is stuck on something, and its row would be larger than may be read.
const RUNS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use busway_event::{Event, EventId, Filter, Metadata, Raw, Stamp, Timestamp};

    use crate::{Attempts, DeadLetter, Settlement, Store, StoreOptions, Stream};

    #[test]
    fn what_is_finished_is_not_given_up_and_has_no_dead_letter() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(dir.path(), StoreOptions::new().stream(Stream::new("all").capture("#"))).unwrap();
        let (metadata, now) = (Metadata::draft("test", 1).build().unwrap(), Timestamp::from_nanos(1));
        let entries = (0..2_u8).map(|number| {
            let stamp = Stamp::new(EventId::foreign("test", &number.to_string()), now, &metadata);
            let event = Event::new("a", Raw::from("{}")).finish(&stamp).unwrap();
            store.entry(event.into(), false, now).unwrap()
        });
        store.append_batch(entries.collect(), Box::new(|result| drop(result.unwrap()))).unwrap();
        let (answer, answered) = mpsc::channel();
        let filter = Filter::new("#").unwrap();
        store.register("reader", &filter, vec![(0, 0)], Box::new(move |result| answer.send(result).unwrap()));
        let reader = answered.recv().unwrap().unwrap().number;
        let work = Box::new(move |tx: &mut crate::Tx<'_>| {
            tx.finish(reader, 0, 0);
            Ok(())
        });
        store.transact(work, Box::new(|result| drop(result.unwrap()))).unwrap();
        let letter = |offset| {
            let (reason, handler) = ("timed out".to_owned(), "reserve".to_owned());
            DeadLetter { offset, at: now, reason, handler, attempts: Attempts::NONE, attempt_count: 16 }
        };
        let (answer, answered) = mpsc::channel();
        let settlement = Settlement { dead: vec![letter(0), letter(1)], ..Settlement::default() };
        let done = Box::new(move |result| answer.send(result).unwrap());
        store.settle(reader, 0, settlement, Some(done)).unwrap();
        answered.recv().unwrap().unwrap();
        let shared = store.shared();
        let txn = shared.gate.read().unwrap();
        let letters = shared.databases.dead.iter(&txn).unwrap().map(|entry| entry.unwrap().0.to_vec());
        let offsets: Vec<u8> = letters.filter(|key| key.len() == 16).map(|key| key[15]).collect();
        assert_eq!(offsets, [1], "who would put the other one back would do it twice");
    }
}
