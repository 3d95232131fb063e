//! The main job on real departures: its figures equal those of an independent computation over the same files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::example_process::{command, run};

/// What the example prints with `--json`, without `seconds`.
fn figures(arguments: &[&str]) -> (Value, String) {
    let output = run("flights", &[&["--json"], arguments].concat());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().count(), 1, "one object on one line: {printed}");
    let mut figures: Value = serde_json::from_str(&printed).unwrap();
    let seconds = figures.as_object_mut().unwrap().remove("seconds").unwrap();
    assert!(seconds.is_f64(), "seconds is {seconds}");
    (figures, errors)
}

fn carrier(flights: u32, cancelled: u32, delayed: u32, mean: f64) -> Value {
    json!({ "flights": flights, "cancelled": cancelled, "delayed": delayed, "mean_dep_delay_min": mean })
}

/// Computed from the shipped file by another program.
fn week() -> Value {
    json!({
        "events": 6_099, "jfk_desk": 2_170, "alerts": 35, "out_of_order": 0, "dropped": 0, "bad_rows": 0,
        "by_status": { "cancelled": 35, "delayed": 1_145, "departed": 4_919 },
        "by_origin": { "ewr": 2_211, "jfk": 2_170, "lga": 1_718 },
        "by_carrier": {
            "9e": carrier(334, 4, 74, 13.05), "aa": carrier(639, 17, 98, 8.41), "as": carrier(14, 0, 0, -1.0),
            "b6": carrier(1_107, 1, 265, 10.48), "dl": carrier(858, 0, 85, 2.23), "ev": carrier(888, 9, 309, 21.37),
            "f9": carrier(14, 0, 2, 9.5), "fl": carrier(73, 0, 3, -3.04), "ha": carrier(7, 0, 2, 28.43),
            "mq": carrier(514, 1, 71, 5.72), "ua": carrier(1_067, 3, 189, 9.52), "us": carrier(276, 0, 7, -1.67),
            "vx": carrier(84, 0, 8, 2.06), "wn": carrier(217, 0, 31, 4.81), "yv": carrier(7, 0, 1, 6.71),
        },
    })
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights-2013-01-week1.csv")
}

/// A file of its own in the target folder.
fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_shipped_week_gives_the_figures_of_an_independent_computation() {
    assert_eq!(figures(&[]), (week(), String::new()));
}

#[test]
fn with_a_service_that_fails_all_other_figures_are_the_same_and_each_notice_is_delivered_in_the_end() {
    let (mut figures, errors) = figures(&["--flaky"]);
    let mut take = |name: &str| figures.as_object_mut().unwrap().remove(name).unwrap().as_u64().unwrap();
    let [retried, dead_letters, breaker_opened, redelivered_ok] =
        ["retried", "dead_letters", "breaker_opened", "redelivered_ok"].map(&mut take);
    assert_eq!((figures, errors), (week(), String::new()));
    // The airline cancelled 17 flights, and 24 calls for them were refused: an attempt and, when that failed, another one.
    assert_eq!(
        retried + dead_letters,
        24,
        "each refused call was followed by another one, or by a dead letter"
    );
    assert!((7..=12).contains(&dead_letters), "24 refusals of 17 notices with two attempts: {dead_letters}");
    assert!(breaker_opened >= 1, "{breaker_opened}");
    assert_eq!(redelivered_ok, retried, "each notice that failed once is delivered later, once");
}

#[test]
fn a_compressed_file_gives_the_same_figures() {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(&std::fs::read(shipped()).unwrap()).unwrap();
    let file = scratch("week.csv.xz", &encoder.finish().unwrap());
    assert_eq!(figures(&["--data", file.to_str().unwrap()]), (week(), String::new()));
}

