//! Lets a scenario work under the shim and keeps the log of it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::images::{Image, Survivors};
use crate::log::{Entry, parse};
use crate::scenario::Scenario;
use crate::volume::Volume;

/// Whether the shim records what the program synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    Recorded,
    /// The control: they are carried out, and the log does not know.
    Swallowed,
}

/// A log and the place where it lies. The place is removed with it, unless it is kept.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) scenario: &'static Scenario,
    pub(crate) log: Vec<Entry>,
    place: TempDir,
    /// Images that were made.
    images: Cell<usize>,
}

impl Recording {
    /// Runs the scenario's work in a child to its end.
    ///
    /// # Panics
    ///
    /// Without a C compiler; if the child fails; if it changed files in a way that the shim did not see: what is
    /// found in an image would mean nothing.
    pub(crate) fn of(scenario: &'static Scenario, syncs: Syncs) -> Self {
        let place = TempDir::new().unwrap();
        // The shim compares with what the kernel says.
        let root = place.path().canonicalize().unwrap();
        let [store, acks, log] = ["store", "acks", "log"].map(|name| root.join(name));
        fs::create_dir(&store).unwrap();
        fs::write(&acks, "").unwrap();
        let ended = child(scenario)
            .env("LD_PRELOAD", build(&root, "shim", include_str!("shim.c")))
            .env(WORK, &store)
            .env("BUSWAY_POWER_DIR", &store)
            .env("BUSWAY_POWER_ACKS", &acks)
            .env("BUSWAY_POWER_LOG", &log)
            .env("BUSWAY_POWER_SWALLOW", if syncs == Syncs::Swallowed { "1" } else { "0" })
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(ended.success(), "the work of {} ended with {ended}", scenario.name);
        let log = parse(&fs::read(log).unwrap()).unwrap();
        let recording = Self { scenario, log, place, images: Cell::new(0) };
        recording.explains(&store);
        recording
    }

    /// A path for the next image.
    pub(crate) fn next_image(&self) -> PathBuf {
        self.images.set(self.images.get() + 1);
        self.place.path().join(format!("image-{}", self.images.get()))
    }

    /// Where a list of images may be written.
    pub(crate) fn list(&self) -> PathBuf {
        self.place.path().join("list")
    }

    /// Leaves log and images on the disk.
    pub(crate) fn keep(self) -> PathBuf {
        self.place.keep()
    }

    /// Each byte that the child left must come out of the log.
    fn explains(&self, store: &Path) {
        let mut volume = Volume::new();
        self.log.iter().try_for_each(|entry| volume.apply(entry)).unwrap();
        let played = Image::of(&volume, Survivors::Everything);
        let unseen = played.differences(&Image::read_from(store), self.scenario.mapped);
        assert!(
            unseen.is_empty(),
            "{unseen:?} changed in a way that the shim cannot see: mapped, or without libc"
        );
        assert!(volume.acks_are_complete(), "the acknowledgements of {} have gaps", self.scenario.name);
        assert!(volume.acked() > 0, "{} acknowledged nothing", self.scenario.name);
    }
}

/// This test binary once more, at its entry for children.
pub(crate) fn child(scenario: &Scenario) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_entry", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env(SCENARIO, scenario.name).stdin(Stdio::null());
    command
}

/// Names the scenario to a child.
pub(crate) const SCENARIO: &str = "BUSWAY_POWER_SCENARIO";

/// Tells a child to work in this directory.
pub(crate) const WORK: &str = "BUSWAY_POWER_WORK";

/// Compiles a library in C for `LD_PRELOAD`.
///
/// # Panics
///
/// Without a C compiler.
pub(crate) fn build(folder: &Path, name: &str, text: &str) -> PathBuf {
    let (source, shim) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    fs::write(&source, text).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    // Fortified headers have bodies of their own for the functions that the shim defines.
    let built = Command::new(words.next().unwrap_or("cc"))
        .args(words)
        .args(["-O2", "-Wall", "-Wextra", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-pthread", "-o"])
        .args([&shim, &source])
        .output();
    let output = built.unwrap_or_else(|error| {
        panic!(
            "power cuts are played with a shim in C, and its compiler {compiler} does not start ({error}): \
             install one or name it in CC"
        )
    });
    assert!(
        output.status.success(),
        "the shim does not compile: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    shim
}
