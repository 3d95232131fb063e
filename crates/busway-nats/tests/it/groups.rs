//! Members of one subscription, each over a connection of its own, in a stream with partitions: of a key nothing is under way twice, and its order stays.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use busway_engine::transport::{Ability, Capability, Received, Receiver, Reception, Transport, Verdict};
use busway_nats::NatsTransport;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::server::{
    PATIENCE, Server, join, keyed, nothing_comes, number, orders_in, receive, reception, send, settle,
};

const KEYS: u32 = 12;

/// Events of all keys by turns: `rounds` of each. The number says the key and the round.
fn interleaved(rounds: std::ops::Range<u32>) -> Vec<busway_event::AnyEvent> {
    let all = rounds.flat_map(|round| (0..KEYS).map(move |key| round * KEYS + key));
    all.map(|number| keyed("orders.created", &format!("key-{}", number % KEYS), number)).collect()
}

/// What all members see together.
#[derive(Default)]
struct Seen {
    keys: Mutex<HashMap<u32, Key>>,
    done: watch::Sender<u32>,
    /// Members that come to no end with what they begin from now on.
    stuck: Mutex<BTreeSet<u32>>,
    /// Those of them that have begun something since.
    holding: watch::Sender<BTreeSet<u32>>,
    dead: Mutex<BTreeSet<u32>>,
    /// The server may deliver the last one of a partition again after it was settled, as version 2.9 does when a retry falls due while no request waits.
    repeats: bool,
    /// What must not be.
    broken: Mutex<Vec<String>>,
    chance: AtomicU64,
}

#[derive(Default)]
struct Key {
    /// Whose, if it is under way.
    under_way: Option<u32>,
    /// Rounds that are done.
    done: BTreeSet<u32>,
    /// A member that had it is dead: its last word may not have been heard.
    is_doubtful: bool,
    attempts: u32,
}

impl Seen {
    fn new(transport: &NatsTransport) -> Arc<Self> {
        let is_old = transport.capabilities().of(Capability::Wildcards) != Ability::Native;
        Arc::new(Self { repeats: is_old, ..Self::default() })
    }

    /// Notes that a member works on it; one that is dead does not.
    fn begin(&self, member: u32, received: &Received) {
        let (number, mut keys) = (number(received), self.keys.lock());
        if self.dead.lock().contains(&member) {
            return;
        }
        let key = keys.entry(number % KEYS).or_default();
        let round = number / KEYS;
        if let Some(other) = key.under_way {
            let said = format!("{member} has {number} while {other} has another of its key");
            self.broken.lock().push(said);
        }
        let is_again = (key.is_doubtful || self.repeats) && key.done.last() == Some(&round);
        if key.done.len() != round as usize && !is_again {
            self.broken.lock().push(format!("{number} came when of its key {:?} were done", key.done));
        }
        key.under_way = Some(member);
        key.attempts += 1;
    }

    fn end(&self, member: u32, number: u32, is_done: bool) {
        let mut keys = self.keys.lock();
        let key = keys.entry(number % KEYS).or_default();
        key.under_way = key.under_way.filter(|other| *other != member);
        if is_done && key.done.insert(number / KEYS) {
            key.is_doubtful = self.dead.lock().contains(&member);
            self.done.send_modify(|done| *done += 1);
        }
    }

    /// Whether each key is done to the end, in order, and one at a time.
    fn check(&self, rounds: usize) {
        let broken = self.broken.lock();
        assert!(broken.is_empty(), "{broken:?}");
        let keys = self.keys.lock();
        assert!(keys.values().all(|key| key.done.len() == rounds && key.under_way.is_none()));
        let attempts: u32 = keys.values().map(|key| key.attempts).sum();
        assert!(attempts as usize > rounds * KEYS as usize, "some failed, and came again");
    }

    /// What it had comes again, first of its key.
    fn is_dead(&self, member: u32) -> usize {
        let mut keys = self.keys.lock();
        self.dead.lock().insert(member);
        keys.values_mut().for_each(|key| key.is_doubtful = true);
        let had = keys.values_mut().filter(|key| key.under_way == Some(member));
        had.map(|key| key.under_way = None).count()
    }

    async fn wait_for(&self, done: u32) {
        let mut seen = self.done.subscribe();
        let waited = tokio::time::timeout(PATIENCE * 2, seen.wait_for(|now| *now >= done)).await;
        assert!(waited.is_ok(), "{} of {done} are done", *self.done.borrow());
    }

    /// The same row of numbers each time.
    fn chance(&self, of: u64) -> u64 {
        let number = self.chance.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % of
    }
}

/// A member at work.
struct Member {
    number: u32,
    leave: watch::Sender<bool>,
    work: JoinHandle<()>,
}

