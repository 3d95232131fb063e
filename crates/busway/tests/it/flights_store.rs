//! The main job on a store: killed at any instant and started again, it ends with the figures of a run that nobody interrupted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::example_process::{command, run};

/// The first days of the shipped week, with a row that cannot be read behind every so many: those are how its progress is seen.
fn days(folder: &TempDir, rows: usize, every: usize) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights-2013-01-week1.csv");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let mut text = String::new();
    for (number, line) in shipped.lines().take(rows + 1).enumerate() {
        text += line;
        text += "\n";
        if number > 0 && number % every == 0 {
            text += "no,row\n";
        }
    }
    let path = folder.path().join(format!("{rows}-days.csv"));
    std::fs::write(&path, text).unwrap();
    path
}

fn figures(arguments: &[&str]) -> Value {
    let output = run("flights", &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    figures.as_object_mut().unwrap().remove("seconds").unwrap();
    figures
}

#[test]
fn killed_at_any_instant_it_goes_on_and_ends_with_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let file = days(&folder, 1_200, 100);
    let file = file.to_str().unwrap();
    let uninterrupted = figures(&["--data", file]);
    assert_eq!(uninterrupted["bad_rows"], 12);
    // Two deaths each: behind a third without getting on, a subscription takes the event that was under way for what its processes die of, and sets it aside.
    for kills in [[1, 2], [3, 1], [4, 6], [9, 1]] {
        let store = folder.path().join(format!("store-{}-{}", kills[0], kills[1]));
        let on_store = ["--data", file, "--store", store.to_str().unwrap()];
        for (kill_after, is_first) in kills.into_iter().zip([true, false]) {
            let mut child =
                command("flights", &on_store).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let said = lines.take(kill_after).count();
            child.kill().unwrap();
            child.wait().unwrap();
            // The second may find that the first was quick, and has published all.
            assert!(said == kill_after || !is_first, "every row that cannot be read is said: {said}");
        }
        assert_eq!(figures(&on_store), uninterrupted, "{kills:?}");
        assert_eq!(figures(&on_store), uninterrupted, "a finished store publishes nothing more");
    }
}

#[test]
fn another_file_on_the_same_store_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (days(&folder, 20, 100), days(&folder, 21, 100));
    let store = folder.path().join("store");
    let on_store = |file: &Path| {
        ["--data", file.to_str().unwrap(), "--store", store.to_str().unwrap()].map(str::to_owned)
    };
    let with = |file: &Path| {
        let arguments = on_store(file);
        run("flights", &[&["--json"], &*arguments.iter().map(String::as_str).collect::<Vec<_>>()].concat())
    };
    assert!(with(&one).status.success());
    let refused = with(&other);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(error.contains("the store holds the flights of another file than"), "{error}");
    let again = with(&one);
    let figures: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(figures["events"], 20);
}
