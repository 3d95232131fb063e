//! The schedule: events that are published later, and schedules that publish again and again.
//!
//! # What lies there
//!
//! | key, led by one byte | value |
//! |---|---|
//! | 0, due (8), number (8) | [`HeadRow`]: which event waits there |
//! | the same and 0 | its record, sealed for its number |
//! | the same and 1, chunk (2) | a chunk of the record |
//! | 1, id (16), stream (4) | [`IdRow`]: when the event with this id is due |
//! | 2, due (8), number (8) | [`DamageRow`]: what was not published because it cannot be trusted; its bytes lie behind it |
//! | 3, name | [`Recurring`]: a schedule by name |
//!
//! Due times are written so that they sort as they pass. Numbers rise with each event that is scheduled: events with the same
//! due time are published in the order in which they were scheduled. Each row has a checksum over its key, so a due time that
//! was changed by anything but this code is seen.
//!
//! # A crash
//!
//! | it happens | then |
//! |---|---|
//! | before the commit that schedules an event is synced | nothing of it is there, nobody was answered |
//! | after it | the event waits; it is published when the program runs again, at once if it is due by then |
//! | before the commit that publishes it is synced | it waits as before, and is published by the next attempt |
//! | after it, whatever was told to whom | it lies in the log and waits no longer: both are one transaction |
//! | while it is taken back | as one of the two: it waits, or it is gone |
//! | before the commit of a schedule's tick is synced | the tick is still due, and nothing of it was published |
//! | after it | its events are in the log and the next tick is stored: again one transaction |
//!
//! So an event is published once, and a tick too. What the program does on a tick that came due while it was down is its own
//! decision, see [`Store::recur`](crate::Store::recur): here lies when the next one is due, and nothing else.

mod fire;
mod keys;
mod list;
mod recur;
mod request;
mod rows;
mod verbs;

pub use self::fire::{Fired, OnFired, Rest};
pub use self::list::{Scheduled, ScheduledPage};
pub use self::recur::{OnRecurred, Recurring, SCHEDULE_NAME_BYTES_MAX};
pub use self::request::OnUnscheduled;

pub(crate) use self::request::{ScheduleRequest, apply};
pub(crate) use self::rows::{Waiting, check_room, first_due, held, put};

use std::time::Duration;

use busway_event::Timestamp;

/// How long an entry waits before it is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) due: Timestamp,
    /// How long was asked for, when no time was named.
    pub(crate) delay: Option<Duration>,
}
