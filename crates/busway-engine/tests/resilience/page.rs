//! The page: a table of all runs, and a plot of how neighbours fared.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::Run;
use crate::fault::Fault;
use crate::figures::Phase;
use crate::shop::Protection;

pub(crate) fn write(docs: &Path, runs: &[Run]) -> io::Result<()> {
    fs::write(docs.join("resilience.md"), page(runs))?;
    fs::write(docs.join("resilience.svg"), plot(runs))
}

fn page(runs: &[Run]) -> String {
    let mut page = HEAD.to_owned();
    for fault in Fault::ALL {
        let _ = writeln!(page, "\n## {}\n", capital(&fault.to_string()));
        page.push_str("| with | shop.mail: in time | p99 | the others: in time | p99 | calls that failed | opened | delivered | dead letters |\n");
        page.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for Run { protection, figures, .. } in runs.iter().filter(|run| run.fault == fault) {
            let _ = writeln!(
                page,
                "| {protection} | {} | {} | {} | {} | {} | {} | {} of {} | {} |",
                figures.failing.map(in_time).join(" / "),
                figures.failing.map(p99).join(" / "),
                figures.neighbours.map(in_time).join(" / "),
                figures.neighbours.map(p99).join(" / "),
                figures.failed_calls,
                figures.opened,
                figures.delivered,
                figures.published,
                figures.dead_letters,
            );
        }
    }
    page
}

fn in_time(phase: Phase) -> String {
    format!("{:.0} %", phase.in_time)
}

fn p99(phase: Phase) -> String {
    phase.p99.map_or_else(
        || "never".to_owned(),
        |wait| match wait.as_millis() {
            millis @ ..1_000 => format!("{millis} ms"),
            _ => format!("{:.1} s", wait.as_secs_f64()),
        },
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A bar a run: how many of the neighbours' events, published during the fault, were handled in time.
fn plot(runs: &[Run]) -> String {
    let mut body = String::new();
    let text = |x: f64, y: f64, anchor: &str, size: u32, text: &str| {
        format!(
            "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"#222\">{text}</text>\n"
        )
    };
    body.push_str(&text(10.0, 22.0, "start", 15, "Events handled within a second, during the fault"));
    body.push_str(&text(
        10.0,
        40.0,
        "start",
        11,
        "of the topic whose dependency fails (light) and of its neighbours (dark), percent, more is better",
    ));
    let mut y = 56.0;
    for fault in Fault::ALL {
        body.push_str(&text(10.0, y + 12.0, "start", 12, &capital(&fault.to_string())));
        y += 18.0;
        for run in runs.iter().filter(|run| run.fault == fault) {
            body.push_str(&text(LEFT - 8.0, y + 13.0, "end", 11, &run.protection.to_string()));
            let [_, failing, _] = run.figures.failing;
            let [_, neighbours, _] = run.figures.neighbours;
            for (offset, phase, colour) in
                [(2.0, failing, light(run.protection)), (9.0, neighbours, dark(run.protection))]
            {
                let width = (BARS * phase.in_time / 100.0).max(0.5);
                let _ = writeln!(
                    body,
                    "<rect x=\"{LEFT:.0}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"6\" fill=\"{colour}\"/>",
                    y + offset
                );
            }
            body.push_str(&text(
                LEFT + BARS + 8.0,
                y + 13.0,
                "start",
                11,
                &format!("{:.0} / {:.0}", failing.in_time, neighbours.in_time),
            ));
            y += 20.0;
        }
        y += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"{y:.0}\" viewBox=\"0 0 760 {y:.0}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

const fn light(protection: Protection) -> &'static str {
    match protection {
        Protection::None => "#bbbbbb",
        Protection::Retries => "#9ecae9",
        Protection::Breaker => "#f5c38a",
        Protection::Bulkheads => "#8fd6b0",
    }
}

const fn dark(protection: Protection) -> &'static str {
    match protection {
        Protection::None => "#555555",
        Protection::Retries => "#0072b2",
        Protection::Breaker => "#d55e00",
        Protection::Bulkheads => "#009e73",
    }
}

const LEFT: f64 = 220.0;
const BARS: f64 = 440.0;

const HEAD: &str = "\
# What protection is worth

Written by `cargo xtask chaos resilience`; do not edit it. The figures are of a manual clock, not of a machine: how long things wait for each other, not how
long they take.

A shop publishes ten events a second to each of four durable topics; a handler calls a service for each, which takes 20 ms; eight handlers run at once. For 20 s what `shop.mail` depends on
fails, and recovers. Each cell has three figures: before / during / behind the fault, of the events that were *published* then.

* **in time**: handled within a second of being published.
* **p99**: from publishing to the end of the handler; *never* when more than one in a hundred is never handled.
* **calls that failed**: refused by the service; those that were cancelled at their deadline are not among them.
* **delivered**, **dead letters**: three minutes behind the last event; what is neither waits for its turn, behind an event of its key that goes on failing.

| with | is |
|---|---|
| nothing | one durable subscription to all topics, one attempt an event |
| retries | the same, 16 attempts, up to 5 s apart |
| retries, deadline, breaker | and `.deadline(1 s)`, `.breaker(…)` that opens with the fourth failure for 2 s and probes with 2 calls |
| the same, with bulkheads | and a subscription a topic, two handlers at once in each |

![events handled in time](resilience.svg)
";
