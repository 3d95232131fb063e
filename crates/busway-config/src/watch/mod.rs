//! Hot reload: a file is watched, and what it says is applied when that differs.
//!
//! The *directory* is watched, not the file: editors put a new file in its place, and mounted volumes swap a link. What is told is only that something
//! happened; whether the file says something else is found by reading it. File systems that tell nothing are looked at now and then.

mod rest;
mod status;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use busway_engine::Bus;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use self::rest::Rest;
pub use self::status::{Reload, WatchStatus};
use crate::diff::Diff;
use crate::live::{NotPut, tell};
use crate::load::environment;
use crate::model::Config;
use crate::parse::Format;
use crate::problem::{ConfigError, escaped, panicked};
use crate::source::Source;

/// How a file is watched. Setters never fail; [`start`](WatchBuilder::start) begins.
#[derive(Clone)]
#[must_use = "it begins with .start(&bus)"]
pub struct WatchBuilder {
    path: PathBuf,
    quiet: Duration,
    poll: Duration,
    history_max: usize,
    environment: Option<Vec<(String, String)>>,
}

/// A file that is watched, and applied to a bus each time that it says something else.
///
/// A file that is wrong changes nothing: what is in force stays in force, the error is logged and kept in the [`status`](Watcher::status). One that could not be put in
/// force, as a broker did not answer, is tried again after one poll, then two, four, up to 16, and when somebody [asks](Watcher::look). It works on a
/// thread of its own, which ends when this is dropped, or when the bus is gone; what is in force stays so. Dropped while a file is being applied, it cuts
/// that short: a part of the file may be in force then. While it applies one it keeps the bus.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    bell: Sender<Told>,
    _events: Option<RecommendedWatcher>,
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<WatchStatus>,
    /// Whoever waits for a file to be applied waits no longer.
    end: Notify,
}

#[derive(Debug)]
enum Told {
    /// Something happened beside the file.
    Changed,
    /// Somebody asks for a look, and waits for it.
    Look(oneshot::Sender<()>),
    End,
}

/// Of the environment only the names.
impl fmt::Debug for WatchBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, quiet, poll, history_max, environment } = self;
        let names = environment.as_ref().map(|all| all.iter().map(|(name, _)| name).collect::<Vec<_>>());
        f.debug_struct("WatchBuilder")
            .field("path", path)
            .field("quiet", quiet)
            .field("poll", poll)
            .field("history_max", history_max)
            .field("environment", &names)
            .finish()
    }
}

impl WatchBuilder {
    /// How long it has to be quiet before a file that changes is read. Default 250 ms. A file that goes on changing is read all the same, after ten times as
    /// long.
    pub const fn quiet(mut self, time: Duration) -> Self {
        self.quiet = time;
        self
    }

    /// How often the file is read although nobody said that it had changed. Default 30 s, at least 10 ms.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every.max(Duration::from_millis(10));
        self
    }

    /// Reloads that are kept in the status. Default 16.
    pub const fn history_max(mut self, reloads: usize) -> Self {
        self.history_max = reloads;
        self
    }

    /// Variables to be laid over the file, in the place of the environment of the process.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = Some(variables.into_iter().collect());
        self
    }

    /// Begins to watch, and applies the file for the first time. To be called on the tokio runtime that the bus runs on. The bus is not kept by it.
    ///
    /// # Errors
    /// [`ConfigError`] when the file as it is now cannot be applied: nothing is watched then.
    ///
    /// # Cancel safety
    /// As [`Config::apply`].
    pub async fn start(self, bus: &Bus) -> Result<Watcher, ConfigError> {
        // Before the file is read: what is told while it is applied is looked at behind that.
        let (bell, told) = channel();
        let is_told = Arc::<AtomicBool>::default();
        let events = events(&self.path, bell.clone(), Arc::clone(&is_told));
        let seen = Config::source(&self.path);
        Box::pin(self.config(&seen)?.apply(bus)).await?;
        let runtime = Handle::try_current()
            .map_err(|_| ConfigError::without_place("there is no tokio runtime here".to_owned()))?;
        let shared = Arc::<Shared>::default();
        let work = Work {
            builder: self,
            bus: bus.downgrade(),
            shared: Arc::clone(&shared),
            runtime,
            told,
            is_told,
            asked: Vec::new(),
            last: seen,
            rest: Rest::default(),
        };
        let thread = std::thread::Builder::new().name("busway-config".to_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "an integration owns its thread: it waits for the file system, and ends with its watcher"
        )]
        let spawned = thread.spawn(move || work.run());
        match spawned {
            Ok(_) => Ok(Watcher { shared, bell, _events: events }),
            Err(error) => Err(ConfigError::without_place(format!("no thread to watch with: {error}"))),
        }
    }

    fn config(&self, seen: &Seen) -> Result<Config, ConfigError> {
        let (source, format) = seen.as_ref().map_err(Clone::clone)?;
        match &self.environment {
            Some(variables) => Config::of(source, *format, variables.iter().cloned()),
            None => Config::of(source, *format, environment()),
        }
    }
}

