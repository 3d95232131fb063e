//! A bare file: the floor below every store. It was written full of zeros beforehand, so that a sync has no metadata to write.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, Write};

use anyhow::Result;

use super::event::{EVENT_BYTES, event};
use super::folder::Folder;
use super::lap::{Holding, SyncedLap, appending, events_max};
use crate::terms::Terms;

/// Appends for one lap, so many events a write and a sync.
///
/// # Errors
/// The file fails, or holds something else than it was given.
pub fn lap(terms: &Terms, per_sync: usize) -> Result<SyncedLap> {
    let folder = Folder::fresh("file-fdatasync")?;
    let path = folder.path().join("data");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let batch_bytes = per_sync * EVENT_BYTES;
    preallocate(&mut file, usize::try_from(events_max(terms, per_sync))? * EVENT_BYTES, batch_bytes)?;
    let mut batch = Vec::with_capacity(batch_bytes);
    let lap = appending(terms, per_sync, |numbers| {
        batch.clear();
        for number in numbers {
            batch.extend_from_slice(&event(number));
        }
        file.write_all(&batch)?;
        Ok(file.sync_data()?)
    })?;
    file.rewind()?;
    lap.verified(&holding(&file)?)
}

/// Writes zeros, syncs them, and goes back to the start.
///
/// The pieces are as large as those of the lap, or a page: the kernel keeps a file in units as large as the writes that made
/// them, and counts a whole unit as written when any byte of it was.
fn preallocate(file: &mut File, bytes: usize, batch_bytes: usize) -> Result<()> {
    let zeros = vec![0; batch_bytes.max(PAGE_BYTES)];
    let mut left = bytes;
    while left > 0 {
        let size = left.min(zeros.len());
        file.write_all(zeros.get(..size).unwrap_or_default())?;
        left -= size;
    }
    file.sync_all()?;
    Ok(file.rewind()?)
}

/// Counts the events from the start of the file to the first place that does not hold the one that belongs there.
fn holding(file: &File) -> Result<Holding> {
    let mut file = BufReader::with_capacity(READ_BYTES, file);
    let (mut count, mut bytes) = (0, [0; EVENT_BYTES]);
    loop {
        match file.read_exact(&mut bytes) {
            Ok(()) if bytes == event(count) => count += 1,
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
    }
    // Compared above, all of them.
    let last = count.checked_sub(1).map(|last| (last, event(last).to_vec()));
    Ok(Holding { count, last })
}

/// That of most machines.
const PAGE_BYTES: usize = 4_096;

/// One mebibyte at a time.
const READ_BYTES: usize = 1 << 20;
