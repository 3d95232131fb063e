//! Processes that die of an event: it is set aside, and nothing else is.
//!
//! Children handle what a first one has published. One that comes to the poison aborts, as a handler does that overflows its stack.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use busway_engine::{Bus, DurableStats, Pace, StartAt, Stream};
use busway_event::{Event, Raw};
use busway_persistence::{ReadLimits, Store, StoreOptions};
use busway_reliability::Order;

use crate::child::number_of;
use crate::say;

#[test]
#[ignore = "the entry of the children, which are told where the store is"]
fn poisoned_child() {
    if let Some(dir) = env::var_os(DIR) {
        let number = |variable| env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
        let plan = Plan {
            publishes: number(PUBLISHES).unwrap_or(0),
            concurrency: number(CONCURRENCY),
            poison: number(POISON),
            gets_on: number(GETS_ON).is_some(),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(live(Path::new(&dir), &plan));
    }
}

/// What a child is to do.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    publishes: u64,
    /// It handles so many at once, if it does.
    concurrency: Option<u64>,
    /// The number of the event of which it dies.
    poison: Option<u64>,
    /// It dies at its second event, when the first is stored.
    gets_on: bool,
}

async fn live(dir: &Path, plan: &Plan) {
    let bus = Bus::open(dir).stream(stream()).store_reserve_bytes(0).start().await.unwrap();
    for number in 0..plan.publishes {
        let payload = number.to_be_bytes().to_vec();
        bus.publish(Event::new("orders.created", Raw::from(payload))).await.unwrap();
    }
    if let Some(concurrency) = plan.concurrency {
        let (poison, gets_on) = (plan.poison, plan.gets_on);
        let its_bus = bus.clone();
        let handler = move |event: Event<Raw>| {
            let (number, bus) = (number_of(&event.payload().0), its_bus.clone());
            async move {
                // What a life is like is said before it ends.
                while !HAS_BEGUN.load(Relaxed) {
                    tokio::task::yield_now().await;
                }
                if poison == Some(number) {
                    std::process::abort();
                }
                if gets_on && number > 0 {
                    die_behind(&bus, number).await;
                }
                say(&format!("HANDLED {number}."));
            }
        };
        let reader = bus.subscribe("orders.#").durable("reader").start_at(StartAt::Earliest);
        let reader = reader.concurrency(usize::try_from(concurrency).unwrap()).order(Order::None);
        let reader = reader.to(handler).await.unwrap();
        say(if reader.stats().pace == Pace::OneByOne { "ONE BY ONE." } else { "USUAL." });
        HAS_BEGUN.store(true, Relaxed);
        bus.idle().await;
        let usual = async {
            while reader.stats().pace != Pace::Usual {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(20);
        tokio::time::timeout(patience, usual).await.expect("with nothing left to do it goes on as always");
        let DurableStats { dead, quarantined, .. } = reader.stats();
        say(&format!("DEAD {dead} {quarantined}."));
    }
    let report = bus.shutdown(Duration::from_secs(10)).await;
    assert!(report.is_drained(), "{report}");
}

/// Waits until the event before is stored as settled, and dies, unless it is the first time in this life.
async fn die_behind(bus: &Bus, number: u64) {
    loop {
        let standing = bus.cursor("reader").standing().await.unwrap();
        if standing.partitions[0].next.offset >= number {
            break;
        }
        tokio::task::yield_now().await;
    }
    if !IS_SECOND.swap(true, Relaxed) {
        return;
    }
    std::process::abort();
}

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
static IS_SECOND: AtomicBool = AtomicBool::new(false);

#[test]
fn an_event_of_which_processes_die_is_set_aside_at_the_third_death_and_its_neighbours_are_delivered() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Plan { publishes: 20, ..Plan::default() });
    let plan = Plan { concurrency: Some(1), poison: Some(0), ..Plan::default() };
    for pace in ["USUAL.", "USUAL.", "ONE BY ONE."] {
        let lived = run(dir.path(), plan);
        assert_eq!((lived.is_dead, lived.lines.as_slice()), (true, &[pace.to_owned()][..]));
    }
    let lived = run(dir.path(), plan);
    assert!(!lived.is_dead, "{lived:?}");
    assert_eq!(lived.lines.first().unwrap(), "ONE BY ONE.");
    assert_eq!(lived.lines.last().unwrap(), "DEAD 1 1.");
    assert_eq!(lived.handled(), (1..20).collect::<Vec<_>>());
    assert_set_aside(dir.path(), 0, 3);
    let lived = run(dir.path(), plan);
    assert_eq!(lived.lines, ["USUAL.", "DEAD 0 0."], "nothing is left of it");
}

