//! Attendance: when somebody last did something for a durable subscription, and whether it takes its process down.
//!
//! A handler may end the process that it runs in: it overflows the stack, takes all memory, calls `abort`. The process is started
//! again, the event is attempted again, and so on for ever. The store counts such ends for each subscription and keeps a *mark*
//! of the event that is being attempted, when it is asked to; what is made of both is decided elsewhere.
//!
//! # What counts
//! A death is an opening that did not end by itself, see [`Life`](crate::open). When the store is opened behind one, it is held against a
//! subscription that was attended in it
//! - if an event of that subscription was under a mark of that opening: whatever else was done, that event was being attempted; or
//! - if nothing of it was stored in that opening, and it had something left to do.
//!
//! A death in which it got on, or had nothing to do, takes the count back to zero, and so does an opening that ended by itself. One that it
//! had no part in changes nothing. So who is killed now and then while it works is never counted up, however often that is.
//!
//! Of one subscription and not of the store: another one that gets on must not hide the one that does not.
//!
//! # What it costs
//! Rows are written with commits that happen anyway: that of the first settlement in an opening says in the same transaction that there was
//! one. At an opening something is written only if a count has changed, which is behind a death without progress, and behind what ends such.
//! A mark is a commit, for whoever asks for it.
//!
//! # Crash points
//!
//! | the process dies | then |
//! |---|---|
//! | behind the file of its opening, before the counts are stored | the death before it is not held against anybody: one too few is counted, never one too many |
//! | while a count is stored | it is there or not, as any commit |
//! | behind a count, before a subscription is attended | the count stays: this death concerns nobody |
//! | between a mark's commit and the attempt, or between its end and its settlement | it is held against the marked event, which is the one that was in hand |
//! | while the settlement of a marked event is stored | event settled and mark gone, or neither |
//! | while an event is set aside | dead letter, settlement, mark and count are one commit: all or nothing |
//! | while the next event's mark takes the place of one whose settlement is not stored yet | the next one is under it; the first one is attempted again, as any that was not settled |

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use busway_event::Timestamp;
use heed::RoTxn;
use serde::{Deserialize, Serialize};

use crate::error::ReadError;
use crate::layout::{ATTENDED, MARK, numbered_key};
use crate::open::Death;
use crate::row;
use crate::shared::Shared;
use crate::stored;
use crate::writer::State;

/// A subscription's row in `meta`, under `attended/` and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Attendance {
    /// When something was last done for it: it was taken up, or something of it stored. To the hour.
    pub(crate) at: Timestamp,
    /// The opening in which something of it was last stored.
    pub(crate) opening: [u8; 16],
    /// Deaths held against it, one after the other.
    pub(crate) deaths: u32,
}

/// An event that is being attempted by itself. In `meta`, under `mark/` and the subscription's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The opening in which it was set.
    pub(crate) opening: [u8; 16],
    /// The partition's number in the store.
    pub partition: u32,
    /// The event's position in it.
    pub offset: u64,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// When it was set, wall clock.
    pub at: Timestamp,
}

/// Why an event was set aside: its subscription was in the same place when one process after the other died, and the last of them while it
/// attempted this event and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Deaths that were held against the subscription.
    pub deaths: u32,
    /// The attempt during which the last of them was, from 1.
    pub attempt: u32,
    /// When that attempt was begun, wall clock.
    pub begun: Timestamp,
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deaths, attempt, begun } = self;
        write!(
            f,
            "quarantined: {deaths} processes died one after the other without getting on, the last during attempt {attempt} at this event, begun {begun}; find out what its handler does to the process before it is put back"
        )
    }
}

/// What is known of all subscriptions, and what a batch has changed of it. As the rest of the writer's state it is undone when the batch is not
/// stored.
#[derive(Debug, Default)]
pub(crate) struct Attendances {
    rows: HashMap<u32, Attendance>,
    marks: HashMap<u32, Mark>,
    /// Rows that wait for a commit that happens anyway.
    waiting: BTreeSet<u32>,
    /// Who was taken up in this opening.
    here: BTreeSet<u32>,
    staged: BTreeMap<u32, Option<Attendance>>,
    staged_marks: BTreeMap<u32, Option<Mark>>,
    is_written: bool,
}