/// Tells of everything that happens in the directory of the file; `None` where nobody tells.
fn events(path: &Path, bell: Sender<Told>, is_told: Arc<AtomicBool>) -> Option<RecommendedWatcher> {
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let told = move |event: notify::Result<notify::Event>| {
        // Reading it is no change, and would make the watcher go round for ever.
        // One at a time: it says that there is something to look at, not what.
        if !event.is_ok_and(|event| event.kind.is_access()) && !is_told.swap(true, Ordering::SeqCst) {
            _ = bell.send(Told::Changed);
        }
    };
    let watching = notify::recommended_watcher(told).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(
                directory = escaped(&directory.display().to_string()),
                %error,
                "changes of this directory are not told: the configuration is looked at now and then"
            );
            None
        }
    }
}

struct Work {
    builder: WatchBuilder,
    bus: busway_engine::WeakBus,
    shared: Arc<Shared>,
    runtime: Handle,
    told: Receiver<Told>,
    /// A change was told of, and not heard yet: more of them say no more.
    is_told: Arc<AtomicBool>,
    /// Who waits for the next look.
    asked: Vec<oneshot::Sender<()>>,
    /// What the file said when it was last looked at.
    last: Seen,
    rest: Rest,
}

impl Work {
    fn run(mut self) {
        let mut polled = now();
        loop {
            let left = self.builder.poll.saturating_sub(now().duration_since(polled));
            match self.told.recv_timeout(left) {
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Told::Changed) if self.is_over_before_quiet() => return,
                Ok(Told::Look(asked)) => self.asked.push(asked),
                Ok(Told::Changed) | Err(RecvTimeoutError::Timeout) => {}
            }
            // Whatever it was woken by: where something always happens beside the file, it is never quiet for as long as that.
            let woken = now();
            if woken.duration_since(polled) >= self.builder.poll {
                polled = woken;
                self.rest.polled();
            }
            let Some(bus) = self.bus.upgrade() else { return };
            if self.look(&bus).is_none() {
                return;
            }
        }
    }

    /// Waits until it is quiet; whether there is nothing more to do.
    fn is_over_before_quiet(&mut self) -> bool {
        let begun = now();
        self.is_told.store(false, Ordering::SeqCst);
        loop {
            // However many are told at once.
            let left =
                self.builder.quiet.saturating_mul(QUIETS_MAX).saturating_sub(now().duration_since(begun));
            match self.told.recv_timeout(self.builder.quiet.min(left)) {
                Ok(Told::Changed) => self.is_told.store(false, Ordering::SeqCst),
                Ok(Told::Look(asked)) => {
                    self.asked.push(asked);
                    return false;
                }
                Err(RecvTimeoutError::Timeout) => return false,
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// Reads the file, and applies it when it says something else; `None` when the watcher went away meanwhile.
    fn look(&mut self, bus: &Bus) -> Option<()> {
        let seen = Config::source(&self.builder.path);
        // What was refused may fit meanwhile: a store that could not be asked, an environment.
        let may_fit = || self.shared.status.lock().last_error.is_some();
        let is_new = seen != self.last;
        if is_new || ((!self.asked.is_empty() || self.rest.is_over()) && may_fit()) {
            let reloading = bus.reloading();
            let outcome = self.tried(&seen, bus)?;
            self.rest.after(outcome.as_ref().is_err_and(|refused| refused.was_begun), is_new);
            let outcome = outcome.map_err(|refused| refused.error);
            match outcome.as_ref().is_err_and(|error| self.is_known(error)) {
                true => reloading.unchanged(),
                false => {
                    tell(reloading, &outcome);
                    self.note(outcome);
                }
            }
        }
        self.last = seen;
        self.shared.status.lock().looks += 1;
        self.asked.drain(..).for_each(|asked| _ = asked.send(()));
        Some(())
    }

    /// Puts what the file says in force. Code of the program does a part of that: when it panics, this file is refused, and the next one is looked at all the same.
    fn tried(&self, seen: &Seen, bus: &Bus) -> Option<Result<Diff, NotPut>> {
        let tried = catch_unwind(AssertUnwindSafe(|| match self.builder.config(seen) {
            Ok(config) => self.put(&config, bus),
            Err(error) => Some(Err(error.into())),
        }));
        tried.unwrap_or_else(|panic| {
            let message = panicked("what was to put it in force", &*panic);
            Some(Err(ConfigError::without_place(message).into()))
        })
    }

    /// Applying waits for handlers, and a handler may not end.
    fn put(&self, config: &Config, bus: &Bus) -> Option<Result<Diff, NotPut>> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.shared.end.notified() => None,
                outcome = config.put(bus) => Some(outcome),
            }
        })
    }

    fn is_known(&self, error: &ConfigError) -> bool {
        self.shared.status.lock().last_error.as_ref() == Some(error)
    }

    fn note(&self, outcome: Result<Diff, ConfigError>) {
        let mut status = self.shared.status.lock();
        status.last_error = outcome.as_ref().err().cloned();
        let reload = match outcome {
            // It only moved its lines.
            Ok(diff) if diff.is_empty() => return,
            Ok(diff) => {
                status.applied += 1;
                Reload::Applied(diff)
            }
            Err(error) => {
                status.refused += 1;
                Reload::Refused(error)
            }
        };
        status.history.push_back(reload);
        while status.history.len() > self.builder.history_max {
            status.history.pop_front();
        }
    }
}

