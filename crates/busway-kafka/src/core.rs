//! What a member's receiver, its threads and librdkafka's callbacks share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use busway_engine::transport::{Reception, TransportError};
use busway_engine::{Clock as _, SystemClock};
use parking_lot::{Condvar, Mutex};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::client::log;
use crate::commit::{self, Commits, listed, place_of};
use crate::desk::{Desk, Limits};
use crate::fault::passes_by_itself;
use crate::link::Link;
use crate::message::{ATTEMPTS, NOT_BEFORE, Record, SUBSCRIPTION};
use crate::part::{Kind, Place};
use crate::standing::{self, Stand};

/// See the module.
pub(crate) struct Core {
    pub(crate) link: Arc<Link>,
    pub(crate) group: String,
    stream: String,
    pub(crate) desk: Mutex<Desk>,
    /// Something may be ready.
    pub(crate) arrived: Notify,
    /// Something was settled, so that there may be room for more. With the desk's lock.
    pub(crate) room: Condvar,
    /// Counts what those who have settled something may look at.
    pub(crate) told: watch::Sender<u64>,
    pub(crate) commits: Mutex<Commits>,
    /// Something is to be committed, or nothing will be.
    pub(crate) news: Condvar,
    /// Held from taking what is to be committed until the desk is told what became of it: brokers take commits as they come, and one that was taken before
    /// another and sent behind it would set a position back. Its holders wait for a broker, none of them on an async thread.
    pub(crate) committing: Mutex<()>,
    /// Why the last commit failed, as long as no other has succeeded.
    pub(crate) uncommitted: Mutex<Option<KafkaError>>,
    /// What the next caller of receive is told.
    pub(crate) failed: Mutex<Option<TransportError>>,
    pub(crate) closing: AtomicBool,
    /// The member has left.
    pub(crate) over: watch::Sender<bool>,
}

/// What librdkafka calls back.
pub(crate) struct Member(pub(crate) Arc<Core>);

impl Core {
    pub(crate) fn new(link: &Arc<Link>, reception: &Reception, limits: Limits) -> Self {
        Self {
            link: Arc::clone(link),
            group: reception.name.clone(),
            stream: reception.stream.clone(),
            desk: Mutex::new(Desk::new(reception.filter.clone(), limits)),
            arrived: Notify::new(),
            room: Condvar::new(),
            told: watch::channel(0).0,
            commits: Mutex::default(),
            news: Condvar::new(),
            committing: Mutex::default(),
            uncommitted: Mutex::default(),
            failed: Mutex::default(),
            closing: AtomicBool::new(false),
            over: watch::channel(false).0,
        }
    }

    pub(crate) fn bump(&self) {
        self.told.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What lies in another topic than the stream's own was put off.
    fn kind(&self, topic: &str) -> Kind {
        if topic == self.stream { Kind::Stream } else { Kind::Retries }
    }

    /// A record was read. Whether its partition has come to the limit of its gap.
    pub(crate) fn arrived(&self, record: Record) -> bool {
        let event = record.event();
        let is_retry = self.kind(&record.topic) == Kind::Retries && record.header(NOT_BEFORE).is_some();
        let (due, attempt, is_meant) = match is_retry {
            true => self.put_off(&record),
            false => (None, 1, true),
        };
        let mut desk = self.desk.lock();
        let place = Place { topic: Arc::clone(&record.topic), partition: record.partition };
        let arrival = desk.arrived(&place, record, event, due, attempt, is_meant);
        let is_at_limit = desk.is_at_limit(&place);
        drop(desk);
        if arrival.is_kept {
            self.arrived.notify_one();
        }
        if arrival.is_anew {
            self.bump();
        }
        is_at_limit
    }

    /// When a record that was put off is due, if not already; which attempt is next; and whether it was this subscription that put it off.
    fn put_off(&self, record: &Record) -> (Option<Instant>, u32, bool) {
        let number = |name| record.header(name).and_then(|text| text.parse::<i64>().ok());
        let due = number(NOT_BEFORE).and_then(|due| {
            let left = due.saturating_sub(SystemClock.utc().as_millis());
            u64::try_from(left).ok().map(|left| Instant::now() + Duration::from_millis(left))
        });
        let made = number(ATTEMPTS).and_then(|made| u32::try_from(made).ok());
        let is_meant = record.header(SUBSCRIPTION) == Some(self.group.as_str());
        (due, made.unwrap_or(0).saturating_add(1), is_meant)
    }

    /// What librdkafka brings up of its own accord. What it cures by itself is left to it; all else the next caller of receive is told, for it may last.
    pub(crate) fn trouble(&self, error: &KafkaError) {
        let group = &self.group;
        let passes = match error {
            KafkaError::PartitionEOF(_) => true,
            KafkaError::MessageConsumptionFatal(_) => false,
            error => error.rdkafka_error_code().is_some_and(passes_by_itself),
        };
        if passes {
            tracing::debug!(group, %error, "a member has trouble; it goes on by itself");
            return;
        }
        let said = self.link.said(&format!("receiving for subscription {group}"), error);
        let before = self.failed.lock().replace(said);
        // Once until somebody has been told.
        if before.is_none() && error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            tracing::warn!(group, %error, "a member receives nothing, or not all");
        }
        self.arrived.notify_one();
    }

