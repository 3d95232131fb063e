//! A member's two threads, for what librdkafka blocks in.
//!
//! One polls, so that the group knows that the member lives, whatever becomes of its events. librdkafka calls back from within a poll: partitions come and go there, and what is
//! settled of those that go is committed before they do. The other commits: what is settled while a commit is under way goes with the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use busway_engine::transport::{Reception, TransportError};
use busway_engine::{Clock as _, SystemClock};
use parking_lot::{Condvar, Mutex, RwLock};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::client::log;
use crate::desk::{Desk, Limits};
use crate::fault::said;
use crate::founding::Topics;
use crate::link::Link;
use crate::mark;
use crate::message::{ATTEMPTS, NOT_BEFORE, Record, SUBSCRIPTION};
use crate::part::{Change, Place};

/// What a receiver, its thread and librdkafka's callbacks share.
pub(crate) struct Core {
    link: Arc<Link>,
    group: String,
    stream: String,
    pub(crate) desk: Mutex<Desk>,
    /// Something may be ready.
    pub(crate) arrived: Notify,
    /// Counts what those who have settled something may look at.
    pub(crate) told: watch::Sender<u64>,
    commits: Mutex<Commits>,
    /// Something is to be committed, or nothing will be.
    news: Condvar,
    /// What the next caller of receive is told.
    pub(crate) failed: Mutex<Option<TransportError>>,
    pub(crate) closing: AtomicBool,
    /// The member has left.
    pub(crate) over: watch::Sender<bool>,
}

#[derive(Default)]
struct Commits {
    /// What is settled waits for it; what was only left out has time.
    is_urgent: bool,
    is_over: bool,
}

/// A member at work: the core and its consumer, which is taken away when it leaves.
pub(crate) struct Seat {
    core: Arc<Core>,
    consumer: RwLock<Option<BaseConsumer<Member>>>,
}

/// What librdkafka calls back.
pub(crate) struct Member(Arc<Core>);