impl Member {
    async fn begin(server: &Server, seen: &Arc<Seen>, number: u32, reception: &Reception) -> Self {
        let transport = server.transport().await;
        let receiver = join(&transport, &reception.clone().member(number.to_string())).await;
        let leave = watch::Sender::new(false);
        let work = work(transport, receiver, Arc::clone(seen), number, leave.subscribe());
        Self { number, leave, work: tokio::spawn(work) }
    }

    /// Finishes what it has, and closes.
    async fn leave(self) {
        self.leave.send_replace(true);
        self.work.await.unwrap();
    }

    /// Its connection and all that it does are gone in the middle of it, as soon as it is stuck with something. Returns how many it had.
    async fn die(self, seen: &Seen) -> usize {
        let mut holding = seen.holding.subscribe();
        let holds = holding.wait_for(|members| members.contains(&self.number));
        let waited = tokio::time::timeout(PATIENCE, holds).await.map(|holds| holds.is_ok());
        assert_eq!(waited, Ok(true), "{} was given something since it is stuck", self.number);
        self.work.abort();
        assert!(self.work.await.unwrap_err().is_cancelled());
        seen.is_dead(self.number)
    }
}

async fn work(
    transport: NatsTransport,
    receiver: Arc<dyn Receiver>,
    seen: Arc<Seen>,
    member: u32,
    mut leave: watch::Receiver<bool>,
) {
    let mut handlers = JoinSet::new();
    loop {
        tokio::select! {
            some = receiver.receive(16) => for one in some.unwrap() {
                handlers.spawn(handle(Arc::clone(&receiver), Arc::clone(&seen), member, one));
            },
            Some(handled) = handlers.join_next() => handled.unwrap(),
            _ = leave.wait_for(|leave| *leave) => break,
        }
    }
    while let Some(handled) = handlers.join_next().await {
        handled.unwrap();
    }
    receiver.close().await.unwrap();
    transport.close().await.unwrap();
}

