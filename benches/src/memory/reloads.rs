//! What ten thousand reloads leave behind, half of them of files that are refused: it should be nothing.
//!
//! A process of its own watches a file with a hundred routes, which is written anew each time. Behind each reload an event shows that the last good file is in
//! force.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use busway::config::{Config, Format, Watcher};
use busway::prelude::*;

use super::child;
use super::counted::{Answers, Footprint, Heap};
use crate::durable::folder::Folder;
use crate::inproc::on_bus::version;
use crate::progress::Progress;
use crate::report::{Contender, Suite};
use crate::sample::Sample;
use crate::terms::{Terms, two_workers};

/// Runs the suite. Shortly it is another one: `memory/reloads-1k`.
///
/// # Errors
/// The child fails.
pub fn measure(terms: &Terms) -> Result<Vec<Suite>> {
    let (name, question) = match terms.is_quick() {
        true => ("memory/reloads-1k", "reloads-1k"),
        false => ("memory/reloads-10k", "reloads-10k"),
    };
    let progress = Progress::new(name, 1);
    progress.running("busway-counted");
    let folder = Folder::fresh("busway-reloads")?;
    let path = folder.path().to_str().context("the folder's name is no text")?;
    let answers = child::ask(&[question, path])?;
    progress.ran();
    progress.done();
    let contenders = answers.into_iter().map(|(name, grown)| Contender::new(name, version(), vec![grown]));
    Ok(vec![Suite {
        name: name.to_owned(),
        unit: "% grown".to_owned(),
        higher_is_better: false,
        note: "a watched file with 100 routes is written anew and looked at ten thousand times (a thousand times in short); each second time it is wrong: no YAML, \
               an unknown field, a handler that is not registered, by turns. Behind each reload an event shows that the last good file is in force. From a tenth of the \
               reloads on to the end: resident memory; busway-heap: bytes on the heap"
            .to_owned(),
        contenders: contenders.collect(),
        curves: Vec::new(),
    }])
}

/// The child's part.
///
/// # Errors
/// Another file than the last good one is in force.
pub(super) fn answer(folder: &Path, reloads: u32, heap: fn() -> Heap) -> Result<Answers> {
    let runtime = two_workers()?;
    let path = folder.join("busway.yaml");
    let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    runtime.block_on(async {
        fs::write(&path, file(0))?;
        let builder = HANDLERS.iter().zip(&counts).fold(Bus::memory(), |builder, (name, count)| {
            let count = Arc::clone(count);
            builder.handler(*name, move |_sample: Payload<Sample>| {
                count.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            })
        });
        let first = Config::parse("busway.yaml", &file(0), Format::Yaml)?;
        let bus = first.configure(builder).start().await?;
        let watcher = Watcher::of(&path).environment([]).quiet(Duration::from_mins(1)).start(&bus).await?;
        let mut before = None;
        let mut good = 0;
        for reload in 1..=reloads {
            let is_good = reload.is_multiple_of(2);
            if is_good {
                good += 1;
            }
            fs::write(&path, if is_good { file(good) } else { broken(reload) })?;
            let status = watcher.look().await;
            ensure!(status.last_error.is_none() == is_good, "reload {reload} was not what it was to be");
            ensure!(
                status.applied + status.refused == u64::from(reload),
                "{} of {reload} reloads",
                status.looks
            );
            let count = counts.get(usize::try_from(good % 2)?).context("a handler")?;
            let handled = count.load(Ordering::Relaxed);
            bus.publish(Event::new("load.t0.x", Sample::new(u64::from(reload)))).await?;
            bus.idle().await;
            ensure!(count.load(Ordering::Relaxed) == handled + 1, "the last good file is not in force");
            if reload == reloads / 10 {
                before = Some(Footprint::now(heap)?);
            }
        }
        let before = before.context("there are ten reloads")?;
        let after = Footprint::now(heap)?;
        drop(watcher);
        bus.shutdown(Duration::from_secs(10)).await;
        Ok(after.grown_since(before))
    })
}

fn file(version: u32) -> String {
    let [even, odd] = HANDLERS;
    let handler = if version.is_multiple_of(2) { even } else { odd };
    let route = |route: u32| {
        let concurrency = 1 + version % 3;
        format!(
            "  r{route}: {{ filter: load.t{route}.#, handler: {handler}, limits: {{ concurrency: {concurrency} }} }}\n"
        )
    };
    format!("routes:\n{}", (0..ROUTES).map(route).collect::<String>())
}

/// Something else each time, or it would be known already.
fn broken(version: u32) -> String {
    let good = file(version);
    match version % 3 {
        0 => format!("{good}  broken-{version}: [\n"),
        1 => format!("{good}  broken: {{ filter: a, handler: one, field-{version}: 1 }}\n"),
        _ => format!("{good}  broken: {{ filter: a, handler: nobody-{version} }}\n"),
    }
}

const HANDLERS: [&str; 2] = ["one", "two"];
const ROUTES: u32 = 100;