impl Attendances {
    /// A batch begins, begins again, or is given up.
    pub(crate) fn begin(&mut self) {
        self.staged.clear();
        self.staged_marks.clear();
        self.is_written = false;
    }

    /// The batch is stored.
    pub(crate) fn keep(&mut self) {
        if std::mem::take(&mut self.is_written) {
            self.waiting.clear();
        } else {
            self.waiting.extend(self.staged.keys());
        }
        for (number, row) in std::mem::take(&mut self.staged) {
            match row {
                Some(row) => _ = self.rows.insert(number, row),
                None => {
                    self.rows.remove(&number);
                    self.waiting.remove(&number);
                    self.here.remove(&number);
                }
            }
        }
        for (number, mark) in std::mem::take(&mut self.staged_marks) {
            match mark {
                Some(mark) => _ = self.marks.insert(number, mark),
                None => _ = self.marks.remove(&number),
            }
        }
    }

    /// What is known of a subscription, as this batch has it.
    pub(crate) fn of(&self, number: u32) -> Option<Attendance> {
        self.staged.get(&number).copied().unwrap_or_else(|| self.rows.get(&number).copied())
    }

    /// Its mark, of this opening or of the death before it.
    pub(crate) fn mark_of(&self, number: u32) -> Option<Mark> {
        self.staged_marks.get(&number).copied().unwrap_or_else(|| self.marks.get(&number).copied())
    }

    /// Something is done for it. `opening`: and something of it is stored in this one.
    pub(crate) fn attend(&mut self, number: u32, now: Timestamp, opening: Option<[u8; 16]>) {
        let known = self.of(number);
        let row = known.unwrap_or_default();
        let is_fresh = known.is_some() && now.saturating_since(row.at) < EVERY;
        let opening = opening.unwrap_or(row.opening);
        if is_fresh && row.opening == opening {
            return;
        }
        self.staged.insert(number, Some(Attendance { at: row.at.max(now), opening, ..row }));
    }

    /// Those that were taken up in this opening are attended until now.
    pub(crate) fn attend_all(&mut self, now: Timestamp) {
        for number in self.here.clone() {
            self.attend(number, now, None);
        }
    }

    /// It is taken up in this opening.
    pub(crate) fn enter(&mut self, number: u32) {
        self.here.insert(number);
    }

    /// Nobody attends it here any longer.
    pub(crate) fn leave(&mut self, number: u32) {
        self.here.remove(&number);
    }

    /// The deaths before are held against it no longer.
    pub(crate) fn forgive(&mut self, number: u32) {
        if let Some(row) = self.of(number).filter(|row| row.deaths > 0) {
            self.staged.insert(number, Some(Attendance { deaths: 0, ..row }));
        }
    }

    pub(crate) fn set_mark(&mut self, number: u32, mark: Option<Mark>) {
        self.staged_marks.insert(number, mark);
    }

    /// It is removed.
    pub(crate) fn forget(&mut self, number: u32) {
        self.staged.insert(number, None);
        self.staged_marks.insert(number, None);
    }

    /// Whether rows wait for a commit.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.staged.is_empty()
    }

    /// Of how many subscriptions something is known, as this batch has it.
    pub(crate) fn known(&self) -> usize {
        let new = self.staged.iter().filter(|(number, row)| row.is_some() && !self.rows.contains_key(number));
        let gone = self.staged.iter().filter(|(number, row)| row.is_none() && self.rows.contains_key(number));
        self.rows.len() + new.count() - gone.count()
    }

    /// Rows to be written with this batch: they are, if it is stored.
    pub(crate) fn take_unstored(&mut self) -> Vec<(u32, Option<Attendance>)> {
        self.is_written = true;
        let numbers: BTreeSet<u32> = self.waiting.iter().chain(self.staged.keys()).copied().collect();
        numbers.into_iter().map(|number| (number, self.of(number))).collect()
    }

    /// Marks that were set or have fallen in this batch.
    pub(crate) fn staged_marks(&self) -> impl Iterator<Item = (u32, Option<Mark>)> {
        self.staged_marks.iter().map(|(number, mark)| (*number, *mark))
    }
}

