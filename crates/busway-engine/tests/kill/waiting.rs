//! `kill -9` while events wait to be due, are taken back, and a schedule ticks into an audit stream: what waits is published once and not too
//! early, what was taken back never, each tick once, and the chain of the stream holds.
//!
//! A child says what its receipts said, a line each. Its parent kills it behind a line that chance chose, opens the store, and looks for each event: it is
//! in the log, or it waits. Heads of the audit stream are kept by the parent, which is where the store is not.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use busway_engine::schedule::Missed;
use busway_engine::{Audit, AuditHead, Bus, Stream};
use busway_event::{Event, EventId, Raw, Timestamp};
use busway_persistence::{ReadLimits, Store, StoreOptions};

use crate::child::number_of;
use crate::{Chance, follow_lines, number_in, say};

#[test]
#[ignore = "the entry of the children, which are told where the store is"]
fn waiting_child() {
    let Some(dir) = env::var_os(DIR) else { return };
    let number = |variable| env::var(variable).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(live(Path::new(&dir), number(FIRST), number(PUBLISHES)));
}

/// Publishes so many events, most of them later, and takes every fifth one back; until nothing waits that is due.
async fn live(dir: &Path, first: u64, publishes: u64) {
    let heads = |head: &AuditHead| say(&format!("HEAD {head}"));
    let bus = Bus::open(dir).stream(stream()).stream(ticks()).store_reserve_bytes(0).on_audit_head(heads);
    let bus = bus.start().await.unwrap();
    let tick = bus.schedule("ticks").every(TICK).missed(Missed::All(TICKS_MISSED_MAX));
    let tick = tick.publish_with(|due| event("ticks.ticked", due.as_nanos().unsigned_abs()));
    tick.await.unwrap();
    for number in first..first + publishes {
        match number % 5 {
            0 => {
                bus.publish(event("orders.created", number)).await.unwrap();
                say(&format!("ACK {number} 0."));
            }
            4 => {
                let draft = event("orders.expired", number).delay(Duration::from_millis(20 * (number % 3)));
                let receipt = bus.publish(draft).await.unwrap();
                bus.unschedule(receipt.id).await.unwrap();
                if bus.lookup(receipt.id).await.unwrap().is_none() {
                    say(&format!("TAKEN {number}."));
                }
            }
            _ => {
                let draft = event("orders.expired", number).delay(Duration::from_millis(number % 40));
                let receipt = bus.publish(draft).await.unwrap();
                say(&format!("ACK {number} {}.", receipt.due.unwrap().as_nanos()));
            }
        }
    }
    while !bus.scheduled(1).await.unwrap().events.is_empty() {
        bus.idle().await;
        tokio::task::yield_now().await;
    }
    say("IDLE.");
    let report = bus.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_drained(), "{report}");
}

/// What was said, over all lives.
#[derive(Debug, Default)]
struct Heard {
    /// When each event is due at the earliest.
    acknowledged: BTreeMap<u64, i64>,
    taken_back: BTreeSet<u64>,
    heads: Vec<AuditHead>,
}

impl Heard {
    /// A line that was cut has no full stop, or is no head.
    fn hear(&mut self, line: &str) {
        if let Some(Ok(head)) = line.strip_prefix("HEAD ").map(str::parse) {
            self.heads.push(head);
        }
        let words = |prefix| Some(line.strip_prefix(prefix)?.strip_suffix('.')?.split(' '));
        if let Some(mut numbers) = words("ACK ")
            && let (Some(number), Some(due)) = (numbers.next(), numbers.next())
        {
            self.acknowledged.insert(number.parse().unwrap(), due.parse().unwrap());
        }
        if let Some(Ok(number)) = words("TAKEN ").and_then(|mut numbers| numbers.next()).map(str::parse) {
            self.taken_back.insert(number);
        }
    }

