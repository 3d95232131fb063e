//! `fmt`: nothing is formatted here, only checked; `cargo fmt` writes.

use std::io::{IsTerminal, stdout};

use anyhow::Result;

use crate::process::Call;
use crate::report::Verdict;
use crate::workspace::Workspace;

/// Fails when any file of any member is not as rustfmt would write it.
pub(crate) fn run(workspace: &Workspace) -> Result<Verdict> {
    let mut call = Call::cargo(workspace).args(["fmt", "--all", "--check"]);
    if !stdout().is_terminal() {
        // Left to itself, rustfmt colours what goes into a file as well.
        call = call.args(["--", "--color", "never"]);
    }
    call.run()?;
    Ok(Verdict::Passed)
}
