//! Child processes: how a step calls cargo and its companions.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A command under construction. It runs in the root of the workspace, is shown before it starts, and gets no
/// standard input, so that nothing can wait for an answer.
#[derive(Debug)]
pub(crate) struct Call {
    command: Command,
    shown: String,
}

impl Call {
    /// The cargo that runs this program.
    pub(crate) fn cargo(workspace: &Workspace) -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut call = Self::program(workspace, &cargo);
        "cargo".clone_into(&mut call.shown);
        call
    }

    /// Any program on the `PATH`.
    pub(crate) fn program(workspace: &Workspace, name: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref();
        let mut command = Command::new(name);
        command.current_dir(workspace.root()).stdin(Stdio::null());
        // `cargo run` describes this package to us; a build script below must not take that for its own.
        for (variable, _) in env::vars_os() {
            let text = variable.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&variable);
            }
        }
        Self { command, shown: name.to_string_lossy().into_owned() }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        let _ = write!(self.shown, " {}", argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, variable: &str, value: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{variable}={} {}", value.as_ref().to_string_lossy(), self.shown);
        self.command.env(variable, value);
        self
    }

    /// It runs in this folder.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs to the end with the output going where ours goes, so long at most: then it is killed. Not what it has started: of cargo the tests would go on.
    ///
    /// # Errors
    ///
    /// When the program cannot be started, does not succeed, or takes longer.
    pub(crate) fn run_for(mut self, longest: Duration) -> Result<()> {
        self.show();
        let mut child = self.command.spawn().with_context(|| format!("cannot start `{}`", self.shown))?;
        let begun = Instant::now();
        loop {
            if let Some(status) =
                child.try_wait().with_context(|| format!("lost track of `{}`", self.shown))?
            {
                return succeed(status, &self.shown);
            }
            if begun.elapsed() >= longest {
                let ended = child.kill().and_then(|()| child.wait());
                ended.with_context(|| format!("cannot end `{}`", self.shown))?;
                bail!("`{}` took longer than {longest:?}", self.shown);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }

    /// Runs to the end with the output going where ours goes.
    ///
    /// # Errors
    ///
    /// When the program cannot be started or does not succeed.
    pub(crate) fn run(mut self) -> Result<()> {
        self.show();
        let status = self.command.status().with_context(|| format!("cannot start `{}`", self.shown))?;
        succeed(status, &self.shown)
    }

    /// Whether the program starts and succeeds, with all output dropped: the question whether a tool is there.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Standard output, with standard error going where ours goes.
    ///
    /// # Errors
    ///
    /// When the program cannot be started, does not succeed, or writes something that is not UTF-8.
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        succeed(output.status, &self.shown)?;
        String::from_utf8(output.stdout).with_context(|| format!("`{}` did not write text", self.shown))
    }

    /// Runs to the end, passes both outputs on line by line, and keeps a copy of the lines.
    ///
    /// # Errors
    ///
    /// When the program cannot be started. A program that fails is an answer here: see [`Echoed::status`].
    pub(crate) fn echoed(mut self) -> Result<Echoed> {
        self.show();
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.shown))?;
        let lines = Mutex::new(Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            scope.spawn(|| pass_on(stdout, io::stdout(), &lines));
            scope.spawn(|| pass_on(stderr, io::stderr(), &lines));
        });
        let status = child.wait().with_context(|| format!("lost track of `{}`", self.shown))?;
        let lines = lines.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Echoed { lines, status, shown: self.shown })
    }

    fn show(&self) {
        println!("$ {}", self.shown);
    }
}

/// What an echoed command left behind.
#[derive(Debug)]
pub(crate) struct Echoed {
    /// Both outputs, each in its own order, interleaved as they came.
    pub(crate) lines: Vec<String>,
    status: ExitStatus,
    shown: String,
}

impl Echoed {
    /// # Errors
    ///
    /// When the program did not succeed.
    pub(crate) fn status(&self) -> Result<()> {
        succeed(self.status, &self.shown)
    }
}

/// Where on the `PATH` a program of this name lies.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn pass_on(from: Option<impl Read>, mut to: impl Write, lines: &Mutex<Vec<String>>) {
    let Some(from) = from else { return };
    for line in BufReader::new(from).split(b'\n').map_while(io::Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        // A closed terminal must not stop the child: what it says is still collected.
        let _ = writeln!(to, "{line}");
        lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }
}

/// How often a child with a bound is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

fn succeed(status: ExitStatus, shown: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{shown}` ended with {status}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longer_than_it_may_is_ended() {
        let workspace = Workspace::load().unwrap();
        let call = || Call::program(&workspace, "sleep");
        let error = call().arg("600").run_for(Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("`sleep 600` took longer"), "{error}");
        call().arg("0").run_for(Duration::from_secs(60)).unwrap();
    }
}
