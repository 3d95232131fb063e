//! The store's verbs for the schedule.

use busway_event::{EventId, Timestamp};

use super::fire::{Fire, Fired, OnFired, Rest};
use super::list::ScheduledPage;
use super::recur::{OnRecurred, Recur, Recurring};
use super::request::{OnUnscheduled, Redate, ScheduleRequest, Unschedule};
use crate::append::Entry;
use crate::error::ReadError;
use crate::settle::OnSettled;
use crate::store::Store;
use crate::writer::Request;

impl Store {
    /// Moves up to `limit` events that are due at `until` into the log, in the order of their due times, all in one commit; they
    /// are appended at `now`. `rest` is that of the request before, to go on behind it. Each is published once, whenever
    /// the process ends: it leaves the schedule in the commit that puts it into the log. One that is due is refused like an
    /// append while the store has no room, and waits on. Waits while the writer is busy.
    pub fn fire(&self, until: Timestamp, now: Timestamp, limit: usize, rest: Option<Rest>, done: OnFired) {
        let (entries, fired) = (Vec::new(), Fired::default());
        self.ask_schedule(ScheduleRequest::Fire(Fire { until, now, limit, rest, entries, fired, done }));
    }

    /// Takes back the event with this id, if it waits. Against a request to fire one of the two comes first: it is taken back or it
    /// is in the log, never both. Waits while the writer is busy.
    pub fn unschedule(&self, id: EventId, done: OnUnscheduled) {
        self.ask_schedule(ScheduleRequest::Unschedule(Unschedule { id, was_due: None, done }));
    }

    /// Lets delays begin anew, from `now` on, that were begun more than an hour later: by a clock that was ahead, or before
    /// this one was set back. Due times that were named stay as they are. To be called before the first request to fire. Waits
    /// while the writer is busy.
    pub fn redate(&self, now: Timestamp, done: OnSettled) {
        self.ask_schedule(ScheduleRequest::Redate(Redate { now, done }));
    }

    /// Changes a schedule from `expected` to `new` and stores `entries`, all in one commit, or nothing of it when something else
    /// than `expected` is stored ([`ScheduleMoved`](crate::RequestError::ScheduleMoved)) or the entries are refused. `None` is
    /// no schedule: the one that a change begins or ends with. Waits while the writer is busy.
    pub fn recur(
        &self,
        name: &str,
        expected: Option<Recurring>,
        new: Option<Recurring>,
        entries: Vec<Entry>,
        done: OnRecurred,
    ) {
        let name = name.to_owned();
        self.ask_schedule(ScheduleRequest::Recur(Recur { name, expected, new, entries, done }));
    }

    /// The first `limit` events that wait, in the order in which they are due, as the last commit left them; and what of them is
    /// damaged.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn scheduled(&self, limit: usize) -> Result<ScheduledPage, ReadError> {
        self.shared.scheduled(limit)
    }

    /// When the first event that waits is due; `None` when none waits.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn next_due(&self) -> Result<Option<Timestamp>, ReadError> {
        self.shared.next_due()
    }

    /// When the event with this id is due; `None` when it does not wait, or no longer.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn due(&self, id: EventId) -> Result<Option<Timestamp>, ReadError> {
        self.shared.due(id)
    }

    /// The schedule of a name. A damaged one is logged, and is none.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn recurring(&self, name: &str) -> Result<Option<Recurring>, ReadError> {
        self.shared.recurring(name)
    }

    /// The names of up to `limit` schedules, in their order.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn recurring_names(&self, limit: usize) -> Result<Vec<String>, ReadError> {
        self.shared.recurring_names(limit)
    }

    fn ask_schedule(&self, request: ScheduleRequest) {
        self.ask(Request::Schedule(Box::new(request)));
    }
}
