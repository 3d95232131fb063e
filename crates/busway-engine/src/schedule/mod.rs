//! Publishing later, and again and again: delayed events, and schedules.
//!
//! A draft with a [`delay`](busway_event::Draft::delay) or a [time](busway_event::Draft::at) waits in the store of its bus and is
//! published when it is due: once, whatever happens to the process in between. [`Bus::scheduled`](crate::Bus::scheduled) lists what waits,
//! [`Bus::unschedule`](crate::Bus::unschedule) takes an event back. A [schedule](crate::Bus::schedule) publishes an event at each
//! of its ticks, by a cron expression or at an interval; when the next one is due is stored with the event of the one before.
//!
//! # Which clock
//!
//! Due times are stored in UTC; waits are measured by the monotonic clock. While a bus runs, its schedule goes by the
//! wall clock as long as that goes forward, and by the monotonic one from where it stood when the wall clock is set back: so nothing
//! waits longer, or comes twice, because a clock was corrected. The next start takes the wall clock as it is; delays that were begun by a
//! clock more than an hour ahead begin anew then. A wall clock that is set forward is noticed within a minute.
//!
//! # What is not promised
//!
//! Nothing is published before it is due; how long after it depends on the machine. A process that is down publishes nothing: what came
//! due meanwhile is published when it starts again. Schedules live by name in the store, and what they publish in the program: one
//! that the program does not declare after a start rests until it does, or is [removed](crate::Bus::remove_schedule); it is
//! listed by [`Bus::schedules`](crate::Bus::schedules).
//!
//! `timer` is the one task that publishes what is due, `reckoning` the clock it goes by; `builder` declares schedules, `declared` says what a tick
//! publishes, `rule` and `cron` when one is.

mod builder;
mod cron;
mod declared;
mod error;
mod reckoning;
mod rule;
mod scheduler;
mod timer;
mod verbs;

pub use self::builder::{Missed, Schedule, ScheduleBuilder};
pub use self::cron::CronError;
pub use self::error::ScheduleError;
pub use self::verbs::{ScheduleState, ScheduleStatus, Unscheduled};
#[doc(inline)]
pub use busway_persistence::{Scheduled, ScheduledPage};

pub(crate) use self::scheduler::Scheduler;
