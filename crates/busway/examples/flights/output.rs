//! The figures: as a table for people, as one line of JSON for programs.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::board::{Boards, Carrier, Carriers};

/// All figures of a replay.
pub(crate) struct Figures {
    carriers: Carriers,
    delays: u64,
    jfk_desk: u64,
    alerts: u64,
    out_of_order: u64,
    dropped: u64,
    bad_rows: u64,
    elapsed: Duration,
    notices: Option<Notices>,
}

/// What came of the notices, in this run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notices {
    /// Attempts that failed and were followed by another one.
    pub(crate) retried: u64,
    /// Notices that were given up.
    pub(crate) dead_letters: u64,
    /// How often a circuit opened.
    pub(crate) breaker_opened: u64,
    /// Notices that had failed, and were delivered later.
    pub(crate) redelivered_ok: u64,
    /// Notices that neither are delivered nor lie among the dead letters. A fault of ours.
    pub(crate) unaccounted: u64,
}

impl Figures {
    pub(crate) fn new(boards: &Boards, dropped: u64, bad_rows: u64, elapsed: Duration) -> Self {
        Self {
            carriers: boards.carriers().clone(),
            delays: boards.delays.load(Ordering::Relaxed),
            jfk_desk: boards.jfk_desk.load(Ordering::Relaxed),
            alerts: boards.alerts.load(Ordering::Relaxed),
            out_of_order: boards.out_of_order.load(Ordering::Relaxed),
            dropped,
            bad_rows,
            elapsed,
            notices: None,
        }
    }

    /// With what came of the notices, if there were any.
    pub(crate) fn with(mut self, notices: Option<Notices>) -> Self {
        self.notices = notices;
        self
    }

    /// What the program ends with: 0 when nothing was lost and nothing came out of order, else 1.
    pub(crate) const fn exit_code(&self) -> u8 {
        let unaccounted = match self.notices {
            Some(notices) => notices.unaccounted,
            None => 0,
        };
        if self.out_of_order == 0 && self.dropped == 0 && unaccounted == 0 { 0 } else { 1 }
    }

    /// One object; its keys are sorted.
    pub(crate) fn to_json(&self) -> Value {
        let carrier = |(code, carrier): (&String, &Carrier)| {
            let value = json!({
                "flights": carrier.flights,
                "cancelled": carrier.cancelled,
                "delayed": carrier.delayed,
                "mean_dep_delay_min": carrier.mean_delay(),
            });
            (code.clone(), value)
        };
        let by_carrier: Map<String, Value> = self.carriers.by_carrier.iter().map(carrier).collect();
        let mut figures = json!({
            "events": self.carriers.events,
            "by_status": self.carriers.by_status,
            "by_origin": self.carriers.by_origin,
            "by_carrier": by_carrier,
            "jfk_desk": self.jfk_desk,
            "alerts": self.alerts,
            "out_of_order": self.out_of_order,
            "dropped": self.dropped,
            "bad_rows": self.bad_rows,
            "seconds": thousandths(self.elapsed),
        });
        if let (Some(notices), Some(figures)) = (self.notices, figures.as_object_mut()) {
            let Notices { retried, dead_letters, breaker_opened, redelivered_ok, .. } = notices;
            let of_notices = [
                ("retried", retried),
                ("dead_letters", dead_letters),
                ("breaker_opened", breaker_opened),
                ("redelivered_ok", redelivered_ok),
            ];
            figures.extend(of_notices.map(|(name, count)| (name.to_owned(), count.into())));
        }
        figures
    }
}

impl Carrier {
    /// Minutes, rounded to two decimals half away from zero; `None` when no flight left.
    ///
    /// Rounded in whole hundredths, so that the last digit does not depend on binary fractions.
    fn mean_delay(&self) -> Option<f64> {
        let left = Some(i128::from(self.flights - self.cancelled)).filter(|left| *left > 0)?;
        let hundredths = (self.delay_minutes.abs() * 200 + left) / (left * 2) * self.delay_minutes.signum();
        #[expect(clippy::cast_precision_loss, reason = "delays of flights stay far below 2^52")]
        Some(hundredths as f64 / 100.0)
    }
}

fn thousandths(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1_000.0).round() / 1_000.0
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "carrier   flights  cancelled  delayed  mean delay (min)")?;
        for (code, carrier) in &self.carriers.by_carrier {
            let Carrier { flights, cancelled, delayed, .. } = carrier;
            let mean = carrier.mean_delay().map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"));
            writeln!(f, "{code:<8} {flights:>8} {cancelled:>10} {delayed:>8} {mean:>17}")?;
        }
        writeln!(f)?;
        let pairs = |pairs: Vec<(String, u64)>| {
            let texts: Vec<String> =
                pairs.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
            texts.join(", ")
        };
        let statuses =
            self.carriers.by_status.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let origins = self.carriers.by_origin.iter().map(|(name, count)| (name.clone(), *count)).collect();
        writeln!(f, "{} events: {}", self.carriers.events, pairs(statuses))?;
        writeln!(f, "from {}", pairs(origins))?;
        writeln!(f, "delay board {}, JFK desk {}, alerts {}", self.delays, self.jfk_desk, self.alerts)?;
        write!(
            f,
            "out of order {}, dropped {}, bad rows {}, {:.3} s",
            self.out_of_order,
            self.dropped,
            self.bad_rows,
            self.elapsed.as_secs_f64()
        )?;
        let Some(Notices { retried, dead_letters, breaker_opened, redelivered_ok, .. }) = self.notices else {
            return Ok(());
        };
        write!(
            f,
            "\nnotices: retried {retried}, dead letters {dead_letters}, breaker opened {breaker_opened}, delivered later {redelivered_ok}"
        )
    }
}
