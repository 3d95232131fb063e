//! The report for people.

use std::fmt::Write as _;

use super::{Contender, Machine, Suite};
use crate::statistics::median_ratio;

/// Markdown tables, padded so that they read well on a terminal too.
pub(super) fn of(machine: &Machine, suites: &[Suite]) -> String {
    let Machine { cpu, cores, memory_mib, kernel, arch, rustc, commit, date } = machine;
    let mut text = format!(
        "{cpu}, {cores} cores, {memory_mib} MiB, {kernel} ({arch}), {rustc}, commit {commit}, {date}\n"
    );
    for suite in suites {
        let better = if suite.higher_is_better { "more is better" } else { "less is better" };
        let _ = writeln!(text, "\n## {} ({}, {better})\n\n{}\n", suite.name, suite.unit, suite.note);
        rows(&mut text, suite);
    }
    text
}

fn rows(text: &mut String, suite: &Suite) {
    let ours = suite.contender("busway").or(suite.contenders.first());
    let (median, least, most) = ("median", "least", "most");
    let _ = writeln!(
        text,
        "| {:<24} | {:<9} | {median:>9} | {least:>9} | {most:>9} | runs | busway is |",
        "contender", "version"
    );
    let _ =
        writeln!(text, "|{:-<26}|{:-<11}|{:->10}:|{:->10}:|{:->10}:|-----:|----------:|", "", "", "", "", "");
    for contender in &suite.contenders {
        let Contender { name, version, median, min, max, runs, .. } = contender;
        let ratio = ours.map_or(f64::NAN, |ours| times(ours, contender));
        let ratio = if ratio.is_finite() { format!("{ratio:.2} ×") } else { String::new() };
        let [median, min, max] = [median, min, max].map(|value| number(*value));
        let _ = writeln!(
            text,
            "| {name:<24} | {version:<9} | {median:>9} | {min:>9} | {max:>9} | {runs:>4} | {ratio:>9} |"
        );
    }
}

/// How many times a contender's number ours is: by pairs of one round where both ran equally often.
fn times(ours: &Contender, theirs: &Contender) -> f64 {
    if ours.samples.len() == theirs.samples.len() && !ours.samples.is_empty() {
        median_ratio(&ours.samples, &theirs.samples)
    } else {
        ours.median / theirs.median
    }
}

/// A number in four digits or so: `12.3 M`, `812 k`, `4.56`, `0.0123`, `0.000244`.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e9 => format!("{:.2} G", value / 1e9),
        _ if size >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if size >= 1e4 => format!("{:.1} k", value / 1e3),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 || value == 0.0 => format!("{value:.2}"),
        _ if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_at_every_size() {
        let written =
            [12_345_678.0, 812_345.0, 4_567.0, 45.67, 4.567, 0.012_34, 1.0 / 4_096.0, 0.0, 2e9].map(number);
        let short = ["12.35 M", "812.3 k", "4567", "45.7", "4.57", "0.0123", "0.000244", "0.00", "2.00 G"];
        assert_eq!(written, short);
    }

    #[test]
    fn the_ratio_is_that_of_the_rounds() {
        let contenders = vec![
            Contender::new("flume", "0.12.0", vec![4.0, 40.0, 4.0]),
            Contender::new("busway", "0.1.0", vec![2.0, 20.0, 2.0]),
        ];
        let suite = Suite {
            name: "inproc/1p1c".to_owned(),
            unit: "events/s".to_owned(),
            higher_is_better: true,
            note: "in memory".to_owned(),
            contenders,
            curves: Vec::new(),
        };
        let text = of(&Machine::default(), &[suite]);
        assert!(text.contains("## inproc/1p1c (events/s, more is better)\n\nin memory\n"));
        let row = text.lines().find(|line| line.starts_with("| flume")).unwrap();
        assert!(row.ends_with("|    3 |    0.50 × |"), "{row}");
    }
}
