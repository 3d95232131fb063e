//! The suite of transports, on buses of this process.

use busway_testkit::conformance::{self, CASES, LocalHarness, Result};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/capability-matrix.md");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_in_memory_keeps_what_it_promises_as_a_transport() {
    let report = conformance::run_at_once(&LocalHarness::memory(), CASES, conformance::runs_wanted()).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    report.assert_documented(PAGE, "a bus in memory");
    let left_out = report.results().filter(|(_, result)| matches!(result, Result::LeftOut(_))).count();
    assert_eq!(left_out, 17, "what needs a store, or a network: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_with_a_store_keeps_all_promises_of_a_transport() {
    let folder = tempfile::tempdir().unwrap();
    let stores = LocalHarness::stores(folder.path());
    let report = conformance::run_at_once(&stores, CASES, conformance::runs_wanted()).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    report.assert_documented(PAGE, "a bus with a store");
    let is_kept = |case: &str, result: &Result| case.ends_with("network") || *result == Result::Passed;
    assert!(report.results().all(|(case, result)| is_kept(case, result)), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_of_the_matrix_is_written_and_the_rest_of_the_page_stays() {
    let report = conformance::run(&LocalHarness::memory(), &CASES[..1]).await;
    let page = "# Matrix\n\nBefore.\n\n| | other |\n|---|---|\n| resume | yes |\n\nBehind.\n";
    let written = report.written_into(page, "mine");
    assert!(written.starts_with("# Matrix\n\nBefore.\n\n|  | other | mine |\n|---|---|---|\n"), "{written}");
    assert!(written.contains("| resume | yes |") && written.ends_with("\n\nBehind.\n"), "{written}");
    assert_eq!(report.written_into(&written, "mine"), written);
    assert!(report.written_into("Nothing.\n", "mine").starts_with("Nothing.\n|  | mine |\n"));
}