    /// Says how many events wait still, and how many ticks there were.
    fn compare(&self, dir: &Path) -> (usize, usize) {
        let options = StoreOptions::new().stream(stream()).stream(ticks()).reserve_bytes(0);
        let store = Store::open(dir, options).unwrap();
        let orders = published(&store, "orders");
        let page = store.scheduled(100_000).unwrap();
        assert!(page.damaged.is_empty(), "{:?}", page.damaged);
        let waiting: BTreeSet<EventId> = page.events.iter().map(|event| event.id).collect();
        for (number, due) in &self.acknowledged {
            match orders.get(number) {
                None => assert!(
                    waiting.contains(&id(*number)),
                    "{number} is lost: it is not there and does not wait"
                ),
                Some(appended) => {
                    assert!(!waiting.contains(&id(*number)), "{number} is there, and waits too");
                    assert!(
                        appended.as_nanos() >= *due,
                        "{number} was published at {appended}, before {due}"
                    );
                }
            }
        }
        for number in &self.taken_back {
            let is_there = orders.contains_key(number) || waiting.contains(&id(*number));
            assert!(!is_there, "{number} was taken back, and is there");
        }
        let dues: Vec<u64> = published(&store, "ticks").into_keys().collect();
        for two in dues.windows(2) {
            let apart = Duration::from_nanos(two[1] - two[0]);
            assert_eq!(apart, TICK, "of the ticks {two:?} one is lost, or came too often");
        }
        let verified = store.verify_against(self.heads.clone()).unwrap();
        assert!(verified.is_sound(), "{verified:?}");
        let checked: u64 =
            verified.audits.iter().filter(|audit| audit.checked).map(|audit| audit.heads).sum();
        assert_eq!(checked, self.heads.len() as u64, "{verified:?}");
        store.close();
        (waiting.len(), dues.len())
    }
}

/// When the store took each event of a stream, by its number. None may be there twice.
fn published(store: &Store, stream: &str) -> BTreeMap<u64, Timestamp> {
    let mut found = BTreeMap::new();
    for partition in store.partitions(stream).unwrap() {
        let (mut from, next) = store.bounds(partition).unwrap();
        while from < next {
            let page = store.read(partition, from, None, ReadLimits::default()).unwrap();
            for stored in &page.events {
                let number = number_of(&stored.event.typed::<Raw>().unwrap().payload().0);
                let before = found.insert(number, stored.appended);
                assert!(before.is_none(), "{number} was published twice: {before:?} and {}", stored.appended);
            }
            assert!(page.next > from, "the read ends at {from}");
            from = page.next;
        }
    }
    found
}

/// Runs a child and kills it behind so many lines.
fn run(dir: &Path, (first, publishes): (u64, u64), kill_behind: Option<u64>, heard: &mut Heard) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "waiting::waiting_child", "--ignored", "--nocapture"]);
    command.env(DIR, dir).env(FIRST, first.to_string()).env(PUBLISHES, publishes.to_string());
    _ = follow_lines(command.stderr(Stdio::inherit()), kill_behind, |line| heard.hear(line));
}

#[test]
fn kills_while_events_wait_lose_double_and_bring_forward_none_and_leave_an_audit_whole() {
    let dir = tempfile::tempdir().unwrap();
    let cycles = number_in("BUSWAY_KILL_CYCLES").unwrap_or(40);
    let mut chance = Chance(number_in("BUSWAY_KILL_SEED").unwrap_or(0x7761_6974_696e));
    let (mut heard, mut waited) = (Heard::default(), 0);
    for cycle in 0..cycles {
        run(dir.path(), (cycle * 100, 40), Some(1 + chance.below(40)), &mut heard);
        waited += heard.compare(dir.path()).0;
    }
    assert!(waited as u64 > cycles, "nothing waited when a child was killed");
    run(dir.path(), (cycles * 100, 0), None, &mut heard);
    let (waiting, ticks) = heard.compare(dir.path());
    assert_eq!(waiting, 0, "nobody killed the last one, which ended when nothing waited");
    assert!(ticks as u64 > cycles && !heard.heads.is_empty() && !heard.taken_back.is_empty(), "{heard:?}");
    let Heard { acknowledged, taken_back, heads } = &heard;
    let (receipts, taken_back, heads) = (acknowledged.len(), taken_back.len(), heads.len());
    println!(
        "{cycles} kills: {receipts} receipts, {waited} found waiting, {taken_back} taken back, {ticks} ticks, {heads} heads"
    );
}

fn event(topic: &str, number: u64) -> busway_event::Draft<Raw> {
    Event::new(topic, Raw::from(number.to_be_bytes().to_vec())).id(id(number))
}

fn id(number: u64) -> EventId {
    EventId::foreign("waiting", &number.to_string())
}

fn stream() -> Stream {
    Stream::new("orders").capture("orders.#").partitions(2)
}

fn ticks() -> Stream {
    Stream::new("ticks").capture("ticks.#").audit(Audit::forever().heads(5, Duration::from_secs(60)))
}

const TICK: Duration = Duration::from_millis(10);
/// Ten seconds, within which a child is started again.
const TICKS_MISSED_MAX: u16 = 1_000;
const DIR: &str = "BUSWAY_WAITING_DIR";
const FIRST: &str = "BUSWAY_WAITING_FIRST";
const PUBLISHES: &str = "BUSWAY_WAITING_PUBLISHES";