#[test]
fn every_malformed_row_is_reported_with_its_line_and_stops_nothing() {
    let row = |dep_time: &str, dep_delay: &str, carrier: &str, tail: &str| {
        format!(
            "2013,1,1,{dep_time},515,{dep_delay},830,819,11,{carrier},1545,{tail},EWR,IAH,227,1400,5,15,x\n"
        )
    };
    let mut text = std::fs::read_to_string(shipped()).unwrap().lines().next().unwrap().to_owned() + "\n";
    let bad = [
        ("a,b\n".to_owned(), "the row has 2 fields, the header has 19"),
        (row("xx", "2", "UA", "N1"), "dep_time \"xx\" is no time of day"),
        (row("2460", "2", "UA", "N1"), "dep_time \"2460\" is no time of day"),
        (row("+517", "2", "UA", "N1"), "dep_time \"+517\" is no time of day"),
        (row("517", "NA", "UA", "N1"), "dep_delay \"NA\" is no number of minutes"),
        (row("517", "+2", "UA", "N1"), "dep_delay \"+2\" is no number of minutes"),
        (row("517", "2", "U.A", "N1"), "carrier \"u.a\" is no code"),
        (row("517", "2", "", "N1"), "carrier \"\" is no code"),
        (row("517", "2", "UA", &"N".repeat(256)), "tailnum has 256 bytes, more than 255"),
        (row("517", "2", "\"UA", "N1"), "the row has 10 fields, the header has 19"),
        (row("517", "2", "UA", &"N".repeat(70_000)), "the row has more than 65536 bytes"),
    ];
    for (row, _) in &bad {
        text += row;
    }
    // Whole rows behind the bad ones: quoted, cancelled without an aircraft, and a delayed one.
    text += &row("517", "2", "\"UA\"", "N1");
    text += &row("NA", "NA", "UA", "NA");
    text += "\n";
    text += &row("517", "15", "UA", "N1");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"2013,1,1,\xff\n");
    let file = scratch("bad.csv", &bytes);
    let (figures, errors) = figures(&["--data", file.to_str().unwrap()]);

    let mut expected = String::new();
    for (line, (_, reason)) in (2..).zip(&bad) {
        write!(expected, "{}:{line}: {reason}", file.display()).unwrap();
        let found = errors.lines().any(|error| error.starts_with(&expected));
        assert!(found, "{expected} is missing in\n{errors}");
        expected.clear();
    }
    assert!(errors.contains(":17: byte 9 is not UTF-8"), "{errors}");
    assert_eq!(errors.lines().count(), bad.len() + 1);
    assert_eq!((&figures["bad_rows"], &figures["events"]), (&json!(bad.len() + 1), &json!(3)));
    assert_eq!(figures["by_carrier"], json!({ "ua": carrier(3, 1, 1, 8.5) }));
}

#[test]
fn the_mark_of_utf_8_may_begin_the_file_and_no_other_line() {
    let text =
        "\u{feff}carrier,origin,dep_time,dep_delay,tailnum\nUA,EWR,517,2,N1\n\u{feff}UA,EWR,517,2,N1\n";
    let (figures, errors) = figures(&["--data", scratch("mark.csv", text.as_bytes()).to_str().unwrap()]);
    assert_eq!((&figures["events"], &figures["bad_rows"]), (&json!(1), &json!(1)));
    assert!(errors.contains(":3: carrier \"\\u{feff}ua\" is no code"), "{errors}");
}

#[test]
fn every_status_is_a_figure_also_when_no_flight_has_it() {
    let text = "carrier,origin,dep_time,dep_delay,tailnum\nUA,EWR,517,2,N1\n";
    let (figures, _) = figures(&["--data", scratch("one.csv", text.as_bytes()).to_str().unwrap()]);
    assert_eq!(figures["by_status"], json!({ "cancelled": 0, "delayed": 0, "departed": 1 }));
}

