//! Power cuts on a file system of the kernel: ext4 on a loop device, told to stop at once.
//!
//! `EXT4_IOC_SHUTDOWN` with the flag "no log flush" (what xfstests calls godown) lets nothing reach the device any more, neither data nor journal: what
//! the page cache holds is gone, as after a power cut. Mounted again, ext4 replays its journal as it would then. What this
//! models beside the shim: a real journal, names, lengths and delayed allocation. What it does not: torn sectors, and a drive that lies.
//!
//! The device is a file in memory, where there is such a place: nothing wears out, and a sync costs little. Everything is mounted in a
//! namespace of its own (`unshare`), which goes with the process that made it, however that ends; so does the loop device.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::durable::{DURABLE, EVENTS};
use crate::judging::{Exhibit, judge};
use crate::random::Random;
use crate::recording::{Syncs, WORK, build, child};
use crate::scenario::Verdict;

/// Runs so many cycles in a process with mounts of its own, and hands on what it says.
///
/// # Panics
///
/// They do not end as they should.
pub(crate) fn cycles(cycles: u64, seed: u64, syncs: Syncs) {
    let inside = child(&DURABLE);
    let output = Command::new("unshare")
        .arg("--mount")
        .arg(inside.get_program())
        .args(inside.get_args())
        .envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env(DISK, format!("{cycles} {seed} {}", u8::from(syncs == Syncs::Swallowed)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{}: {said}\n{complained}", output.status);
    // A filter that finds no test succeeds too.
    let result = said.lines().find_map(|line| line.split_once(MARK));
    let (_, result) = result.unwrap_or_else(|| panic!("nothing was tried: {said}"));
    println!("{MARK}{result}");
}

/// The half inside of the namespace; `told` is what [`cycles`] says.
pub(crate) fn inside(told: &str) {
    let told: Vec<u64> = told.split(' ').map(|number| number.parse().unwrap()).collect();
    let &[cycles, seed, swallowed] = &told[..] else { panic!("{told:?}") };
    let disk = Disk::make();
    let liar = (swallowed == 1).then(|| build(disk.place.path(), "liar", include_str!("liar.c")));
    let (mut random, started, mut acks) = (Random::new(seed), Instant::now(), 0);
    for cycle in 0..cycles {
        // At most one before the last, so that the work goes on while the power goes.
        let after = 1 + random.below(usize::try_from(EVENTS).unwrap() - 1) as u64;
        let (acked, verdict) = disk.cycle(cycle, after, liar.as_deref());
        assert!(
            acked >= after,
            "cycle {cycle}: the work ended after {acked} acknowledgements, before {after}"
        );
        acks += acked;
        match liar {
            None if verdict != Verdict::Fine => {
                let image = disk.place.keep().join(IMAGE);
                panic!(
                    "cycle {cycle}, seed {seed:#x}: {verdict:?} of {acked}; the disk, as the judge left it: {}",
                    image.display()
                );
            }
            Some(_) if verdict == Verdict::Fine => {
                panic!(
                    "cycle {cycle}: nothing was synced and nothing was lost of {acked}: the harness proves nothing"
                )
            }
            _ => {}
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = cycles as f64 / started.elapsed().as_secs_f64();
    let what = if liar.is_some() { "lost, as they must" } else { "nothing lost" };
    println!("{MARK}{cycles} cuts with {acks} acknowledgements, {what}; {rate:.1} cuts/s");
}

/// A file with an ext4 in it, and where it is mounted.
struct Disk {
    place: TempDir,
}

impl Disk {
    fn make() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let disk = Self { place };
        File::create_new(disk.image()).unwrap().set_len(BYTES).unwrap();
        // With pages of the usual size, which it would not have so small by itself.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096"]).arg(disk.image()));
        fs::create_dir(disk.root()).unwrap();
        disk
    }

    /// Lets a child work, cuts the power when it has said so many acknowledgements, and has what is left judged.
    fn cycle(&self, cycle: u64, after: u64, liar: Option<&Path>) -> (u64, Verdict) {
        let mounted = self.mount();
        let directory = self.root().join(format!("store-{cycle}"));
        fs::create_dir(&directory).unwrap();
        File::open(self.root()).unwrap().sync_all().unwrap();
        let acked = self.work_and_cut(&directory, after, liar);
        drop(mounted);
        let mounted = self.mount();
        let exhibit = Exhibit { directory: directory.clone(), acked };
        let verdicts = judge(&DURABLE, &[exhibit], &self.place.path().join("list"));
        fs::remove_dir_all(directory).unwrap();
        drop(mounted);
        (acked, verdicts.into_iter().next().unwrap())
    }

    /// How many acknowledgements there were: those that came while the power went count too.
    fn work_and_cut(&self, directory: &Path, after: u64, liar: Option<&Path>) -> u64 {
        let mut command = child(&DURABLE);
        if let Some(liar) = liar {
            command.env("LD_PRELOAD", liar);
        }
        // A pipe outlives the child, and the power.
        command.env(WORK, directory).env("BUSWAY_POWER_ACKS", "/dev/stdout");
        let mut worker = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut acked, mut is_cut, mut is_in_order) = (0, false, true);
        for line in BufReader::new(worker.stdout.take().unwrap()).lines() {
            // The last line may be cut off.
            let Ok(line) = line else { break };
            let Some(number) = line.strip_prefix("ACK ") else { continue };
            acked += 1;
            is_in_order &= number.parse() == Ok(acked);
            if acked == after && !is_cut {
                self.cut();
                worker.kill().unwrap();
                is_cut = true;
            }
        }
        worker.wait().unwrap();
        assert!(is_in_order, "acknowledgements come one by one");
        acked
    }

    /// Stops the file system. The standard library has no call for it, and no crate that needs no `unsafe`.
    fn cut(&self) {
        let script = "open(my $root, '<', $ARGV[0]) or die qq(open: $!); my $flags = pack('L', $ARGV[2]); \
                      ioctl($root, $ARGV[1], $flags) or die qq(ioctl: $!)";
        let [request, flags] = [SHUTDOWN, NO_LOG_FLUSH].map(|number| number.to_string());
        run(Command::new("perl").args(["-e", script]).arg(self.root()).args([request, flags]));
    }

    fn mount(&self) -> Mounted {
        // Its journal is written when something is synced, or by the hour: never by itself within a cycle.
        run(Command::new("mount").args(["-o", "loop,commit=3600"]).args([self.image(), self.root()]));
        Mounted { root: self.root() }
    }

    fn image(&self) -> PathBuf {
        self.place.path().join(IMAGE)
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }
}

/// It is mounted until this is dropped: before its folder is removed, also when a cycle panics.
struct Mounted {
    root: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        unmount.arg(&self.root);
        if std::thread::panicking() {
            let _ = unmount.stdin(Stdio::null()).status();
        } else {
            run(&mut unmount);
        }
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {words}", output.status);
}

/// Tells a child to be the half inside.
pub(crate) const DISK: &str = "BUSWAY_POWER_DISK";
/// Begins the line with the result.
const MARK: &str = "ext4: ";
const IMAGE: &str = "disk.img";
/// The least that has a journal of the usual kind, and some room.
const BYTES: u64 = 64 << 20;
/// `_IOR('X', 125, __u32)` of Linux's `ext4.h`, on machines that number such calls as x86 and ARM do.
const SHUTDOWN: u32 = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const NO_LOG_FLUSH: u32 = 2;
