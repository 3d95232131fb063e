//! The suite of transports, on buses of this process.

use busway_testkit::conformance::{self, CASES, LocalHarness, Result};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_in_memory_keeps_what_it_promises_as_a_transport() {
    let report = conformance::run(&LocalHarness::memory(), CASES).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    let left_out = report.results().filter(|(_, result)| matches!(result, Result::LeftOut(_))).count();
    assert_eq!(left_out, 11, "what needs a store: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_with_a_store_keeps_all_promises_of_a_transport() {
    let folder = tempfile::tempdir().unwrap();
    let report = conformance::run(&LocalHarness::stores(folder.path()), CASES).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    assert!(report.results().all(|(_, result)| *result == Result::Passed), "{report}");
}
