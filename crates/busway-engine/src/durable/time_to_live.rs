//! Time to live: how long an event may wait for an attempt before nobody wants it any more.
//!
//! An event's own counts, else what its subscription says for the priority; by default there is none, so that a pause expires nothing. It runs from when the store
//! took the event into the log, of a delayed one from when it was due. It is looked at where an attempt is about to begin, the first or a further one, and nowhere else: what
//! has begun ends as it ends, and what is parked or waits behind others of its lane expires when it has its turn. A dead letter that is given again was asked
//! for by somebody and has no time to live.
//!
//! Age is judged by both clocks (`believed.rs`): a wall clock that is ahead for less than an hour expires nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_event::{AnyEvent, Priority, Timestamp};
use busway_reliability::TimeToLive;

use super::member::Member;
use super::window::{Made, Started, Verdict};
use super::{DurableBuilder, DurableCore};
use crate::settings::{Origin, Setting};

impl DurableBuilder {
    /// How long events of a priority may wait for an attempt when they bring no time to live of their own; `None` for ever, which is the default: what settings of the bus or of
    /// a filter say is for ephemeral subscriptions.
    ///
    /// An event whose time is over when an attempt would begin is settled without it and counted ([`DurableStats::expired`](crate::DurableStats)); it is a dead
    /// letter where the subscription [keeps those](crate::DeadLetterPolicy::with_expired). That goes for further attempts too. The time runs from when the store took the event; a wall
    /// clock that is ahead for less than an hour expires nothing. A dead letter that is redriven does not expire.
    pub fn ttl(mut self, priority: Priority, ttl: Option<Duration>) -> Self {
        self.settings = self.settings.ttl(priority, ttl);
        self
    }
}

/// Of each priority, for people to read, where there is any.
fn each(ttl: TimeToLive) -> impl Iterator<Item = (&'static str, Duration)> {
    Priority::ALL.into_iter().zip(NAMES).filter_map(move |(priority, name)| Some((name, ttl.of(priority)?)))
}

/// It for people to read, or that there is none.
pub(super) fn shown(ttl: TimeToLive) -> String {
    let all: Vec<String> = each(ttl).map(|(name, ttl)| format!("{name} = {ttl:?}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

impl DurableCore {
    /// What is in force, for people.
    pub(crate) fn described_ttl(&self) -> impl Iterator<Item = Setting> {
        each(self.ttl).map(|(name, ttl)| Setting {
            name,
            value: format!("{ttl:?}"),
            origin: Origin::Subscription,
        })
    }

    /// When the time of an event is over that the store took then.
    #[inline]
    pub(super) fn expires(&self, event: &AnyEvent, appended: Timestamp) -> Option<Timestamp> {
        let ttl = self.ttl.effective(event.ttl(), event.priority())?;
        Some(appended.saturating_add(ttl))
    }

    /// Whether the time of an event that is about to be attempted is over.
    #[inline]
    pub(super) fn has_expired(&self, started: &Started<AnyEvent>) -> bool {
        started.expires.is_some_and(|expires| !started.replay && self.is_past(expires))
    }

    #[cold]
    fn is_past(&self, expires: Timestamp) -> bool {
        expires <= self.log.time(&*self.services.clock)
    }

    /// An event has expired: it is settled, or given up where its subscription keeps those.
    #[cold]
    pub(super) fn expire(self: &Arc<Self>, member: &Member, started: &Started<AnyEvent>) {
        self.counts.expired.fetch_add(1, Ordering::Relaxed);
        let (subscription, event) = (&*self.name, &started.event);
        tracing::debug!(
            subscription,
            topic = event.topic().as_str(),
            event_id = %event.id(),
            "an event has expired before an attempt"
        );
        let verdict = match self.recovery.letters.keeps_expired() {
            false => Verdict::Settled,
            true => {
                let ttl = self.ttl.effective(event.ttl(), event.priority()).unwrap_or_default();
                let reason = format!("expired: its time to live of {ttl:?} was over before an attempt");
                self.given_up(started, None, (reason, member.handler.info().name.to_owned()))
            }
        };
        if matches!(verdict, Verdict::Dead { .. }) {
            self.counts.dead.fetch_add(1, Ordering::Relaxed);
        }
        self.decided(started.place, (verdict, Made::Nothing), None, self.moment());
        self.pass_key_on(started);
    }
}

const NAMES: [&str; 4] = ["ttl_p0", "ttl_p1", "ttl_p2", "ttl_p3"];