#[test]
fn among_many_at_once_the_poison_alone_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Plan { publishes: 40, ..Plan::default() });
    let plan = Plan { concurrency: Some(8), poison: Some(11), ..Plan::default() };
    let (mut handled, mut deaths) = (BTreeMap::new(), 0);
    loop {
        let lived = run(dir.path(), plan);
        for number in lived.handled() {
            *handled.entry(number).or_insert(0) += 1;
        }
        if !lived.is_dead {
            assert_eq!(lived.lines.last().unwrap(), "DEAD 1 1.");
            break;
        }
        deaths += 1;
        assert!(deaths < 10, "it is a loop");
    }
    // The first lives may have stored something.
    assert!((3..=6).contains(&deaths), "{deaths}");
    assert_eq!(handled.into_keys().collect::<Vec<_>>(), (0..40).filter(|n| *n != 11).collect::<Vec<_>>());
    assert_set_aside(dir.path(), 11, 3);
}

#[test]
fn a_shutdown_takes_the_count_back() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Plan { publishes: 5, ..Plan::default() });
    let plan = Plan { concurrency: Some(1), poison: Some(0), ..Plan::default() };
    for _ in 0..2 {
        assert_eq!(run(dir.path(), plan).lines, ["USUAL."]);
    }
    assert!(!run(dir.path(), Plan::default()).is_dead);
    for pace in ["USUAL.", "USUAL.", "ONE BY ONE."] {
        assert_eq!(run(dir.path(), plan).lines, [pace]);
    }
    assert!(!run(dir.path(), plan).is_dead);
}

#[test]
fn a_death_in_a_life_that_got_on_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), Plan { publishes: 8, ..Plan::default() });
    let plan = Plan { concurrency: Some(1), gets_on: true, ..Plan::default() };
    let mut deaths = 0;
    let lived = loop {
        let lived = run(dir.path(), plan);
        assert_eq!(lived.lines.first().unwrap(), "USUAL.", "behind {deaths} deaths");
        if !lived.is_dead {
            break lived;
        }
        deaths += 1;
    };
    assert!(deaths >= 5, "{deaths}");
    assert_eq!(lived.lines.last().unwrap(), "DEAD 0 0.");
}

/// The one dead letter is that of this event, and all others are settled.
fn assert_set_aside(dir: &Path, number: u64, deaths: u32) {
    let store = Store::open(dir, StoreOptions::new().stream(stream()).reserve_bytes(0)).unwrap();
    let reader = store.subscriptions().unwrap().remove(0);
    let [letter] = &store.dead_letters(reader.number, 10).unwrap()[..] else { panic!("more than one") };
    let quarantine = letter.quarantine.unwrap();
    assert_eq!((quarantine.deaths, quarantine.attempt), (deaths, 1));
    assert!(letter.letter.reason.starts_with("quarantined: 3 processes died"), "{}", letter.letter.reason);
    let page = store.read(letter.partition, letter.letter.offset, None, ReadLimits::default()).unwrap();
    assert_eq!(number_of(&page.events[0].event.typed::<Raw>().unwrap().payload().0), number);
    let (partition, cursor, parked) = &reader.standings[0];
    assert_eq!((cursor.low(), *parked), (store.bounds(*partition).unwrap().1, 0));
    store.close();
}

#[derive(Debug)]
struct Lived {
    lines: Vec<String>,
    is_dead: bool,
}

impl Lived {
    fn handled(&self) -> Vec<u64> {
        let numbers = self.lines.iter().filter_map(|line| line.strip_prefix("HANDLED ")?.strip_suffix('.'));
        numbers.map(|number| number.parse().unwrap()).collect()
    }
}

fn run(dir: &Path, plan: Plan) -> Lived {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "poison::poisoned_child", "--ignored", "--nocapture"]).env(DIR, dir);
    let numbers = [
        (PUBLISHES, Some(plan.publishes)),
        (CONCURRENCY, plan.concurrency),
        (POISON, plan.poison),
        (GETS_ON, plan.gets_on.then_some(1)),
    ];
    for (variable, number) in numbers {
        if let Some(number) = number {
            command.env(variable, number.to_string());
        }
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // What the test harness says has no full stop, or is not in capitals.
    let is_its_own = |line: &&str| {
        line.ends_with('.') && line.chars().next().is_some_and(|first| first.is_ascii_uppercase())
    };
    let lines: Vec<String> = text.lines().filter(is_its_own).map(str::to_owned).collect();
    // By a signal: a child that fails otherwise has found something wrong.
    let is_dead = output.status.code().is_none();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(is_dead || output.status.success(), "{:?}: {text} {errors}", output.status);
    Lived { lines, is_dead }
}

fn stream() -> Stream {
    Stream::new("orders").capture("orders.#")
}

const DIR: &str = "BUSWAY_POISON_DIR";
const PUBLISHES: &str = "BUSWAY_POISON_PUBLISHES";
const CONCURRENCY: &str = "BUSWAY_POISON_CONCURRENCY";
const POISON: &str = "BUSWAY_POISON_NUMBER";
const GETS_ON: &str = "BUSWAY_POISON_GETS_ON";
