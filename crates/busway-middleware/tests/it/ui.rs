//! What does not compile, and what the compiler says then.
//!
//! The words around ours are the compiler's and change with it, so the exact texts are compared by one version only.

use std::io::{self, Write};
use std::process::Command;

/// The version that wrote the `.stderr` files. To raise it: change it here, run with `TRYBUILD=overwrite`, read the diff.
const WRITTEN_BY: &str = "rustc 1.95.";

#[test]
fn what_does_not_fit_is_refused_with_a_sentence_that_leads_to_the_cure() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    if !version.starts_with(WRITTEN_BY) {
        // Past the capture of a test's output: a test that was left out must not look like one that ran.
        let left_out = "left out: busway-middleware's compile-fail tests";
        let version = version.trim_end();
        writeln!(io::stderr(), "{left_out}: their texts are those of {WRITTEN_BY}x, this is {version}")
            .unwrap();
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
