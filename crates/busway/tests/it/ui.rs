//! What does not fit a subscription, and what the compiler says then.
//!
//! The words around ours are the compiler's and change with it, so the exact texts are compared by one version only;
//! `cargo xtask test` says when they were not.

use std::io::Write as _;
use std::process::Command;

/// The version that wrote the `.stderr` files. To raise it: change it here, run with `TRYBUILD=overwrite`, read the diff.
const WRITTEN_BY: &str = "rustc 1.95.";

#[test]
fn a_handler_that_does_not_fit_a_subscription_is_refused_with_a_sentence_that_leads_to_the_cure() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(WRITTEN_BY) {
        // Past the test harness, which keeps what a passing test prints to itself.
        let text = format!("left out: the expected texts are those of {WRITTEN_BY}x, this is {version}");
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    // The compiler lists what could have been meant, and which of it depends on what else is linked.
    cases.compile_fail(match cfg!(all(feature = "config", feature = "otel")) {
        true => "tests/ui/all_features/*.rs",
        false => "tests/ui/few_features/*.rs",
    });
}