impl Core {
    fn bump(&self) {
        self.told.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn arrived(&self, record: Record) {
        let stands_in = record.header(SUBSCRIPTION);
        let is_retry = record.topic != self.stream && record.header(NOT_BEFORE).is_some();
        let is_meant = !is_retry || stands_in == Some(self.group.as_str());
        let number = |name| record.header(name).and_then(|text| text.parse::<i64>().ok());
        let due = number(NOT_BEFORE).filter(|_| is_retry).and_then(|due| {
            let left = due.saturating_sub(SystemClock.utc().as_millis());
            u64::try_from(left).ok().map(|left| Instant::now() + Duration::from_millis(left))
        });
        let made = number(ATTEMPTS).filter(|_| is_retry).and_then(|made| u32::try_from(made).ok());
        let attempt = made.unwrap_or(0).saturating_add(1);
        if self.desk.lock().arrived(record, due, attempt, is_meant) {
            self.arrived.notify_one();
        }
    }

    /// Most of what a poll brings up librdkafka cures by itself. What lasts, or what somebody has to do something about, is told.
    fn trouble(&self, error: &KafkaError) {
        let tell = match error.rdkafka_error_code() {
            Some(Code::AllBrokersDown | Code::UnknownTopicOrPartition) => true,
            Some(code) => crate::fault::is_denied(code),
            None => false,
        } || matches!(error, KafkaError::MessageConsumptionFatal(_));
        if tell {
            let what = format!("receiving for subscription {}", self.group);
            *self.failed.lock() = Some(self.link.said(&what, error));
            self.arrived.notify_one();
        }
    }

    /// Something was settled: the next commit has no time.
    pub(crate) fn hurry(&self) {
        self.commits.lock().is_urgent = true;
        self.news.notify_one();
    }

    fn assigned(&self, consumer: &BaseConsumer<Member>, partitions: &TopicPartitionList) {
        let asked = consumer.committed_offsets(partitions.clone(), self.link.settings.timeout);
        let known = asked.unwrap_or_else(|error| {
            let group = &self.group;
            tracing::warn!(group, %error, "what was settled out of order in these partitions is not known: it comes again");
            partitions.clone()
        });
        let mut desk = self.desk.lock();
        for place in known.elements() {
            let position = match place.offset() {
                Offset::Offset(position) => position,
                _ => 0,
            };
            let mark = mark::read(position, place.metadata());
            desk.assign(place_of(&place), position, mark.map(|mark| mark.settled).unwrap_or_default());
        }
    }

    /// What is settled is committed before somebody else has the partitions.
    fn revoked(&self, consumer: &BaseConsumer<Member>, partitions: &TopicPartitionList) {
        let places: Vec<_> = partitions.elements().iter().map(place_of).collect();
        let changes = self.desk.lock().changes(Some(&places));
        let committed = match consumer.assignment_lost() {
            true => Err(KafkaError::ConsumerCommit(Code::IllegalGeneration)),
            false => commit(consumer, &changes, CommitMode::Sync),
        };
        let mut desk = self.desk.lock();
        match committed {
            Ok(()) => desk.committed(&changes),
            Err(error) => {
                let group = &self.group;
                tracing::warn!(group, %error, "partitions went before what was settled of them was committed: it comes again");
            }
        }
        places.iter().for_each(|place| desk.revoke(place));
        drop(desk);
        self.bump();
    }
}

fn place_of(place: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>) -> Place {
    Place { topic: Arc::from(place.topic()), partition: place.partition() }
}

/// Commits, if there is something to.
fn commit(consumer: &BaseConsumer<Member>, changes: &[Change], mode: CommitMode) -> KafkaResult<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::with_capacity(changes.len());
    for Change { place, position, metadata, .. } in changes {
        list.add_partition_offset(&place.topic, place.partition, Offset::Offset(*position))?;
        if let Some(mut added) = list.find_partition(&place.topic, place.partition) {
            added.set_metadata(metadata);
        }
    }
    consumer.commit(&list, mode)
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, _: &str) {
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

impl Seat {
    /// Joins a group, and polls in a thread of its own until it is closed.
    pub(crate) fn take(
        link: &Arc<Link>,
        reception: &Reception,
        topics: &Topics,
    ) -> Result<Seated, TransportError> {
        let settings = &link.settings;
        let in_flight = reception.in_flight_max.get();
        let gap = usize::try_from(settings.gap_max).unwrap_or(usize::MAX);
        let limits = Limits {
            in_flight,
            gap: settings.gap_max,
            events: in_flight.saturating_add(gap),
            bytes: BYTES_MAX.max(settings.message_bytes_max.saturating_mul(2)),
        };
        let core = Arc::new(Core {
            link: Arc::clone(link),
            group: reception.name.clone(),
            stream: reception.stream.clone(),
            desk: Mutex::new(Desk::new(reception.filter.clone(), limits)),
            arrived: Notify::new(),
            told: watch::channel(0).0,
            commits: Mutex::default(),
            news: Condvar::new(),
            failed: Mutex::default(),
            closing: AtomicBool::new(false),
            over: watch::channel(false).0,
        });
        let what = || format!("joining subscription {}", reception.name);
        let config = settings.member(&reception.name, &reception.member);
        let consumer: BaseConsumer<Member> = config
            .create_with_context(Member(Arc::clone(&core)))
            .map_err(|error| said(&settings.brokers, &what(), &error))?;
        consumer.subscribe(&topics.all()).map_err(|error| link.said(&what(), &error))?;
        let seat = Arc::new(Self { core, consumer: RwLock::new(Some(consumer)) });
        let (polling, committing) = (Arc::clone(&seat), Arc::clone(&seat));
        let seated = Seated(seat);
        thread(move || polling.poll())?;
        // Without it nothing is ever committed: the other ends, and the member leaves.
        thread(move || committing.commit_all())?;
        Ok(seated)
    }

    fn poll(&self) {
        let core = &self.core;
        let _end = End(self);
        while !core.closing.load(Ordering::SeqCst) {
            let turn = match core.desk.lock().is_pausing() {
                true => TURN_PAUSED,
                false => TURN,
            };
            let seated = self.consumer.read();
            let Some(consumer) = seated.as_ref() else { break };
            match consumer.poll(turn) {
                Some(Ok(message)) => core.arrived(Record::of(&message)),
                Some(Err(error)) => core.trouble(&error),
                None => {}
            }
            self.pace(consumer);
        }
    }

    /// Pauses partitions that have enough, and lets them go on.
    fn pace(&self, consumer: &BaseConsumer<Member>) {
        let (pause, resume) = self.core.desk.lock().pace();
        let list = |places: &[Place]| {
            let mut list = TopicPartitionList::with_capacity(places.len());
            for place in places {
                list.add_partition(&place.topic, place.partition);
            }
            list
        };
        if !pause.is_empty()
            && let Err(error) = consumer.pause(&list(&pause))
        {
            tracing::debug!(%error, "partitions were not paused: they were revoked");
        }
        if !resume.is_empty()
            && let Err(error) = consumer.resume(&list(&resume))
        {
            tracing::debug!(%error, "partitions were not resumed: they were revoked");
        }
    }

    /// Commits until the member has left.
    fn commit_all(&self) {
        let core = &self.core;
        let mut pause = LAZILY;
        loop {
            let mut commits = core.commits.lock();
            if !commits.is_urgent && !commits.is_over {
                core.news.wait_for(&mut commits, pause);
            }
            if commits.is_over {
                return;
            }
            commits.is_urgent = false;
            drop(commits);
            let changes = core.desk.lock().changes(None);
            if changes.is_empty() {
                continue;
            }
            let seated = self.consumer.read();
            let Some(consumer) = seated.as_ref() else { return };
            pause = match commit(consumer, &changes, CommitMode::Sync) {
                Ok(()) => {
                    core.desk.lock().committed(&changes);
                    core.bump();
                    LAZILY
                }
                Err(error) => {
                    tracing::debug!(group = core.group, %error, "a commit failed; it is tried again");
                    RETRY
                }
            };
        }
    }
}

/// The end of a member, however its thread comes to it: nobody waits for anything of it any more.
struct End<'a>(&'a Seat);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let core = &self.0.core;
        core.closing.store(true, Ordering::SeqCst);
        core.commits.lock().is_over = true;
        core.news.notify_one();
        // What is settled is committed when the last partitions go, from within this. Where a callback has panicked it is not called again: the group finds out after
        // `max.poll.interval.ms`.
        if !std::thread::panicking() {
            let consumer = self.0.consumer.write().take();
            drop(consumer);
        }
        core.desk.lock().revoke_all();
        core.bump();
        core.over.send_replace(true);
        core.arrived.notify_one();
    }
}

/// A seat that is left when this is dropped, also by whoever asked for it and did not wait.
pub(crate) struct Seated(Arc<Seat>);

impl Seated {
    pub(crate) fn core(&self) -> &Core {
        &self.0.core
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.core().closing.store(true, Ordering::SeqCst);
    }
}

/// A thread for what blocks.
fn thread(work: impl FnOnce() + Send + 'static) -> Result<(), TransportError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "librdkafka's polls and commits block, and its callbacks ask brokers: threads of the member's own"
    )]
    let begun = std::thread::Builder::new().name("busway-kafka".to_owned()).spawn(work);
    begun
        .map(drop)
        .map_err(|error| TransportError::Refused(format!("there is no thread for a member: {error}")))
}

/// Of all events that are not settled, in a member's memory.
const BYTES_MAX: usize = 64 << 20;
/// How long a poll waits. A member that is closed finds out after it.
const TURN: Duration = Duration::from_millis(50);
/// While a partition is paused: it goes on as soon as there is room.
const TURN_PAUSED: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_millis(100);
/// How often what was only left out is committed.
const LAZILY: Duration = Duration::from_secs(1);