    /// Something was settled: the next commit has no time.
    pub(crate) fn hurry(&self) {
        self.commits.lock().is_urgent = true;
        self.news.notify_one();
    }

    fn assigned(&self, consumer: &BaseConsumer<Member>, partitions: &TopicPartitionList) {
        let ask = || consumer.committed_offsets(partitions.clone(), self.link.settings.timeout);
        // Once more, because what is not known is delivered again.
        let known = match ask().or_else(|_| ask()) {
            Ok(known) => known,
            Err(error) => {
                let group = &self.group;
                tracing::warn!(group, %error, "what was settled out of order in these partitions is not known: it comes again");
                let mut desk = self.desk.lock();
                for place in partitions.elements() {
                    desk.assign(place_of(&place), self.kind(place.topic()), 0, Vec::new());
                }
                return;
            }
        };
        // Before the desk is locked: brokers take their time.
        let stands = standing::all(consumer, &known, self.link.settings.timeout);
        let mut desk = self.desk.lock();
        for (at, stand) in stands {
            let kind = self.kind(&at.topic);
            let Some(Stand { position, settled, said, end }) = stand else {
                desk.assign(at, kind, 0, Vec::new());
                continue;
            };
            desk.assign(at.clone(), kind, position, settled);
            desk.take_up(&at, said, end);
        }
        drop(desk);
        self.hurry();
    }

    /// What is settled is committed before somebody else has the partitions.
    fn revoked(&self, consumer: &BaseConsumer<Member>, partitions: &TopicPartitionList) {
        let places: Vec<_> = partitions.elements().iter().map(place_of).collect();
        self.resume_all(consumer, &places);
        let one_at_a_time = self.committing.lock();
        let is_lost = consumer.assignment_lost();
        let (is_changed, changes) = {
            let mut desk = self.desk.lock();
            let is_changed = desk.is_changed(&places);
            // Of what is lost nobody hears anything: it looks as if this member had died.
            if !is_lost {
                desk.leave(&places);
            }
            (is_changed, desk.changes(Some(&places)))
        };
        let (heard, error) = match is_lost && is_changed {
            true => (Vec::new(), Some(KafkaError::ConsumerCommit(Code::IllegalGeneration))),
            false => commit::commit(consumer, changes),
        };
        let group = &self.group;
        match error {
            Some(error) if is_changed => {
                tracing::warn!(group, %error, "partitions went before what was settled of them was committed: it comes again");
            }
            Some(error) => {
                tracing::debug!(group, %error, "that partitions were left was not heard: it counts as the death of a member");
            }
            None => {}
        }
        let mut desk = self.desk.lock();
        desk.committed(&heard);
        places.iter().for_each(|place| desk.revoke(place));
        drop(desk);
        drop(one_at_a_time);
        self.bump();
    }

    /// librdkafka remembers that a partition is paused when it goes and comes back; a member does not, and would never let it go on.
    fn resume_all(&self, consumer: &BaseConsumer<Member>, places: &[Place]) {
        let paused = self.desk.lock().paused(places);
        if !paused.is_empty()
            && let Err(error) = consumer.resume(&listed(&paused))
        {
            let group = &self.group;
            tracing::warn!(group, %error, "partitions that go were paused, and could not be resumed");
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.link.trouble.note(&error, reason);
        self.0.trouble(&error);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => self.0.assigned(consumer, partitions),
            Rebalance::Revoke(partitions) => self.0.revoked(consumer, partitions),
            Rebalance::Error(error) => self.0.trouble(error),
        }
    }
}
