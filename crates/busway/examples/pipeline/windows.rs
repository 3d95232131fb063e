//! Tumbling windows: the readings of a site, folded in the store, in the commit that settles them.

use busway::AnyDraft;
use busway::prelude::*;

use crate::devices::Reading;

/// The open window of each site.
pub(crate) const WINDOWS: Table<String, Window> = Table::new("windows");

/// Readings of one stretch of time.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Window {
    number: u64,
    readings: u64,
    temperatures: u32,
    sum: f64,
    warmest: f64,
}

/// A window that is over.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "summary", key = site)]
pub(crate) struct Summary {
    pub(crate) site: String,
    /// From the first of the site, by the readings' own time.
    pub(crate) window: u64,
    pub(crate) readings: u64,
    /// Degrees Celsius; nothing when no temperature came.
    pub(crate) mean: Option<f64>,
    pub(crate) warmest: f64,
}

/// Adds a reading to its site's window, of so many milliseconds. The first of the next window closes the one before: its summary, and an alarm
/// where it was hot, are published in the same commit.
#[expect(clippy::needless_pass_by_value, reason = "a handler owns its arguments")]
pub(crate) fn fold(
    reading: Payload<Reading>,
    tx: &mut StoreTx<'_>,
    length: u64,
) -> Result<Vec<AnyDraft>, BoxError> {
    let Some(value) = reading.value else {
        // Another attempt would measure nothing either.
        return Err(Permanent("the sensor measured nothing").into());
    };
    let number = reading.at / length;
    let mut window =
        tx.get(&WINDOWS, reading.site.as_str())?.unwrap_or(Window { number, ..Window::default() });
    let mut published = Vec::new();
    if number > window.number {
        published = closed(&reading.site, &window);
        window = Window { number, ..Window::default() };
    }
    // Of a site all readings come in order, but a retry may come late: it is counted where it can be.
    window.readings += 1;
    if reading.metric == "temperature" {
        window.warmest = if window.temperatures == 0 { value } else { window.warmest.max(value) };
        window.temperatures += 1;
        window.sum += value;
    }
    tx.put(&WINDOWS, reading.site.as_str(), &window)?;
    Ok(published)
}

fn closed(site: &str, window: &Window) -> Vec<AnyDraft> {
    let mean = (window.temperatures > 0).then(|| window.sum / f64::from(window.temperatures));
    let summary = Summary {
        site: site.to_owned(),
        window: window.number,
        readings: window.readings,
        mean,
        warmest: window.warmest,
    };
    let mut published = Vec::new();
    if mean.is_some_and(|mean| mean > HOT) {
        published.push(Event::new(format!("sites.{site}.alarm"), summary.clone()).meta("site", site).into());
    }
    published.push(Event::new(format!("sites.{site}.summary"), summary).meta("site", site).into());
    published
}

/// Degrees Celsius, on the mean of a window.
const HOT: f64 = 26.0;
