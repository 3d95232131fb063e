//! Asks the program whose allocator counts.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The child's answers, by contender, in its order.
///
/// # Errors
/// It is not there, or fails, or says something else.
pub(super) fn ask(question: &[&str]) -> Result<Vec<(String, f64)>> {
    let here = env::current_exe().context("this program does not know where it lies")?;
    let program = here.with_file_name("busway-counted");
    let mut call = Command::new(&program);
    let output = call.args(question).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{} does not start", program.display()))?;
    ensure!(output.status.success(), "busway-counted {} fails", question.join(" "));
    serde_json::from_slice(&output.stdout).context("busway-counted says something that is no answer")
}
