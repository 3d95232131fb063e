//! Runs a workload under valgrind's callgrind and reads what it counted.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::workload::Workload;

/// Valgrind, and the program that it runs.
#[derive(Debug)]
pub struct Callgrind {
    program: PathBuf,
}

/// What is not there.
#[derive(Debug)]
pub struct Missing(pub String);

impl Callgrind {
    /// Looks for valgrind and for the workload program beside this one.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn find() -> Result<Self, Missing> {
        let mut version = Command::new("valgrind");
        version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !version.status().is_ok_and(|status| status.success()) {
            return Err(Missing("valgrind is missing".to_owned()));
        }
        let here = env::current_exe().ok();
        let program = here.and_then(|here| Some(here.parent()?.join("busway-workload"))).unwrap_or_default();
        if !program.is_file() {
            return Err(Missing(format!("{} is not built", program.display())));
        }
        Ok(Self { program })
    }

    /// Instructions for one message of a workload.
    ///
    /// # Errors
    /// The workload fails, or callgrind's answer cannot be read.
    pub fn count(&self, workload: &Workload) -> Result<f64> {
        let out = env::temp_dir().join(format!("busway-callgrind-{}.out", std::process::id()));
        let mut call = Command::new("valgrind");
        call.args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_region*"]);
        call.arg(format!("--callgrind-out-file={}", out.display()));
        call.arg(&self.program).args([workload.suite, workload.contender]);
        let output = call.stdin(Stdio::null()).output().context("valgrind does not start")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} by {} fails:\n{said}", workload.suite, workload.contender);
        let text = fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
        let _ = fs::remove_file(&out);
        let counted = counted(&text).context("callgrind wrote no summary")?;
        Ok(counted / f64::from(workload.messages))
    }
}

/// The count in callgrind's output file.
fn counted(text: &str) -> Option<f64> {
    let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    of("totals:").or_else(|| of("summary:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_total_of_the_file() {
        assert_eq!(counted("version: 1\nsummary: 12\n\nfn=(1) main\n1 7\n\ntotals: 1234\n"), Some(1_234.0));
        assert_eq!(counted("summary: 12\n"), Some(12.0));
        assert_eq!(counted("fn=(1) main\n"), None);
    }
}