/// Works a while, and fails now and then.
async fn handle(receiver: Arc<dyn Receiver>, seen: Arc<Seen>, member: u32, delivery: Received) {
    seen.begin(member, &delivery);
    if seen.stuck.lock().contains(&member) {
        seen.holding.send_modify(|holding| _ = holding.insert(member));
        std::future::pending::<()>().await;
    }
    let working = Duration::from_micros(seen.chance(6_000));
    _ = tokio::time::timeout(working, std::future::pending::<()>()).await;
    let verdict = match seen.chance(10) {
        0 | 1 => Verdict::Again(Duration::from_millis(seen.chance(25))),
        2 => Verdict::Back,
        _ => Verdict::Done,
    };
    // The next may come from here on.
    seen.end(member, number(&delivery), verdict == Verdict::Done);
    for settled in receiver.settle(vec![(delivery.id, verdict)]).await {
        settled.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_members_that_join_and_leave_have_each_key_in_order_and_one_at_a_time() {
    for in_flight in [256, 3] {
        let (server, transport) = orders_in(8).await;
        let (seen, reception) = (Seen::new(&transport), reception("stock", "#").in_flight_max(in_flight));
        let sender = transport.sender().await.unwrap();
        let one = Member::begin(&server, &seen, 1, &reception).await;
        let two = Member::begin(&server, &seen, 2, &reception).await;
        send(&*sender, interleaved(0..15)).await;
        seen.wait_for(60).await;
        let three = Member::begin(&server, &seen, 3, &reception).await;
        send(&*sender, interleaved(15..30)).await;
        seen.wait_for(180).await;
        one.leave().await;
        seen.wait_for(240).await;
        let four = Member::begin(&server, &seen, 4, &reception).await;
        send(&*sender, interleaved(30..40)).await;
        seen.wait_for(480).await;
        for member in [two, three, four] {
            member.leave().await;
        }
        seen.check(40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_without_partitions_members_have_events_of_a_key_at_the_same_time() {
    // Or the other tests prove nothing.
    let (server, transport) = orders_in(1).await;
    let (seen, reception) = (Seen::new(&transport), reception("stock", "#"));
    let one = Member::begin(&server, &seen, 1, &reception).await;
    let two = Member::begin(&server, &seen, 2, &reception).await;
    send(&*transport.sender().await.unwrap(), interleaved(0..20)).await;
    seen.wait_for(20 * KEYS).await;
    for member in [one, two] {
        member.leave().await;
    }
    assert!(!seen.broken.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_what_a_member_had_that_died_comes_again_before_what_follows_of_its_keys() {
    let (server, transport) = orders_in(16).await;
    let reception = reception("stock", "#").ack_wait(Duration::from_secs(2)).in_flight_max(64);
    let seen = Seen::new(&transport);
    let sender = transport.sender().await.unwrap();
    let mut members = Vec::new();
    for number in 1..=3 {
        members.push(Member::begin(&server, &seen, number, &reception).await);
    }
    let mut had = 0;
    for round in 0..3 {
        send(&*sender, interleaved(round * 20..round * 20 + 15)).await;
        seen.wait_for(round * 240 + 60).await;
        let dying = members.remove(0);
        // From here on it is in the way of whatever it begins: of these some are its own.
        seen.stuck.lock().insert(dying.number);
        send(&*sender, interleaved(round * 20 + 15..round * 20 + 20)).await;
        had += dying.die(&seen).await;
        members.push(Member::begin(&server, &seen, 10 + round, &reception).await);
        seen.wait_for(round * 240 + 240).await;
    }
    assert!(had >= 3, "each had something when it died: {had}");
    for member in members {
        member.leave().await;
    }
    seen.check(60);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_dead_members_key_waits_for_its_time_and_the_others_do_not() {
    let (server, transport) = orders_in(16).await;
    let wait = Duration::from_millis(1_500);
    let reception = reception("stock", "#").ack_wait(wait);
    let sender = transport.sender().await.unwrap();
    let dying = server.transport().await;
    let one = join(&dying, &reception).await;
    send(&*sender, vec![keyed("orders.a", "a", 1), keyed("orders.a", "a", 2), keyed("orders.b", "a", 3)])
        .await;
    let held = receive(&*one, 1).await;
    assert_eq!(number(&held[0]), 1);
    let begun = Instant::now();
    drop((one, dying));
    let two = join(&transport, &reception).await;
    send(&*sender, vec![keyed("orders.a", "b", 4), keyed("orders.a", "b", 5)]).await;
    let mut came = Vec::new();
    for _ in 0..5 {
        let one = receive(&*two, 1).await;
        came.push((number(&one[0]), one[0].attempt.get()));
        settle(&*two, &one, &Verdict::Done).await;
        match came.len() {
            2 => assert!(begun.elapsed() < wait, "another key has not waited"),
            3 => assert!(begun.elapsed() + Duration::from_millis(50) >= wait, "{:?}", begun.elapsed()),
            _ => {}
        }
    }
    assert_eq!(came, [(4, 1), (5, 1), (1, 2), (2, 1), (3, 1)]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_what_lay_at_a_member_that_did_not_receive_is_not_worked_on_twice() {
    let (server, transport) = orders_in(4).await;
    let reception = reception("stock", "#").ack_wait(Duration::from_secs(1));
    let sender = transport.sender().await.unwrap();
    // Its request stays at the server for longer than the test waits.
    let patient = server.builder().heartbeat(Duration::from_secs(5)).connect().await.unwrap();
    let one = join(&patient, &reception).await;
    // It waits, and goes away before anything has come.
    nothing_comes(&*one).await;
    send(&*sender, vec![keyed("orders.a", "a", 1), keyed("orders.a", "a", 2)]).await;
    let other = server.transport().await;
    let two = join(&other, &reception).await;
    let again = receive(&*two, 1).await;
    assert_eq!((number(&again[0]), again[0].attempt.get()), (1, 2));
    // The first still lies there.
    nothing_comes(&*one).await;
    settle(&*two, &again, &Verdict::Done).await;
    // The next comes to either of them: it may lie there already.
    let next = async {
        tokio::select! {
            received = one.receive(1) => received.unwrap(),
            received = two.receive(1) => received.unwrap(),
        }
    };
    let next = tokio::time::timeout(PATIENCE, next).await.unwrap();
    assert_eq!(next.iter().map(number).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_member_that_is_full_keeps_nothing_from_another() {
    let (server, transport) = orders_in(16).await;
    let sender = transport.sender().await.unwrap();
    let one = join(&transport, &reception("stock", "#").in_flight_max(2)).await;
    let other = server.transport().await;
    send(&*sender, interleaved(0..1)).await;
    let held = receive(&*one, 2).await;
    nothing_comes(&*one).await;
    let two = join(&other, &reception("stock", "#").in_flight_max(1)).await;
    send(&*sender, interleaved(1..4)).await;
    // All others have partitions of their own, or wait behind those two.
    let keys: Vec<_> = held.iter().map(|one| partition_of(number(one))).collect();
    let free: Vec<_> = (0..4 * KEYS).filter(|number| !keys.contains(&partition_of(*number))).collect();
    let mut came = crate::server::take(&*two, free.len()).await;
    came.sort_unstable();
    assert_eq!(came, free);
    nothing_comes(&*two).await;
    settle(&*one, &held, &Verdict::Done).await;
    let mut rest = crate::server::take(&*two, 48 - 2 - free.len()).await;
    rest.sort_unstable();
    rest.extend(held.iter().map(number));
    assert_eq!(rest.len() + came.len(), 48);
}

/// Of the key of a number, of sixteen, as the subject of its event has it.
fn partition_of(number: u32) -> u16 {
    let hash = crc32c::crc32c(format!("key-{}", number % KEYS).as_bytes());
    u16::try_from(hash >> 28).unwrap()
}