#[test]
fn the_keys_are_printed_in_their_order() {
    let printed = String::from_utf8(run("flights", &["--json"]).stdout).unwrap();
    let (before, after) = printed.trim_end().split_once("\"seconds\":").unwrap();
    assert_eq!(before, WEEK_PRINTED);
    assert!(after.strip_suffix('}').unwrap().parse::<f64>().is_ok(), "seconds come last: {after}");
}

/// What is printed for the shipped file, up to the seconds that it took.
const WEEK_PRINTED: &str = concat!(
    r#"{"alerts":35,"bad_rows":0,"by_carrier":{"#,
    r#""9e":{"cancelled":4,"delayed":74,"flights":334,"mean_dep_delay_min":13.05},"#,
    r#""aa":{"cancelled":17,"delayed":98,"flights":639,"mean_dep_delay_min":8.41},"#,
    r#""as":{"cancelled":0,"delayed":0,"flights":14,"mean_dep_delay_min":-1.0},"#,
    r#""b6":{"cancelled":1,"delayed":265,"flights":1107,"mean_dep_delay_min":10.48},"#,
    r#""dl":{"cancelled":0,"delayed":85,"flights":858,"mean_dep_delay_min":2.23},"#,
    r#""ev":{"cancelled":9,"delayed":309,"flights":888,"mean_dep_delay_min":21.37},"#,
    r#""f9":{"cancelled":0,"delayed":2,"flights":14,"mean_dep_delay_min":9.5},"#,
    r#""fl":{"cancelled":0,"delayed":3,"flights":73,"mean_dep_delay_min":-3.04},"#,
    r#""ha":{"cancelled":0,"delayed":2,"flights":7,"mean_dep_delay_min":28.43},"#,
    r#""mq":{"cancelled":1,"delayed":71,"flights":514,"mean_dep_delay_min":5.72},"#,
    r#""ua":{"cancelled":3,"delayed":189,"flights":1067,"mean_dep_delay_min":9.52},"#,
    r#""us":{"cancelled":0,"delayed":7,"flights":276,"mean_dep_delay_min":-1.67},"#,
    r#""vx":{"cancelled":0,"delayed":8,"flights":84,"mean_dep_delay_min":2.06},"#,
    r#""wn":{"cancelled":0,"delayed":31,"flights":217,"mean_dep_delay_min":4.81},"#,
    r#""yv":{"cancelled":0,"delayed":1,"flights":7,"mean_dep_delay_min":6.71}},"#,
    r#""by_origin":{"ewr":2211,"jfk":2170,"lga":1718},"#,
    r#""by_status":{"cancelled":35,"delayed":1145,"departed":4919},"#,
    r#""dropped":0,"events":6099,"jfk_desk":2170,"out_of_order":0,"#,
);