/// Reads what is known, holds the death before this opening against whom it concerns, and stores that.
pub(crate) fn take_up(shared: &Shared, state: &mut State, death: Option<&Death>) -> heed::Result<()> {
    let (rows, marks) = read(shared)?;
    let of_death = |mark: &Mark| death.is_some_and(|death| mark.opening == *death.opening.as_bytes());
    let marks: HashMap<u32, Mark> = marks.into_iter().filter(|(_, mark)| of_death(mark)).collect();
    let mut all = Attendances { rows, marks, ..Attendances::default() };
    // In one pass: there may be a hundred thousand.
    let with_work = match death {
        Some(death) if !death.attended.is_empty() => state.with_work(),
        _ => HashSet::new(),
    };
    for number in state.subscription_numbers() {
        let Some(row) = all.of(number).or_else(|| death.map(|_| Attendance::default())) else { continue };
        let deaths = deaths(death, number, &row, all.mark_of(number).is_some(), with_work.contains(&number));
        if deaths != row.deaths {
            all.staged.insert(number, Some(Attendance { deaths, ..row }));
        }
    }
    if !all.staged.is_empty() {
        // A full disk must not keep the store closed over it: then this death is not counted.
        if let Err(error) = store(shared, &mut all) {
            tracing::warn!(path = %shared.path.display(), %error, "deaths of processes are not counted");
        }
        all.keep();
    }
    state.attendances = all;
    Ok(())
}

fn store(shared: &Shared, all: &mut Attendances) -> heed::Result<()> {
    let rows = all.take_unstored();
    shared.gate.write(|mut txn| {
        for (number, row) in rows {
            let key = numbered_key(ATTENDED, number);
            if let Some(row) = row {
                shared.databases.meta.put(&mut txn, &key, &row::encode(&key, &row)?)?;
            }
        }
        txn.commit()
    })?
}

type Rows = (HashMap<u32, Attendance>, HashMap<u32, Mark>);

fn read(shared: &Shared) -> heed::Result<Rows> {
    let txn = shared.gate.read()?;
    let rows = stored::numbered(&txn, shared.databases.meta, ATTENDED, "attendance")?;
    let marks = stored::numbered(&txn, shared.databases.meta, MARK, "mark")?;
    Ok((rows, marks))
}

/// When a subscription was last attended, as the last commit left it.
pub(crate) fn attended(
    txn: &RoTxn<'_>,
    shared: &Shared,
    number: u32,
) -> Result<Option<Timestamp>, ReadError> {
    let key = numbered_key(ATTENDED, number);
    let row = shared.databases.meta.get(txn, &key).map_err(|error| shared.storage(&error))?;
    let row: Option<Attendance> = row.map(|row| row::decode("attendance", &key, row)).transpose()?;
    // The beginning of time: nobody had told it.
    Ok(row.map(|row| row.at).filter(|at| *at > Timestamp::default()))
}

/// How many deaths are held against a subscription behind this one.
fn deaths(death: Option<&Death>, number: u32, row: &Attendance, is_marked: bool, has_work: bool) -> u32 {
    let Some(death) = death else { return 0 };
    if !death.attended.contains(&number) {
        return row.deaths;
    }
    let got_on = row.opening == *death.opening.as_bytes();
    match is_marked || (!got_on && has_work) {
        true => row.deaths.saturating_add(1),
        false => 0,
    }
}

/// How exactly it is stored when something was last done: a row a settlement would be one put more for each.
const EVERY: std::time::Duration = std::time::Duration::from_secs(3_600);

#[cfg(test)]
mod tests;
