//! Cuts the power at many points of a recording and has each image judged.

use std::fmt;
use std::fs;
use std::mem;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::images::{Image, Survivors};
use crate::judging::{Exhibit, judge};
use crate::log::{Cut, Entry};
use crate::random::Random;
use crate::recording::Recording;
use crate::scenario::Verdict;
use crate::volume::Volume;

/// One crash: where the power went and what survived of what was at risk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    pub(crate) cut: Cut,
    pub(crate) survivors: Survivors,
}

impl fmt::Display for Crash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut: Cut { entries, sectors }, survivors } = self;
        write!(out, "cut after entry {entries} and {sectors} sectors of the next, survived: {survivors}")
    }
}

/// So many crashes at random points: of each point the worst image, the best, and three between them.
pub(crate) fn anywhere(recording: &Recording, images: usize, seed: u64) -> Vec<Crash> {
    let mut random = Random::new(seed);
    let mut crashes = Vec::new();
    while crashes.len() < images {
        let entries = random.below(recording.log.len() + 1);
        let next = recording.log.get(entries).map_or(0, Entry::sectors);
        // Half of the cuts that could tear a write do so.
        let sectors = if random.below(2) == 0 { random.below(next + 1) } else { 0 };
        let cut = Cut { entries, sectors };
        let some = [(); 3].map(|()| Survivors::Some(random.next()));
        for survivors in [Survivors::Nothing, Survivors::Everything].into_iter().chain(some) {
            crashes.push(Crash { cut, survivors });
        }
    }
    crashes.truncate(images);
    crashes.sort_by_key(|crash| crash.cut);
    crashes
}

/// Right after so many acknowledgements, spread over the recording.
pub(crate) fn after_acks(recording: &Recording, images: usize, survivors: Survivors) -> Vec<Crash> {
    let entries = recording.log.iter().zip(1..).filter(|(entry, _)| matches!(entry, Entry::Ack(_)));
    let acks: Vec<usize> = entries.map(|(_, place)| place).collect();
    let chosen = (0..images).map(|number| acks[number * acks.len() / images]);
    chosen.map(|entries| Crash { cut: Cut { entries, sectors: 0 }, survivors }).collect()
}

/// An image that was not fine.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) crash: Crash,
    /// Where it lies, if it is one of the first.
    pub(crate) directory: PathBuf,
    /// What was acknowledged before.
    pub(crate) acked: u64,
    pub(crate) verdict: Verdict,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) bad: Vec<Bad>,
    images: usize,
    /// The sum of what the images had to have.
    acks: u64,
    building: Duration,
    judging: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bad, images, acks, building, judging } = self;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = *images as f64 / (*building + *judging).as_secs_f64();
        write!(out, "{images} images with {acks} acknowledgements, {} bad; {rate:.0} images/s ", bad.len())?;
        write!(out, "({building:.1?} building, {judging:.1?} judging)")
    }
}

/// Builds and judges all; `crashes` are in the order of the log.
pub(crate) fn run(recording: &Recording, crashes: &[Crash]) -> Outcome {
    let mut outcome =
        Outcome { bad: Vec::new(), images: 0, acks: 0, building: Duration::ZERO, judging: Duration::ZERO };
    let (mut volume, mut played) = (Volume::new(), 0);
    for batch in crashes.chunks(BATCH) {
        let started = Instant::now();
        let (mut exhibits, mut images) = (Vec::new(), Vec::new());
        for crash in batch {
            let entries = crash.cut.entries;
            for entry in &recording.log[mem::replace(&mut played, entries)..entries] {
                volume.apply(entry).unwrap();
            }
            let image = match recording.log.get(entries) {
                Some(next) if crash.cut.sectors > 0 => {
                    Image::of(&volume.torn(next, crash.cut.sectors).unwrap(), crash.survivors)
                }
                _ => Image::of(&volume, crash.survivors),
            };
            let directory = recording.next_image();
            image.write_to(&directory);
            outcome.images += 1;
            outcome.acks += volume.acked();
            exhibits.push(Exhibit { directory, acked: volume.acked() });
            images.push(image);
        }
        outcome.building += started.elapsed();
        let started = Instant::now();
        let verdicts = judge(recording.scenario, &exhibits, &recording.list());
        for (((crash, image), exhibit), verdict) in batch.iter().zip(images).zip(exhibits).zip(verdicts) {
            fs::remove_dir_all(&exhibit.directory).unwrap();
            if verdict == Verdict::Fine {
                continue;
            }
            if outcome.bad.len() < KEPT {
                // As it was before the judge mended it.
                image.write_to(&exhibit.directory);
            }
            let Exhibit { directory, acked } = exhibit;
            outcome.bad.push(Bad { crash: *crash, directory, acked, verdict });
        }
        outcome.judging += started.elapsed();
    }
    outcome
}

/// Images that lie on the disk at once, and that one child judges.
const BATCH: usize = 64;

/// Bad images that stay on the disk.
pub(crate) const KEPT: usize = 10;
