//! The table: the last summary of each site, drawn anew with each; or a line for each, where there is no terminal.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use crate::windows::Summary;

/// What is shown.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    rows: Arc<Mutex<Rows>>,
    is_live: bool,
}

#[derive(Debug, Default)]
struct Rows {
    of_site: BTreeMap<String, Summary>,
    summaries: u64,
    /// Lines that are on the terminal.
    drawn: usize,
}

impl Board {
    /// A live one draws over what it has drawn.
    pub(crate) fn new(is_live: bool) -> Self {
        Self { rows: Arc::default(), is_live }
    }

    /// A summary has come.
    pub(crate) fn add(&self, topic: &str, summary: &Summary) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.summaries += 1;
        rows.of_site.insert(summary.site.clone(), summary.clone());
        match self.is_live {
            true => rows.draw(),
            false => println!("{topic}: {}", line(summary)),
        }
    }

    /// The last one of each site.
    pub(crate) fn show(&self) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.draw();
    }

    pub(crate) fn summaries(&self) -> u64 {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).summaries
    }
}

impl Rows {
    fn draw(&mut self) {
        // Up to its first line, and clear what is below.
        let mut text = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        let lines = self.of_site.iter().map(|(site, summary)| format!("{site:<10} {}\n", line(summary)));
        text.extend(lines);
        self.drawn = self.of_site.len();
        let mut out = std::io::stdout().lock();
        // Nobody reads it any more: the pipeline goes on.
        _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn line(summary: &Summary) -> String {
    let mean = summary.mean.map_or_else(|| "    –".to_owned(), |mean| format!("{mean:5.1}"));
    format!(
        "window {:>4}  {:>4} readings  mean {mean} °C  warmest {:5.1} °C",
        summary.window, summary.readings, summary.warmest
    )
}