#[test]
fn without_json_a_table_is_printed() {
    let output = run("flights", &[]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 21, "{printed}");
    assert_eq!(lines[0], "carrier   flights  cancelled  delayed  mean delay (min)");
    assert_eq!(lines[1], "9e            334          4       74             13.05");
    assert_eq!(lines[17], "6099 events: cancelled 35, delayed 1145, departed 4919");
    assert_eq!(lines[18], "from ewr 2211, jfk 2170, lga 1718");
    assert_eq!(lines[19], "delay board 1145, JFK desk 2170, alerts 35");
    assert!(lines[20].starts_with("out of order 0, dropped 0, bad rows 0, "), "{printed}");
    assert_eq!(output.stderr, b"", "no progress bar where nobody watches it");
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_an_error_that_says_what_to_do() {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(&std::fs::read(shipped()).unwrap()).unwrap();
    let whole = encoder.finish().unwrap();
    let cut = scratch("cut.csv.xz", &whole[..whole.len() / 2]);
    let headless = scratch("headless.csv", b"carrier,origin\n");
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-such-file.csv");
    let cases =
        [(missing, "cannot be opened"), (headless, "has no column dep_time"), (cut, "breaks off at line")];
    for (file, expected) in cases {
        let output = run("flights", &["--json", "--data", file.to_str().unwrap()]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors} should say {expected}");
        assert!(output.stdout.is_empty(), "no figures that look whole");
    }
}

#[test]
fn a_file_without_rows_gives_no_events_and_is_no_error() {
    let header = std::fs::read_to_string(shipped()).unwrap().lines().next().unwrap().to_owned();
    for (name, text) in [("empty.csv", ""), ("header.csv", header.as_str())] {
        let (figures, errors) = figures(&["--data", scratch(name, text.as_bytes()).to_str().unwrap()]);
        assert_eq!((&figures["events"], &figures["bad_rows"]), (&json!(0), &json!(0)), "{name}");
        assert_eq!(errors, "", "{name}");
    }
}

#[test]
fn delays_that_no_clock_shows_are_summed_without_overflow() {
    let header = std::fs::read_to_string(shipped()).unwrap().lines().next().unwrap().to_owned();
    let row = format!("2013,1,1,517,515,{},830,819,11,UA,1545,N1,EWR,IAH,227,1400,5,15,x\n", i64::MAX);
    let file = scratch("huge.csv", format!("{header}\n{row}{row}").as_bytes());
    let (figures, errors) = figures(&["--data", file.to_str().unwrap()]);
    assert_eq!(errors, "");
    let mean = figures["by_carrier"]["ua"]["mean_dep_delay_min"].as_f64().unwrap();
    assert!(mean > 9.2e18, "the mean is {mean}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_nothing_is_an_error_and_no_panic() {
    #[expect(clippy::disallowed_methods, reason = "the test opens a device, no file of a store")]
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command("flights", &["--json"]).stdout(full).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.starts_with("flights: the figures cannot be printed: "), "{errors}");
}

/// `cargo xtask test` runs it when the file is at hand, and says when it is not.
#[test]
#[ignore = "needs the departures of the whole year, which do not ship with the project"]
fn the_full_year_gives_the_figures_of_an_independent_computation() {
    let file = std::env::var_os("BUSWAY_FLIGHTS_YEAR").map(PathBuf::from);
    let file = file.expect("BUSWAY_FLIGHTS_YEAR names the file");
    let (figures, errors) = figures(&["--data", file.to_str().unwrap()]);
    assert_eq!(errors, "");
    let sums = ["events", "alerts", "out_of_order", "dropped", "bad_rows"]
        .map(|name| figures[name].as_u64().unwrap());
    assert_eq!(sums, [336_776, 8_255, 0, 0, 0]);
    assert_eq!(figures["by_status"], json!({ "cancelled": 8_255, "delayed": 72_914, "departed": 255_607 }));
    assert_eq!(figures["by_origin"], json!({ "ewr": 120_835, "jfk": 111_279, "lga": 104_662 }));
    assert_eq!(figures["jfk_desk"], json!(111_279));
    let by_carrier = json!({
        "9e": carrier(18_460, 1_044, 4_563, 16.73), "aa": carrier(32_729, 636, 5_270, 8.59),
        "as": carrier(714, 2, 100, 5.8), "b6": carrier(54_635, 466, 12_711, 13.02),
        "dl": carrier(48_110, 349, 8_081, 9.26), "ev": carrier(54_173, 2_817, 15_991, 19.96),
        "f9": carrier(685, 3, 202, 20.22), "fl": carrier(3_260, 73, 882, 18.73),
        "ha": carrier(342, 0, 24, 4.9), "mq": carrier(26_397, 1_234, 5_481, 10.55),
        "oo": carrier(32, 3, 6, 12.59), "ua": carrier(58_665, 686, 12_655, 12.11),
        "us": carrier(20_536, 663, 2_511, 3.78), "vx": carrier(5_162, 31, 925, 12.87),
        "wn": carrier(12_275, 192, 3_352, 17.71), "yv": carrier(601, 56, 160, 19.0),
    });
    assert_eq!(figures["by_carrier"], by_carrier);
}
