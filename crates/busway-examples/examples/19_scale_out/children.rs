//! The processes of the example, and what they say.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::process::Stdio;

use busway::BoxError;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::PATIENCE;

/// What was heard.
#[derive(Debug, Default)]
pub(crate) struct Told {
    rows: BTreeSet<u64>,
    published: Option<usize>,
    pub(crate) bad_rows: u64,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let number =
            |words: &mut std::str::Split<'_, char>| words.next().and_then(|word| word.parse::<u64>().ok());
        match words.next() {
            Some("row") => self.rows.extend(number(&mut words)),
            Some("published") => {
                self.published = number(&mut words).and_then(|rows| usize::try_from(rows).ok());
                self.bad_rows = number(&mut words).unwrap_or(0);
            }
            _ => {}
        }
    }

    /// Whether every departure that was published is stored by somebody.
    pub(crate) fn is_complete(&self) -> bool {
        self.published.is_some_and(|published| self.rows.len() >= published)
    }

    /// In which of so many parts of the way this is. In the first until it is known how long that is.
    pub(crate) fn share(&self, parts: usize) -> usize {
        self.published.map_or(0, |published| self.rows.len() * parts / published.max(1))
    }
}

/// Processes of this program.
pub(crate) struct Children {
    common: Vec<OsString>,
    running: HashMap<String, Child>,
    lines: mpsc::Receiver<String>,
    heard: mpsc::Sender<String>,
}

impl Children {
    pub(crate) fn new(common: Vec<OsString>) -> Self {
        let (heard, lines) = mpsc::channel(1_024);
        Self { common, running: HashMap::new(), lines, heard }
    }

    /// Starts one, and listens to it.
    pub(crate) fn start(&mut self, name: &str, part: &[OsString]) -> Result<(), BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(part).args(&self.common).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        let said = child.stdout.take().ok_or("a process without an output")?;
        let heard = self.heard.clone();
        let listening = async move {
            let mut lines = BufReader::new(said).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if heard.send(line).await.is_err() {
                    return;
                }
            }
        };
        #[expect(clippy::disallowed_methods, reason = "it ends with the process that it listens to")]
        drop(tokio::spawn(listening));
        self.running.insert(name.to_owned(), child);
        Ok(())
    }

    /// Hears one line.
    pub(crate) async fn listen(&mut self, told: &mut Told) -> Result<(), BoxError> {
        let silent = || "the processes have said nothing for a minute: is the broker up?";
        let line = timeout(PATIENCE, self.lines.recv()).await.map_err(|_| silent())?;
        told.hear(&line.unwrap_or_default());
        match self.running.iter_mut().find_map(|(name, child)| Some((name, child.try_wait().ok()??))) {
            Some((name, status)) => Err(format!("{name} has ended: {status}").into()),
            None => Ok(()),
        }
    }

    /// Kills one without a word, as a machine that loses its power.
    pub(crate) async fn kill(&mut self, name: &str) -> Result<(), BoxError> {
        match self.running.remove(name) {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }

    /// Tells all to end, and waits until they have.
    pub(crate) async fn end(mut self) -> Result<(), BoxError> {
        for (name, mut child) in self.running.drain() {
            drop(child.stdin.take());
            // What it still says is read and forgotten: it would wait for who listens.
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status?,
                    _ = self.lines.recv() => {}
                }
            };
            if !status.success() {
                return Err(format!("{name} has ended badly: {status}").into());
            }
        }
        Ok(())
    }
}
