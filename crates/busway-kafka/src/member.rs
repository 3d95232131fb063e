//! A member's two threads, for what librdkafka blocks in.
//!
//! One polls, so that the group knows that the member lives, whatever becomes of its events. librdkafka calls back from within a poll: partitions come and go there, and what is
//! settled of those that go is committed before they do. The other commits: what is settled while a commit is under way goes with the next.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use busway_engine::transport::{Reception, TransportError};
use parking_lot::RwLock;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::commit::{self, is_passing, listed};
use crate::core::{Core, Member};
use crate::desk::{Desk, Limits};
use crate::fault::said;
use crate::founding::Topics;
use crate::link::{Link, thread};
use crate::message::Record;

/// A member at work: the core and its consumer, which is taken away when it leaves.
pub(crate) struct Seat {
    core: Arc<Core>,
    consumer: RwLock<Option<BaseConsumer<Member>>>,
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
            retries: RETRIES_MAX,
        };
        let core = Arc::new(Core::new(link, reception, limits));
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
        let (mut turn, mut last) = (TURN, Arc::from(""));
        let (mut unseen, mut heavy) = (0, 0);
        while !core.closing.load(Ordering::SeqCst) {
            let seated = self.consumer.read();
            let Some(consumer) = seated.as_ref() else { break };
            unseen += 1;
            let is_to_look = match consumer.poll(turn) {
                Some(Ok(message)) => {
                    let record = Record::of(&message, &mut last);
                    heavy += record.weight();
                    core.arrived(record)
                }
                Some(Err(error)) => {
                    core.trouble(&error);
                    false
                }
                None => true,
            };
            let look = if turn == TURN_PAUSED { LOOK_PAUSED } else { LOOK };
            if is_to_look || unseen >= look || heavy >= LOOK_BYTES {
                (unseen, heavy) = (0, 0);
                turn = self.pace(consumer);
            }
        }
    }

    /// Pauses partitions that have enough, and lets them go on. How long the next poll may wait.
    ///
    /// librdkafka throws away what it has read ahead of a partition that is paused, and reads it again: where handlers are only a little slower than the broker, a short wait here costs less.
    fn pace(&self, consumer: &BaseConsumer<Member>) -> Duration {
        let core = &self.core;
        let mut desk = core.desk.lock();
        let is_waiting = |desk: &mut Desk| desk.is_full() && !core.closing.load(Ordering::SeqCst);
        _ = core.room.wait_while_for(&mut desk, is_waiting, ROOM);
        let (pause, resume) = desk.pace();
        let turn = if desk.is_pausing() { TURN_PAUSED } else { TURN };
        drop(desk);
        if !pause.is_empty()
            && let Err(error) = consumer.pause(&listed(&pause))
        {
            tracing::debug!(%error, "partitions were not paused: they were revoked");
        }
        if !resume.is_empty()
            && let Err(error) = consumer.resume(&listed(&resume))
        {
            tracing::debug!(%error, "partitions were not resumed: they were revoked");
        }
        turn
    }

    /// Commits until the member has left.
    fn commit_all(&self) {
        let core = &self.core;
        let _end = EndOfCommits(self);
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
            // Before the other lock: who closes the consumer waits for this one, and commits under the other.
            let seated = self.consumer.read();
            let Some(consumer) = seated.as_ref() else { return };
            let one_at_a_time = core.committing.lock();
            let (changes, last, is_awaited) = {
                let desk = core.desk.lock();
                (desk.changes(None), desk.last_serial(), desk.is_awaiting())
            };
            if changes.is_empty() {
                continue;
            }
            let asked: Vec<_> = changes.iter().map(|change| change.place.clone()).collect();
            let (heard, error) = commit::commit(consumer, changes);
            {
                let mut desk = core.desk.lock();
                if error.as_ref().is_some_and(|error| !is_passing(error)) {
                    desk.refused(&asked);
                }
                desk.committed(&heard);
                desk.open(last);
            }
            drop(one_at_a_time);
            if is_awaited {
                core.arrived.notify_one();
            }
            pause = match &error {
                None => LAZILY,
                Some(error) if is_passing(error) => RETRY,
                // It may well be refused for ever.
                Some(_) => (2 * pause).clamp(2 * RETRY, LAZILY),
            };
            if let Some(error) = &error {
                self.failed_to_commit(error);
            }
            *core.uncommitted.lock() = error;
            core.bump();
        }
    }

    fn failed_to_commit(&self, error: &KafkaError) {
        let group = &self.core.group;
        let is_known = self.core.uncommitted.lock().as_ref() == Some(error);
        if is_known || is_passing(error) {
            tracing::debug!(group, %error, "a commit failed; it is tried again");
        } else {
            tracing::warn!(group, %error, "a commit is refused; it is tried on, and until then what was settled is not");
        }
    }
}

/// The end of a member, however its thread comes to it: nobody waits for anything of it any more.
struct End<'a>(&'a Seat);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let core = &self.0.core;
        let _over = Over(core);
        core.closing.store(true, Ordering::SeqCst);
        let is_panicking = std::thread::panicking();
        if is_panicking {
            let reason =
                format!("a thread of subscription {} has panicked: its message says where", core.group);
            *core.failed.lock() = Some(TransportError::Refused(reason));
        }
        let mut commits = core.commits.lock();
        commits.is_left_alone = is_panicking;
        commits.is_over = true;
        drop(commits);
        core.news.notify_one();
        if !is_panicking {
            self.0.leave();
        }
    }
}

/// The last word of a member, also where librdkafka's callbacks panic while it leaves.
struct Over<'a>(&'a Core);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.send_replace(true);
        self.0.arrived.notify_one();
    }
}

/// The end of the thread that commits, whose work the other cannot do without.
struct EndOfCommits<'a>(&'a Seat);

impl Drop for EndOfCommits<'_> {
    fn drop(&mut self) {
        let core = &self.0.core;
        core.closing.store(true, Ordering::SeqCst);
        let is_left_alone = core.commits.lock().is_left_alone;
        if is_left_alone && !std::thread::panicking() {
            self.0.leave();
        }
    }
}

impl Seat {
    /// What is settled is committed when the last partitions go, from within this. Blocks.
    fn leave(&self) {
        let consumer = self.consumer.write().take();
        drop(consumer);
        self.core.desk.lock().revoke_all();
        self.core.bump();
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

/// Of all events of the stream that are not settled, in a member's memory.
const BYTES_MAX: usize = 64 << 20;
/// Of a topic of retries, which waits for the first of them to fall due: enough to find those that are due earlier, and far from what memory bears.
const RETRIES_MAX: usize = 256;
/// How long a poll waits. A member that is closed finds out after it.
const TURN: Duration = Duration::from_millis(50);
/// While a partition is paused: it goes on as soon as there is room.
const TURN_PAUSED: Duration = Duration::from_millis(5);
/// How long a poll is put off while there is no room, before partitions are paused.
const ROOM: Duration = Duration::from_millis(20);
/// Records that are taken before somebody looks how many are in hand together.
const LOOK: usize = 32;
/// The same while one is paused, that may go on meanwhile.
const LOOK_PAUSED: usize = 4;
/// The same in bytes.
const LOOK_BYTES: usize = 1 << 20;
const RETRY: Duration = Duration::from_millis(100);
/// How often what was only left out is committed.
const LAZILY: Duration = Duration::from_secs(1);
