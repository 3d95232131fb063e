//! Files that change while they are watched.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use busway_config::{Reload, WatchStatus, Watcher};
use busway_engine::Bus;
use busway_middleware::builtin::LogOutcome;
use busway_testkit::TestBus;

use crate::world::Seen;

fn text(handler: &str) -> String {
    format!("routes: {{ a: {{ filter: a, handler: {handler} }} }}\n")
}

async fn bus() -> TestBus {
    let seen = Seen::default();
    TestBus::build(|builder| {
        ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name))
    })
    .await
}

async fn watched(bus: &Bus, path: &Path) -> Watcher {
    let builder = Watcher::of(path).quiet(Duration::from_millis(5)).poll(Duration::from_millis(50));
    builder.environment([]).start(bus).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Waits until the status is as wanted: the watcher is told by the file system, or looks by itself.
async fn until(watcher: &Watcher, wanted: impl Fn(&WatchStatus) -> bool) -> WatchStatus {
    loop {
        let status = watcher.status();
        if wanted(&status) {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_replaced_or_linked_anew_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    std::fs::write(&path, text("one")).unwrap();
    let bus = bus().await;
    let watcher = watched(&bus, &path).await;
    // Written in place.
    std::fs::write(&path, text("two")).unwrap();
    until(&watcher, |status| status.applied == 1).await;
    // Renamed over, as editors do.
    let other = directory.path().join("busway.yaml.new");
    std::fs::write(&other, text("one")).unwrap();
    std::fs::rename(&other, &path).unwrap();
    until(&watcher, |status| status.applied == 2).await;
    #[cfg(unix)]
    {
        // A link that is swapped, as mounted volumes do.
        let volume = directory.path().join("..data");
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(volume.join("busway.yaml"), text("two")).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("..data/busway.yaml", &link).unwrap();
        std::fs::rename(&link, &path).unwrap();
        until(&watcher, |status| status.applied == 3).await;
    }
}

/// Its middleware writes the file anew when it is made, once: while the file is applied for the first time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_while_it_is_applied_for_the_first_time_is_applied_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    let with_stage = |handler| format!("middleware: {{ user: [{{ kind: late }}] }}\n{}", text(handler));
    std::fs::write(&path, with_stage("one")).unwrap();
    let (seen, once, written) = (Seen::default(), Once::new(), path.clone());
    let bus = TestBus::build(|builder| {
        let builder = ["one", "two"].into_iter().fold(builder, |builder, name| seen.register(builder, name));
        builder.middleware_factory("late", move |(): ()| {
            once.call_once(|| std::fs::write(&written, with_stage("two")).unwrap());
            Ok::<_, String>(LogOutcome)
        })
    })
    .await;
    let builder = Watcher::of(&path).quiet(Duration::from_millis(5)).poll(Duration::from_secs(86_400));
    let watcher = builder.environment([]).start(&bus).await.unwrap_or_else(|error| panic!("{error}"));
    until(&watcher, |status| status.applied == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_wrong_leaves_the_last_good_one_in_force_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    std::fs::write(&path, text("one")).unwrap();
    let bus = bus().await;
    let watcher = watched(&bus, &path).await;
    std::fs::write(&path, "routes: [").unwrap();
    let status = until(&watcher, |status| status.refused == 1).await;
    let error = status.last_error.unwrap().to_string();
    assert!(error.contains("busway.yaml:"), "{error}");
    assert!(bus.describe().subscription("a").is_some());
    // Looked at again it is not said again.
    let status = watcher.look().await;
    assert_eq!((status.refused, status.history.len()), (1, 1));
    std::fs::write(&path, text("two")).unwrap();
    let status = until(&watcher, |status| status.applied == 1).await;
    assert!(status.last_error.is_none());
    let history: Vec<_> = status.history.iter().collect();
    assert!(matches!(history[..], [Reload::Refused(_), Reload::Applied(_)]));
    std::fs::remove_file(&path).unwrap();
    let status = until(&watcher, |status| status.refused == 2).await;
    assert!(status.last_error.unwrap().to_string().contains("cannot be read"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_applied_at_the_start_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    let bus = bus().await;
    assert!(Watcher::of(&path).environment([]).start(&bus).await.is_err());
    std::fs::write(&path, text("nobody")).unwrap();
    let error = Watcher::of(&path).environment([]).start(&bus).await.unwrap_err().to_string();
    assert!(error.contains("no handler \"nobody\""), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_keeps_no_bus_and_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    std::fs::write(&path, "{}").unwrap();
    let bus = Bus::memory().start().await.unwrap();
    let weak = bus.downgrade();
    let watcher = watched(&bus, &path).await;
    watcher.look().await;
    drop(bus);
    while weak.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
    // Its thread is gone, or goes: it answers nobody, and nobody waits for it for ever.
    _ = watcher.look().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_filter_that_panics_refuses_its_file_and_no_other_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busway.yaml");
    let with_filter = |filter: &str, handler: &str| {
        let filter = format!("observability: {{ log: {{ filter: {filter} }} }}\n");
        std::fs::write(&path, filter + &text(handler)).unwrap();
    };
    with_filter("info", "one");
    let bus = bus().await;
    let watcher = watched(&bus, &path).await;
    busway_config::on_log_filter(&bus, "info", |filter: &str| {
        assert!(filter != "bad", "it is out of order");
        Ok::<(), &str>(())
    });
    with_filter("bad", "two");
    let status = until(&watcher, |status| status.refused == 1).await;
    let error = status.last_error.unwrap().to_string();
    assert!(error.contains("what sets the filter of the log panicked: it is out of order"), "{error}");
    assert!(error.contains("busway.yaml:1:33"), "{error}");
    with_filter("debug", "two");
    until(&watcher, |status| status.applied == 1).await;
}