impl Watcher {
    /// Watches a file: see [`WatchBuilder`].
    pub fn of(path: impl Into<PathBuf>) -> WatchBuilder {
        let (quiet, poll) = (Duration::from_millis(250), Duration::from_secs(30));
        WatchBuilder { path: path.into(), quiet, poll, history_max: 16, environment: None }
    }

    /// What it has seen and done.
    #[must_use]
    pub fn status(&self) -> WatchStatus {
        self.shared.status.lock().clone()
    }

    /// Has the file looked at now, as by a signal or a button, and waits until that is done.
    ///
    /// # Cancel safety
    /// Dropping the future does not undo the look.
    pub async fn look(&self) -> WatchStatus {
        let (asked, looked) = oneshot::channel();
        if self.bell.send(Told::Look(asked)).is_ok() {
            // Its thread ends with the bus.
            _ = looked.await;
        }
        self.status()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        _ = self.bell.send(Told::End);
        // Kept for a thread that does not wait yet.
        self.shared.end.notify_one();
    }
}

/// What a file said; or why it could not be read.
type Seen = Result<(Arc<Source>, Format), ConfigError>;

#[expect(
    clippy::disallowed_methods,
    reason = "how long a file has been quiet is the machine's time, whatever clock the bus goes by"
)]
fn now() -> Instant {
    Instant::now()
}

/// A file that goes on changing is read after so many times as long.
const QUIETS_MAX: u32 = 10;
